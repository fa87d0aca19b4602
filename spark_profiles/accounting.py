"""Where the rows of all sources went: used, refused, warned of, and counted.

Nothing of it is planned before it is asked for: who only wants profiles does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles import conform, frames, users
from spark_profiles.conform import ACCEPTED, AFTER, DUPLICATE, REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from spark_profiles.conform import Judged
    from spark_profiles.definition import Definition


@dataclass(frozen=True)
class Given:
    """An account that is known, not computed from sources; see `Accounts`."""

    refused: DataFrame
    counts: DataFrame
    warnings: None = None


@dataclass(frozen=True)
class Accounts:
    """The account of the sources of one plan."""

    definition: Definition
    judged: Mapping[str, Judged]
    spine: DataFrame
    """One row a user: sp_key, sp_first and sp_refusal."""

    @cached_property
    def refused(self) -> DataFrame:
        """One row a refused source row: source, key, reasons, row.

        Rows of users that cannot be named to the platform are among them.
        """
        by_row = [source.refused for source in self.judged.values()]
        if users.is_certain(self.definition):
            return _union(by_row)
        refusals = users.refused(self.spine)
        of_users = [self.judged[name] for name in self.definition.spine]
        return _union([*by_row, *(_with_users(source, refusals) for source in of_users)])

    @cached_property
    def warnings(self) -> DataFrame | None:
        """How many accepted rows break a rule that only warns; one row is a source and rule.

        Columns: source, rule, rows; None: there is no such rule.
        """
        warned = [
            source.accepted.select(F.lit(source.name).alias("source"), F.explode("sp_warnings"))
            for source in self.judged.values()
            if not all(rule.refuses for rule in source.source.rules.values())
        ]
        if not warned:
            return None
        by_rule = _union(warned).groupBy("source", F.col("col").alias("rule"))
        return by_rule.agg(F.count("*").alias("rows"))

    @cached_property
    def counts(self) -> DataFrame:
        """Where the rows of each source went; one row is a source, and its figures add up.

        Columns: source, rows, used, refused, duplicate, orphan (accepted, but of no user),
        after_as_of, newest (instant of an accepted row), users (the profiles whose first source it
        is).
        """
        sources = list(self.judged.values())
        by_key = _union([*map(_tallies, sources), _nothing(sources, self.spine)])
        # Users have one row per key; the null key, always refused, meets none.
        known = self.spine.select("sp_key", "sp_first", "sp_refusal")
        is_user = F.col("sp_first").isNotNull() & F.col("sp_refusal").isNull()
        # A user that cannot be named takes its rows among the users' sources along.
        is_refused = F.col("sp_refusal").isNotNull() & F.col("source").isin(*self.definition.spine)
        is_first = is_user & (F.col("source") == F.col("sp_first"))
        return (
            by_key.join(known, on="sp_key", how="left")
            .groupBy("source")
            .agg(
                F.sum("n").alias("rows"),
                _total(F.when(is_user, F.col(ACCEPTED))).alias("used"),
                _total(F.col(REFUSED) + F.when(is_refused, F.col(ACCEPTED)).otherwise(0)).alias(
                    REFUSED
                ),
                _total(F.col(DUPLICATE)).alias(DUPLICATE),
                _total(F.when(~is_user & ~is_refused, F.col(ACCEPTED))).alias("orphan"),
                _total(F.col(AFTER)).alias(AFTER),
                F.max("newest").alias("newest"),
                _total(F.when(is_first & (F.col(ACCEPTED) > 0), F.lit(1))).alias("users"),
            )
        )


def _with_users(source: Judged, refusals: DataFrame) -> DataFrame:
    """The rows of users that cannot be named, as `Judged.refused`; a refusal is of one user."""
    return source.accepted.join(refusals, on="sp_key", how="inner").select(
        F.lit(source.name).alias("source"),
        F.col("sp_key").alias("key"),
        F.array("sp_refusal").alias("reasons"),
        conform.as_json(),
    )


def _tallies(source: Judged) -> DataFrame:
    """How many rows of each verdict every key has."""
    statuses = (ACCEPTED, REFUSED, DUPLICATE, AFTER)
    tallies = [f"count(case when sp_status = '{s}' then 1 end) as {s}" for s in statuses]
    newest = f"max(case when sp_status = '{ACCEPTED}' then sp_at end) as newest"
    asked = map(F.expr, ("count(*) as n", newest, *tallies))
    return source.rows.groupBy("sp_key").agg(*asked).selectExpr("*", f"'{source.name}' as source")


def _nothing(sources: Sequence[Judged], users: DataFrame) -> DataFrame:
    """The tally of no row, for each source: one without any rows is counted too."""
    names = frames.of(users.sparkSession, [(s.name,) for s in sources], "source string")
    none = F.lit(0).cast("bigint")
    tallies = [none.alias(name) for name in ("n", ACCEPTED, REFUSED, DUPLICATE, AFTER)]
    newest = F.lit(None).cast("timestamp").alias("newest")
    return names.select(F.lit(None).cast("string").alias("sp_key"), *tallies, newest, "source")


def _total(value: Column) -> Column:
    return F.coalesce(F.sum(value), F.lit(0)).cast("bigint")


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all frames, which have the same columns."""
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole
