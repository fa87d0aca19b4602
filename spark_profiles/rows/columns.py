"""Instants, and the one form in which a value may be written: as columns and as SQL text."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from json import dumps
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DEFAULT_SCALE = 6
"""Digits after the point of doubles, averages and derived values, where none are declared."""


UTC = ("UTC", "Etc/UTC")
_DAY = 86_400_000_000


def instant(column: str, data_type: T.DataType, time_zone: str) -> Column:
    """The column as an instant; dates and wall-clock times are read in `time_zone`.

    A date is the midnight that begins it. Text may be a date, a wall-clock time or a time with
    offset; other text gives null.
    """
    name = "`" + column.replace("`", "``") + "`"
    if isinstance(data_type, T.TimestampType):
        return F.expr(name)
    if isinstance(data_type, T.StringType):
        offset = r"[T ].*(Z|[+-][0-9]{2}:?[0-9]{2})\z"
        wall = F.expr(
            f"coalesce(try_cast(concat(trim({name}), 'Z') as timestamp),"
            f" try_cast(concat(trim({name}), ' 00:00:00Z') as timestamp))"
        )
        exact = F.expr(f"try_cast(trim({name}) as timestamp)")
        with_offset = F.trim(F.col(name)).rlike(offset)
        return F.when(with_offset, exact).otherwise(_in_utc(wall, time_zone))
    # A date or a timestamp without zone: the session zone is UTC, so its figures are kept.
    figures = f"try_cast({name} as timestamp)"
    if isinstance(data_type, T.DateType):  # the same, at a tenth of the price of Spark's cast
        figures = f"timestamp_micros(try_multiply(cast(unix_date({name}) as bigint), {_DAY}))"
    return _in_utc(F.expr(figures), time_zone)


def _in_utc(wall: Column, time_zone: str) -> Column:
    """The instant at which clocks of the zone show this."""
    if time_zone in UTC:  # for each row an engine would look it up, to change nothing
        return wall
    return F.to_utc_timestamp(wall, time_zone)


def at(moment: datetime) -> Column:
    """The instant as a literal that no session time zone can move."""
    return F.expr(instant_sql(moment))


def instant_sql(moment: datetime) -> str:
    """The instant as Spark SQL that no session time zone can move."""
    return f"timestamp_micros({micros(moment)})"


def micros(moment: datetime) -> int:
    """The instant as microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def instant_of(micros: int) -> datetime:
    """The instant, in UTC, of microseconds since 1970: what is collected as one loses its zone."""
    return _EPOCH + timedelta(microseconds=micros)


def is_instant(data_type: T.DataType) -> bool:
    """Whether a value of this type says an instant without more: or epoch milliseconds."""
    return isinstance(data_type, (T.TimestampType, T.IntegralType))


def epoch_millis(value: str, data_type: T.DataType) -> str:
    """An instant, or what is so already, as epoch milliseconds."""
    is_time = isinstance(data_type, T.TimestampType)
    return f"unix_millis({value})" if is_time else f"cast({value} as bigint)"


def exact(value: str, data_type: T.DataType, scale: int | None) -> str:
    """A number as a decimal, so that its sum depends neither on order nor on partitions.

    A double is rounded half up; one with more than 28 digits in all is null, like NaN.
    """
    if isinstance(data_type, T.DecimalType):
        return value
    if isinstance(data_type, T.IntegralType):
        return f"cast({value} as decimal(19,0))"
    digits = exact_scale(data_type, scale)
    if not isinstance(data_type, (T.DoubleType, T.FloatType)):
        return f"cast({value} as decimal(28,{digits}))"
    # A float is read as the decimal it is written as, not as the double nearest to it.
    number = value
    if isinstance(data_type, T.FloatType):
        number = f"cast(cast({value} as string) as double)"
    is_fit = f"not isnan({number}) and abs({number}) < 1e{28 - digits}D"
    return f"case when {is_fit} then cast({number} as decimal(28,{digits})) end"


def exact_scale(data_type: T.DataType, scale: int | None) -> int:
    """Digits after the point of `exact`."""
    if isinstance(data_type, T.DecimalType):
        return data_type.scale
    if isinstance(data_type, T.IntegralType):
        return 0
    return DEFAULT_SCALE if scale is None else scale


def finite(value: str, data_type: T.DataType) -> str:
    """The value, where it is no NaN and no infinity; these are null."""
    if not isinstance(data_type, (T.DoubleType, T.FloatType)):
        return value
    is_finite = f"not isnan({value}) and abs({value}) < cast('Infinity' as double)"
    return f"case when {is_finite} then {value} end"


def written(value: str, data_type: T.DataType, scale: int | None) -> str:
    """The value in the one form in which it may leave: same bytes from every Spark version.

    Doubles are rounded to `scale` and become decimals (NaN and infinity: null), decimals are
    rounded where a scale is declared, timestamps become epoch milliseconds, dates text.
    """
    if isinstance(data_type, (T.DoubleType, T.FloatType)):
        return exact(value, data_type, scale)
    if isinstance(data_type, T.DecimalType) and scale is not None and scale < data_type.scale:
        return f"round({value}, {scale})"
    if isinstance(data_type, T.TimestampType):
        return f"unix_millis({value})"
    if isinstance(data_type, (T.DateType, T.TimestampNTZType)):
        return f"cast({value} as string)"
    if isinstance(data_type, T.ArrayType):
        item = f"item{value.count('item')}"  # lambdas within lambdas need names of their own
        return f"transform({value}, {item} -> {written(item, data_type.elementType, scale)})"
    if isinstance(data_type, T.StructType):
        members = [
            f"{written(f'{value}.{sql.quoted(field.name)}', field.dataType, scale)}"
            f" as {sql.quoted(field.name)}"
            for field in data_type.fields
        ]
        return f"case when {value} is not null then struct({', '.join(members)}) end"
    return value


def json(value: str, data_type: T.DataType) -> str:
    """A value of a type that is writable as JSON; null where it is null, without unknown members.

    For an engine whose own JSON has other decimals, and takes twice as long: Sail 0.7.2.
    """
    if isinstance(data_type, T.NullType):
        return "cast(null as string)"
    if isinstance(data_type, (T.DecimalType, T.IntegralType, T.BooleanType)):
        return f"cast({value} as string)"
    if isinstance(data_type, T.ArrayType):
        item = f"item{value.count('item')}"
        items = f"transform({value}, {item} -> {json(item, data_type.elementType)})"
        return f"concat('[', array_join({items}, ',', 'null'), ']')"
    if isinstance(data_type, T.StructType):
        members = {
            field.name: json(f"{value}.{sql.quoted(field.name)}", field.dataType)
            for field in data_type.fields
        }
        return f"case when {value} is not null then {json_object(members)} end"
    whole = f"to_json(named_struct('v', {value}))"
    escaped = f"substring({whole}, 6, length({whole}) - 6)"  # without {"v": and }
    needs_escapes = f"{value} rlike {sql.literal(_ESCAPED)}"
    return f"case when {needs_escapes} then {escaped} else concat('\"', {value}, '\"') end"


_ESCAPED = r'["\\\x00-\x1f\x7f]'


def json_object(members: Mapping[str, str]) -> str:
    """An object of members, each SQL of JSON; those that are null are left out."""
    named = [
        f"concat({sql.literal(dumps(name, ensure_ascii=False) + ':')}, {text})"
        for name, text in members.items()
    ]
    return f"concat('{{', concat_ws(',', {', '.join(named)}), '}}')"


def is_as_written(data_type: T.DataType, scale: int | None) -> bool:
    """Whether `written` leaves values of this type as they are."""
    if isinstance(data_type, T.DecimalType):
        return scale is None or scale >= data_type.scale
    return isinstance(data_type, (T.StringType, T.BooleanType, T.IntegralType))


def is_writable(data_type: T.DataType) -> bool:
    """Whether a value of this type has a JSON form that is the same everywhere."""
    if isinstance(data_type, T.ArrayType):
        return is_writable(data_type.elementType)
    if isinstance(data_type, T.StructType):
        return all(is_writable(field.dataType) for field in data_type.fields)
    plain = (
        T.StringType,
        T.BooleanType,
        T.NumericType,
        T.DateType,
        T.TimestampType,
        T.TimestampNTZType,
    )
    return isinstance(data_type, plain)
