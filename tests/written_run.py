"""A written run without Spark: its files, its manifest and its audit tables, made by delta-rs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from import_files import body_of, lines_of

from spark_profiles.audit import schemas

ROOT = Path(__file__).parent.parent
RUN_ID = "shop-2026-11-24-01"
_TYPES = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def _schema(table: str) -> pa.Schema:
    """The columns of an audit table; structs inside arrays are left out of this stand-in."""
    parts = re.split(r",(?![^<]*>)", schemas.TABLES[table])
    named = (part.strip().partition(" ") for part in parts)
    return pa.schema([(name, _TYPES.get(to, pa.list_(pa.string()))) for name, _, to in named])


@dataclass(frozen=True)
class WrittenRun:
    """Where it lies, and what its files say."""

    folder: Path
    wanted: dict[str, dict[str, dict[str, Any]]]

    @property
    def audit(self) -> Path:
        return self.folder / "audit"

    @property
    def output(self) -> Path:
        return self.folder / "import"

    def rows(self, table: str) -> list[dict[str, Any]]:
        return DeltaTable(str(self.audit / table)).to_pyarrow_table().to_pylist()

    def profiles(self) -> dict[str, dict[str, Any]]:
        return {account: p for profiles in self.wanted.values() for account, p in profiles.items()}

    def bodies(self) -> list[bytes]:
        return [body_of(profiles) for profiles in self.wanted.values()]

    def command(self, url: str, *more: str) -> list[str]:
        """The command line of an upload, by delta-rs."""
        return [
            sys.executable, "-m", "spark_profiles.cli", "upload", "shop", "--engine", "delta-rs",
            "--audit", str(self.audit), "--datamart", "1500", "--api", url,
            "--token", "env:UPLOAD_TOKEN", "--settle", "0.3", *more,
        ]  # fmt: skip


def environment(token: str) -> dict[str, str]:
    return {**os.environ, "UPLOAD_TOKEN": token, "PYTHONPATH": str(ROOT)}


def start(command: list[str], token: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(token), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **more,
    )  # fmt: skip


def write(folder: Path, *, files: int, lines: int = 3) -> WrittenRun:
    """Files, manifest and audit tables of a run that waits to be sent."""
    names = [f"operation=UPSERT/profiles-{n:05d}-of-{files:05d}.ndjson" for n in range(files)]
    made = WrittenRun(folder, {name: lines_of(n, lines) for n, name in enumerate(names)})
    listed = []
    for name, profiles in made.wanted.items():
        body = body_of(profiles)
        path = made.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        sha256 = hashlib.sha256(body).hexdigest()
        listed.append(
            {"path": name, "operation": "UPSERT", "lines": lines, "bytes": len(body),
             "sha256": sha256}
        )  # fmt: skip
    (made.output / "manifest.json").write_text(json.dumps({"files": listed}))
    rows = [
        {**one, "file": one["path"], "run_id": RUN_ID, "status": "written", "attempts": 0}
        for one in listed
    ]
    now = datetime(2026, 11, 24, 1, 2, 3, tzinfo=timezone.utc)
    run = {
        "run_id": RUN_ID, "name": "shop", "status": "written", "output": str(made.output),
        "started_at": now, "updated_at": now, "definition": "{}",
    }  # fmt: skip
    _write(made.audit, "runs", [run])
    _write(made.audit, "files", rows)
    _write(made.audit, "rejected_lines", [])
    _write(made.audit, "leases", [])
    return made


def _write(audit: Path, table: str, rows: list[dict[str, Any]]) -> None:
    from deltalake import write_deltalake

    schema = _schema(table)
    content = [{name: row.get(name) for name in schema.names} for row in rows]
    write_deltalake(
        str(audit / table),
        pa.Table.from_pylist(content, schema=schema),
        partition_by=[schemas.PARTITIONED_BY[table]],
    )
