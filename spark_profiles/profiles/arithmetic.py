"""Spark SQL text -> Spark SQL text: exact numbers and arrays, the same on every engine.

Decimals are divided as whole numbers, since engines differ in the digits that their own division
keeps. A text that is used more than once is bound to a name first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_DIGITS = 6
"""Digits after the point of a number that is divided, merged or weighed; more are rounded off."""
HUGE = 26
"""A number with more digits before the point counts as unknown where numbers are divided."""


class Number(NamedTuple):
    """SQL that gives a decimal with `scale` digits after the point, or a whole number."""

    sql: str
    scale: int = 0


def let(name: str, sql: str, body: Callable[[str], str]) -> str:
    """`body` over the value of `sql`, which is computed once."""
    return f"get(transform(array({sql}), {name} -> {body(name)}), 0)"


def quotient(dividend: Number, divisor: Number, digits: int) -> str:
    """`dividend / divisor` as a decimal, rounded half up (away from zero) to `digits`, exactly.

    Null where either is null, the divisor is 0, or the numbers are too big for 38 digits.
    """
    up = digits + divisor.scale - dividend.scale
    most = min(30, 37 - digits) - digits

    def rounded(pair: str) -> str:
        twice = f"2 * {_whole(f'{pair}.n', dividend.scale)} * {power(max(up, 0))}"
        unit = f"{_whole(f'{pair}.d', divisor.scale)} * {power(max(-up, 0))}"
        parts = f"named_struct('x', {_wide(f'{twice} + {unit}')}, 'y', {_wide(f'2 * {unit}')})"
        whole = let("xy", parts, lambda xy: f"({xy}.x - {xy}.x % {xy}.y) / {xy}.y")
        sign = f"case when ({pair}.n < 0) = ({pair}.d < 0) then 1 else -1 end"
        shifted = _shifted(f"try_cast({whole} * {sign} as decimal({37 - digits},0))", digits)
        is_fit = (
            f"abs({pair}.n) < {power(most)} and abs({pair}.d) < {power(most)} and {pair}.d <> 0"
        )
        return f"case when {is_fit} then {shifted} end"

    pair = f"named_struct('n', {dividend.sql}, 'd', {divisor.sql})"
    return f"cast({let('nd', pair, rounded)} as decimal(38,{digits}))"


def rounded(value: Number, digits: int) -> str:
    """The number rounded half up to `digits`; one with fewer digits keeps them."""
    return f"round({value.sql}, {digits})" if digits < value.scale else value.sql


def from_double(sql: str, digits: int, most: str = "1e20D") -> str:
    """A double as a decimal, rounded half up; one that is not less than `most` is null."""
    decimal = f"decimal(38,{min(digits, 18)})"
    return let("x", sql, lambda x: f"case when abs({x}) < {most} then cast({x} as {decimal}) end")


def total(array: str, member: str, scale: int) -> str:
    """The sum of the known values of `member` over an array of structs; of none it is null."""
    adds = f"(a, e) -> cast(a + e.{member} as decimal(38,{scale}))"
    known = f"filter({array}, e -> e.{member} is not null)"
    zero = f"cast(0 as decimal(38,{scale}))"
    return let(
        "k", known, lambda k: f"case when size({k}) > 0 then aggregate({k}, {zero}, {adds}) end"
    )


def percentile(array: str, at: tuple[int, int], scale: int, digits: int) -> str:
    """The value at the fraction `at` of the way through the sorted array, between two values.

    With n values the place is `at x (n - 1)`; between two places it is interpolated, exactly.
    """
    part, whole = at

    def value(v: str) -> str:
        place = f"{part} * (size({v}) - 1)"
        rest = f"({place}) % {whole}"
        low = f"try_cast(get({v}, cast(({place}) div {whole} as int)) as decimal(28,{scale}))"
        high = f"try_cast(get({v}, cast(({place}) div {whole} as int) + 1) as decimal(28,{scale}))"
        weighed = (
            f"{low} * cast({whole} - {rest} as decimal(5,0))"
            f" + case when {rest} = 0 then 0 else {high} * cast({rest} as decimal(5,0)) end"
        )
        number = Number(f"cast({weighed} as decimal(38,{scale}))", scale)
        exact = quotient(number, Number(f"cast({whole} as decimal(5,0))"), digits)
        return f"case when size({v}) > 0 then {exact} end"

    return let("v", array, value)


def groups(array: str, body: Callable[[str], str]) -> str:
    """`body` over each run of equal `k` in a sorted array of structs, as an array."""

    def each(s: str) -> str:
        begins = (
            f"filter(sequence(1, size({s})), "
            f"i -> i = 1 or not (get({s}, i - 1).k <=> get({s}, i - 2).k))"
        )
        return let("b", begins, lambda b: _slices(s, b, body))

    return let("s", array, lambda s: f"case when size({s}) > 0 then {each(s)} end")


def _slices(array: str, begins: str, body: Callable[[str], str]) -> str:
    end = f"coalesce(get({begins}, j + 1), size({array}) + 1)"
    return f"transform({begins}, (i, j) -> {let('g', f'slice({array}, i, {end} - i)', body)})"


def runs(array: str) -> str:
    """The lengths of the runs of consecutive whole numbers in a sorted array without repeats."""
    keyed = f"transform({array}, (x, i) -> named_struct('k', x - i))"
    return groups(keyed, lambda g: f"size({g})")


def gaps(array: str) -> str:
    """The differences between neighbours in a sorted array; of fewer than two, null."""
    return let(
        "s",
        array,
        lambda s: (
            f"case when size({s}) > 1 then transform(sequence(1, size({s}) - 1), "
            f"i -> get({s}, i) - get({s}, i - 1)) end"
        ),
    )


def _whole(sql: str, scale: int) -> str:
    return f"cast(abs({sql}) * {power(scale)} as decimal(38,0))"


def _wide(sql: str) -> str:
    return f"cast({sql} as decimal(38,0))"


def power(exponent: int) -> str:
    """The SQL literal of 10 to this exponent, as a decimal."""
    return f"cast('1{'0' * exponent}' as decimal({exponent + 1},0))"


def _shifted(sql: str, digits: int) -> str:
    if digits == 0:
        return sql
    return f"{sql} * cast('0.{'0' * (digits - 1)}1' as decimal({digits},{digits}))"
