"""The stored datamart: one SQLite file and a folder of uploaded bodies; survives restarts."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spark_profiles.emulator import rules
from spark_profiles.emulator.rules import Behaviour, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spark_profiles.emulator.rules import Json

_SCHEMA = """
CREATE TABLE IF NOT EXISTS imports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, datamart TEXT NOT NULL, resource TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, import_id INTEGER NOT NULL, datamart TEXT NOT NULL,
    status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER, ended INTEGER,
    succeeded INTEGER, failed INTEGER, message TEXT);
CREATE TABLE IF NOT EXISTS identifiers (
    datamart TEXT, kind TEXT, value TEXT, point TEXT NOT NULL,
    PRIMARY KEY (datamart, kind, value));
CREATE TABLE IF NOT EXISTS profiles (
    datamart TEXT, point TEXT, compartment TEXT, account TEXT, payload TEXT NOT NULL,
    PRIMARY KEY (datamart, point, compartment, account));
"""

PENDING, RUNNING, SUCCEEDED, FAILED = "PENDING", "RUNNING", "SUCCEEDED", "FAILED"
CANCELED = "CANCELED"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Store:
    """The datamart. All methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        behaviour: Behaviour = Behaviour(),  # noqa: B008  frozen
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.behaviour, self._now_ms = path, behaviour, now_ms
        self._bodies = path.with_name(path.name + ".files")
        self._bodies.mkdir(exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)
        # What ran when the server stopped is applied again from its beginning.
        self._connection.execute("UPDATE executions SET status='PENDING' WHERE status='RUNNING'")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    # Document imports

    def create_import(self, datamart: str, resource: Json) -> Json:
        """Store a document import; returns it with its id."""
        with self._transaction() as db:
            made = db.execute(
                "INSERT INTO imports (datamart, resource) VALUES (?, ?)",
                (datamart, json.dumps(resource)),
            )
            return self._import(made.lastrowid, datamart, resource)

    def imports(self, datamart: str) -> list[Json]:
        """All document imports, oldest first."""
        rows = self._all("SELECT * FROM imports WHERE datamart=? ORDER BY id", datamart)
        return [self._import(r["id"], datamart, json.loads(r["resource"])) for r in rows]

    def update_import(self, datamart: str, import_id: str, resource: Json) -> None:
        """Replace what is stored of an import."""
        with self._transaction() as db:
            db.execute(
                "UPDATE imports SET resource=? WHERE datamart=? AND id=?",
                (json.dumps(resource), datamart, import_id),
            )

    def delete_import(self, datamart: str, import_id: str) -> None:
        """Forget an import; its executions stay."""
        with self._transaction() as db:
            db.execute("DELETE FROM imports WHERE datamart=? AND id=?", (datamart, import_id))

    @staticmethod
    def _import(import_id: int | None, datamart: str, resource: Json) -> Json:
        system = {"id": str(import_id), "datafarm_key": "DF_EMULATOR", "datamart_id": datamart}
        return {**resource, **system}

    # Executions

    def create_execution(self, datamart: str, import_id: str, body: Path) -> int:
        """Take an uploaded body; it is applied later, by `work`."""
        with self._transaction() as db:
            made = db.execute(
                "INSERT INTO executions (import_id, datamart, status, created) VALUES (?,?,?,?)",
                (import_id, datamart, PENDING, self._now_ms()),
            )
            number = int(made.lastrowid or 0)
            body.rename(self.input_file(number))
            return number

    def executions(self, import_id: str | None = None) -> list[sqlite3.Row]:
        """Executions, newest first; of one import, or all."""
        if import_id is None:
            return self._all("SELECT * FROM executions ORDER BY id DESC")
        return self._all("SELECT * FROM executions WHERE import_id=? ORDER BY id DESC", import_id)

    def cancel(self, number: int) -> bool:
        """Cancel a pending execution; False when it is not pending any more."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE executions SET status=? WHERE id=? AND status=?",
                (CANCELED, number, PENDING),
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

    def next_pending(self) -> int | None:
        """The oldest execution that waits."""
        rows = self._all("SELECT min(id) AS id FROM executions WHERE status=?", PENDING)
        number: int | None = rows[0]["id"]
        return number

    def start(self, number: int) -> bool:
        """Mark a pending execution as running; False when it was cancelled meanwhile."""
        with self._transaction() as db:
            done = db.execute(
                "UPDATE executions SET status=?, started=? WHERE id=? AND status=?",
                (RUNNING, self._now_ms(), number, PENDING),
            )
            return done.rowcount == 1

    def fail(self, number: int, message: str) -> None:
        """End an execution as a whole failure; nothing of it is applied."""
        with self._transaction() as db:
            db.execute(
                "UPDATE executions SET status=?, ended=?, message=? WHERE id=?",
                (FAILED, self._now_ms(), message, number),
            )

    def apply(self, number: int, *, rejects: Callable[[Json], bool]) -> None:
        """Apply the lines of a running execution, in order, all in one transaction."""
        succeeded = failed = 0
        errors = self.error_file(number)
        with (
            self.input_file(number).open("rb") as lines,
            errors.open("w", encoding="utf-8") as told,
            self._transaction() as db,
        ):
            datamart = db.execute("SELECT datamart FROM executions WHERE id=?", (number,))
            name = datamart.fetchone()["datamart"]
            for position, line in enumerate(lines, start=1):
                try:
                    self._apply_line(db, name, json.loads(line), rejects)
                    succeeded += 1
                except (Rejected, ValueError) as reason:
                    failed += 1
                    told.write(json.dumps({"line": position, "message": str(reason)}) + "\n")
            message = f"{failed} records failed" if failed else None
            db.execute(
                "UPDATE executions SET status=?, ended=?, succeeded=?, failed=?, message=?"
                " WHERE id=?",
                (SUCCEEDED, self._now_ms(), succeeded, failed, message, number),
            )
        if not failed:
            errors.unlink()

    def _apply_line(
        self, db: sqlite3.Connection, datamart: str, line: Any, rejects: Callable[[Json], bool]
    ) -> None:
        command = rules.checked(line)
        if rejects(command):
            message = "rejected on demand"
            raise Rejected(message)
        who = rules.identifier(command, self.behaviour)
        compartment, account = rules.profile_key(command, self.behaviour)
        point = self._point(db, datamart, who, create=command["operation"] == "UPSERT")
        key = (datamart, point, compartment, account)
        where = "WHERE datamart=? AND point=? AND compartment=? AND account=?"
        row = db.execute(f"SELECT payload FROM profiles {where}", key).fetchone()  # noqa: S608
        if command["operation"] == "DELETE":
            if row is None and self.behaviour.delete_of_missing_fails:
                message = "no such profile"
                raise Rejected(message)
            db.execute(f"DELETE FROM profiles {where}", key)  # noqa: S608
            return
        stored = json.loads(row["payload"]) if row else None
        after = rules.upserted(stored, command, self.behaviour, now=self._now_ms())
        db.execute(
            "INSERT OR REPLACE INTO profiles VALUES (?,?,?,?,?)",
            (*key, json.dumps(after, ensure_ascii=False)),
        )

    @staticmethod
    def _point(
        db: sqlite3.Connection, datamart: str, who: rules.Identifier, *, create: bool
    ) -> str:
        row = db.execute(
            "SELECT point FROM identifiers WHERE datamart=? AND kind=? AND value=?",
            (datamart, who.kind, who.value),
        ).fetchone()
        if row:
            return str(row["point"])
        point = str(uuid.uuid4())
        if create:
            db.execute(
                "INSERT INTO identifiers VALUES (?,?,?,?)", (datamart, who.kind, who.value, point)
            )
        return point

    # Reading back

    def profiles(self) -> Iterator[tuple[str, str, Json]]:
        """Every profile: compartment, account and payload without the system's timestamps."""
        rows = self._all("SELECT * FROM profiles ORDER BY compartment, account")
        for row in rows:
            payload = json.loads(row["payload"])
            custom = {k: v for k, v in payload.items() if k not in rules.SYSTEM_FIELDS}
            yield row["compartment"], row["account"], custom

    def profiles_of(self, datamart: str, kind: str, value: str) -> list[Json] | None:
        """The profiles of one user point; None when the identifier is unknown."""
        if kind == "point":
            points = [value]
        else:
            rows = self._all(
                "SELECT point FROM identifiers WHERE datamart=? AND kind=? AND value=?",
                datamart, kind, value,
            )  # fmt: skip
            points = [row["point"] for row in rows]
        if not points:
            return None
        found = self._all(
            "SELECT payload FROM profiles WHERE datamart=? AND point=?"
            " ORDER BY compartment, account",
            datamart, points[0],
        )  # fmt: skip
        return [json.loads(row["payload"]) for row in found]
