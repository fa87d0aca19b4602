"""Where the rows of all sources went: used, refused, warned of, and counted.

Nothing of it is planned before it is asked for: who only wants profiles does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.definition import sql
from spark_profiles.rows import conform, users
from spark_profiles.rows.conform import ACCEPTED, AFTER, DUPLICATE, REFUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from spark_profiles.definition.model import Definition
    from spark_profiles.rows.conform import Judged


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
        after_as_of, users (the profiles whose first source it is), newest (instant of a row that
        is neither refused nor late).
        """
        sources = list(self.judged.values())
        # Nothing but keys and counts is moved: once, of sources with `row_id` once before.
        by_key = _union([_tallies(source, n) for n, source in enumerate(sources)])
        by_key = by_key.groupBy("sp_key", "sp_fate").agg(*_sums(sources))
        by_key = by_key.selectExpr("*", *[_used(source, n) for n, source in enumerate(sources)])
        if users.is_certain(self.definition):
            number = {source.name: n for n, source in enumerate(sources)}
            first = " ".join(
                f"when used_{number[name]} > 0 then {sql.literal(name)}"
                for name in self.definition.spine
            )
            by_key = by_key.selectExpr(
                "*", f"case {first} end as sp_first", "cast(null as string) as sp_refusal"
            )
        else:
            # Users have one row per key; the null key meets none.
            known = self.spine.select("sp_key", "sp_first", "sp_refusal")
            by_key = by_key.join(known, on="sp_key", how="left")
        told = [
            _count(source.name, n, is_spine=source.name in self.definition.spine)
            for n, source in enumerate(sources)
        ]
        return (
            by_key.agg(F.array(*told).alias("all"))
            .select(F.explode("all").alias("one"))
            .select("one.*")
        )


def _with_users(source: Judged, refusals: DataFrame) -> DataFrame:
    """The rows of users that cannot be named, as `Judged.refused`; a refusal is of one user."""
    return source.accepted.join(refusals, on="sp_key", how="inner").select(
        F.lit(source.name).alias("source"),
        F.col("sp_key").cast("string").alias("key"),
        F.array("sp_refusal").alias("reasons"),
        conform.as_json(),
    )


_FATES = (ACCEPTED, REFUSED, AFTER)
"""What may become of a row looked at by itself; in tallies its place here."""


def _tallies(judged: Judged, number: int) -> DataFrame:
    """What each row of a source adds to the tallies, under the number of the source.

    Whose a row is matters of accepted ones only: others are tallied under no key. With `row_id`,
    one row here is all rows of one that met the same fate.
    """
    fates = " ".join(f"when '{fate}' then {n}" for n, fate in enumerate(_FATES))
    rows = judged.examined.withColumn("sp_fate", F.expr(f"case sp_status {fates} end"))
    tally = ("1L as sp_rows", "sp_at as sp_newest")
    if judged.source.row_id:
        same = ["sp_key", "sp_fate", *map(sql.quoted, judged.source.row_id)]
        sums = [F.count("*").alias("sp_rows"), F.max("sp_at").alias("sp_newest")]
        # Laid out by the key, which is what the rows are grouped by at last.
        rows = rows.repartition("sp_key").groupBy(*map(F.expr, same)).agg(*sums)
        tally = ("sp_rows", "sp_newest")
    return rows.selectExpr(
        f"case when sp_fate = {_FATES.index(ACCEPTED)} then sp_key end as sp_key",
        "sp_fate",
        f"{number} as sp_source",
        *tally,
    )


def _sums(sources: Sequence[Judged]) -> list[Column]:
    """The tallies of a key, of each source in columns of its own.

    rows_n and newest_n; ids_n, how many different `row_id` it has, where the source names one.
    """
    sums = []
    for n, judged in enumerate(sources):
        is_its = f"case when sp_source = {n}"
        sums.append(f"coalesce(sum({is_its} then sp_rows end), 0) as rows_{n}")
        sums.append(f"max({is_its} then sp_newest end) as newest_{n}")
        if judged.source.row_id:
            sums.append(f"count({is_its} then 1 end) as ids_{n}")
    return [F.expr(text) for text in sums]


def _used(judged: Judged, n: int) -> str:
    """Of so many accepted rows of a key: how many may be used, whichever they are."""
    used = f"rows_{n}"
    if judged.source.row_id:
        used = f"ids_{n}"
    elif judged.is_laid_out:
        used = f"least(rows_{n}, 1)"
    return f"{used} as used_{n}"


def _count(source: str, n: int, *, is_spine: bool) -> Column:
    """Where the rows of a source went, of the tallies of all keys."""
    is_accepted, is_refused, is_late = (f"sp_fate = {fate}" for fate in range(len(_FATES)))
    is_user = f"{is_accepted} and sp_first is not null and sp_refusal is null"
    # A user that cannot be named takes its rows among the users' sources along.
    is_unnamed = f"{is_accepted} and sp_refusal is not null" if is_spine else "false"
    is_orphan = f"{is_accepted} and not ({is_user}) and not ({is_unnamed})"
    is_first = f"{is_user} and sp_first = {sql.literal(source)} and used_{n} > 0"
    figures = {
        "rows": f"rows_{n}",
        "used": f"if({is_user}, used_{n}, 0)",
        REFUSED: f"if({is_refused}, rows_{n}, 0) + if({is_unnamed}, used_{n}, 0)",
        DUPLICATE: f"if({is_accepted}, rows_{n} - used_{n}, 0)",
        "orphan": f"if({is_orphan}, used_{n}, 0)",
        AFTER: f"if({is_late}, rows_{n}, 0)",
        "users": f"if({is_first}, 1, 0)",
    }
    totals = [
        f"cast(coalesce(sum({text}), 0) as bigint) as {name}" for name, text in figures.items()
    ]
    newest = f"max(case when {is_accepted} then newest_{n} end) as newest"
    told = [f"{sql.literal(source)} as source", *totals, newest]
    return F.expr(f"struct({', '.join(told)})")


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all frames, which have the same columns."""
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole
