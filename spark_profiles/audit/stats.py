"""Recorded profiles -> for each property how many have it, and what its numbers are like.

They are taken from the tables, not while profiles are computed, so that they cost one look at
payloads on every engine. Of many profiles a part is looked at, of the same users every day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.audit.guard import PropertyStats
from spark_profiles.audit.schemas import UPSERT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import Column, DataFrame

ENOUGH = 10_000
"""At least so many profiles are looked at, and at least every sixteenth."""
_SHARES = (16, 8, 4, 2)


def measured(
    lines: DataFrame, delivered: DataFrame | None, shape: T.StructType, *, total: int
) -> DataFrame:
    """One row: `n`, and for each property known (`k…`), mean (`m…`) and deviation (`d…`).

    Args:
        lines: the recorded lines of the run.
        delivered: what was delivered before it; None: nothing ever.
        shape: the type of the profile.
        total: how many profiles are wanted; from twice `ENOUGH` on a sample is measured.
    """
    share = next((share for share in _SHARES if total >= share * ENOUGH), 1)
    is_sampled = F.pmod(F.xxhash64("address"), F.lit(share)) == 0
    decided = lines.where(is_sampled).select("address", "operation", "payload")
    wanted = decided.where(F.col("operation") == UPSERT).select("payload")
    if delivered is not None:
        kept = delivered.where(is_sampled).select("address", "payload")
        same = kept.join(decided, on="address", how="left_anti").select("payload")
        wanted = wanted.unionByName(same)
    profiles = wanted.select(F.from_json("payload", shape).alias("p"))
    measures = []
    for number, (_, value, data_type) in enumerate(_leaves(shape)):
        measures.append(F.count(value).alias(f"k{number}"))
        if isinstance(data_type, T.NumericType):
            figure = value.cast("double")
            measures += [F.avg(figure).alias(f"m{number}")]
            measures += [F.stddev_pop(figure).alias(f"d{number}")]
    return profiles.agg(F.count("*").alias("n"), *measures)


def read(row: dict[str, object], shape: T.StructType) -> tuple[PropertyStats, ...]:
    """The measured row, by property."""

    def number(name: str) -> float | None:
        value = row.get(name)
        return None if value is None else float(str(value))

    return tuple(
        PropertyStats(name, int(str(row["n"])), int(str(row[f"k{n}"])), number(f"m{n}"),
                      number(f"d{n}"))
        for n, (name, _, _) in enumerate(_leaves(shape))
    )  # fmt: skip


def _leaves(
    shape: T.StructType, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Column, T.DataType]]:
    """Dotted name, value and type of every property; an array is one property."""
    for field in shape.fields:
        place = (*path, field.name)
        if isinstance(field.dataType, T.StructType):
            yield from _leaves(field.dataType, place)
        else:
            quoted = ".".join(f"`{part}`" for part in place)
            yield ".".join(place), F.col(f"p.{quoted}"), field.dataType
