"""The SQLite file of a stored datamart: its tables, one connection, and transactions."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS imports (
    id INTEGER PRIMARY KEY AUTOINCREMENT, datamart TEXT NOT NULL, resource TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, import_id INTEGER NOT NULL, datamart TEXT NOT NULL,
    document_type TEXT NOT NULL, status TEXT NOT NULL, created INTEGER NOT NULL, started INTEGER,
    ended INTEGER, succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL, bytes_done INTEGER NOT NULL DEFAULT 0,
    error_bytes INTEGER NOT NULL DEFAULT 0, is_short INTEGER NOT NULL DEFAULT 0,
    has_no_errors INTEGER NOT NULL DEFAULT 0, message TEXT);
CREATE INDEX IF NOT EXISTS executions_of_import ON executions (import_id, id);
CREATE INDEX IF NOT EXISTS open_executions ON executions (id) WHERE ended IS NULL;
CREATE TABLE IF NOT EXISTS identifiers (
    datamart TEXT, kind TEXT, value TEXT, point TEXT NOT NULL, created INTEGER NOT NULL,
    PRIMARY KEY (datamart, kind, value)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS identifiers_of_point ON identifiers (datamart, point);
CREATE TABLE IF NOT EXISTS merges (
    datamart TEXT, point TEXT, at INTEGER NOT NULL);
-- With row ids: as long as a payload is, rows in the order of a key would be moved all the time.
CREATE TABLE IF NOT EXISTS profiles (
    datamart TEXT, point TEXT, compartment TEXT, account TEXT, payload TEXT NOT NULL,
    PRIMARY KEY (datamart, point, compartment, account));
CREATE TABLE IF NOT EXISTS history (
    datamart TEXT, point TEXT, at INTEGER, execution INTEGER, line INTEGER, operation TEXT,
    compartment TEXT, account TEXT, payload TEXT);
CREATE INDEX IF NOT EXISTS history_of_point ON history (datamart, point);
"""


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Database:
    """One connection, used from any thread, one at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA cache_size=-65536")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block is kept, or nothing of it."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()
