"""EDGE. Recorded lines -> the text of the planned files, by Spark and without a Python worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit import places
from spark_profiles.engine import frames
from spark_profiles.lines import commands

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.files.fileplan import Plan
    from spark_profiles.stores import Folder


def write(lines: DataFrame, planned: Plan, folder: Folder) -> tuple[()]:
    """Write a part for each planned file into the folder, see `writing.WriteText`."""
    spark, count = lines.sparkSession, len(planned.files)
    rows = [
        (file.operation, file.phase, file.ranges, spread)
        for file, spread in zip(planned.files, _apart(spark, count), strict=True)
    ]
    files = frames.of(spark, rows, "operation string, phase int, ranges string, spread int")
    text = commands.text().alias("value")
    placed = places.placed(lines, files).select("spread", "address", text)
    # A file lies whole in the partition of its number. Written by a column, they would have to be
    # sorted by it first, and each comparison of two keys would look at it before.
    apart = placed.repartition(count, F.col("spread")).sortWithinPartitions("address")
    writer = apart.select("value").write.option("maxRecordsPerFile", 0)
    writer = writer.option("compression", planned.compression).option("lineSep", "\n")
    writer.mode("error").text(folder.location)
    return ()


def _apart(spark: SparkSession, count: int) -> list[int]:
    """For each file a number that hashing puts into the partition of the file's own number.

    Hashed by their own numbers, a third of the partitions would be empty, and others hold three.
    """
    tried = frames.of(spark, [(number,) for number in range(32 * count)], "number int")
    rows = tried.selectExpr("number", f"pmod(hash(number), {count}) as place").collect()
    found = {row["place"]: row["number"] for row in rows}
    return [found.get(place, place) for place in range(count)]
