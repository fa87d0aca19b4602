"""Sources of all kinds, read in one version, whatever is written to them meanwhile."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shop

from spark_profiles.definition import loader
from spark_profiles.errors import SourceError
from spark_profiles.planning import pipeline
from spark_profiles.rows import sources

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.definition.model import Definition


def reading(**members: Any) -> Definition:
    """A definition with one source `s`, of these members."""
    return loader.parse_definition(
        {
            "name": "one",
            "time_zone": "UTC",
            "identifier": {"user_account_id": "id"},
            "sources": {"s": {"key": "id", **members}},
            "users": "s",
            "profile": {"n": {"value": "n"}},
        }
    )


def rows(spark: SparkSession, *numbers: int) -> DataFrame:
    return spark.createDataFrame([(f"k{n}", n) for n in numbers], "id string, n int")


def ids(table: sources.RawTable) -> list[str]:
    return sorted(row["id"] for row in table.rows.select("id").collect())


@pytest.mark.jvm
@pytest.mark.parametrize("form", ["parquet", "orc", "json", "csv", "delta"])
def test_files_of_all_formats_are_read(spark: SparkSession, tmp_path: Path, form: str) -> None:
    options = {"header": "true"} if form == "csv" else {}
    rows(spark, 1, 2).write.format(form).options(**options).save(str(tmp_path / "s"))
    definition = reading(path="s", format=form, options=options)
    (table,) = sources.read(spark, definition, data=str(tmp_path)).values()
    assert ids(table) == ["k1", "k2"]
    assert table.version == (0 if form == "delta" else None)


@pytest.mark.jvm
def test_delta_is_read_in_one_version_by_path_and_by_catalog(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = str(tmp_path / "s")
    rows(spark, 1).write.format("delta").save(path)
    rows(spark, 2).write.format("delta").mode("append").save(path)
    spark.sql("drop table if exists pinned")
    rows(spark, 1, 2).write.format("delta").saveAsTable("pinned")
    try:
        definitions = [reading(path=path, format="delta"), reading(table="pinned")]
        first = reading(path=path, format="delta", options={"versionAsOf": "0"})
        before = [sources.read(spark, d, data="")["s"] for d in [*definitions, first]]
        rows(spark, 3).write.format("delta").mode("append").save(path)
        rows(spark, 3).write.format("delta").mode("append").saveAsTable("pinned")
        assert [table.version for table in before] == [1, 0, 0]
        assert [ids(table) for table in before] == [["k1", "k2"], ["k1", "k2"], ["k1"]]
        after = [sources.read(spark, d, data="")["s"] for d in definitions]
        assert [table.version for table in after] == [2, 1]
        assert [len(ids(table)) for table in after] == [3, 3]
    finally:
        spark.sql("drop table pinned")


def test_views_and_other_tables_have_no_version(spark: SparkSession) -> None:
    rows(spark, 1).createOrReplaceTempView("looked_at")
    (table,) = sources.read(spark, reading(table="looked_at"), data="").values()
    assert (table.version, ids(table)) == (None, ["k1"])


@pytest.mark.jvm
def test_any_reader_of_spark_gets_its_options_and_secrets(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner").write_text("sa\n", encoding="utf-8")
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    url = f"jdbc:derby:{tmp_path}/db"
    login = {"user": "sa", "password": "hunter2"}
    rows(spark, 1, 2).write.jdbc(f"{url};create=true", "people", properties=login)
    definition = reading(
        format="jdbc",
        options={"url": url, "dbtable": "people"},
        secrets={"user": f"file:{tmp_path}/owner", "password": "env:SHOP_PASSWORD"},
    )
    (table,) = sources.read(spark, definition, data="").values()
    assert ids(table) == ["k1", "k2"]
    assert "hunter2" not in definition.model_dump_json() + table.location
    monkeypatch.delenv("SHOP_PASSWORD")
    with pytest.raises(SourceError, match="password at env:SHOP_PASSWORD: missing or empty"):
        sources.read(spark, definition, data="")


def test_all_missing_sources_are_named_with_what_was_handed_in_in_vain(
    spark: SparkSession,
) -> None:
    with pytest.raises(SourceError) as caught:
        sources.read(spark, shop.definition(), data="/no", tables={"custmers": rows(spark, 1)})
    assert [problem.where for problem in caught.value.problems] == [
        "tables['custmers']", "sources.customers", "sources.purchases",
    ]  # fmt: skip
    assert "did you mean customers?" in str(caught.value)


@pytest.mark.sail
def test_delta_is_read_unpinned_where_the_engine_tells_no_versions(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows(spark, 1).write.format("delta").save(str(tmp_path / "s"))
    definition = reading(path="s", format="delta")
    (table,) = sources.read(spark, definition, data=str(tmp_path)).values()
    assert (table.version, ids(table)) == (None, ["k1"])


def test_a_table_without_columns_is_one_problem(spark: SparkSession) -> None:
    given = {"s": rows(spark, 1).select()}
    with pytest.raises(SourceError, match="DataFrame: a table without columns") as caught:
        sources.read(spark, reading(table="s"), data="", tables=given)
    assert caught.value.exit_code == 4


def test_days_are_those_of_the_definition_whatever_zone_a_file_names(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Half past midnight in Paris is the day before in UTC, as ten in the evening is."""
    late = [datetime(2026, 1, 1, hour, 30, tzinfo=timezone.utc) for hour in (21, 23)]
    rows = {
        "id": ["u", "u"],
        "no": [1, 2],
        "at": pa.array(late, pa.timestamp("us", "Europe/Paris")),
    }
    pq.write_table(pa.table(rows), tmp_path / "visits.parquet")
    text = """
name: days
time_zone: {zone}
identifier: {{user_account_id: id}}
sources: {{visits: {{path: visits.parquet, format: parquet, key: id, row_id: [no], time: at}}}}
users: visits
profile: {{days: {{from: visits, frequency: days}}}}
"""
    for zone, days in {"UTC": 1, "Europe/Paris": 2}.items():
        definition = loader.parse_yaml(text.format(zone=zone))
        plan = pipeline.plan(spark, definition, as_of="2026-02-01", data=str(tmp_path))
        assert [row["user_profile"]["days"] for row in plan.profiles.collect()] == [days]
