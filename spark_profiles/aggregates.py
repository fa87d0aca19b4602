"""Accepted rows of one source -> every window and operation over it, in one `groupBy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles import columns, expressions, windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition import Aggregate, Source
    from spark_profiles.values import Value


def compute(
    rows: DataFrame, source: Source, values: Sequence[Value], *, as_of: datetime, time_zone: str
) -> DataFrame:
    """Every value, in one pass; one row is a user with at least one accepted row.

    Args:
        rows: accepted rows with sp_key and sp_at.
        source: their source; its row_id breaks ties of time.
        values: what to compute.
        as_of: the instant at which all windows end.
        time_zone: the zone in which days and months begin.

    Returns:
        sp_key and a column for each value. Rows for which a condition is null do not count. A
        value over no rows is null, a count 0.
    """
    types = expressions.types_of(rows, _expressions(values))
    computed = []
    for value in values:
        bounds = windows.bounds(value.window, as_of=as_of, time_zone=time_zone)
        condition = _condition(value.aggregate, bounds, as_of)
        computed.append(_value(value, condition, source, types).alias(value.column))
    return rows.groupBy("sp_key").agg(*computed)


def _expressions(values: Sequence[Value]) -> dict[str, str]:
    texts = {}
    for value in values:
        aggregate = value.aggregate
        if aggregate.where:
            texts[f"{value.place}.where"] = aggregate.where
        for name, text in aggregate.fields.items():
            texts[f"{value.place}.fields.{name}"] = text
        operand = getattr(aggregate, aggregate.operation)
        if isinstance(operand, str):
            texts[f"{value.place}.{aggregate.operation}"] = operand
    return texts


def _condition(
    aggregate: Aggregate, bounds: windows.Bounds, as_of: datetime
) -> Column | None:
    """Which rows count; None: all. Rows at or after as-of are not accepted in the first place."""
    conditions = []
    if bounds.start is not None:
        conditions.append(F.col("sp_at") >= columns.at(bounds.start))
    if bounds.end < as_of:
        conditions.append(F.col("sp_at") < columns.at(bounds.end))
    if aggregate.where:
        conditions.append(F.expr(aggregate.where))
    whole = None
    for condition in conditions:
        whole = condition if whole is None else whole & condition
    return whole


def _value(
    value: Value, condition: Column | None, source: Source, types: Mapping[str, DataType]
) -> Column:
    aggregate = value.aggregate
    operation = aggregate.operation
    if operation == "count":
        return F.count(_where(condition, F.lit(1)))
    if operation == "latest":
        return _latest(aggregate, condition, source)
    data_type = types[f"{value.place}.{operation}"]
    operand = columns.finite(F.expr(getattr(aggregate, operation)), data_type)
    if operation in ("first", "last"):
        return _edge(operation, operand, condition, source)
    if operation == "count_distinct":
        # A set per user instead of Spark's distinct, which copies every row for each of them.
        return F.size(F.collect_set(_where(condition, operand)))
    if operation in ("min", "max"):
        return getattr(F, operation)(_where(condition, operand))
    number = _where(condition, columns.exact(operand, data_type, aggregate.scale))
    if operation == "sum":
        return F.sum(number)
    count = F.nullif(F.count(number).cast("decimal(10,0)"), F.lit(0).cast("decimal(10,0)"))
    return F.sum(number) / count


def _where(condition: Column | None, value: Column) -> Column:
    return value if condition is None else F.when(condition, value)


def _tie_break(source: Source) -> list[Column]:
    return [F.col("sp_at").alias("o"), *[F.col(f"`{c}`").alias(f"o_{c}") for c in source.row_id]]


def _edge(operation: str, operand: Column, condition: Column | None, source: Source) -> Column:
    """The known (not null) value of the first or last row, by time, row_id, then the value."""
    row = F.struct(*_tie_break(source), operand.alias("value"))
    known = operand.isNotNull() if condition is None else condition & operand.isNotNull()
    chosen = F.min(F.when(known, row)) if operation == "first" else F.max(F.when(known, row))
    return chosen["value"]


def _latest(aggregate: Aggregate, condition: Column | None, source: Source) -> Column:
    """The last records, newest first, by time, row_id, then the fields themselves."""
    fields = {name: f"f{n}" for n, name in enumerate(aggregate.fields)}
    members = [F.expr(text).alias(fields[name]) for name, text in aggregate.fields.items()]
    row = F.struct(*_tie_break(source), *members)
    newest = F.slice(
        F.sort_array(F.collect_list(_where(condition, row)), asc=False), 1, aggregate.latest
    )
    records = F.transform(
        newest, lambda record: F.struct(*[record[f].alias(name) for name, f in fields.items()])
    )
    return F.when(F.size(newest) > 0, records)
