"""EDGE. The Delta audit tables: what was planned, sent and answered, and what is confirmed.

Every write is idempotent by its shape: what belongs to a run replaces what that run wrote before,
confirmed state is merged on its key. Only `DataFrameWriter` and SQL are used, so that the same
code runs on classic and Connect sessions.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles import stores
from spark_profiles.audit import delta_rs, guard, places, runs, schemas, statements, states
from spark_profiles.engine import frames, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.slices import Slice


class Audit:
    """The tables at one location: a path, or a catalog schema (`catalog.schema`).

    What an engine computes is written by it. The few rows that the driver itself knows (runs,
    files, leases) go and come by delta-rs where the tables lie on the driver's own disk: in
    milliseconds, where Spark takes a second.

    Sail cannot replace a part of a table that has arrays, nor change a table: see `put`.
    """

    def __init__(
        self,
        spark: SparkSession,
        location: str,
        *,
        now: Callable[[], datetime],
        is_sail: bool,
        is_at_hand: bool = False,
    ) -> None:
        self.spark, self.location, self.now, self.is_sail = spark, location, now, is_sail
        self.is_path = "/" in location
        self._by_delta_rs = delta_rs.DeltaTables(location) if is_sail or is_at_hand else None

    def create(self) -> None:
        """Create the tables that are not there yet."""
        side_by_side.done(self.spark, *(partial(self._create, name) for name in schemas.TABLES))

    def _create(self, name: str) -> None:
        if self._by_delta_rs:
            creation = partial(
                self._by_delta_rs.create,
                name,
                self.spark.createDataFrame([], schemas.TABLES[name]).schema.json(),
                partition_by=schemas.PARTITIONED_BY[name],
                properties=schemas.PROPERTIES,
                checks=schemas.CHECKS[name],
            )
            _repeated(creation)
            return
        try:  # a statement is a third cheaper than the writing of no rows
            self.do(schemas.creation(name, self.target(name)))
        except PySparkException:  # where a CREATE takes no CHECK
            self.do(schemas.creation(name, self.target(name), checks=False))
            self.constrain(name)

    def constrain(self, name: str) -> None:
        """Give a table the CHECK constraints of a new one; rows that break one keep it away."""
        for check, condition in schemas.CHECKS[name].items():
            statement = f"ALTER TABLE {self.target(name)} ADD CONSTRAINT {check}"
            try:
                if self._by_delta_rs:
                    self._by_delta_rs.add_check(name, check, condition)
                else:
                    self.do(f"{statement} CHECK ({condition})")
            except Exception as error:
                if not any(sign in str(error) for sign in _KEPT_AWAY):
                    raise

    def do(self, statement: str) -> None:
        """Execute a statement that may be repeated, again where another commit came between."""
        _repeated(lambda: self.spark.sql(statement).collect())

    def read(self, table: str) -> DataFrame:
        """The table as it is now."""
        if self.is_path:
            return self.spark.read.format("delta").load(f"{self.location}/{table}")
        return self.spark.read.table(f"{self.location}.{table}")

    def schema(self, table: str) -> T.StructType:
        """The columns of the table as it is now."""
        if self._by_delta_rs:
            return T.StructType.fromJson(json.loads(self._by_delta_rs.schema(table)))
        return self.read(table).schema

    def add_columns(self, table: str, wanted: T.StructType) -> bool:
        """Add the columns that the table lacks; False: only Spark can do that here."""
        if not self._by_delta_rs:
            return False
        self._by_delta_rs.add_columns(table, wanted.json())
        return True

    def of_run(self, table: str, run_id: str) -> DataFrame:
        """The rows of one run."""
        return self.read(table).where(F.col("run_id") == run_id)

    def parquet(self, table: str, run_id: str) -> stores.Parquet | None:
        """The Parquet files in which the rows of a run lie; None: the driver may not see them."""
        if not self._by_delta_rs:
            return None
        names = self._by_delta_rs.parquet(table, run_id)
        return stores.Parquet(stores.folder(f"{self._by_delta_rs.location}/{table}"), names)

    def rows(self, table: str, **equal: str) -> list[dict[str, Any]]:
        """The rows with these values, on the driver: for tables with few."""
        if self._by_delta_rs:
            return self._by_delta_rs.rows(table, **equal)
        found = self.read(table)
        for name, value in equal.items():
            found = found.where(F.col(name) == value)
        return [row.asDict(recursive=True) for row in found.collect()]

    def put(self, table: str, run_id: str, rows: DataFrame) -> None:
        """Make `rows` what the table holds of the run, instead of what it held."""
        writer = self._writer(table, run_id, rows)
        if self.is_sail and "array<" in schemas.TABLES[table]:
            delete = f"DELETE FROM {self.target(table)} WHERE run_id = '{run_id}'"
            self.do(delete)
            self.save(writer.mode("append"), table)
        else:
            replaced = writer.mode("overwrite").option("replaceWhere", f"run_id = '{run_id}'")
            self.save(replaced, table)

    def add(self, table: str, run_id: str, rows: DataFrame) -> None:
        """Add `rows` to what the table holds of the run; not to be repeated."""
        self.save(self._writer(table, run_id, rows).mode("append"), table)

    def _writer(self, table: str, run_id: str, rows: DataFrame) -> DataFrameWriter:
        named = rows.withColumn("run_id", F.lit(run_id))
        known = set(named.columns)  # others are of older versions, and null
        typed = named.select(
            *[
                (F.col(name) if name in known else F.lit(None)).cast(to).alias(name)
                for name, to in schemas.columns(table)
            ]
        )
        return typed.write.format("delta").option("compression", "snappy")

    def put_records(self, table: str, run_id: str, records: Sequence[dict[str, Any]]) -> None:
        """The same for a few records of the driver; members that the table lacks are ignored."""
        if self._by_delta_rs:
            tables = self._by_delta_rs
            _repeated(lambda: tables.put_records(table, run_id, records))
            return
        rows = [tuple(record.get(name) for name, _ in schemas.columns(table)) for record in records]
        self.put(table, run_id, frames.of(self.spark, rows, schemas.TABLES[table]))

    def append(self, table: str, records: Sequence[dict[str, Any]]) -> None:
        """Add a few records of the driver to a table."""
        if self._by_delta_rs:
            tables = self._by_delta_rs
            _repeated(lambda: tables.append(table, records))
            return
        rows = [tuple(record.get(name) for name, _ in schemas.columns(table)) for record in records]
        new = frames.of(self.spark, rows, schemas.TABLES[table]).write.format("delta")
        self.save(new.mode("append"), table)

    def put_run(self, run: Run, **changed: Any) -> Run:
        """Record the run with these members changed; returns it as recorded.

        Raises:
            IntegrityError: its status cannot follow the one before.
        """
        after = replace(run, **changed, updated_at=self.now())
        states.check(run.status, after.status)
        self.put_records("runs", after.run_id, [runs.record(after)])
        return after

    def runs(self, name: str | None = None) -> list[Run]:
        """The runs, oldest first: of one definition, or of all; instants are aware, in UTC."""
        of_name = {"name": name} if name else {}
        if self._by_delta_rs:
            there = [runs.from_row(row) for row in self._by_delta_rs.rows("runs", **of_name)]
            return sorted(there, key=runs.age)
        rows = self.read("runs")
        chosen = rows if name is None else rows.where(F.col("name") == name)
        found = chosen.orderBy("started_at").select(*runs.in_micros())
        return [runs.from_row(row.asDict(recursive=True)) for row in found.collect()]

    def delivered(self, name: str) -> DataFrame:
        """The profiles as last confirmed, or in doubt (see `doubt`); one row is an address."""
        return self.read("delivered").where(F.col("name") == name)

    def delivered_after(self, history: Sequence[Run], name: str) -> DataFrame | None:
        """What `delivered` gives, after all runs; None if nothing can have been delivered yet.

        On Sail a table all the same: where no join lies between, it asks the CHECKs of a table also
        of rows that are dropped on the way to it.
        """
        is_sent = any(run.status in states.SENT for run in history)
        return self.delivered(name) if is_sent or self.is_sail else None

    def stats(self, run_id: str) -> tuple[guard.PropertyStats, ...]:
        """What the properties of a run's profiles were like."""
        rows = self.rows("property_stats", run_id=run_id)
        return tuple(
            guard.PropertyStats(**{n: value for n, value in row.items() if n != "run_id"})
            for row in rows
        )

    def placed(self, run_id: str) -> DataFrame:
        """The lines of a run that lie in files: all columns of `lines`, and file."""
        whole = self.of_run("files", run_id).where(~F.col("file").contains("#"))
        files = whole.select("file", *places.KIND, "ranges", "first_bucket", "last_bucket")
        return places.placed(self.of_run("lines", run_id), files)

    def _numbered(self, run_id: str, parts: Sequence[Slice]) -> DataFrame:
        """The lines that lie in these parts: all of `placed`, and line_number."""
        files = sorted({part.file for part in parts})
        numbered = places.numbered(self.placed(run_id).where(F.col("file").isin(*files)))
        wanted = frames.of(
            self.spark,
            [(part.file, part.first, part.last) for part in parts],
            "part_of string, first bigint, last bigint",
        )
        is_inside = (F.col("file") == F.col("part_of")) & F.col("line_number").between(
            F.col("first"), F.col("last")
        )
        return numbered.join(F.broadcast(wanted), on=is_inside, how="left_semi")

    def reject(
        self, run: Run, parts: Sequence[Slice], messages: Mapping[tuple[str, int | None], str]
    ) -> int:
        """Record the lines in these parts as rejected, each with its user; returns how many.

        `messages` are what the error files said: of a part and a line in it.
        """
        told = [(*key, message) for key, message in messages.items()]
        said = frames.of(self.spark, told, "file string, line bigint, message string")
        # A part of one line has one message; of others the message of the line is looked for.
        said = said.groupBy("file", "line").agg(F.max("message").alias("message"))
        lines = self._numbered(run.run_id, parts).alias("l")
        alone = F.concat_ws("-", "l.line_number", "l.line_number")
        is_said = (F.col("s.file") == F.concat_ws("#", "l.file", alone)) | (
            (F.col("s.file") == F.col("l.file")) & (F.col("s.line") == F.col("l.line_number"))
        )
        rows = (
            lines.join(F.broadcast(said).alias("s"), on=is_said, how="left")
            .groupBy("l.name", "l.file", "l.line_number", "l.profile_key", "l.address",
                     "l.operation", "l.payload", "l.payload_hash")
            .agg(F.max("s.message").alias("message"))
        )  # fmt: skip
        self.put("rejected_lines", run.run_id, rows)
        return self.of_run("rejected_lines", run.run_id).count()

    def confirm(
        self, run_id: str, name: str, files: Sequence[str], parts: Sequence[Slice] = ()
    ) -> None:
        """Move the lines of files, and of parts of others, into `delivered`.

        Doing it again changes nothing. Lines that are recorded as rejected stay out.
        """
        if not (files or parts):
            return
        lines = self.placed(run_id).where(F.col("file").isin(*files))
        if parts:
            lines = lines.unionByName(self._numbered(run_id, parts).drop("line_number"))
        refused = self.of_run("rejected_lines", run_id).where(F.col("address").isNotNull())
        confirmed = lines.join(
            F.broadcast(refused.select("address")), on="address", how="left_anti"
        )
        self._merge_delivered(confirmed, name, statements.CONFIRM)

    def doubt(self, run_id: str, name: str, files: Sequence[str]) -> None:
        """Let the next run send or delete the profiles in these files, whatever was confirmed."""
        if files:
            lines = self.placed(run_id).where(F.col("file").isin(*files))
            self._merge_delivered(lines, name, statements.DOUBT)

    def doubt_second_phase(self, run_id: str, name: str) -> None:
        """Put what is delivered at addresses of the second phase in doubt.

        A DELETE of the first may have removed it; `confirm` sets right what arrived.
        """
        lines = self.of_run("lines", run_id).where(F.col("phase") == schemas.SECOND_PHASE)
        self._merge_delivered(lines, name, statements.DOUBT_KNOWN)

    def _merge_delivered(self, lines: DataFrame, name: str, clauses: str) -> None:
        # The literal name keeps the merge inside one partition.
        condition = f"d.name = '{name}' AND d.address = c.address"
        # Only a run of before addresses sent something of what was replaced; see `migrations`.
        own = lines.where(F.col("change") != schemas.REPLACED)
        self.merge("delivered", own.select(*statements.COLUMNS), condition, clauses)

    def merge(self, table: str, rows: DataFrame, condition: str, clauses: str) -> None:
        """MERGE `rows` (c) into the table (d); no value of theirs gets into the table's log."""
        view = f"merged_{uuid.uuid4().hex}"
        rows.createOrReplaceTempView(view)
        merging = f"MERGE INTO {self.target(table)} AS d USING {view} AS c ON {condition}"
        try:
            self.do(f"{merging} {clauses}")
        finally:
            self.spark.catalog.dropTempView(view)

    def lease(self, name: str) -> tuple[str, int] | None:
        """See `leases.Table`."""
        if self._by_delta_rs:
            return self._by_delta_rs.lease(name)
        until = F.unix_micros("until").alias("until")  # `collect` of an instant asks for a zone
        rows = self.read("leases").where(F.col("name") == name).select("owner", until).collect()
        return (rows[0]["owner"], rows[0]["until"]) if rows else None

    def merge_lease(self, name: str, owner: str, *, until: datetime, take_from: str | None) -> bool:
        """See `leases.Table`."""
        if self._by_delta_rs:
            return self._by_delta_rs.merge_lease(name, owner, until=until, take_from=take_from)
        micros = round(until.timestamp() * 1_000_000)
        try:
            self.spark.sql(
                f"MERGE INTO {self.target('leases')} AS d USING (SELECT '{name}' AS name,"
                f" '{owner}' AS owner, timestamp_micros({micros}) AS until) AS c"
                f" ON d.name = '{name}' AND d.name = c.name"
                f" WHEN MATCHED AND d.owner = '{take_from or ''}' THEN"
                " UPDATE SET owner = c.owner, until = c.until"
                " WHEN NOT MATCHED THEN"
                " INSERT (name, owner, until) VALUES (c.name, c.owner, c.until)"
            ).collect()
        except Exception as error:
            if _is_conflict(error):
                return False
            raise
        return True

    def save(self, writer: Any, table: str) -> None:
        """Let the writer write the table, again where another commit came between."""
        if self.is_path:
            _repeated(lambda: writer.save(f"{self.location}/{table}"))
        else:
            _repeated(lambda: writer.saveAsTable(f"{self.location}.{table}"))

    def target(self, table: str) -> str:
        """The table's name in SQL."""
        return f"delta.`{self.location}/{table}`" if self.is_path else f"{self.location}.{table}"


# Conflicts of commits have no common class in classic sessions, in Connect and on Sail.
_CONFLICTS = (
    "DELTA_CONCURRENT_",
    "io.delta.exceptions.Concurrent",
    "DELTA_PROTOCOL_CHANGED",
    "ProtocolChangedException",
    "Failed to commit transaction",
    "Delta transaction failed, version",
)
_ATTEMPTS = 6


def _is_conflict(error: Exception) -> bool:
    return any(sign in str(error) for sign in _CONFLICTS)


def _repeated(write: Callable[[], object]) -> None:
    """Do the write, again where another commit came between; every write may be repeated."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            write()
        except Exception as error:
            if attempt == _ATTEMPTS or not _is_conflict(error):
                raise
            time.sleep(0.1 * 2**attempt * random.random())  # noqa: S311  only spreads them
        else:
            return


_KEPT_AWAY = (
    "DELTA_CONSTRAINT_ALREADY_EXISTS",
    "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION",
    "already exists",
    "validation check",
)
