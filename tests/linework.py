"""Recorded lines for tests: what the audit table holds of a run, from rows drawn by a test."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles import stores
from spark_profiles.audit import places
from spark_profiles.core.addresses import Address
from spark_profiles.files import arrow_files, spark_files
from spark_profiles.files.manifest import Manifest
from spark_profiles.lines import commands

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.files.writing import WriteText

ABOUT = Manifest(
    run_id="shop-1",
    name="shop",
    as_of="2026-03-31T00:00:00Z",
    definition_hash="d" * 64,
    library_version="1",
    max_bytes=1,
)

COLUMNS = (
    "profile_key string, operation string, strategy string, identifier string, payload string,"
    " address string, phase int"
)


def row(key: str, profile: dict[str, Any], operation: str = "UPSERT") -> tuple[Any, ...]:
    """A line of one profile, whose key is its account."""
    identifier = {"compartment_id": "6", "user_account_id": key}
    named = {"$compartment_id": 7, "$user_account_id": key, **profile}
    strategy = None if operation == "DELETE" else "FORCE_REPLACE"
    texts = [json.dumps(value, ensure_ascii=False) for value in (identifier, named)]
    address = Address.of_command({**identifier, "user_profile": named})
    return (key, operation, strategy, *texts, str(address), 1)


def recorded(spark: SparkSession, rows: Iterable[tuple[Any, ...]]) -> DataFrame:
    """The lines as they are recorded, with their bytes and places."""
    lines = spark.createDataFrame(list(rows), COLUMNS)
    lines = lines.withColumn("patch", F.lit(None).cast("string"))
    return lines.withColumns(
        {
            "bytes": F.octet_length(commands.text()).cast("bigint") + 1,
            "place": places.of(F.col("address")),
        }
    )


def by_arrow(lines: DataFrame, scratch: Path) -> WriteText:
    """What writes the lines from Parquet files that lie in `scratch`, without an engine."""
    lines.write.parquet(str(scratch))
    return partial(arrow_files.write, parquet(scratch))


def parquet(place: Path) -> stores.Parquet:
    """All Parquet files there."""
    folder = stores.folder(place)
    return stores.Parquet(folder, tuple(folder.files()))


def by_spark(lines: DataFrame, scratch: Path) -> WriteText:
    """What writes the lines by Spark, which needs no scratch."""
    return partial(spark_files.write, lines)
