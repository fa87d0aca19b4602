"""Which file a line lies in: a function of the hash of its address, the same whenever it is asked.

The place of a line is the 64-bit hash of its address. A file holds the lines of one operation and
phase whose places lie in its ranges; `files.ranges` writes them as `first..last first..last`.
Inside a file lines are in the order of their addresses, which gives their numbers.

Lines recorded before there were addresses are placed and ordered by their profile keys; those of
the first versions have no place but a bucket, their files no ranges but a first and a last bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyspark.sql import Column, DataFrame

KIND = ("operation", "phase")
"""What all lines of a file agree in."""
_CELL_BITS = 50
"""The upper 14 bits of a place are its cell: 16,384 of them, small enough for a driver."""


def of(address: Column) -> Column:
    """The place of an address."""
    return F.xxhash64(address)


def cell(place: Column) -> Column:
    """The cell in which a place lies."""
    return F.shiftright(place, _CELL_BITS).cast("int")


def written(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges as the `files` table holds them.

    >>> written([(-5, 3), (7, 7)])
    '-5..3 7..7'
    """
    return " ".join(f"{first}..{last}" for first, last in ranges)


def read(ranges: str) -> list[tuple[int, int]]:
    """Ranges of the `files` table.

    >>> read("-5..3 7..7")
    [(-5, 3), (7, 7)]
    """
    ends = (text.split("..") for text in ranges.split(" "))
    return [(int(first), int(last)) for first, last in ends]


def placed(
    lines: DataFrame, files: DataFrame, *, on: Sequence[str] = KIND, how: str = "inner"
) -> DataFrame:
    """The lines with the columns of the file in which each lies; one row is a line.

    Args:
        lines: place, and the columns `on`.
        files: ranges, the columns `on`, and what is wanted of each file; few rows.
        on: what a line and its file agree in, beside the place.
        how: `inner`, or `left` to keep lines that lie in no file.
    """
    first, last = (F.split_part("sp_range", F.lit(".."), F.lit(n)).cast("bigint") for n in (1, 2))
    bounds = (
        _with_buckets(files, "first_bucket", "last_bucket")
        .withColumn("sp_range", F.explode_outer(F.split("ranges", " ")))
        .withColumns({"sp_first": first, "sp_last": last})
        .withColumn("sp_from", F.coalesce(cell(F.col("sp_first")), "first_bucket"))
        .withColumn("sp_to", F.coalesce(cell(F.col("sp_last")), "last_bucket"))
        .drop("ranges", "first_bucket", "last_bucket")
    )
    # One row a cell, so that the join looks a line up instead of comparing it with every range.
    by_cell = bounds.withColumn("sp_cell", F.explode(F.sequence("sp_from", "sp_to"))).alias("f")
    given = [name for name in bounds.columns if name not in on and not name.startswith("sp_")]
    cells = F.coalesce(cell(F.col("place")), "bucket")
    there = _with_buckets(lines, "bucket").withColumn("sp_cell", cells).alias("l")
    is_in_range = F.coalesce(
        F.col("l.place").between(F.col("f.sp_first"), F.col("f.sp_last")),
        F.col("l.place").isNull() & F.col("f.sp_first").isNull(),
    )
    is_inside = F.col("l.sp_cell") == F.col("f.sp_cell")
    for name in on:
        # There are two operations and phases: lines are looked up by the number of their cell
        # alone, which is much quicker than by a text beside it. Older rows have no phase.
        is_kind = F.coalesce(F.col(f"l.{name}").eqNullSafe(F.col(f"f.{name}")), F.lit(False))
        is_inside &= is_kind if name in KIND else F.col(f"l.{name}") == F.col(f"f.{name}")
    is_inside &= is_in_range
    # Ranges do not overlap, so each line meets one file at most.
    return there.join(F.broadcast(by_cell), on=is_inside, how=how).select(
        *[F.col(f"l.{name}") for name in lines.columns], *[F.col(f"f.{name}") for name in given]
    )


def _with_buckets(rows: DataFrame, *names: str) -> DataFrame:
    """The rows with these columns, which only tables of older versions have values in."""
    lacking = {name: F.lit(None).cast("int") for name in names if name not in rows.columns}
    return rows.withColumns(lacking) if lacking else rows


def numbered(placed: DataFrame, *more: str) -> DataFrame:
    """Placed lines and the number of each in its file, from 1.

    A file is told by `file` and the columns `more`.
    """
    # Lines without phase are older than addresses: their files are in the order of their keys.
    order = F.when(F.col("phase").isNull(), F.col("profile_key")).otherwise(F.col("address"))
    in_file = Window.partitionBy("file", *more).orderBy(order)
    return placed.withColumn("line_number", F.row_number().over(in_file).cast("bigint"))
