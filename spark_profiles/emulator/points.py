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

    from spark_profiles.emulator.behaviour import Behaviour
    from spark_profiles.emulator.database import Database
    from spark_profiles.emulator.rules import Json

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
_TYPES = {"USER_ACCOUNT": "account", "USER_EMAIL": "email_hash", "USER_AGENT": "user_agent_id"}


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
        who = rules.identifier(command, self._behaviour)
        key = rules.profile_key(command, self._behaviour)
        if command["operation"] == "DELETE":
            self._delete(command, who, key)
            return
        point = self._point(who) or ""
        row = self._row(point, key)
        stored = json.loads(row["payload"]) if row else None
        after = rules.upserted(stored, command, self._behaviour, now=self._now)
        point = point or self._create(who)
        payload = json.dumps(after)
        self._db.execute(
            "INSERT OR REPLACE INTO profiles VALUES (?,?,?,?,?)",
            (self._datamart, point, *key, payload),
        )
        self._remember(point, "UPSERT", key, payload)

    def _delete(self, command: Json, who: Identifier, key: tuple[str, str]) -> None:
        point = self._point(who)
        keys = [key]
        if point and rules.names_no_profile(command):
            is_all = self._behaviour.delete_without_keys == "all profiles"
            keys = self._keys(point) if is_all else keys
        found = [one for one in keys if point and self._row(point, one)]
        if not found:
            if self._behaviour.delete_of_missing_fails:
                message = "no such profile"
                raise Rejected(message)
            return
        for one in found:
            self._db.execute(
                "DELETE FROM profiles WHERE datamart=? AND point=? AND compartment=? AND account=?",
                (self._datamart, point, *one),
            )
            self._remember(str(point), "DELETE", one, None)
        if self._behaviour.point_without_profile == "removed" and not self._keys(str(point)):
            self._db.execute(
                "DELETE FROM identifiers WHERE datamart=? AND point=?", (self._datamart, point)
            )

    def _point(self, who: Identifier) -> str | None:
        row = self._db.execute(
            "SELECT point FROM identifiers WHERE datamart=? AND kind=? AND value=?",
            (self._datamart, who.kind, who.value),
        ).fetchone()
        return str(row["point"]) if row else None

    def _create(self, who: Identifier, point: str | None = None) -> str:
        """A user point with this identifier; a new one unless `point` names it."""
        point = point or str(uuid.uuid4())
        self._db.execute(
            "INSERT OR REPLACE INTO identifiers VALUES (?,?,?,?,?)",
            (self._datamart, who.kind, who.value, point, self._now),
        )
        return point

    def _row(self, point: str, key: tuple[str, str]) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT payload FROM profiles"
            " WHERE datamart=? AND point=? AND compartment=? AND account=?",
            (self._datamart, point, *key),
        ).fetchone()
        return row

    def _keys(self, point: str) -> list[tuple[str, str]]:
        rows = self._db.execute(
            "SELECT compartment, account FROM profiles WHERE datamart=? AND point=?",
            (self._datamart, point),
        )
        return [(row["compartment"], row["account"]) for row in rows]

    def _remember(
        self, point: str, operation: str, key: tuple[str, str], payload: str | None
    ) -> None:
        self._db.execute(
            "INSERT INTO history VALUES (?,?,?,?,?,?,?,?,?)",
            (self._datamart, point, self._now, self._execution, self._number, operation, *key,
             payload),
        )  # fmt: skip

    # Other documents

    def _associate(self, line: Json) -> None:
        """One user point that has all the identifiers: a new one, or those known merged."""
        declared = line.get("identifiers")
        if not isinstance(declared, list) or not declared:
            message = "identifiers must be a list"
            raise Rejected(message)
        whos = [_declared(one, self._behaviour) for one in declared]
        known = list(dict.fromkeys(point for who in whos if (point := self._point(who))))
        kept = known[0] if known else str(uuid.uuid4())
        for other in known[1:]:
            self._merge(other, kept)
        for who in whos:
            if self._point(who) is None:
                self._create(who, kept)

    def _merge(self, other: str, kept: str) -> None:
        for sql in (
            "UPDATE identifiers SET point=? WHERE datamart=? AND point=?",
            "UPDATE OR IGNORE profiles SET point=? WHERE datamart=? AND point=?",
            "UPDATE history SET point=? WHERE datamart=? AND point=?",
            "UPDATE merges SET point=? WHERE datamart=? AND point=?",
        ):
            self._db.execute(sql, (kept, self._datamart, other))
        self._db.execute(
            "DELETE FROM profiles WHERE datamart=? AND point=?", (self._datamart, other)
        )
        self._db.execute("INSERT INTO merges VALUES (?,?,?)", (self._datamart, kept, self._now))

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
    kind = _TYPES.get(item.get("type", "")) if isinstance(item, dict) else None
    if kind is None:
        message = "type must be USER_ACCOUNT, USER_EMAIL or USER_AGENT"
        raise Rejected(message)
    if kind == "account":
        return rules.identifier(item, behaviour)
    value = item.get("hash") if kind == "email_hash" else item.get("user_agent_id")
    if not value:
        message = "the identifier has no value"
        raise Rejected(message)
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
