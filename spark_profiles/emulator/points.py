"""User points: who they are, which profiles they have, and what a line does to them."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from spark_profiles.emulator import rules
from spark_profiles.emulator.rules import Identifier, Rejected

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from spark_profiles.core.addresses import Address
    from spark_profiles.emulator.behaviour import Behaviour
    from spark_profiles.emulator.database import Database
    from spark_profiles.emulator.rules import Json, Key

_DAY = 24 * 3600 * 1000
HYPER = (
    # kind, more than so many, within so many ms; None: ever
    ("account", 4, 7 * _DAY),
    ("email_hash", 4, 7 * _DAY),
    ("user_agent_id", 10, 2 * _DAY),
    ("merge", 8, 14 * _DAY),
    ("identifier", 100, None),
)
"""What makes a user point a hyper point, as the documentation has it."""
_TYPES = {
    "USER_ACCOUNT": ("account", "user_account_id"),
    "USER_EMAIL": ("email_hash", "hash"),
    "USER_AGENT": ("user_agent_id", "user_agent_id"),
}
"""type of a declared identifier -> its kind, and the member that has its value."""
_NEWER_PROFILES = """
    UPDATE OR REPLACE profiles SET point=? WHERE datamart=? AND point=? AND NOT EXISTS (
        SELECT 1 FROM profiles newer WHERE newer.datamart=profiles.datamart AND newer.point=?
        AND newer.compartment=profiles.compartment AND newer.account=profiles.account
        AND newer.rowid > profiles.rowid)"""
"""Moves profiles to another user point; of two with one key the one that was written last stays.

A row id tells which: the row of a profile that is written gets a higher one than any other has.
"""


class Line:
    """One line of an execution, to be applied within a transaction."""

    def __init__(
        self,
        db: sqlite3.Connection,
        behaviour: Behaviour,
        *,
        datamart: str,
        execution: int,
        number: int,
        now: int,
    ) -> None:
        self._db, self._behaviour = db, behaviour
        self._datamart, self._execution, self._number = datamart, execution, number
        self._now = now

    def apply(self, document_type: str, line: Any, rejects: Callable[[Json], bool]) -> None:
        """Do what the line says.

        Raises:
            Rejected: it cannot be done; nothing was changed.
        """
        if not isinstance(line, dict):
            message = "no JSON object"
            raise Rejected(message)
        if document_type == "USER_PROFILE":
            self._profile(rules.checked(line, self._behaviour), rejects)
        elif document_type == "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS":
            self._associate(line)
        elif document_type == "USER_IDENTIFIERS_DELETION":
            self._forget(_declared(line, self._behaviour))
        elif document_type == "USER_POINTS_DELETION":
            self._remove(line)
        # Lines of the other types are counted; nothing of them is kept.

    def _profile(self, command: Json, rejects: Callable[[Json], bool]) -> None:
        if rejects(command):
            message = "rejected on demand"
            raise Rejected(message)
        address = rules.command_address(command, self._behaviour)
        identifiers = rules.identifiers(address, self._behaviour)
        if command["operation"] == "DELETE":
            self._delete(command, address, self._point(identifiers[0]))
            return
        point = self._link(identifiers)
        key = address.compartment, address.account
        row = self._row(point, key)
        stored = json.loads(row["payload"]) if row else None
        payload = json.dumps(rules.upserted(stored, command, self._behaviour, now=self._now))
        self._db.execute(
            "INSERT OR REPLACE INTO profiles VALUES (?,?,?,?,?)",
            (self._datamart, point, *key, payload),
        )
        self._remember(point, "UPSERT", key, payload)

    def _delete(self, command: Json, address: Address, point: str | None) -> None:
        stored = self._keys(point) if point else []
        keys = rules.deleted_keys(stored, command, address, self._behaviour)
        if point is None or not keys:
            if self._behaviour.delete_of_missing_fails:
                message = "no such profile"
                raise Rejected(message)
            return
        for key in keys:
            self._db.execute(
                "DELETE FROM profiles WHERE datamart=? AND point=? AND compartment=? AND account=?",
                (self._datamart, point, *key),
            )
            self._remember(point, "DELETE", key, None)
        if self._behaviour.point_without_profile == "removed" and not self._keys(point):
            self._db.execute(
                "DELETE FROM identifiers WHERE datamart=? AND point=?", (self._datamart, point)
            )

    def _point(self, who: Identifier) -> str | None:
        row = self._db.execute(
            "SELECT point FROM identifiers WHERE datamart=? AND kind=? AND value=?",
            (self._datamart, who.kind, who.value),
        ).fetchone()
        return str(row["point"]) if row else None

    def _link(self, identifiers: Sequence[Identifier]) -> str:
        """Let all of these name one user point, and return it.

        It is the first of those that are known, into which the others are merged; else a new one.
        """
        points = {one: self._point(one) for one in identifiers}
        known = list(dict.fromkeys(filter(None, points.values())))
        kept = known[0] if known else str(uuid.uuid4())
        for other in known[1:]:
            self._merge(other, kept)
        for one, point in points.items():
            if point is None:
                self._db.execute(
                    "INSERT INTO identifiers VALUES (?,?,?,?,?)",
                    (self._datamart, one.kind, one.value, kept, self._now),
                )
        return kept

    def _merge(self, other: str, kept: str) -> None:
        datamart = self._datamart
        self._db.execute(_NEWER_PROFILES, (kept, datamart, other, kept))
        self._db.execute("DELETE FROM profiles WHERE datamart=? AND point=?", (datamart, other))
        for table in ("identifiers", "history", "merges"):
            self._db.execute(
                f"UPDATE {table} SET point=? WHERE datamart=? AND point=?",  # noqa: S608  our names
                (kept, datamart, other),
            )
        self._db.execute("INSERT INTO merges VALUES (?,?,?)", (datamart, kept, self._now))

    def _row(self, point: str, key: Key) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT payload FROM profiles"
            " WHERE datamart=? AND point=? AND compartment=? AND account=?",
            (self._datamart, point, *key),
        ).fetchone()
        return row

    def _keys(self, point: str) -> list[Key]:
        rows = self._db.execute(
            "SELECT compartment, account FROM profiles WHERE datamart=? AND point=?",
            (self._datamart, point),
        )
        return [(row["compartment"], row["account"]) for row in rows]

    def _remember(self, point: str, operation: str, key: Key, payload: str | None) -> None:
        self._db.execute(
            "INSERT INTO history VALUES (?,?,?,?,?,?,?,?,?)",
            (self._datamart, point, self._now, self._execution, self._number, operation, *key,
             payload),
        )  # fmt: skip

    # Other documents

    def _associate(self, line: Json) -> None:
        declared = line.get("identifiers")
        if not isinstance(declared, list) or not declared:
            message = "identifiers must be a list"
            raise Rejected(message)
        self._link([_declared(one, self._behaviour) for one in declared])

    def _forget(self, who: Identifier) -> None:
        self._db.execute(
            "DELETE FROM identifiers WHERE datamart=? AND kind=? AND value=?",
            (self._datamart, who.kind, who.value),
        )

    def _remove(self, line: Json) -> None:
        if line.get("type") == "USER_POINT":
            point: str | None = str(line.get("user_point_id"))
        else:
            point = self._point(_declared(line, self._behaviour))
        for table in ("profiles", "identifiers", "merges"):
            self._db.execute(
                f"DELETE FROM {table} WHERE datamart=? AND point=?",  # noqa: S608  our names
                (self._datamart, point),
            )


def _declared(item: Any, behaviour: Behaviour) -> Identifier:
    """An identifier as the documents about identifiers write it."""
    named = str(item.get("type")) if isinstance(item, dict) else ""
    if named not in _TYPES:
        message = "type must be USER_ACCOUNT, USER_EMAIL or USER_AGENT"
        raise Rejected(message)
    kind, member = _TYPES[named]
    value = item.get(member)
    if value in (None, ""):
        message = "the identifier has no value"
        raise Rejected(message)
    if kind == "account":
        compartment = rules.known_compartment(item.get("compartment_id"), behaviour)
        return rules.account_identifier(compartment, value)
    return Identifier(kind, str(value))


def find(db: Database, datamart: str, kind: str, value: str) -> str | None:
    """The user point of an identifier, or of its own id; None when it is unknown."""
    if kind == "point":
        rows = db.all(
            "SELECT point FROM identifiers WHERE datamart=? AND point=?"
            " UNION SELECT point FROM profiles WHERE datamart=? AND point=?",
            datamart, value, datamart, value,
        )  # fmt: skip
    else:
        rows = db.all(
            "SELECT point FROM identifiers WHERE datamart=? AND kind=? AND value=?",
            datamart, kind, value,
        )  # fmt: skip
    return str(rows[0]["point"]) if rows else None


def identifiers_of(db: Database, datamart: str, point: str) -> list[Json]:
    """The identifiers of a user point, and the point itself, as the API lists them."""
    rows = db.all(
        "SELECT * FROM identifiers WHERE datamart=? AND point=? ORDER BY kind, value",
        datamart, point,
    )  # fmt: skip
    listed: list[Json] = [{"type": "USER_POINT", "user_point_id": point}]
    for row in rows:
        base = {"creation_ts": row["created"]}
        if row["kind"] == "account":
            compartment, _, account = row["value"].partition("/")
            told = {
                "type": "USER_ACCOUNT", "compartment_id": compartment, "user_account_id": account,
            }  # fmt: skip
        elif row["kind"] == "email_hash":
            told = {"type": "USER_EMAIL", "hash": row["value"]}
        else:
            told = {"type": "USER_AGENT", "user_agent_id": row["value"]}
        listed.append({**told, **base})
    return listed


def hyper_reasons(db: Database, datamart: str, point: str) -> list[str]:
    """Why a user point is a hyper point; nothing when it is none."""
    rows = db.all("SELECT kind, created FROM identifiers WHERE datamart=? AND point=?",
                  datamart, point)  # fmt: skip
    merges = db.all("SELECT at FROM merges WHERE datamart=? AND point=?", datamart, point)
    times: dict[str, list[int]] = {"merge": [row["at"] for row in merges]}
    for row in rows:
        times.setdefault(row["kind"], []).append(row["created"])
        times.setdefault("identifier", []).append(row["created"])
    reasons = []
    for kind, most, within in HYPER:
        if _crowded(sorted(times.get(kind, [])), most, within):
            span = f" in {within // _DAY} days" if within else ""
            reasons.append(f"more than {most} of {kind}{span}")
    return reasons


def _crowded(times: Sequence[int], most: int, within: int | None) -> bool:
    """Whether more than `most` of these lie within so many milliseconds."""
    return any(
        within is None or later - sooner < within
        for sooner, later in zip(times, times[most:], strict=False)
    )
