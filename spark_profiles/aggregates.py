"""Accepted rows of one source -> every window and operation over it, in one `groupBy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles import columns, expressions, windows
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.operations import Aggregate
    from spark_profiles.source import Source
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
    conditions = {
        value.column: _condition(
            value.aggregate, windows.bounds(value.window, as_of=as_of, time_zone=time_zone), as_of
        )
        for value in values
    }
    ranked = [value for value in values if value.aggregate.operation == "top"]
    computed = [
        _value(value, conditions[value.column], source, types).alias(value.column)
        for value in values
        if value not in ranked
    ]
    # Spark wants at least one aggregate; a user's rows are counted where nothing else is asked.
    whole = rows.groupBy("sp_key").agg(*(computed or [F.count("*").alias("sp_rows")]))
    for value in ranked:
        top = _top(rows, value, conditions[value.column])
        # One row per key on the right, and no key that is not on the left.
        whole = whole.join(top, on="sp_key", how="left")
    return whole


def _top(rows: DataFrame, value: Value, condition: Column | None) -> DataFrame:
    """sp_key and the k categories with most of the measure; no row for users without any.

    Raises:
        DefinitionError: the measure is a double, whose sum depends on the order of rows.
    """
    aggregate = value.aggregate
    place = f"{value.place}.by"
    measure = expressions.types_of(rows, {place: aggregate.by})[place]
    category = F.expr(str(aggregate.top))
    counted = rows.where(category.isNotNull() if condition is None else condition)
    measured = (
        counted.where(category.isNotNull())
        .withColumn("sp_category", category)
        .groupBy("sp_key", "sp_category")
        .agg(F.expr(aggregate.by).alias("sp_measure"))
    )
    if measure.typeName() in ("double", "float"):
        found = f"`{aggregate.by}` gives a double, which depends on the order of the rows"
        remedy = "cast the operand: sum(cast(amount as decimal(18,2)))"
        message = "The definition has a value that would not be the same in every run"
        raise DefinitionError(message, Problem(place, found, "a decimal or whole number", remedy))
    # Ascending by the negated measure, then by name: the order is total. Unknown measures last.
    rank = F.struct(F.col("sp_measure").isNull(), -F.col("sp_measure"), F.col("sp_category"))
    best = F.slice(F.sort_array(F.collect_list(rank)), 1, aggregate.k)
    names = F.transform(best, lambda entry: entry["sp_category"])
    return measured.groupBy("sp_key").agg(names.alias(value.column))


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


def _condition(aggregate: Aggregate, bounds: windows.Bounds, as_of: datetime) -> Column | None:
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
        edge = F.min if operation == "min" else F.max
        return edge(_where(condition, operand))
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
        F.sort_array(F.collect_list(_where(condition, row)), asc=False), 1, aggregate.latest or 1
    )
    records = F.transform(
        newest, lambda record: F.struct(*[record[f].alias(name) for name, f in fields.items()])
    )
    return F.when(F.size(newest) > 0, records)
