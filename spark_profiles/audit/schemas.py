"""The audit tables: their columns, and the words that stand in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spark_profiles.audit.records import FileStatus
from spark_profiles.audit.states import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

# How a profile differs from its last confirmed delivery.
NEW, CHANGED, MOVED, RESENT = "new", "changed", "moved", "resent"
UPSERTED = (NEW, CHANGED, MOVED, RESENT)
"""The line brings the profile to its address."""
GONE, LEFT = "gone", "left"
DELETED = (GONE, LEFT)
"""The line removes the profile: its user is gone, or has another address now."""
SAME, HELD, KEPT, UNUSABLE, REPLACED = "same", "held", "kept", "unusable", "replaced"
NOT_SENT = (HELD, KEPT, UNUSABLE, REPLACED)
"""Recorded, but nothing is sent."""

# Lines of the second phase are sent when the deletes of the first are confirmed.
FIRST_PHASE, SECOND_PHASE = 1, 2

# What a line asks of the platform.
UPSERT, DELETE = "UPSERT", "DELETE"
FORCE_REPLACE = "FORCE_REPLACE"

SOURCE_COUNTS = (
    "source: string, rows: bigint, used: bigint, refused: bigint, duplicate: bigint,"
    " orphan: bigint, after_as_of: bigint, newest: timestamp, users: bigint"
)

RULE_COUNTS = "source: string, rule: string, rows: bigint"
CONSENT_COUNTS = "purpose: string, granted: bigint, refused: bigint, unknown: bigint"

RUNS = f"""
    run_id string, name string, status string, as_of timestamp, definition_hash string,
    definition string, library_version string, engine string, output string,
    sources array<struct<name: string, location: string, version: bigint>>,
    counts array<struct<{SOURCE_COUNTS}>>,
    profiles bigint, new bigint, changed bigint, gone bigint, same bigint, held bigint,
    kept bigint, lines bigint, refused_lines bigint, files bigint, bytes bigint,
    document_import_id string,
    confirmed bigint, rejected bigint, message string, tripped string, accepted string,
    accepted_by string, accepted_why string, started_at timestamp, updated_at timestamp,
    kind string, pruned_at timestamp, unusable bigint,
    warnings array<struct<{RULE_COUNTS}>>, consents array<struct<{CONSENT_COUNTS}>>,
    patches bigint, saved bigint, moved bigint, left_addresses bigint, resent bigint,
    replaced bigint
"""

LINES = """
    run_id string, name string, profile_key string, change string, operation string,
    strategy string, identifier string, payload string, payload_hash string, bytes bigint,
    bucket int, place bigint, delivered_hash string, properties array<string>, since timestamp,
    patch string, saved bigint, address string, phase int
"""

FILES = """
    run_id string, file string, operation string, lines bigint, bytes bigint, sha256 string,
    first_bucket int, last_bucket int, ranges string, status string, document_import_id string,
    execution_id string, total_success bigint, total_failure bigint, message string,
    attempts int, phase int
"""

REFUSED_ROWS = "run_id string, source string, key string, reasons array<string>, row string"

REJECTED_LINES = """
    run_id string, name string, file string, line_number bigint, profile_key string,
    payload string, payload_hash string, message string, address string, operation string
"""

# Where it is not certain how the platform holds a profile, `payload_hash` is this.
IN_DOUBT = "in doubt"
DELIVERED = """
    name string, profile_key string, identifier string, payload string, payload_hash string,
    run_id string, address string
"""

PROPERTY_STATS = """
    run_id string, name string, profiles bigint, known bigint, mean double, deviation double
"""

ERASURES = """
    run_id string, status string, receipt string, pending string, requested_at timestamp,
    erased_at timestamp, vacuumed_at timestamp
"""

VERSIONS = "schema_version int, library_version string, migrated_at timestamp"

LEASES = "name string, owner string, until timestamp"

TABLES = {
    "leases": LEASES,
    "runs": RUNS,
    "lines": LINES,
    "files": FILES,
    "property_stats": PROPERTY_STATS,
    "refused_rows": REFUSED_ROWS,
    "rejected_lines": REJECTED_LINES,
    "delivered": DELIVERED,
    "erasures": ERASURES,
    "versions": VERSIONS,
}

PARTITIONED_BY = {
    "leases": "name",
    "runs": "run_id",
    "lines": "run_id",
    "files": "run_id",
    "property_stats": "run_id",
    "refused_rows": "run_id",
    "rejected_lines": "run_id",
    "delivered": "name",
    "erasures": "run_id",
    "versions": "schema_version",
}

NOT_NULL = {
    "leases": ("name", "owner", "until"),
    "runs": ("run_id", "name", "status", "as_of", "definition_hash"),
    "lines": ("run_id", "name", "profile_key", "change"),
    "files": ("run_id", "file", "operation", "status"),
    "property_stats": ("run_id", "name"),
    "refused_rows": ("run_id", "source"),
    "rejected_lines": ("run_id", "name", "file"),
    "delivered": ("name", "profile_key", "address", "payload_hash", "run_id"),
    "erasures": ("run_id", "status"),
    "versions": ("schema_version",),
}
"""Columns without which a row says nothing."""


def _known(column: str, words: Iterable[str]) -> str:
    quoted = ", ".join(f"'{word}'" for word in words)
    return f"{column} IN ({quoted})"


def _checks(table: str, **words: str) -> dict[str, str]:
    keys = " AND ".join(f"{column} IS NOT NULL" for column in NOT_NULL[table])
    return {"keys": keys, **words}


_OPERATION = _known("operation", (UPSERT, DELETE))
_WORDS = {
    "runs": {"known_status": _known("status", (status.value for status in RunStatus))},
    "lines": {"known_operation": f"operation IS NULL OR {_OPERATION}"},
    "files": {
        "known_status": _known("status", (status.value for status in FileStatus)),
        "known_operation": _OPERATION,
    },
}
# Only settled words, for Sail cannot tell a table another one later: not those of `change`.
CHECKS = {table: _checks(table, **_WORDS.get(table, {})) for table in NOT_NULL}
"""CHECK constraints: table -> name -> condition. In Delta a condition that is null is broken.

That keys are there is a CHECK too, not a NOT NULL: tables that are there already can get it, and
Sail reads no column that is NOT NULL once delta-rs has merged into it.
"""

PROPERTIES = {
    "delta.enableDeletionVectors": "false",  # any Delta reader can open them
    # No smallest and largest values in the log: they would outlive an erased person.
    "delta.dataSkippingNumIndexedCols": "0",
}


def columns(table: str) -> list[tuple[str, str]]:
    """Name and type of each column of a table: its text, split at its outer commas."""
    parts = re.split(r",(?![^<]*>)", TABLES[table])
    return [(name, to) for name, _, to in (part.strip().partition(" ") for part in parts)]


def properties(table: str, *, checks: bool = True) -> dict[str, str]:
    """The properties of a new table; CHECK constraints are such."""
    conditions = CHECKS[table] if checks else {}
    return {**PROPERTIES, **{f"delta.constraints.{n}": text for n, text in conditions.items()}}


def creation(table: str, target: str, *, checks: bool = True) -> str:
    """The statement that creates the table at `target`, where it is not there yet.

    With `checks` also its CHECK constraints.
    """
    texts = {n: text.replace("'", r"\'") for n, text in properties(table, checks=checks).items()}
    told = ", ".join(f"'{name}' = '{text}'" for name, text in texts.items())
    return (
        f"CREATE TABLE IF NOT EXISTS {target} ({TABLES[table]}) USING delta"
        f" PARTITIONED BY ({PARTITIONED_BY[table]}) TBLPROPERTIES ({told})"
    )
