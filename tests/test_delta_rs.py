"""Records by delta-rs: what Spark collected, and what several writers do at once."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq

from spark_profiles.audit.delta_rs import DeltaTables

if TYPE_CHECKING:
    from pathlib import Path


def test_an_instant_without_zone_is_of_the_machines(tmp_path: Path) -> None:
    schema = pa.schema([("run_id", pa.string()), ("at", pa.timestamp("us", tz="UTC"))])
    deltalake.DeltaTable.create(tmp_path / "t", schema=schema, partition_by=["run_id"])
    tables = DeltaTables(str(tmp_path))
    at = datetime(2026, 7, 1, 10, 0, tzinfo=timezone.utc)
    collected = at.astimezone().replace(tzinfo=None)
    assert collected.hour != at.hour  # the tests' machine is far from UTC
    tables.put_records("t", "aware", [{"at": at}])
    tables.put_records("t", "collected", [{"at": collected}])
    assert {row["at"] for row in tables.rows("t")} == {at}


def test_the_files_of_a_run_are_there_under_any_name(tmp_path: Path) -> None:
    place = tmp_path / "a folder" / "t"
    rows = pa.table({"run_id": ["shop 1", "é%41:2"], "n": [1, 2]})
    deltalake.write_deltalake(place, rows, partition_by=["run_id"])
    tables = DeltaTables(str(place.parent))
    for run_id, n in [("shop 1", 1), ("é%41:2", 2)]:
        (name,) = tables.parquet("t", run_id)
        assert pq.read_table(pa.OSFile(str(place / name)))["n"].to_pylist() == [n]
    assert tables.parquet("t", "other") == ()
    before = tables.parquet("t", "shop 1")
    again = pa.table({"run_id": ["shop 1"], "n": [3]})
    predicate = "run_id = 'shop 1'"
    deltalake.write_deltalake(place, again, mode="overwrite", predicate=predicate)
    (name,) = tables.parquet("t", "shop 1")
    assert name not in before
    assert pq.read_table(pa.OSFile(str(place / name)))["n"].to_pylist() == [3]
