"""Rows of the driver come back from Spark as they were given, and no Python worker reads them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from spark_profiles.engine import frames

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = (
    "text string, n bigint, x double, is_so boolean, at timestamp,"
    " names array<string>, parts array<struct<name: string, version: bigint>>"
)
AT = datetime(2026, 3, 29, 1, 30, 0, 123_456, tzinfo=timezone.utc)
ROWS = [
    ('it\'s "quoted"\n\\ ü \U0001f600 \u2028', 2**63 - 1, 0.1, True, AT, ["b", "a"], [("p", 1)]),
    ("", -(2**63), -1e300, False, None, [], []),
    (None, None, None, None, None, None, [("q", None), (None, 2)]),
]


def test_rows_come_back_as_they_were_given(spark: SparkSession) -> None:
    found = frames.of(spark, ROWS, SCHEMA)
    micros = "CAST(unix_micros(at) AS bigint) AS at"  # `collect` of an instant asks for a zone
    given = [
        (*row[:4], int(AT.timestamp()) * 10**6 + 123_456 if row[4] else None, *row[5:])
        for row in ROWS
    ]
    rows = found.selectExpr("text", "n", "x", "is_so", micros, "names", "parts").collect()
    assert [tuple(row[:6]) for row in rows] == [row[:6] for row in given]
    assert [[tuple(part) for part in row.parts] for row in rows] == [row[6] for row in given]
    assert found.columns == ["text", "n", "x", "is_so", "at", "names", "parts"]
    assert frames.of(spark, [], SCHEMA).collect() == []


@pytest.mark.jvm
def test_no_python_worker_reads_them(spark: SparkSession) -> None:
    plan = frames.of(spark, ROWS, SCHEMA)._jdf.queryExecution().executedPlan().toString()
    assert "ExistingRDD" not in plan
    given = type(spark).createDataFrame(spark, ROWS, SCHEMA)
    assert "ExistingRDD" in given._jdf.queryExecution().executedPlan().toString(), (
        "what the test looks for is what Spark does otherwise"
    )


@pytest.mark.jvm
def test_nothing_is_planned_of_what_would_be_joined_with_no_rows(spark: SparkSession) -> None:
    none = frames.of(spark, [], "id bigint, text string")
    plan = spark.range(3).join(none, on="id", how="full")
    assert "Join" not in plan._jdf.queryExecution().executedPlan().toString()
    assert sorted(tuple(row) for row in plan.collect()) == [(0, None), (1, None), (2, None)]
