"""Tables that an older version of this library wrote are brought up to date, and still read.

`fixtures/audit_v1.zip` holds the tables of two runs of the first version: three customers; then
one who left, and one whose line the platform rejected. They are kept as they were written.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import pytest
from test_run import Shop

from spark_profiles.aftercare import rollback
from spark_profiles.audit import migrations, schemas
from spark_profiles.audit.delta_rs import DeltaTables
from spark_profiles.audit.guard import Acceptance
from spark_profiles.audit.states import RunStatus
from spark_profiles.emulator import server
from spark_profiles.engine import frames
from spark_profiles.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from spark_profiles.audit.tables import Audit

FIRST = Path(__file__).parent / "fixtures" / "audit_v1.zip"
# What the first version had: without it the test would not test anything.
LACKED = ("delivered_hash", "properties", "since")


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "token").write_text("api:secret")
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as emulator:
        yield Shop(spark, tmp_path, emulator)


def written_by_the_engine(audit: Audit, table: str, row: tuple[Any, ...]) -> None:
    rows = frames.of(audit.spark, [row], schemas.TABLES[table])
    audit.save(rows.write.format("delta").mode("append"), table)


def properties(a_shop: Shop, table: str) -> dict[str, str]:
    return deltalake.DeltaTable(f"{a_shop.job.audit}/{table}").metadata().configuration


def columns(a_shop: Shop, table: str) -> set[str]:
    schema = deltalake.DeltaTable(f"{a_shop.job.audit}/{table}").schema()
    return {field.name for field in schema.fields}


@pytest.mark.sail
def test_tables_of_the_first_version_are_migrated_and_still_read(a_shop: Shop) -> None:
    with zipfile.ZipFile(FIRST) as packed:
        packed.extractall(a_shop.job.audit)
    assert not columns(a_shop, "lines") & set(LACKED)

    told: list[str] = []
    audit = replace(a_shop.job, listener=lambda event: told.append(event.step)).tables()
    assert told == ["migrate"]
    for table, text in schemas.TABLES.items():
        wanted = audit.spark.createDataFrame([], text).schema
        assert set(wanted.fieldNames()) <= columns(a_shop, table)
    assert [row["schema_version"] for row in a_shop.table("versions")] == [migrations.VERSION]
    assert migrations.migrate(audit, library_version="x") == []

    # New tables refuse a row without its key; those that are there already do so from now on.
    assert "delta.constraints.keys" in properties(a_shop, "lines")
    assert "delta.constraints.known_status" in properties(a_shop, "runs")
    with pytest.raises(Exception, match=r"(?i)constraint"):
        written_by_the_engine(audit, "delivered", ("shop", None, "{}", "{}", "h", "r", "a"))

    first, second = audit.runs("shop")
    assert (first.status, first.lines, first.confirmed) == (RunStatus.CONFIRMED, 3, 3)
    assert (second.status, second.lines) == (RunStatus.UNCONFIRMED, 3)
    assert (first.kind, first.accepted, first.counts[0].newest) == (None, None, None)
    assert {row["profile_key"] for row in a_shop.table("delivered")} == {"c0", "c1"}

    # They are worked with: c2 was deleted, what was rejected is sent again, a day is undone.
    people = [
        {"customer_id": "c0", "first_name": "Eve"},
        {"customer_id": "c1", "first_name": "Max"},
    ]
    done = a_shop.run(people, accepted=Acceptance(("changes",), why="two people"))
    assert (done.status, done.new, done.changed) == (RunStatus.CONFIRMED, 0, 2)
    assert a_shop.names() == {"c0": "Eve", "c1": "Max"}
    rollback.rollback(a_shop.job, done.run_id, a_shop.datamart)
    assert a_shop.names() == {"c0": "Name 0", "c1": "Name 1"}


@pytest.mark.sail
def test_new_tables_are_of_this_version_at_once(a_shop: Shop) -> None:
    told: list[str] = []
    audit = replace(a_shop.job, listener=lambda event: told.append(event.step)).tables()
    assert told == []
    for table, checks in schemas.CHECKS.items():
        assert {f"delta.constraints.{name}" for name in checks} <= properties(a_shop, table).keys()
    with pytest.raises(Exception, match=r"(?i)constraint"):
        written_by_the_engine(audit, "delivered", ("shop", None, "{}", "{}", "h", "r", "a"))
    with pytest.raises(deltalake.exceptions.DeltaError, match="validation"):
        DeltaTables(a_shop.job.audit).put_records("files", "r", [
            {"run_id": "r", "file": "f", "operation": "UPSERT", "status": "lost"}
        ])  # fmt: skip
    assert [row["schema_version"] for row in a_shop.table("versions")] == [migrations.VERSION]


@pytest.mark.sail
def test_tables_of_a_newer_version_are_left_alone(a_shop: Shop) -> None:
    audit = a_shop.job.tables()
    newer = {"schema_version": migrations.VERSION + 1, "library_version": "9.0"}
    audit.append("versions", [{**newer, "migrated_at": audit.now()}])
    with pytest.raises(DefinitionError, match="newer than this library"):
        a_shop.job.tables()
