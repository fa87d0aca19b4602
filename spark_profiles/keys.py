"""Column -> Column: keys and identifiers as text, the same from every source and type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

if TYPE_CHECKING:
    from pyspark.sql import Column

# Named one by one, since engines differ in what they hold for white space: blank, tab, line ends,
# no-break space, ideographic space, byte order mark, zero-width space.
_BLANKS = " \t\n\r\v\f\u00a0\u3000\ufeff\u200b"
_EXACT_DOUBLE = 2.0**53


def is_key(data_type: T.DataType) -> bool:
    """Whether values of this type can name a user: text and numbers."""
    return isinstance(data_type, (T.StringType, T.NumericType))


def text(value: Column, data_type: T.DataType) -> Column:
    """The value as text: trimmed; null where it is null, blank, or a number that is not whole.

    A whole number is its digits, whatever its type: 7, 7.00 and 7.0 are the key "7". A double
    beyond 2^53, which no longer tells neighbours apart, is null as well.
    """
    if isinstance(data_type, (T.DoubleType, T.FloatType)):
        is_whole = (F.floor(value).cast("double") == value) & (F.abs(value) < _EXACT_DOUBLE)
        return F.when(is_whole, value.cast("bigint")).cast("string")
    if isinstance(data_type, T.DecimalType):
        whole = F.floor(value)
        return F.when(whole == value, whole.cast("decimal(38,0)")).cast("string")
    trimmed = trim(value.cast("string"))
    return F.when(F.length(trimmed) > 0, trimmed)


def trim(value: Column) -> Column:
    """The text without white space at its ends."""
    return F.btrim(value, F.lit(_BLANKS))
