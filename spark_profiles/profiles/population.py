"""Values ranked over all users: a number -> its step of n, the same for the same number.

This needs the values of everybody before the first profile can be written, so it reads what they
are made of a second time (only the columns they need) and groups it by value: users with the
same number count once, in one small window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType


@dataclass(frozen=True)
class Ranking:
    """The column whose numbers become steps 1 to `tiles`, of which `best` gets the highest."""

    column: str
    tiles: int
    best: str
    place: str
    """Where the definition says so."""


def refuse_unranked(rankings: Sequence[Ranking], types: Mapping[str, DataType]) -> None:
    """Refuse to rank what is no number; `types` are those of the columns.

    Raises:
        DefinitionError: there is such a column; lists all.
    """
    problems = [
        Problem(
            f"{ranking.place}.tiles",
            f"a value of type {types[ranking.column].simpleString()}",
            "a number",
            "rank a number, such as {max: amount, tiles: 5}",
        )
        for ranking in rankings
        if not isinstance(types[ranking.column], T.NumericType)
    ]
    if problems:
        message = "The definition ranks values that are no numbers"
        raise DefinitionError(message, *dict.fromkeys(problems))


def ranked(users: DataFrame, rankings: Sequence[Ranking]) -> DataFrame:
    """The users with the numbers of these columns replaced by steps; one row is a user.

    A user's step is `floor(tiles x worse / all) + 1`, where `all` counts the users who have a
    number and `worse` those whose number is worse, each rounded to 6 digits. Null stays null.
    """
    if not rankings:
        return users
    with_cuts = users.crossJoin(F.broadcast(_cuts(users, rankings)))
    steps = {
        ranking.column: F.array_max(
            F.transform(
                F.filter("sp_cuts", _reached(number, _number(ranking))), lambda cut: cut["step"]
            )
        )
        for number, ranking in enumerate(rankings)
    }
    return with_cuts.withColumns(steps).drop("sp_cuts")


def _reached(number: int, value: Column):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return lambda cut: (cut["ranking"] == number) & (cut["number"] <= value)


def _number(ranking: Ranking) -> Column:
    """The number, greater where it is better."""
    sign = "-" if ranking.best == "low" else ""
    return F.expr(f"try_cast({sign}`{ranking.column}` as decimal(38,6))")


def _cuts(users: DataFrame, rankings: Sequence[Ranking]) -> DataFrame:
    """One row with `sp_cuts`: of each ranking and step, the least number that reaches it."""
    numbers = [
        F.struct(
            F.lit(n).alias("ranking"), F.lit(r.tiles).alias("tiles"), _number(r).alias("number")
        )
        for n, r in enumerate(rankings)
    ]
    each = users.select(F.explode(F.array(*numbers)).alias("e")).select("e.*")
    sizes = each.where(F.col("number").isNotNull()).groupBy("ranking", "tiles", "number").count()
    all_of_it = Window.partitionBy("ranking", "tiles")
    ordered = all_of_it.orderBy("number").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    worse = F.sum("count").over(ordered) - F.col("count")
    return (
        sizes.withColumn("worse", worse)
        .withColumn("everybody", F.sum("count").over(all_of_it))
        .withColumn("step", F.expr("cast(tiles * worse div everybody as int) + 1"))
        .groupBy("ranking", "tiles", "step")
        .agg(F.min("number").alias("number"))
        .groupBy()
        .agg(F.collect_list(F.struct("ranking", "step", "number")).alias("sp_cuts"))
    )
