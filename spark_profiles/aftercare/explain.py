"""EDGE. A user -> what was sent about them, in which run, file and line, and what was answered.

From the audit tables alone; `why` adds the source rows behind a value. Values are hidden unless
they are asked for: places, counts and states are enough for most questions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles.aftercare import persons
from spark_profiles.audit import history, places
from spark_profiles.audit.schemas import DELETE
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pyspark.sql import Row

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit

NOTHING = object()
"""What a payload holds where it has no such property."""


@dataclass(frozen=True)
class Event:
    """One line about a profile, as a run recorded it."""

    run_id: str
    kind: str
    as_of: datetime
    change: str
    properties: tuple[str, ...]
    """Top-level properties in which it differed from the delivery before."""
    address: str
    """Under which the platform stores the profile, see `core.addresses`."""
    operation: str | None
    file: str | None
    line: int | None
    """In the file, counted from 1."""
    answer: str
    """confirmed, rejected, not sent, or the state of the file."""
    message: str | None
    payload: str | None


@dataclass(frozen=True)
class Account:
    """All that the tables tell about one profile; the newest event comes last."""

    name: str
    profile_key: str
    events: tuple[Event, ...]
    delivered: str | None
    """The payload as last confirmed; None: the platform has no such profile from us."""
    refused: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Run, source and reasons of each refused row with this key."""


def explain(audit: Audit, user: str) -> list[Account]:
    """What was sent about the profiles that an account id, e-mail address or hash names.

    Raises:
        DefinitionError: the tables know nobody of that name; it is not repeated.
    """
    found = persons.search(audit, [user]).profiles.get(user)
    if not found:
        problem = Problem(
            "user", "no line and no delivered profile (not shown)", "a key, account or address"
        )
        message = "The audit tables know nobody of that name"
        raise DefinitionError(message, problem)
    return [_account(audit, name, key) for name, key in found]


def _account(audit: Audit, name: str, key: str) -> Account:
    runs = audit.runs(name)
    mine = F.col("profile_key") == key
    delivered = audit.delivered(name).where(mine).select("payload").collect()
    of_runs = audit.read("refused_rows").where(
        F.col("run_id").isin([run.run_id for run in runs]) & (F.col("key") == key)
    )
    refused = of_runs.orderBy("run_id", "source").collect()
    return Account(
        name=name,
        profile_key=key,
        events=_events(audit, name, key, runs),
        delivered=delivered[0]["payload"] if delivered else None,
        refused=tuple((r["run_id"], r["source"], tuple(r["reasons"])) for r in refused),
    )


def _events(audit: Audit, name: str, key: str, runs: Sequence[Run]) -> tuple[Event, ...]:
    by_id = {run.run_id: run for run in runs}
    mine = F.col("profile_key") == key
    sent = {_place(row): row for row in history.sent(audit, runs).where(mine).collect()}
    numbers = _line_numbers(audit, [by_id[run_id] for run_id in {run for run, _ in sent}], key)
    said = audit.read("rejected_lines").where((F.col("name") == name) & mine).collect()
    messages = {_place(row): row["message"] for row in said}
    lines = audit.read("lines").where((F.col("name") == name) & mine).collect()
    order = {run_id: number for number, run_id in enumerate(by_id)}
    events = []
    for row in sorted(
        lines, key=lambda r: (order[r["run_id"]], r["operation"] != DELETE, _place(r))
    ):
        place, run = _place(row), by_id[row["run_id"]]
        placed = sent.get(place)
        events.append(
            Event(
                run_id=run.run_id,
                kind=run.kind or "run",
                as_of=run.as_of,
                change=row["change"],
                properties=tuple(row["properties"] or ()),
                address=place[1],
                operation=row["operation"],
                file=placed["file"] if placed else None,
                line=numbers.get(place),
                answer=_answer(placed, is_rejected=place in messages),
                message=messages.get(place),
                payload=row["payload"],
            )
        )
    return tuple(events)


def _answer(placed: Any, *, is_rejected: bool) -> str:
    if is_rejected:
        return "rejected"
    if placed is None or placed["file_status"] in (None, "written"):
        return "not sent"
    return "confirmed" if placed["is_confirmed"] else str(placed["file_status"])


def _place(row: Row) -> tuple[str, str]:
    """Run and address."""
    return row["run_id"], row["address"] or ""


def _line_numbers(audit: Audit, runs: Sequence[Run], key: str) -> dict[tuple[str, str], int]:
    """The lines of the user in their files, by run and address."""
    if not runs:
        return {}
    lines = history.sent(audit, runs).where(F.col("file").isNotNull())
    mine = lines.where(F.col("profile_key") == key).select("run_id", "file").distinct()
    of_files = lines.join(F.broadcast(mine), on=["run_id", "file"], how="left_semi")
    numbered = places.numbered(of_files, "run_id").where(F.col("profile_key") == key)
    return {_place(row): row["line_number"] for row in numbered.collect()}


def value_at(payload: str | None, path: str) -> Any:
    """The value at a dotted path of a payload; `NOTHING` where there is none.

    >>> value_at('{"contact": {"city": "Lyon"}}', "contact.city")
    'Lyon'
    >>> value_at('{"contact": {}}', "contact.city") is NOTHING
    True
    """
    value: Any = json.loads(payload) if payload else {}
    for name in path.split(".") if path else ():
        if not isinstance(value, dict) or name not in value:
            return NOTHING
        value = value[name]
    return value


def hidden(value: Any) -> Any:
    """The shape of a value without its content.

    >>> hidden({"age": 41, "name": "Ada", "tags": ["a", "b"], "ok": None})
    {'age': '<number>', 'name': '<text>', 'tags': '<list of 2>', 'ok': None}
    """
    if isinstance(value, dict):
        return {name: hidden(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return f"<list of {len(value)}>"
    if value is None:
        return None
    kinds = {bool: "<yes or no>", str: "<text>"}
    return kinds.get(type(value), "<number>")


def told(
    account: Account, path: str = "", *, run_id: str | None = None, show_values: bool = False
) -> dict[str, Any]:
    """The account as JSON types, values hidden unless they are asked for.

    Args:
        account: what the tables tell.
        path: of one property; empty: the whole profile.
        run_id: only the event of this run.
        show_values: whether values and messages are shown.
    """

    def shown(payload: str | None) -> Any:
        value = value_at(payload, path)
        if value is NOTHING or payload is None:
            return None
        return value if show_values else hidden(value)

    events = [
        {
            **{name: value for name, value in vars(event).items() if name != "payload"},
            "address": event.address if show_values else "<text>",
            "as_of": event.as_of.isoformat(),
            "message": event.message if show_values or not event.message else "<text>",
            "value": shown(event.payload),
        }
        for event in account.events
        if run_id in (None, event.run_id)
    ]
    return {
        "definition": account.name,
        "profile_key": account.profile_key if show_values else "<text>",
        "events": events,
        "delivered": shown(account.delivered),
        "is_delivered": account.delivered is not None,
        "refused_rows": [
            {"run_id": of_run, "source": source, "reasons": list(reasons)}
            for of_run, source, reasons in account.refused
        ],
    }


def asked_run(runs: Sequence[Run], account: Account, run_id: str | None) -> Run:
    """The run whose value is asked about: the named one, or the last from the sources with a line.

    Raises:
        DefinitionError: there is none.
    """
    with_line = [event.run_id for event in account.events if event.kind == "run"]
    wanted = run_id or (with_line[-1] if with_line else None)
    found = [run for run in runs if run.run_id == wanted and not run.kind]
    if not found:
        problem = Problem("--run", str(wanted), "a run over sources, see `status`")
        message = "There is no such run to explain"
        raise DefinitionError(message, problem)
    return found[0]
