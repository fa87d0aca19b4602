"""EDGE. The audit tables at a path, read and written by delta-rs: no Spark, no Java.

Writes have the shape of `tables`: what belongs to a run replaces what that run wrote before. Rows
keep every column they have, so that it does not matter which version made the table.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from spark_profiles.errors import DefinitionError, PlatformError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltalake import DeltaTable

    Row = dict[str, Any]


def _aware(value: Any) -> Any:
    """An instant that Spark collected has no zone, but is of the machine's."""
    return value.astimezone() if isinstance(value, datetime) and not value.tzinfo else value


class DeltaTables:
    """The tables at one location; credentials of a store are taken from the environment."""

    def __init__(self, location: str) -> None:
        """Raises PlatformError without delta-rs, DefinitionError for a catalog schema."""
        try:
            import deltalake  # noqa: F401, PLC0415  optional
        except ImportError:
            remedy = "pip install 'spark-profiles[delta-rs]'"
            message = "The audit tables cannot be read without Spark"
            problem = Problem("deltalake", "not installed", remedy=remedy)
            raise PlatformError(message, problem) from None
        if "/" not in location:
            message = "Without Spark the audit tables must be at a path"
            problem = Problem(location, "a catalog schema", "a folder, or s3://, gs://, abfss://")
            raise DefinitionError(message, problem)
        text = re.sub(r"\A(dbfs:)(?=/Volumes/)|\Afile://(?=/)|\Afile:(?=/)", "", location)
        self.location = re.sub(r"\As3[an]://", "s3://", text.rstrip("/"))

    def rows(self, table: str, **equal: str) -> list[Row]:
        """The rows with these values.

        Raises:
            DefinitionError: the table is not there.
        """
        filters = [(name, "=", value) for name, value in equal.items()] or None
        found: list[Row] = self._open(table).to_pyarrow_table(filters=filters).to_pylist()
        return found

    def parquet(self, table: str, run_id: str) -> tuple[str, ...]:
        """The files in which the rows of a run lie, by their names below the table's folder."""
        found = pa.table(self._open(table).get_add_actions(flatten=True))
        live = zip(*(found[name].to_pylist() for name in ("path", "partition.run_id")), strict=True)
        return tuple(sorted(unquote(path) for path, owner in live if owner == run_id))

    def create(
        self,
        table: str,
        schema: str,
        *,
        partition_by: str,
        properties: Mapping[str, str],
        checks: Mapping[str, str],
    ) -> None:
        """Create what is not there yet of a table; `schema` is that of Spark, as JSON."""
        from deltalake import DeltaTable, Schema  # noqa: PLC0415  optional
        from deltalake.exceptions import DeltaError  # noqa: PLC0415  optional

        DeltaTable.create(
            f"{self.location}/{table}",
            schema=Schema.from_json(schema),
            mode="ignore",
            partition_by=[partition_by],
            configuration=dict(properties),
        )
        made = self._open(table)
        if json.loads(made.schema().to_json()) != json.loads(schema):
            return  # of an older version: see `migrations`
        for name, condition in checks.items():
            if f"delta.constraints.{name}" in made.metadata().configuration:
                continue
            try:
                self.add_check(table, name, condition)
            except DeltaError as error:  # another run was quicker
                if "onstraint" not in str(error) or "already exists" not in str(error):
                    raise

    def schema(self, table: str) -> str:
        """The columns of the table, as Spark writes them in JSON."""
        return self._open(table).schema().to_json()

    def add_columns(self, table: str, schema: str) -> None:
        """Add the columns of `schema`, that of Spark as JSON, which the table lacks."""
        from deltalake import Schema  # noqa: PLC0415  optional

        target = self._open(table)
        known = {field.name for field in target.schema().fields}
        lacking = [field for field in Schema.from_json(schema).fields if field.name not in known]
        if lacking:
            target.alter.add_columns(lacking)

    def put_records(self, table: str, run_id: str, records: Sequence[Row]) -> None:
        """Make these what the table holds of the run; members that it lacks are ignored."""
        of_run = [{**row, "run_id": run_id} for row in records]
        self._write(table, of_run, mode="overwrite", predicate=f"run_id = '{run_id}'")

    def append(self, table: str, records: Sequence[Row]) -> None:
        """Add these to the table."""
        self._write(table, records, mode="append")

    def _write(self, table: str, records: Sequence[Row], **how: Any) -> None:
        from deltalake import write_deltalake  # noqa: PLC0415  optional

        target = self._open(table)
        schema = pa.schema(target.schema().to_arrow())
        rows = [{name: _aware(value) for name, value in row.items()} for row in records]
        write_deltalake(target, pa.Table.from_pylist(rows, schema=schema), **how)

    def add_check(self, table: str, name: str, condition: str) -> None:
        """Give the table a CHECK; an error says that it has it, or that rows break it."""
        self._open(table).alter.add_constraint({name: condition})

    def lease(self, name: str) -> tuple[str, int] | None:
        """See `leases.Table`."""
        for row in self.rows("leases", name=name):
            return row["owner"], round(row["until"].timestamp() * 1_000_000)
        return None

    def merge_lease(self, name: str, owner: str, *, until: datetime, take_from: str | None) -> bool:
        """See `leases.Table`."""
        from deltalake.exceptions import CommitFailedError  # noqa: PLC0415  optional

        target = self._open("leases")
        schema = pa.schema(target.schema().to_arrow())
        row = {"name": name, "owner": owner, "until": until}
        merging = target.merge(
            pa.Table.from_pylist([row], schema=schema),
            predicate=f"d.name = '{name}' AND d.name = c.name",
            source_alias="c",
            target_alias="d",
        )
        renewed = {"owner": "c.owner", "until": "c.until"}
        try:
            merging.when_matched_update(
                renewed, predicate=f"d.owner = '{take_from or ''}'"
            ).when_not_matched_insert_all().execute()
        except CommitFailedError:
            return False
        return True

    def _open(self, table: str) -> DeltaTable:
        from deltalake import DeltaTable  # noqa: PLC0415  optional
        from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415  optional

        place = f"{self.location}/{table}"
        try:
            return DeltaTable(place)
        except TableNotFoundError:
            message = "There are no audit tables"
            problem = Problem(place, "no Delta table", "the location that was given to build")
            raise DefinitionError(message, problem) from None
