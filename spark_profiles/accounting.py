"""Where the rows of all sources went: used, refused, warned of, and counted.

Nothing of it is planned before it is asked for: who only wants profiles does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles import conform, sql, users
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
        after_as_of, users (the profiles whose first source it is), newest (instant of a row that
        is neither refused nor late).
        """
        sources = list(self.judged.values())
        # Nothing but keys and counts is moved: once, of sources with `row_id` once before.
        by_key = _union([_tallies(source, n) for n, source in enumerate(sources)])
        by_key = by_key.groupBy("sp_key").agg(*_sums(len(sources)))
        by_key = by_key.selectExpr("sp_key", *_without_duplicates(sources))
        if users.is_certain(self.definition):
            number = {source.name: n for n, source in enumerate(sources)}
            first = " ".join(
                f"when {ACCEPTED}_{number[name]} > 0 then {sql.literal(name)}"
                for name in self.definition.spine
            )
            by_key = by_key.selectExpr(
                "*", f"case {first} end as sp_first", "cast(null as string) as sp_refusal"
            )
        else:
            # Users have one row per key; the null key, always refused, meets none.
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
        F.col("sp_key").alias("key"),
        F.array("sp_refusal").alias("reasons"),
        conform.as_json(),
    )


_FIGURES = ("n", ACCEPTED, REFUSED, DUPLICATE, AFTER)


def _tallies(judged: Judged, number: int) -> DataFrame:
    """What each row of a source adds to the tally of its key, under the number of the source."""
    is_it = {status: f"sp_status = '{status}'" for status in (ACCEPTED, REFUSED, AFTER)}
    rows = judged.examined
    if judged.source.row_id:
        same = ["sp_key", *map(sql.quoted, judged.source.row_id)]
        one = {status: f"count(case when {is_so} then 1 end)" for status, is_so in is_it.items()}
        newest = f"max(case when {is_it[ACCEPTED]} then sp_at end)"
        told = {"n": "count(*)", **one, "newest": newest}
        # Laid out by the key, which is what the rows are grouped by at last.
        rows = (
            rows.repartition("sp_key")
            .groupBy(*map(F.expr, same))
            .agg(*[F.expr(f"{text} as sp_{name}") for name, text in told.items()])
        )
        figures = {name: f"sp_{name}" for name in told} | _one_is_used(f"sp_{ACCEPTED}")
    else:
        figures = {status: f"if({is_so}, 1, 0)" for status, is_so in is_it.items()}
        figures |= {"n": "1", DUPLICATE: "0"}
        figures["newest"] = f"case when {is_it[ACCEPTED]} then sp_at end"
    return rows.selectExpr(
        "sp_key",
        f"{number} as sp_source",
        *[f"cast({figures[name]} as bigint) as {name}" for name in _FIGURES],
        f"{figures['newest']} as newest",
    )


def _sums(count: int) -> list[Column]:
    """The tallies of a key, of each source in columns of its own."""
    sums = []
    for n in range(count):
        its = f"case when sp_source = {n} then {{}} end"
        sums += [f"coalesce(sum({its.format(name)}), 0) as {name}_{n}" for name in _FIGURES]
        sums.append(f"max({its.format('newest')}) as newest_{n}")
    return [F.expr(text) for text in sums]


def _without_duplicates(sources: Sequence[Judged]) -> list[str]:
    """The tallies of a key; where it has one row to be used, others are its duplicates."""
    told = []
    for n, judged in enumerate(sources):
        figures = {name: f"{name}_{n}" for name in (*_FIGURES, "newest")}
        if judged.is_laid_out and not judged.source.row_id:
            figures |= _one_is_used(f"{ACCEPTED}_{n}")
        told += [f"{text} as {name}_{n}" for name, text in figures.items()]
    return told


def _one_is_used(accepted: str) -> dict[str, str]:
    """Of so many rows of which one may be used: whichever it is, there is one."""
    return {ACCEPTED: f"least({accepted}, 1)", DUPLICATE: f"greatest({accepted} - 1, 0)"}


def _count(source: str, n: int, *, is_spine: bool) -> Column:
    """Where the rows of a source went, of the tallies of all keys."""
    is_user = "sp_first is not null and sp_refusal is null"
    # A user that cannot be named takes its rows among the users' sources along.
    is_refused = "sp_refusal is not null" if is_spine else "false"
    is_first = f"{is_user} and sp_first = {sql.literal(source)}"
    figures = {
        "rows": f"n_{n}",
        "used": f"if({is_user}, {ACCEPTED}_{n}, 0)",
        REFUSED: f"{REFUSED}_{n} + if({is_refused}, {ACCEPTED}_{n}, 0)",
        DUPLICATE: f"{DUPLICATE}_{n}",
        "orphan": f"if(not ({is_user}) and not ({is_refused}), {ACCEPTED}_{n}, 0)",
        AFTER: f"{AFTER}_{n}",
        "users": f"if({is_first} and {ACCEPTED}_{n} > 0, 1, 0)",
    }
    totals = [
        f"cast(coalesce(sum({text}), 0) as bigint) as {name}" for name, text in figures.items()
    ]
    told = [f"{sql.literal(source)} as source", *totals, f"max(newest_{n}) as newest"]
    return F.expr(f"struct({', '.join(told)})")


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all frames, which have the same columns."""
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionByName(frame)
    return whole
