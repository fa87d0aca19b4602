"""EDGE. The Delta audit tables: what was planned, sent and answered, and what is confirmed.

Every write is idempotent by its shape: what belongs to a run replaces what that run wrote before,
confirmed state is merged on its key. Only `DataFrameWriter` and SQL are used, so that the same
code runs on classic and Connect sessions.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles import schemas, states
from spark_profiles.guard import SourceCounts
from spark_profiles.states import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Run:
    """One run, as recorded. Counts are None until they are known."""

    run_id: str
    name: str
    status: RunStatus
    as_of: datetime
    definition_hash: str
    definition: str
    library_version: str
    engine: str
    output: str
    sources: tuple[tuple[str, str, int | None], ...]
    counts: tuple[SourceCounts, ...] = ()
    profiles: int | None = None
    new: int | None = None
    changed: int | None = None
    gone: int | None = None
    same: int | None = None
    lines: int | None = None
    files: int | None = None
    bytes: int | None = None
    document_import_id: str | None = None
    confirmed: int | None = None
    message: str | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None


class Audit:
    """The tables at one location: a path, or a catalog schema (`catalog.schema`).

    Sail cannot replace a part of a table that has arrays. There such tables are written in two
    steps or by a merge (see `put` and `put_run`), all others in the same way as on Spark.
    """

    def __init__(
        self,
        spark: SparkSession,
        location: str,
        *,
        now: Callable[[], datetime],
        is_sail: bool = False,
    ) -> None:
        self._spark, self._is_sail = spark, is_sail
        self.location = location
        self._is_path = "/" in location
        self._now = now

    def create(self) -> None:
        """Create the tables that are not there yet."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._create, schemas.TABLES))

    def _create(self, name: str) -> None:
        empty = self._spark.createDataFrame([], schemas.TABLES[name])
        writer = (
            empty.write.format("delta")
            .mode("ignore")
            .partitionBy(schemas.PARTITIONED_BY[name])
            # Any Delta reader can open them, whatever the platform's default is.
            .option("delta.enableDeletionVectors", "false")
        )
        self._save(writer, name)

    def read(self, table: str) -> DataFrame:
        """The table as it is now."""
        if self._is_path:
            return self._spark.read.format("delta").load(f"{self.location}/{table}")
        return self._spark.read.table(f"{self.location}.{table}")

    def of_run(self, table: str, run_id: str) -> DataFrame:
        """The rows of one run."""
        return self.read(table).where(F.col("run_id") == run_id)

    def put(self, table: str, run_id: str, rows: DataFrame) -> None:
        """Make `rows` what the table holds of the run, instead of what it held."""
        columns = [F.col(name).cast(to).alias(name) for name, to in _columns(table)]
        typed = rows.withColumn("run_id", F.lit(run_id)).select(*columns)
        writer = typed.write.format("delta").option("compression", "snappy")
        if self._is_sail and "array<" in schemas.TABLES[table]:
            self._spark.sql(
                f"DELETE FROM {self._target(table)} WHERE run_id = '{run_id}'"
            ).collect()
            self._save(writer.mode("append"), table)
        else:
            replaced = writer.mode("overwrite").option("replaceWhere", f"run_id = '{run_id}'")
            self._save(replaced, table)

    def put_records(self, table: str, run_id: str, records: Sequence[dict[str, Any]]) -> None:
        """The same for a few records of the driver; members that the table lacks are ignored."""
        rows = [tuple(record.get(name) for name, _ in _columns(table)) for record in records]
        self.put(table, run_id, self._spark.createDataFrame(rows, schemas.TABLES[table]))

    def put_run(self, run: Run, **changed: Any) -> Run:
        """Record the run with these members changed; returns it as recorded.

        Raises:
            IntegrityError: its status cannot follow the one before.
        """
        after = replace(run, **changed, updated_at=self._now())
        states.check(run.status, after.status)
        record = {f.name: getattr(after, f.name) for f in fields(after)}
        record["status"] = after.status.value
        record["counts"] = [tuple(asdict(count).values()) for count in after.counts]
        record["sources"] = list(after.sources)
        if self._is_sail:
            self._merge_run(record)
        else:
            self.put_records("runs", after.run_id, [record])
        return after

    def _merge_run(self, record: dict[str, Any]) -> None:
        """The same in one commit where a part of the table cannot be replaced."""
        row = tuple(record[name] for name, _ in _columns("runs"))
        view = f"run_{record['run_id'].replace('-', '_')}"
        self._spark.createDataFrame([row], schemas.TABLES["runs"]).createOrReplaceTempView(view)
        names = [name for name, _ in _columns("runs")]
        self._spark.sql(
            f"MERGE INTO {self._target('runs')} AS d USING {view} AS c ON d.run_id = c.run_id"
            f" WHEN MATCHED THEN UPDATE SET {', '.join(f'{n} = c.{n}' for n in names)}"
            f" WHEN NOT MATCHED THEN INSERT ({', '.join(names)})"
            f" VALUES ({', '.join(f'c.{n}' for n in names)})"
        ).collect()

    def runs(self, name: str | None = None) -> list[Run]:
        """The runs, oldest first: of one definition, or of all."""
        rows = self.read("runs")
        chosen = rows if name is None else rows.where(F.col("name") == name)
        return [_run(row.asDict(recursive=True)) for row in chosen.orderBy("started_at").collect()]

    def delivered(self, name: str) -> DataFrame:
        """The profiles as last confirmed; one row is a profile."""
        return self.read("delivered").where(F.col("name") == name)

    def confirm(self, run_id: str, name: str, files: Sequence[str]) -> None:
        """Move the lines of these files into `delivered`; doing it again changes nothing."""
        sent = self.of_run("files", run_id).where(F.col("file").isin(*files))
        lines = self.of_run("lines", run_id).alias("l")
        is_inside = (
            (F.col("l.operation") == F.col("f.operation"))
            & (F.col("l.bucket") >= F.col("f.first_bucket"))
            & (F.col("l.bucket") <= F.col("f.last_bucket"))
        )
        confirmed = lines.join(F.broadcast(sent).alias("f"), on=is_inside, how="inner").select(
            "l.name",
            "l.profile_key",
            "l.operation",
            "l.identifier",
            "l.payload",
            "l.payload_hash",
            "l.run_id",
        )
        view = f"confirmed_{run_id.replace('-', '_')}"
        confirmed.createOrReplaceTempView(view)
        try:
            merge = _MERGE.format(target=self._target("delivered"), name=name, view=view)
            self._spark.sql(merge).collect()
        finally:
            self._spark.catalog.dropTempView(view)

    def _save(self, writer: Any, table: str) -> None:
        if self._is_path:
            writer.save(f"{self.location}/{table}")
        else:
            writer.saveAsTable(f"{self.location}.{table}")

    def _target(self, table: str) -> str:
        return f"delta.`{self.location}/{table}`" if self._is_path else f"{self.location}.{table}"


# The literal name keeps the merge inside one partition.
_MERGE = """
    MERGE INTO {target} AS d USING {view} AS c
    ON d.name = '{name}' AND d.profile_key = c.profile_key
    WHEN MATCHED AND c.operation = 'DELETE' THEN DELETE
    WHEN MATCHED THEN UPDATE SET
        identifier = c.identifier, payload = c.payload, payload_hash = c.payload_hash,
        run_id = c.run_id
    WHEN NOT MATCHED AND c.operation = 'UPSERT' THEN INSERT
        (name, profile_key, identifier, payload, payload_hash, run_id)
        VALUES (c.name, c.profile_key, c.identifier, c.payload, c.payload_hash, c.run_id)
"""


def _columns(table: str) -> list[tuple[str, str]]:
    """Name and type of each column: the schema's text, split at its outer commas."""
    parts = re.split(r",(?![^<]*>)", schemas.TABLES[table])
    return [(name, to) for name, _, to in (part.strip().partition(" ") for part in parts)]


def _run(row: dict[str, Any]) -> Run:
    row["status"] = RunStatus(row["status"])
    row["sources"] = tuple(tuple(source.values()) for source in row["sources"] or ())
    row["counts"] = tuple(SourceCounts(**count) for count in row["counts"] or ())
    return Run(**row)
