"""Accepted rows of one source -> every window and operation over it, in one `groupBy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_profiles.definition import sql, windows
from spark_profiles.profiles import arithmetic, folds, histories
from spark_profiles.profiles.arithmetic import MOST_DIGITS, Number
from spark_profiles.profiles.sheets import Condition, Sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition.operations import Aggregate
    from spark_profiles.definition.source import Source
    from spark_profiles.definition.values import Value
    from spark_profiles.definition.windows import Calendar


def compute(
    rows: DataFrame,
    source: Source,
    values: Sequence[Value],
    types: Mapping[str, DataType],
    *,
    as_of: datetime,
    days: Calendar,
    is_laid_out: bool = False,
    by_sorting: bool = True,
) -> DataFrame:
    """Every value, in one pass; one row is a user with at least one accepted row.

    Args:
        rows: accepted rows with sp_key and sp_at.
        source: their source; its row_id breaks ties of time.
        values: what to compute.
        types: the type over these rows of each expression that a value needs, by its text.
        as_of: the instant at which all windows end.
        days: where days, weeks and months begin.
        is_laid_out: whether the rows of a user lie together, in order of sp_key.
        by_sorting: see `Sheet`.

    Returns:
        sp_key and a column for each value. Rows for which a condition is null do not count. What
        a value over no rows is, `docs/operations.md` says: 0 for counts, else null.
    """
    sheet = Sheet(source, types, as_of, days, by_sorting)
    found = [(value.column, _value(sheet, value)) for value in values]
    operands = rows.selectExpr(*sheet.columns())
    # With few rows a user and partition, adding up before the exchange only costs; after it,
    # sorted rows are aggregated as they stream, without a hash table.
    laid_out = operands if is_laid_out else operands.repartition("sp_key")
    steps, asked = sheet.aggregates()
    if by_sorting and not is_laid_out and not sheet.is_ranked:  # a rank's window sorts too
        laid_out = laid_out.sortWithinPartitions("sp_key")
    for step in steps:
        laid_out = laid_out.selectExpr("*", *step)
    totals = laid_out.groupBy("sp_key").agg(*asked)
    return totals.selectExpr("sp_key", *[f"{text} as {column}" for column, text in found])


def _value(sheet: Sheet, value: Value) -> str:
    aggregate = value.aggregate
    found = _over(sheet, value, before=False)
    if aggregate.trend:
        return _trend(aggregate, found, _over(sheet, value, before=True))
    if aggregate.half_life:
        return arithmetic.rounded(found, aggregate.digits or 0)
    return found.sql


def _over(sheet: Sheet, value: Value, *, before: bool) -> Number:
    aggregate = value.aggregate
    bounds = windows.bounds(
        value.window,
        as_of=sheet.as_of,
        time_zone=sheet.days.time_zone,
        week_starts=sheet.days.week_starts,
        before=before,
    )
    asked = [aggregate.where] if aggregate.where else []
    if value.category is not None:
        asked.append(_is_category(aggregate, value.category))
    rows = Condition(bounds, tuple(sheet.flag(text) for text in asked), sheet.as_of)
    if folds.is_fold(aggregate):
        return folds.value(sheet, aggregate, rows)
    return histories.value(sheet, aggregate, rows, value.place)


def _is_category(aggregate: Aggregate, category: str) -> str:
    return f"cast({aggregate.per} as string) = {sql.literal(category)}"


def _trend(aggregate: Aggregate, now: Number, before: Number) -> str:
    # A difference that may not fit into 38 digits would stop the job on some engines.
    most = arithmetic.power(37 - now.scale)

    def difference(p: str) -> str:
        return f"case when abs({p}.a) < {most} and abs({p}.b) < {most} then {p}.a - {p}.b end"

    change = arithmetic.let("ab", f"named_struct('a', {now.sql}, 'b', {before.sql})", difference)
    if aggregate.trend == "change":
        return change
    scale = min(now.scale, MOST_DIGITS)
    exact = [f"cast({sql} as decimal(38,{scale}))" for sql in (change, f"abs({before.sql})")]
    dividend, divisor = (Number(sql, scale) for sql in exact)
    return arithmetic.quotient(dividend, divisor, aggregate.digits or 0)
