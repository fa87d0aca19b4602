"""The working sheet of one source: operands, each computed once a row, and totals, once a user.

    rows → operands (a column for each expression asked) → ranks (the place of a row among those
    of its user) → totals (one aggregation) → values

Values that ask for the same operand or the same total share it, however many windows there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition import sql
from spark_profiles.profiles import arithmetic
from spark_profiles.profiles.arithmetic import Number
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import Column
    from pyspark.sql.types import DataType

    from spark_profiles.definition.source import Source
    from spark_profiles.definition.windows import Bounds, Calendar

HISTORY = "h"
"""The total that holds the rows of a user themselves, as structs of operands, in no order."""
_WHOLE = 38
_SURE = 28
"""Digits of numbers of which no user has so many that their sum has more than 38."""
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


@dataclass(frozen=True)
class Condition:
    """Which rows count: those in the window for which all flags are true."""

    bounds: Bounds
    flags: tuple[str, ...]
    as_of: datetime

    def sql(self, row: str = "") -> str:
        """The condition over operands, or over the members of the struct `row.`; empty: all."""
        parts = [f"{row}{flag}" for flag in self.flags]
        if self.bounds.start is not None:
            parts.append(f"{row}sp_at >= {columns.instant_sql(self.bounds.start)}")
        # Rows at or after as-of are not accepted in the first place.
        if self.bounds.end < self.as_of:
            parts.append(f"{row}sp_at < {columns.instant_sql(self.bounds.end)}")
        return " and ".join(parts)

    def when(self, sql: str) -> str:
        """`sql` where the condition is true, else null."""
        return f"case when {self.sql()} then {sql} end" if self.sql() else sql


@dataclass
class Sheet:
    """Collects what the values of a source need; `types` gives the type of each expression."""

    source: Source
    types: Mapping[str, DataType]
    as_of: datetime
    days: Calendar
    by_sorting: bool = True
    """Whether rows are laid out in order: then aggregations stream, and windows rank the last rows.
    Else users are hashed and arrays sorted, which some engines do in less time, but more memory."""
    operands: dict[str, str] = field(default_factory=dict)
    """SQL of a row -> the column that holds it; what is asked for twice is there once."""
    totals: dict[str, str] = field(default_factory=dict)
    further: tuple[dict[str, str], ...] = field(default_factory=lambda: ({}, {}, {}))
    """SQL over operands -> the column that holds it: ranks, ranks of rows that have a rank, and
    what is remembered of a row. Each may look at those before it."""
    looked_at: set[str] = field(default_factory=set)
    earliest: set[datetime | None] = field(default_factory=set)

    def flag(self, condition: str) -> str:
        """The column that is true where `condition` is; null is not true."""
        return self._operand(f"coalesce(({condition}\n), false)")

    def raw(self, expression: str) -> str:
        """The column with the value as it is; NaN and infinity are null."""
        value = columns.finite(f"({expression}\n)", self.types[expression])
        return self._operand(value)

    def number(self, expression: str, scale: int | None, *, most: int = _WHOLE) -> Number:
        """The column with the value as an exact decimal, of at most `most` digits after the point.

        With such a bound, numbers of more than 26 digits before the point are null.
        """
        data_type = self.types[expression]
        value = columns.exact(f"({expression}\n)", data_type, scale)
        digits = columns.exact_scale(data_type, scale)
        if most < digits:
            value, digits = f"round({value}, {most})", most
        if most < _WHOLE and isinstance(data_type, T.DecimalType):
            is_fit = f"abs({value}) < {arithmetic.power(arithmetic.HUGE)}"
            to = f"decimal({arithmetic.HUGE + digits},{digits})"
            value = f"case when {is_fit} then cast({value} as {to}) end"
        name = self._operand(value)
        return Number(name, digits)

    def adder(self, expression: str) -> str:
        """The aggregate that adds up `number`s of the expression; null if they pass 38 digits.

        Where that takes more than 10^10 rows it is `sum`, which some engines compute in a quarter
        of the time of `try_sum`.
        """
        data_type = self.types[expression]
        if not isinstance(data_type, T.DecimalType):  # of 28 digits at most
            return "sum"
        before_point = data_type.precision - data_type.scale
        # Bounded numbers have 6 digits after the point, and so 32 before it in their sum.
        is_sure = data_type.precision <= _SURE and before_point <= _SURE - arithmetic.MOST_DIGITS
        return "sum" if is_sure else "try_sum"

    def weight(self, half_life: str) -> str:
        """The column with 2 ^ -(age / half-life), rounded to 9 digits."""
        unit = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}[half_life[-1]]
        micros = int(half_life[:-1]) * unit * 1_000_000
        age = f"{columns.micros(self.as_of)} - unix_micros(sp_at)"
        number = f"cast(pow(2D, -(cast({age} as double) / {micros}D)) as decimal(10,9))"
        return self._operand(number)

    def period(self, unit: str) -> str:
        """The column with the number of the day, week or month (since 1970) of the row."""
        if unit == "hours":
            return self._operand("unix_micros(sp_at)")
        zone = self.days.time_zone
        # In UTC too: a file may name another zone, and Sail shows its instants in that.
        local = "timestamp_micros(unix_micros(sp_at))"
        if zone not in columns.UTC:
            local = f"from_utc_timestamp(sp_at, {sql.literal(zone)})"
        day = f"unix_date(to_date({local}))"
        shift = _EPOCH_WEEKDAY - self.days.first_weekday
        number = {
            "days": day,
            "weeks": f"cast(floor(({day} + {shift}) / 7D) as int)",
            "months": f"12 * year({local}) + month({local})",
        }[unit]
        return self._operand(number)

    def current_period(self, unit: str) -> int:
        """The number of the day, week or month of as-of; of hours, the microsecond."""
        if unit == "hours":
            return columns.micros(self.as_of)
        local = self.as_of.astimezone(self.days.zone).date()
        day = local.toordinal() - 719_163
        if unit == "weeks":
            return (day + _EPOCH_WEEKDAY - self.days.first_weekday) // 7
        return day if unit == "days" else 12 * local.year + local.month

    def ties(self) -> list[str]:
        """The columns that order rows of the same time."""
        return [self._operand(sql.quoted(c)) for c in self.source.row_id]

    def rank(self, condition: str, order: Sequence[str], *by: str) -> str:
        """The column with how many rows that meet the condition come up to this one, in this order.

        Of the rows of a user, or of a user and `by`. A window, which spills: the rows of a user
        need no memory of their own. With `by`, `condition` cannot name a rank.
        """
        same = ", ".join(("sp_key", *by))
        counted = f"count(case when {condition} then 1 end)" if condition else "count(1)"
        window = f"partition by {same} order by {', '.join(order)}"
        rows = "rows between unbounded preceding and current row"
        return self._further(0 if by else 1, f"{counted} over ({window} {rows})")

    def remembered(self, row: str) -> str:
        """The total with these rows of a user, as an array without nulls, in no order.

        Each is made in a column of its own: what a collecting aggregate is over, Spark interprets.
        """
        return self.total(f"collect_list({self._further(2, row)})")

    def total(self, aggregate: str) -> str:
        """The column with this aggregate over the operands of a user."""
        if aggregate not in self.totals:
            self.totals[aggregate] = f"t{len(self.totals)}"
        return self.totals[aggregate]

    def history(self, condition: Condition, *names: str) -> str:
        """The rows of a user that count, as an array of structs with these operands at least."""
        self.looked_at |= {*condition.flags, *names, "sp_at"}
        self.earliest.add(condition.bounds.start)
        asked = condition.sql("r.")
        return f"filter({HISTORY}, r -> {asked})" if asked else HISTORY

    @property
    def is_ranked(self) -> bool:
        """Whether any value asks for the place of a row."""
        return bool(self.further[0] or self.further[1])

    def columns(self) -> list[str]:
        """sp_key, sp_at and all operands, as SQL."""
        return ["sp_key", "sp_at", *_named(self.operands)]

    def aggregates(self) -> tuple[list[list[str]], list[Column]]:
        """Further columns, step by step, and over them all totals."""
        totals = dict(self.totals)
        if self.looked_at:
            members = ", ".join(f"'{name}', {name}" for name in sorted(self.looked_at))
            row = f"named_struct({members})"
            known = [start for start in self.earliest if start is not None]
            if len(known) == len(self.earliest):
                row = f"case when sp_at >= {columns.instant_sql(min(known))} then {row} end"
            totals[f"collect_list({self._further(2, row)})"] = HISTORY
        # Spark wants at least one aggregate.
        found = [F.expr(text).alias(name) for text, name in totals.items()]
        steps = [_named(step) for step in self.further if step]
        return steps, found or [F.count("*").alias("sp_rows")]

    def _further(self, step: int, value: str) -> str:
        return self.further[step].setdefault(value, f"y{step}_{len(self.further[step])}")

    def _operand(self, value: str) -> str:
        return self.operands.setdefault(value, f"x{len(self.operands)}")


def _named(columns: Mapping[str, str]) -> list[str]:
    return [f"{value} as {name}" for value, name in columns.items()]


def is_number(data_type: DataType) -> bool:
    """Whether a value of this type can be added and divided."""
    return isinstance(data_type, (T.NumericType, T.NullType))


def is_condition(data_type: DataType) -> bool:
    """Whether a value of this type is true, false or null."""
    return isinstance(data_type, (T.BooleanType, T.NullType))
