"""The stored datamart: one SQLite file and a folder of uploaded bodies; survives restarts."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING, Any

from spark_profiles.emulator import points, rules
from spark_profiles.emulator.behaviour import Behaviour
from spark_profiles.emulator.database import Database, now_ms
from spark_profiles.emulator.rules import Rejected

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spark_profiles.emulator.faults import Faults
    from spark_profiles.emulator.rules import Json

PENDING, RUNNING, SUCCEEDED, FAILED = "PENDING", "RUNNING", "SUCCEEDED", "FAILED"
CANCELED = "CANCELED"
_CHUNK = 1000
"""So many lines are applied at once; between them others are answered."""


class Store:
    """The datamarts of one server. All methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        behaviour: Behaviour = Behaviour(),  # noqa: B008  frozen
        now_ms: Callable[[], int] = now_ms,
    ) -> None:
        self.path, self.behaviour, self.now_ms = path, behaviour, now_ms
        self.db = Database(path)
        self._bodies = path.with_name(path.name + ".files")
        self._bodies.mkdir(exist_ok=True)
        for left in self._bodies.glob("*.partial"):
            left.unlink()
        self.arrived = threading.Event()
        """Set when there may be something to do."""

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    # Document imports

    def create_import(self, datamart: str, resource: Json) -> Json:
        """Store a document import; returns it with its id."""
        with self.db.transaction() as db:
            made = db.execute(
                "INSERT INTO imports (datamart, resource) VALUES (?, ?)",
                (datamart, json.dumps(resource)),
            )
            return self._import(made.lastrowid, datamart, resource)

    def imports(self, datamart: str | None = None) -> list[Json]:
        """Document imports, newest first: of one datamart, or all."""
        where, values = ("WHERE datamart=?", [datamart]) if datamart else ("", [])
        rows = self.db.all(f"SELECT * FROM imports {where} ORDER BY id DESC", *values)  # noqa: S608
        return [self._import(r["id"], r["datamart"], json.loads(r["resource"])) for r in rows]

    def one_import(self, datamart: str, import_id: str) -> Json | None:
        """One document import."""
        rows = self.db.all("SELECT * FROM imports WHERE datamart=? AND id=?", datamart, import_id)
        if not rows or str(rows[0]["id"]) != import_id:
            return None
        return self._import(rows[0]["id"], datamart, json.loads(rows[0]["resource"]))

    def update_import(self, datamart: str, import_id: str, resource: Json) -> None:
        """Replace what is stored of an import."""
        with self.db.transaction() as db:
            db.execute(
                "UPDATE imports SET resource=? WHERE datamart=? AND id=?",
                (json.dumps(resource), datamart, import_id),
            )

    def delete_import(self, datamart: str, import_id: str) -> None:
        """Forget an import; its executions go on."""
        with self.db.transaction() as db:
            db.execute("DELETE FROM imports WHERE datamart=? AND id=?", (datamart, import_id))

    @staticmethod
    def _import(import_id: int | None, datamart: str, resource: Json) -> Json:
        system = {"id": str(import_id), "datafarm_key": "DF_EMULATOR", "datamart_id": datamart}
        return {**resource, **system}

    # Executions

    def create_execution(self, resource: Json, body: Path) -> sqlite3.Row:
        """Take an uploaded body; it is applied later. Returns the execution as it is now."""
        with self.db.transaction() as db:
            made = db.execute(
                "INSERT INTO executions (import_id, datamart, document_type, status, created,"
                " bytes) VALUES (?,?,?,?,?,?)",
                (resource["id"], resource["datamart_id"], resource["document_type"], PENDING,
                 self.now_ms(), body.stat().st_size),
            )  # fmt: skip
            number = int(made.lastrowid or 0)
            body.rename(self.input_file(number))
            row: sqlite3.Row = db.execute(
                "SELECT * FROM executions WHERE id=?", (number,)
            ).fetchone()
        self.arrived.set()
        return row

    def executions(self, import_id: str | None = None) -> list[sqlite3.Row]:
        """Executions, newest first; of one import, or all."""
        if import_id is None:
            return self.db.all("SELECT * FROM executions ORDER BY id DESC")
        return self.db.all("SELECT * FROM executions WHERE import_id=? ORDER BY id DESC", import_id)

    def execution(self, import_id: str, number: str) -> sqlite3.Row | None:
        """One execution of an import."""
        rows = self.db.all("SELECT * FROM executions WHERE import_id=? AND id=?", import_id, number)
        return rows[0] if rows and str(rows[0]["id"]) == number else None

    def open_executions(self) -> list[sqlite3.Row]:
        """Executions that have not ended, oldest first."""
        return self.db.all("SELECT * FROM executions WHERE ended IS NULL ORDER BY id")

    def cancel(self, number: int) -> bool:
        """Cancel an execution; False when it is too late."""
        states = (PENDING, RUNNING) if self.behaviour.cancel_running else (PENDING, PENDING)
        with self.db.transaction() as db:
            done = db.execute(
                "UPDATE executions SET status=?, ended=? WHERE id=? AND status IN (?, ?)",
                (CANCELED, self.now_ms(), number, *states),
            )
            return done.rowcount == 1

    def input_file(self, number: int) -> Path:
        """Where the body of an execution lies."""
        return self._bodies / f"{number}.ndjson"

    def error_file(self, number: int) -> Path:
        """Where the rejected lines of an execution lie, if there are any."""
        return self._bodies / f"{number}.errors.ndjson"

    def body_to_fill(self) -> Path:
        """A new file name for a body that arrives."""
        return self._bodies / f"{uuid.uuid4()}.partial"

    def start(self, number: int) -> bool:
        """Mark a pending execution as running; False when it was cancelled meanwhile."""
        with self.db.transaction() as db:
            done = db.execute(
                "UPDATE executions SET status=?, started=? WHERE id=? AND status=?",
                (RUNNING, self.now_ms(), number, PENDING),
            )
            return done.rowcount == 1

    def forget(self, number: int) -> None:
        """Lose an execution."""
        with self.db.transaction() as db:
            db.execute("DELETE FROM executions WHERE id=?", (number,))

    def fail(self, number: int, message: str) -> None:
        """End an execution as a whole failure; nothing of it is applied."""
        self._end(number, FAILED, message)

    def _end(self, number: int, status: str, message: str | None, **facts: bool) -> None:
        with self.db.transaction() as db:
            db.execute(
                "UPDATE executions SET status=?, ended=?, message=?, is_short=?, has_no_errors=?"
                " WHERE id=? AND ended IS NULL",
                (status, self.now_ms(), message, facts.get("is_short", False),
                 facts.get("has_no_errors", False), number),
            )  # fmt: skip

    def apply(self, number: int, faults: Faults) -> None:
        """Apply the lines of a running execution, in order, so many at once.

        What was applied and how far is kept together, so that a stop in the middle goes on there.
        """
        share = fault.share if (fault := faults.take({"partial"})) else 0.0
        while row := self._applied(number, faults, share):
            if row["bytes_done"] >= row["bytes"]:
                break
        if row is None:  # cancelled meanwhile
            return
        message = f"{row['failed']} records failed" if row["failed"] else None
        is_none = row["failed"] and not row["succeeded"]
        status = self.behaviour.no_line_succeeds if is_none else SUCCEEDED
        is_short = faults.take({"wrong_totals"}) is not None
        has_no_errors = bool(row["failed"]) and faults.take({"no_error_file"}) is not None
        if has_no_errors:
            self.error_file(number).unlink(missing_ok=True)
        self._end(number, status, message, is_short=is_short, has_no_errors=has_no_errors)

    def _applied(self, number: int, faults: Faults, share: float) -> sqlite3.Row | None:
        """Apply the next lines; the execution as it is then, None if it runs no more."""
        with (
            self.input_file(number).open("rb") as body,
            self.error_file(number).open("ab") as told,
            self.db.transaction() as db,
        ):
            row: sqlite3.Row = db.execute(
                "SELECT * FROM executions WHERE id=? AND status=?", (number, RUNNING)
            ).fetchone()
            if row is None:
                return None
            body.seek(row["bytes_done"])
            told.truncate(row["error_bytes"])
            told.seek(row["error_bytes"])
            succeeded = failed = 0
            position = int(row["succeeded"]) + int(row["failed"])
            done = row["bytes_done"]
            while succeeded + failed < _CHUNK and (line := body.readline()):
                done += len(line)
                position += 1
                try:
                    if self.behaviour.applies:
                        self._apply_line(db, row, position, line, faults, share)
                    succeeded += 1
                except (Rejected, ValueError) as reason:
                    failed += 1
                    told.write(self._told(position, reason))
            db.execute(
                "UPDATE executions SET succeeded=succeeded+?, failed=failed+?, bytes_done=?,"
                " error_bytes=? WHERE id=?",
                (succeeded, failed, done, told.tell(), number),
            )
            told.flush()
            after: sqlite3.Row = db.execute(
                "SELECT * FROM executions WHERE id=?", (number,)
            ).fetchone()
        if not after["error_bytes"]:
            self.error_file(number).unlink(missing_ok=True)
        return after

    def _apply_line(
        self,
        db: sqlite3.Connection,
        row: sqlite3.Row,
        position: int,
        line: bytes,
        faults: Faults,
        share: float,
    ) -> None:
        if share and faults.draws(share):
            message = "rejected by a draw"
            raise Rejected(message)
        one = points.Line(
            db,
            self.behaviour,
            datamart=row["datamart"],
            execution=row["id"],
            number=position,
            now=self.now_ms(),
        )
        one.apply(row["document_type"], json.loads(line), faults.rejects)

    def _told(self, position: int, reason: Exception) -> bytes:
        if self.behaviour.error_file == "text":
            return f"{reason}\n".encode()
        return json.dumps({"line": position, "message": str(reason)}).encode() + b"\n"

    # Reading back

    def profiles(self, datamart: str | None = None) -> Iterator[tuple[str, str, Json]]:
        """Every profile: compartment, account and payload without the system's timestamps."""
        where, values = ("WHERE datamart=?", [datamart]) if datamart else ("", [])
        rows = self.db.all(
            f"SELECT * FROM profiles {where} ORDER BY compartment, account",  # noqa: S608
            *values,
        )
        for row in rows:
            payload = json.loads(row["payload"])
            custom = {k: v for k, v in payload.items() if k not in rules.SYSTEM_FIELDS}
            yield row["compartment"], row["account"], custom

    def profiles_of(self, datamart: str, kind: str, value: str) -> list[Json] | None:
        """The profiles of one user point; None when the identifier is unknown."""
        point = points.find(self.db, datamart, kind, value)
        if point is None:
            return None
        found = self.db.all(
            "SELECT payload FROM profiles WHERE datamart=? AND point=?"
            " ORDER BY compartment, account",
            datamart, point,
        )  # fmt: skip
        return [json.loads(row["payload"]) for row in found]

    def history(self, datamart: str, point: str) -> list[dict[str, Any]]:
        """What happened to the profiles of a user point, newest first."""
        rows = self.db.all(
            "SELECT * FROM history WHERE datamart=? AND point=? ORDER BY rowid DESC LIMIT 200",
            datamart, point,
        )  # fmt: skip
        return [dict(row) for row in rows]
