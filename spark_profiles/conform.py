"""Raw rows -> judged rows: typed, keyed, timed; each with one status, so that none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles import columns, expressions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pyspark.sql import Column, DataFrame

    from spark_profiles.definition import Source

ACCEPTED, REFUSED, DUPLICATE, AFTER = "accepted", "refused", "duplicate", "after_as_of"


@dataclass(frozen=True)
class Judged:
    """The rows of one source with their verdicts; one row is a row of the source.

    Beside the source's columns: sp_key (text or null), sp_at (instant or null), sp_reasons (array
    of text, empty unless refused) and sp_status, one of

        refused      a reason was found: sp_reasons names all
        after_as_of  its time is at or after as-of
        duplicate    another row of the same user (and row_id) is used instead
        accepted     otherwise

    Columns named in `types` have that type.
    """

    name: str
    examined: DataFrame
    """Each row looked at by itself: no row is a duplicate yet."""
    rows: DataFrame
    """All verdicts. Where duplicates were looked for, laid out by sp_key for what follows."""

    @property
    def accepted(self) -> DataFrame:
        """The rows to be used."""
        return self.rows.where(F.col("sp_status") == ACCEPTED)

    @property
    def refused(self) -> DataFrame:
        """The refused rows: source, key, reasons (sorted) and the row as it came, as JSON."""
        return self.examined.where(F.col("sp_status") == REFUSED).select(
            F.lit(self.name).alias("source"),
            F.col("sp_key").alias("key"),
            F.col("sp_reasons").alias("reasons"),
            F.to_json("sp_raw", {"ignoreNullFields": "false"}).alias("row"),
        )


def judged(
    raw: DataFrame, source: Source, *, name: str, is_spine: bool, as_of: datetime, time_zone: str
) -> Judged:
    """Every row of the source, typed, keyed, timed and judged."""
    place = f"sources.{name}"
    types = expressions.types_of(raw, _checked_expressions(place, source))
    typed = (
        raw
        if not source.types
        else raw.withColumns(
            {column: F.expr(f"try_cast(`{column}` as {to})") for column, to in source.types.items()}
        )
    )
    expressions.types_of(typed, {f"{place}.accept.{n}": c for n, c in source.accept.items()})
    when = columns.instant(source.time, types[f"{place}.time"], time_zone) if source.time else None
    looked_at = _with_reasons(raw, source, when)
    late = F.coalesce(F.col("sp_at") >= columns.at(as_of), F.lit(False))
    status = F.when(F.size("sp_reasons") > 0, REFUSED).when(late, AFTER).otherwise(ACCEPTED)
    examined = looked_at.withColumn("sp_status", status)
    by = _unique_by(source, is_spine=is_spine)
    rows = examined if by is None else _without_duplicates(examined, source, by)
    return Judged(name, examined, rows)


def counts(sources: Sequence[Judged], users: DataFrame) -> DataFrame:
    """Where the rows of each source went; one row is a source, and its figures add up.

    `users` has one row per user, with sp_key. Columns: source, rows, used, refused, duplicate,
    orphan (accepted, but of no user), after_as_of, and the newest instant of an accepted row.
    """
    by_key = union([_tallies(source) for source in sources])
    # Users have one row per key; the null key, always refused, meets none.
    spine = users.select("sp_key", F.lit(True).alias("is_user"))
    is_user = F.coalesce("is_user", F.lit(False))
    return (
        by_key.join(spine, on="sp_key", how="left")
        .groupBy("source")
        .agg(
            F.sum("n").alias("rows"),
            _total(F.when(is_user, F.col(ACCEPTED))).alias("used"),
            _total(F.col(REFUSED)).alias(REFUSED),
            _total(F.col(DUPLICATE)).alias(DUPLICATE),
            _total(F.when(~is_user, F.col(ACCEPTED))).alias("orphan"),
            _total(F.col(AFTER)).alias(AFTER),
            F.max("newest").alias("newest"),
        )
    )


def _tallies(source: Judged) -> DataFrame:
    """How many rows of each verdict every key has."""
    statuses = (ACCEPTED, REFUSED, DUPLICATE, AFTER)
    tallies = [F.count(F.when(F.col("sp_status") == s, 1)).alias(s) for s in statuses]
    newest = F.max(F.when(F.col("sp_status") == ACCEPTED, F.col("sp_at"))).alias("newest")
    by_key = source.rows.groupBy("sp_key").agg(F.count("*").alias("n"), newest, *tallies)
    return by_key.withColumn("source", F.lit(source.name))


def _total(value: Column) -> Column:
    return F.coalesce(F.sum(value), F.lit(0)).cast("bigint")


def union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all frames, which have the same columns."""
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole


def _checked_expressions(place: str, source: Source) -> dict[str, str]:
    checked = {f"{place}.key": source.key}
    checked |= {f"{place}.row_id.{n}": f"`{column}`" for n, column in enumerate(source.row_id)}
    checked |= {f"{place}.latest_by.{n}": f"`{o[0]}`" for n, o in enumerate(_orders(source))}
    checked |= {f"{place}.types.{c}": f"try_cast(`{c}` as {to})" for c, to in source.types.items()}
    if source.time:
        checked[f"{place}.time"] = f"`{source.time}`"
    return checked


def _with_reasons(raw: DataFrame, source: Source, when: Column | None) -> DataFrame:
    """The raw row with types applied, sp_key, sp_at and all reasons against it."""
    typed = {c: F.expr(f"try_cast(`{c}` as {to})") for c, to in source.types.items()}
    unreadable = [
        F.when(F.col(f"`{c}`").isNotNull() & value.isNull(), F.lit(f"{c}_not_{source.types[c]}"))
        for c, value in typed.items()
    ]
    # The row as it came, for those who mend it; pruned from every plan that does not ask for it.
    as_it_came = F.struct(*[F.col(f"`{column}`") for column in raw.columns])
    facts = {
        "sp_raw": as_it_came,
        "sp_key": columns.key(source.key),
        "sp_unreadable": F.array(*unreadable),
    }
    if when is not None:
        facts["sp_at"] = when
        facts["sp_untimed"] = F.when(when.isNull(), F.lit("time_missing_or_unreadable"))
    else:
        facts["sp_at"] = F.lit(None).cast("timestamp")
        facts["sp_untimed"] = F.lit(None).cast("string")
    rows = raw.select("*", *[column.alias(name) for name, column in facts.items()])
    rows = rows.withColumns(typed) if typed else rows
    broken = [
        F.when(~F.coalesce(F.expr(condition), F.lit(False)), F.lit(rule))
        for rule, condition in source.accept.items()
    ]
    no_key = F.when(F.col("sp_key").isNull(), F.lit("key_missing"))
    found = F.concat(F.array(no_key, F.col("sp_untimed"), *broken), F.col("sp_unreadable"))
    reasons = F.sort_array(F.filter(found, lambda reason: reason.isNotNull()))
    return rows.withColumn("sp_reasons", reasons).drop("sp_unreadable", "sp_untimed")


def _unique_by(source: Source, *, is_spine: bool) -> tuple[str, ...] | None:
    """The columns besides the key of which one row may be used; None: all rows are used."""
    if source.row_id:
        return source.row_id
    return () if source.latest_by or is_spine else None


def _without_duplicates(rows: DataFrame, source: Source, by: tuple[str, ...]) -> DataFrame:
    laid_out = rows.repartition(F.col("sp_key"))
    # Refused and late rows stand in a window of their own, so they never win over a good one.
    window = Window.partitionBy("sp_key", *[f"`{c}`" for c in by], "sp_status")
    rank = F.row_number().over(window.orderBy(*_total_order(rows, source)))
    is_duplicate = (F.col("sp_status") == ACCEPTED) & (F.col("sp_rank") > 1)
    return (
        laid_out.withColumn("sp_rank", rank)
        .withColumn("sp_status", F.when(is_duplicate, DUPLICATE).otherwise(F.col("sp_status")))
        .drop("sp_rank")
    )


def _orders(source: Source) -> list[tuple[str, bool]]:
    """Column and whether it is descending, for each declared order."""
    words = [order.split() for order in source.latest_by]
    return [(w[0], len(w) > 1 and w[1].lower() == "desc") for w in words]


def _total_order(rows: DataFrame, source: Source) -> list[Column]:
    """The declared order, then time, then every other column: ties are identical rows."""
    declared = _orders(source)
    named = {column for column, _ in declared}
    orders = [
        F.col(f"`{c}`").desc_nulls_last() if descending else F.col(f"`{c}`").asc_nulls_last()
        for c, descending in declared
    ]
    rest = [
        F.col(f"`{field.name}`").desc_nulls_last()
        for field in rows.schema.fields
        if field.name not in named and not field.name.startswith("sp_") and _orderable(field)
    ]
    return [*orders, F.col("sp_at").desc_nulls_last(), *rest]


def _orderable(field: T.StructField) -> bool:
    return "map<" not in field.dataType.simpleString()
