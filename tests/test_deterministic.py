"""The same lines, byte for byte, whatever the order, the partitions, the settings, the session."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import drawn
import pytest

from spark_profiles.lines import commands
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

CASE = drawn.draw(3, 46, 25)
ANSI, ADAPTIVE = "spark.sql.ansi.enabled", "spark.sql.adaptive.enabled"
PARTITIONS = "spark.sql.shuffle.partitions"
COMPILED, FACTORY = "spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode"


def lines(spark: SparkSession, *, shuffle: int, partitions: int) -> list[str]:
    tables = drawn.tables(spark, CASE, shuffle=shuffle)
    laid_out = {name: table.repartition(partitions) for name, table in tables.items()}
    plan = pipeline.plan(
        spark, drawn.definition(CASE), as_of=CASE.as_of.isoformat(), tables=laid_out
    )
    return sorted(r["line"] for r in plan.lines.select(commands.text().alias("line")).collect())


@pytest.fixture
def settings(spark: SparkSession) -> Iterator[SparkSession]:
    """The session, whose settings are put back after the test."""
    before = {
        name: spark.conf.get(name) for name in (ANSI, ADAPTIVE, PARTITIONS, COMPILED, FACTORY)
    }
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


@pytest.mark.jvm
def test_lines_do_not_depend_on_how_they_are_computed(settings: SparkSession) -> None:
    first = lines(settings, shuffle=0, partitions=1)
    assert len(first) == 25
    for partitions, ansi, adaptive, is_compiled in [
        (3, "true", "true", 1),
        (7, "false", "false", 0),
    ]:
        settings.conf.set(ANSI, ansi)
        settings.conf.set(ADAPTIVE, adaptive)
        settings.conf.set(COMPILED, "true" if is_compiled else "false")
        settings.conf.set(FACTORY, "CODEGEN_ONLY" if is_compiled else "NO_CODEGEN")
        settings.conf.set(PARTITIONS, str(partitions))
        assert lines(settings, shuffle=partitions, partitions=partitions) == first


@pytest.mark.jvm
@pytest.mark.large
def test_lines_are_the_same_on_connect_and_in_200_partitions(settings: SparkSession) -> None:
    first = lines(settings, shuffle=0, partitions=1)
    settings.conf.set(PARTITIONS, "200")
    settings.conf.set(ANSI, "false")
    settings.conf.set(ADAPTIVE, "false")
    assert lines(settings, shuffle=9, partitions=200) == first
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True,
        env={**os.environ, "SPARK_TESTING": "1"},
    )  # fmt: skip
    assert done.stdout.splitlines() == first


@pytest.mark.jvm
def test_one_scan_exchange_and_sort_a_source_for_1_window_as_for_20(
    spark: SparkSession, tmp_path: object
) -> None:
    """Properties of every way to compute one, over one window each and over twenty."""
    for name, table in drawn.tables(spark, CASE, shuffle=0).items():
        table.write.parquet(f"{tmp_path}/{name}")
    tables = {n: spark.read.parquet(f"{tmp_path}/{n}") for n in ("customers", "purchases")}
    many = [f"{days}d" for days in range(1, 21)]
    found = [_steps(spark, tables, windows, {}) for windows in (["lifetime"], many)]
    assert found[0] == found[1]
    assert found[0]["scans"] == 2
    assert found[0]["exchanges"] == 2  # each source once, by its key
    # Quintiles read what they rank once more, group it by number and rank it in one small window.
    ranked = _steps(spark, tables, many, {"tiles": 5})
    assert ranked["scans"] - found[0]["scans"] == 2
    assert ranked["exchanges"] - found[0]["exchanges"] <= 5


def _steps(
    spark: SparkSession, tables: dict[str, DataFrame], windows: list[str], more: dict[str, int]
) -> dict[str, int]:
    asked = {
        f"p{n}": {**operation, "windows": windows}
        for n, operation in enumerate(drawn.OPERATIONS[::4])
    }
    if more:
        asked = {"p0": {"count": True, "windows": windows, **more}}
    case = CASE._replace(properties=asked)
    plan = pipeline.plan(spark, drawn.definition(case), as_of=case.as_of.isoformat(), tables=tables)
    text = plan.wanted._jdf.queryExecution().executedPlan().toString()
    return {
        "scans": text.count("FileScan"),
        "exchanges": text.count("Exchange hashpartitioning") + text.count("Exchange SinglePart"),
        "sorts": text.count("Sort ["),
    }


if __name__ == "__main__":
    from pyspark.sql import SparkSession

    options = {
        "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", PARTITIONS: "3",
        "spark.driver.bindAddress": "127.0.0.1", "spark.sql.session.timeZone": "UTC",
    }  # fmt: skip
    builder = SparkSession.builder.remote("local[2]")
    for key, value in options.items():
        builder = builder.config(key, value)
    sys.stdout.write("\n".join(lines(builder.getOrCreate(), shuffle=5, partitions=3)))
