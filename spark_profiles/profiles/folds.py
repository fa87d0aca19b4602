"""Operations that need no row twice: an `Aggregate` -> SQL over the totals of a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_profiles.profiles import arithmetic
from spark_profiles.profiles.arithmetic import MOST_DIGITS, Number

if TYPE_CHECKING:
    from collections.abc import Callable

    from spark_profiles.definition.operations import Aggregate
    from spark_profiles.profiles.sheets import Condition, Sheet

_MICROS = {"hours": 3_600_000_000, "days": 1, "weeks": 7}


def value(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    """The value as SQL over totals, with its digits after the point where it is a number."""
    return _OPERATIONS[aggregate.operation](sheet, aggregate, rows)


def is_fold(aggregate: Aggregate) -> bool:
    """Whether the operation is one of these."""
    is_exact = aggregate.operation in ("median", "percentile") and not aggregate.approximate
    return aggregate.operation in _OPERATIONS and not aggregate.merge and not is_exact


def _count(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    if aggregate.half_life:
        total = sheet.total(f"sum({rows.when(sheet.weight(aggregate.half_life))})")
        return Number(f"coalesce({total}, 0)", 9)
    return Number(sheet.total(f"count({rows.when('1')})"))


def _count_distinct(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    operand = rows.when(sheet.raw(aggregate.operand))
    if aggregate.approximate:
        return Number(sheet.total(f"approx_count_distinct({operand})"))
    # A set per user instead of Spark's distinct, which copies every row for each of them.
    return Number(f"cast(size({sheet.total(f'collect_set({operand})')}) as bigint)")


def _sum(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    if aggregate.half_life:
        number = sheet.number(aggregate.operand, aggregate.scale, most=MOST_DIGITS)
        weight = sheet.weight(aggregate.half_life)
        # 20 digits before the point, so that the product and its sum are exact in 38.
        bounded = f"case when abs({number.sql}) < 1e20 then cast({number.sql} as decimal(26,6)) end"
        weighed = f"cast({bounded} * {weight} as decimal(37,15))"
        return Number(sheet.total(f"try_sum({rows.when(weighed)})"), 15)
    number = sheet.number(aggregate.operand, aggregate.scale)
    adder = sheet.adder(aggregate.operand)
    return Number(sheet.total(f"{adder}({rows.when(number.sql)})"), number.scale)


def _average(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    number = sheet.number(aggregate.operand, aggregate.scale, most=MOST_DIGITS)
    operand = rows.when(number.sql)
    total = Number(sheet.total(f"{sheet.adder(aggregate.operand)}({operand})"), number.scale)
    digits = aggregate.digits or 0
    return Number(
        arithmetic.quotient(total, Number(sheet.total(f"count({operand})")), digits), digits
    )


def _stddev(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    """From exact sums of whole numbers; only the root is a double, rounded at once."""
    number = sheet.number(aggregate.operand, aggregate.scale, most=MOST_DIGITS)
    unit = f"1{'0' * number.scale}"
    operand = rows.when(number.sql)
    fits = f"abs({number.sql}) < 1e{18 - number.scale}"
    scaled = f"cast({number.sql} * {unit} as decimal(19,0))"
    whole = rows.when(f"case when {fits} then {scaled} end")
    n = sheet.total(f"count({operand})")
    known = sheet.total(f"count({whole})")
    ones, squares = sheet.total(f"try_sum({whole})"), sheet.total(f"try_sum({whole} * {whole})")
    is_fit = (
        f"{n} > 1 and {n} = {known} and cast({n} as double) * cast({squares} as double) < 1e37D"
    )
    spread = f"{n} * {squares} - cast({ones} as decimal(19,0)) * cast({ones} as decimal(19,0))"
    degrees = f"(cast({n} as double) * cast({n} - 1 as double))"
    root = f"sqrt(cast(cast({spread} as decimal(38,0)) as double) / {degrees}) / {unit}D"
    digits = aggregate.digits or 0
    # A double holds 15 digits; a deviation of more is no value rather than a wrong one.
    most = f"1e{15 - digits}D"
    exact = arithmetic.from_double(f"case when {is_fit} then {root} end", digits, most)
    return Number(exact, digits)


def _percentile(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    """Of values rounded to 3 significant digits: there are few, so that memory is bounded."""
    number = sheet.number(aggregate.operand, aggregate.scale, most=MOST_DIGITS).sql
    size = f"pow(10D, length(cast(cast(floor(abs({number})) as decimal(38,0)) as string)) - 1)"
    few = f"round(cast({number} as double) / {size}, 2) * {size}"
    at = "0.5" if aggregate.at is None else str(aggregate.at)
    digits = aggregate.digits or 0
    found = sheet.total(f"percentile({rows.when(few)}, {at})")
    return Number(arithmetic.from_double(found, digits), digits)


def _edge(aggregate_function: str) -> Callable[[Sheet, Aggregate, Condition], Number]:
    def edge(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
        operand = rows.when(sheet.raw(aggregate.operand))
        return Number(sheet.total(f"{aggregate_function}({operand})"))

    return edge


def _by_time(aggregate_function: str) -> Callable[[Sheet, Aggregate, Condition], Number]:
    """The known (not null) value of the first or last row, by time, row_id, then the value."""

    def by_time(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
        operand = sheet.raw(aggregate.operand)
        members = "".join(f", '{name}', {name}" for name in sheet.ties())
        row = f"named_struct('at', sp_at{members}, 'value', {operand})"
        known = rows.when(f"case when {operand} is not null then {row} end")
        return Number(f"{sheet.total(f'{aggregate_function}({known})')}.value")

    return by_time


def _values(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    found = sheet.total(f"collect_set({rows.when(sheet.raw(aggregate.operand))})")
    return Number(
        f"case when size({found}) > 0 then slice(sort_array({found}), 1, {aggregate.limit}) end"
    )


def _any(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    return Number(sheet.total(f"bool_or({rows.when(sheet.flag(aggregate.operand))})"))


def _all(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    return Number(sheet.total(f"bool_and({rows.when(sheet.flag(aggregate.operand))})"))


def _ratio(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    digits = aggregate.digits or 0
    part, whole, scale = "1", "1", 0
    if aggregate.of:
        number = sheet.number(aggregate.of, aggregate.scale, most=MOST_DIGITS)
        part = whole = number.sql
        scale = number.scale
    flag = sheet.flag(aggregate.operand)
    chosen = f"case when {flag} then {part} else {part} * 0 end"
    function = sheet.adder(aggregate.of) if aggregate.of else "sum"
    dividend = Number(sheet.total(f"{function}({rows.when(chosen)})"), scale)
    divisor = Number(sheet.total(f"{function}({rows.when(whole)})"), scale)
    return Number(arithmetic.quotient(dividend, divisor, digits), digits)


def _elapsed(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    """The time between two of: the first row, the last row, as-of."""
    unit = aggregate.operand
    number = rows.when(sheet.period("hours" if unit == "hours" else "days"))
    now = str(sheet.current_period("hours" if unit == "hours" else "days"))
    first, last = sheet.total(f"min({number})"), sheet.total(f"max({number})")
    begin = last if aggregate.operation == "recency" else first
    end = last if aggregate.operation == "span" else now
    return _in_units(f"{end} - {begin}", unit, aggregate.scale)


def _in_units(difference: str, unit: str, scale: int | None) -> Number:
    """Whole units, rounded down, or fractions of them where a scale is declared."""
    size = _MICROS[unit]
    if scale is None:
        return Number(difference if size == 1 else f"({difference}) div {size}")
    return Number(arithmetic.quotient(Number(_wide(difference)), Number(_wide(size)), scale), scale)


def _wide(whole: str | int) -> str:
    return f"cast({whole} as decimal(20,0))"


def _periods(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> str:
    return sheet.total(f"collect_set({rows.when(sheet.period(aggregate.operand))})")


def _frequency(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    return Number(f"cast(size({_periods(sheet, aggregate, rows)}) as bigint)")


def _longest_streak(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    lengths = arithmetic.runs(f"sort_array({_periods(sheet, aggregate, rows)})")
    return Number(f"cast(coalesce(array_max({lengths}), 0) as bigint)")


def _streak(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    periods = _periods(sheet, aggregate, rows)
    lengths = arithmetic.runs(f"sort_array({periods})")
    is_on = f"array_max({periods}) >= {sheet.current_period(aggregate.operand) - 1}"
    last = arithmetic.let("l", lengths, lambda found: f"get({found}, size({found}) - 1)")
    return Number(f"cast(case when {is_on} then {last} else 0 end as bigint)")


def _gap(array_function: str) -> Callable[[Sheet, Aggregate, Condition], Number]:
    def gap(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
        unit = aggregate.operand
        moments = rows.when(sheet.period("hours" if unit == "hours" else "days"))
        found = sheet.total(f"collect_set({moments})")
        difference = f"{array_function}({arithmetic.gaps(f'sort_array({found})')})"
        return _in_units(difference, unit, aggregate.scale)

    return gap


def _average_gap(sheet: Sheet, aggregate: Aggregate, rows: Condition) -> Number:
    unit, digits = aggregate.operand, aggregate.digits or 0
    moments = rows.when(sheet.period("hours" if unit == "hours" else "days"))
    found = sheet.total(f"collect_set({moments})")
    time = Number(_wide(f"array_max({found}) - array_min({found})"))
    divisor = Number(_wide(f"(size({found}) - 1) * {_MICROS[unit]}"))
    exact = arithmetic.quotient(time, divisor, digits)
    return Number(f"case when size({found}) > 1 then {exact} end", digits)


_OPERATIONS: dict[str, Callable[[Sheet, Aggregate, Condition], Number]] = {
    "count": _count,
    "count_distinct": _count_distinct,
    "sum": _sum,
    "average": _average,
    "stddev": _stddev,
    "median": _percentile,
    "percentile": _percentile,
    "min": _edge("min"),
    "max": _edge("max"),
    "first": _by_time("min"),
    "last": _by_time("max"),
    "values": _values,
    "any": _any,
    "all": _all,
    "ratio": _ratio,
    "recency": _elapsed,
    "tenure": _elapsed,
    "span": _elapsed,
    "frequency": _frequency,
    "streak": _streak,
    "longest_streak": _longest_streak,
    "average_gap": _average_gap,
    "shortest_gap": _gap("array_min"),
    "longest_gap": _gap("array_max"),
}
