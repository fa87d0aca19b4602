"""The physical plan: one scan, one exchange and one sort a source, however much is asked of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import data
from spark_profiles.audit import schemas
from spark_profiles.definition import loader
from spark_profiles.engine import frames
from spark_profiles.lines.changes import Known
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.jvm

DEFINITION = "benchmarks/profiles.yaml"
DELIVERED = ("shop", "7", "{}", "{}", "0", "shop 1", "7|user_account_id|||")
FIVE = "[30d, 90d, 365d, 730d, lifetime]"
TWENTY = f"[{', '.join(f'{days}d' for days in range(1, 21))}]"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.make(0.01, tmp_path_factory.mktemp("tpch"))


@pytest.fixture
def large(spark: SparkSession) -> Iterator[SparkSession]:
    """A session that takes every table for a large one: no broadcasts."""
    name = "spark.sql.autoBroadcastJoinThreshold"
    before = spark.conf.get(name)
    spark.conf.set(name, "-1")
    yield spark
    spark.conf.set(name, before)


def nodes(frame: DataFrame) -> list[str]:
    """The operators of the physical plan, by name; branches as they are planned at first."""
    plan = frame._jdf.queryExecution().executedPlan().toString()
    words = [
        line.lstrip(" :+-*(0123456789)").split(" ")[0].rstrip("(") for line in plan.split("\n")
    ]
    return [word.split("(")[0] for word in words if word]


@pytest.mark.parametrize("windows", ["[30d]", FIVE, TWENTY], ids=["1", "5", "20"])
def test_one_scan_one_exchange_one_sort_a_source(
    large: SparkSession, tables: Path, windows: str
) -> None:
    text = Path(DEFINITION).read_text().replace(FIVE, windows)
    definition = loader.parse_yaml(text)
    plan = pipeline.plan(large, definition, as_of="1998-08-03", data=str(tables))
    found = nodes(plan.profiles)
    count = {name: found.count(name) for name in ("FileScan", "Exchange", "Sort", "Window")}
    # customers, orders, scores, newsletters. By a window one row of customers is chosen, and the
    # last ones of the others; it needs the sort that the aggregation would need without it.
    assert count == {"FileScan": 4, "Exchange": 4, "Sort": 4, "Window": 4}
    assert "HashAggregate" not in found
    assert "ObjectHashAggregate" not in found
    assert found.count("SortMergeJoin") == 3


@pytest.mark.parametrize("key", ["bigint", "string"])
def test_lines_move_nothing_more_but_what_was_delivered(
    large: SparkSession, tables: Path, tmp_path: Path, key: str
) -> None:
    """Whether keys are whole numbers in all sources, or text in one: `delivered` has their text."""
    text = Path(DEFINITION).read_text()
    if key == "string":
        text = text.replace("key: o_custkey,", 'key: "cast(o_custkey as string)",')
    large.createDataFrame([], schemas.DELIVERED).write.parquet(str(tmp_path / "delivered"))
    known = Known(delivered=large.read.parquet(str(tmp_path / "delivered")))
    plan = pipeline.plan(
        large, loader.parse_yaml(text), as_of="1998-08-03", data=str(tables), known=known
    )
    found = nodes(plan.lines)
    count = {name: found.count(name) for name in ("FileScan", "Exchange", "Sort", "SortMergeJoin")}
    # And what differs, only: by user point, account and user, for one line an address and phases.
    assert count == {"FileScan": 5, "Exchange": 5 + 3, "Sort": 5 + 3, "SortMergeJoin": 4}
    physical = plan.lines._jdf.queryExecution().executedPlan().toString()
    # Sorted by the eight bytes of a number, without a look at the rows.
    assert ("cast(o_custkey#" in physical) == (key == "string")


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_a_profile_is_written_as_json_and_hashed_once(
    large: SparkSession, tables: Path, *, is_first: bool
) -> None:
    """A filter over what is computed would compute it for itself, and then once more."""
    delivered = None if is_first else frames.of(large, [DELIVERED], schemas.DELIVERED)
    plan = pipeline.plan(
        large,
        loader.load_definition(DEFINITION),
        as_of="1998-08-03",
        data=str(tables),
        known=Known(delivered=delivered),
    )
    large.conf.set("spark.sql.debug.maxToStringFields", "1000")
    found = plan.lines._jdf.queryExecution().optimizedPlan().toString()
    large.conf.unset("spark.sql.debug.maxToStringFields")
    assert found.count("sha2(") == 1
    # The identifier, the profile, and the keys of a profile that is gone.
    spelt = re.findall(r"StructsToJsonEvaluator|to_json\(", found)  # by Spark 4 and by 3.5
    assert len(spelt) == (2 if is_first else 3)
    assert found.count("Join") == (3 if is_first else 4)


@pytest.mark.parametrize("row_id", [0, 1])
def test_counts_move_keys_and_nothing_else(large: SparkSession, tables: Path, row_id: int) -> None:
    """One scan a source; of all sources one exchange of keys, one of the figures of the parts."""
    text = Path(DEFINITION).read_text()
    if row_id:  # of one more exchange
        text = text.replace("key: o_custkey,", "key: o_custkey, row_id: [o_orderkey],")
    plan = pipeline.plan(large, loader.parse_yaml(text), as_of="1998-08-03", data=str(tables))
    found = nodes(plan.counts)
    count = {name: found.count(name) for name in ("FileScan", "Exchange", "Sort", "Window")}
    assert count == {"FileScan": 4, "Exchange": 2 + row_id, "Sort": 0, "Window": 0}
    assert not any("Join" in name for name in found)
    read = plan.counts._jdf.queryExecution().executedPlan().toString()
    assert "c_custkey" in read
    assert "c_comment" not in read
