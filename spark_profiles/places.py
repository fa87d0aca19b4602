"""Which file a line lies in: a function of the hash of its key, the same at every time of asking.

The place of a line is the 64-bit hash of its profile key. A file holds the lines of one operation
whose places lie in its ranges; `files.ranges` writes them as `first..last first..last`. Inside a
file lines are in the order of their profile keys, which gives their numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyspark.sql import Column, DataFrame

_CELL_BITS = 50
"""The upper 14 bits of a place are its cell: 16,384 of them, small enough for a driver."""


def of(key: Column) -> Column:
    """The place of a profile key."""
    return F.xxhash64(key)


def cell(place: Column) -> Column:
    """The cell in which a place lies."""
    return F.shiftright(place, _CELL_BITS).cast("int")


def written(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges as the `files` table holds them.

    >>> written([(-5, 3), (7, 7)])
    '-5..3 7..7'
    """
    return " ".join(f"{first}..{last}" for first, last in ranges)


def placed(
    lines: DataFrame, files: DataFrame, *, on: Sequence[str] = ("operation",), how: str = "inner"
) -> DataFrame:
    """The lines with the columns of the file in which each lies; one row is a line.

    Args:
        lines: place, and the columns `on`.
        files: ranges, the columns `on`, and what is wanted of each file; few rows.
        on: what a line and its file agree in, beside the place.
        how: `inner`, or `left` to keep lines that lie in no file.
    """
    pieces = F.explode(F.split("ranges", " "))
    bounds = files.withColumn("sp_range", pieces).drop("ranges")
    bounds = bounds.select(
        *[F.col(name) for name in bounds.columns if name != "sp_range"],
        F.split_part("sp_range", F.lit(".."), F.lit(1)).cast("bigint").alias("sp_first"),
        F.split_part("sp_range", F.lit(".."), F.lit(2)).cast("bigint").alias("sp_last"),
    )
    # One row a cell, so that the join looks a line up instead of comparing it with every range.
    cells = F.explode(F.sequence(cell(F.col("sp_first")), cell(F.col("sp_last"))))
    by_cell = bounds.withColumn("sp_cell", cells)
    given = [name for name in by_cell.columns if name not in on and not name.startswith("sp_")]
    there, here = lines.withColumn("sp_cell", cell(F.col("place"))).alias("l"), by_cell.alias("f")
    is_inside = (F.col("l.place") >= F.col("f.sp_first")) & (F.col("l.place") <= F.col("f.sp_last"))
    for name in (*on, "sp_cell"):
        is_inside &= F.col(f"l.{name}") == F.col(f"f.{name}")
    # Ranges do not overlap, so each line meets one file at most.
    return there.join(F.broadcast(here), on=is_inside, how=how).select(
        *[F.col(f"l.{name}") for name in lines.columns], *[F.col(f"f.{name}") for name in given]
    )


def numbered(placed: DataFrame) -> DataFrame:
    """Placed lines (with `file`) and the number of each in its file, from 1."""
    in_file = Window.partitionBy("file").orderBy("profile_key")
    return placed.withColumn("line_number", F.row_number().over(in_file).cast("bigint"))
