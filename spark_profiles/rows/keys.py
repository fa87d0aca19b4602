"""SQL -> SQL: keys and identifiers, the same from every source and type: text, or whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import types as T

if TYPE_CHECKING:
    from collections.abc import Iterable

# Named one by one, since engines differ in what they hold for white space: blank, tab, line ends,
# no-break space, ideographic space, byte order mark, zero-width space.
_BLANKS = " \t\n\r\v\f\u00a0\u3000\ufeff\u200b"
_EXACT_DOUBLE = f"{2**53}D"


def is_key(data_type: T.DataType) -> bool:
    """Whether values of this type can name a user: text and numbers."""
    return isinstance(data_type, (T.StringType, T.NumericType))


def text(value: str, data_type: T.DataType) -> str:
    """The value as text: trimmed; null where it is null, blank, or a number that is not whole.

    A whole number is its digits, whatever its type: 7, 7.00 and 7.0 are the key "7". A double
    beyond 2^53, which no longer tells neighbours apart, is null as well.
    """
    if isinstance(data_type, (T.DoubleType, T.FloatType)):
        is_whole = f"cast(floor({value}) as double) = {value} and abs({value}) < {_EXACT_DOUBLE}"
        return f"cast(case when {is_whole} then cast({value} as bigint) end as string)"
    if isinstance(data_type, T.DecimalType):
        whole = f"floor({value})"
        digits = f"case when {whole} = {value} then cast({whole} as decimal(38,0)) end"
        return f"cast({digits} as string)"
    if isinstance(data_type, T.IntegralType):  # its digits have no white space
        return f"cast({value} as string)"
    return f"nullif({trim(f'cast({value} as string)')}, '')"


def are_whole(types: Iterable[T.DataType]) -> bool:
    """Whether keys of all these types are whole numbers.

    Then rows can be laid out, sorted and joined by numbers, at half the price of their digits.
    """
    return all(isinstance(data_type, T.IntegralType) for data_type in types)


def whole(text: str) -> str:
    """The whole number of which this is the text; null where it is the text of none."""
    number = f"try_cast({text} as bigint)"
    return f"case when cast({number} as string) = {text} then {number} end"


def trim(value: str) -> str:
    """The text without white space at its ends."""
    return f"btrim({value}, '{_BLANKS}')"
