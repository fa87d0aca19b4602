"""What must hold after every step, and after the last."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake

from histories import days

if TYPE_CHECKING:
    from histories.play import Ended, Step, World

Row = dict[str, Any]
NOT_SENT = ("planned", "recorded", "tripped", "written", "abandoned")
SETTLED = ("confirmed", "unconfirmed", "abandoned")
PARTS = ("used", "refused", "duplicate", "orphan", "after_as_of")


class BrokenStepError(Exception):
    """A step ended with an error that nobody foresaw: no proof that a law is broken, but worse."""


def table(folder: Path, name: str) -> list[Row]:
    """An audit table, read by another reader of Delta than the one that wrote it."""
    location = folder / "audit" / name
    if not (location / "_delta_log").exists():
        return []
    return deltalake.DeltaTable(location).to_pyarrow_table().to_pylist()


def runs(folder: Path) -> list[Row]:
    """The recorded runs, oldest first."""
    return sorted(table(folder, "runs"), key=lambda run: run["started_at"])


def platform(world: World) -> dict[str, Row]:
    """What the platform holds: account -> profile."""
    return {account: profile for _, account, profile in world.emulator.store.profiles()}


def after_step(world: World, step: Step, ended: Ended, before: list[Row]) -> None:
    """What holds whatever happened."""
    if ended.how == "broken":
        raise BrokenStepError(ended.message)
    known = {run["run_id"] for run in before}
    made = [run for run in runs(world.folder) if run["run_id"] not in known]
    assert len(made) <= 1
    if step.is_clean:
        assert ended.how == "confirmed", (ended.how, ended.message)
    if step.source == "whole":
        return
    if "garbled" in step.source:
        _refused_are_not_gone(world, made)
        return
    # An export that failed deletes nobody and sends nothing.
    if "cut off" not in step.source:
        assert ended.how not in ("confirmed", "unconfirmed")
        assert all(run["status"] in NOT_SENT for run in made)
    for run in made:
        if run["status"] not in NOT_SENT and not step.accept:
            assert run["gone"] <= 0.1 * (run["changed"] + run["gone"] + run["same"])


def _refused_are_not_gone(world: World, made: list[Row]) -> None:
    """Of a customer whose row is refused nothing is sent; what was delivered is counted."""
    lost = days.garbled(world.tables.people)
    for run in made:
        lines = [line for line in table(world.folder, "lines") if line["run_id"] == run["run_id"]]
        told = {line["profile_key"]: line for line in lines if line["profile_key"] in lost}
        assert {line["change"] for line in told.values()} <= {"unusable"}
        assert {line["operation"] for line in told.values()} <= {None}
        if run["status"] != "planned" and run["profiles"] is not None:
            known = delivered_at(world.folder, run["started_at"])
            assert told.keys() == lost & known.keys()
            assert run["unusable"] == len(told)


def after_history(world: World) -> None:
    """The central law."""
    held = platform(world)
    assert held == world.tables.profiles(world.shape)
    delivered = {
        row["profile_key"]: json.loads(row["payload"]) for row in table(world.folder, "delivered")
    }
    assert delivered == held
    assert len(table(world.folder, "delivered")) == len(delivered)
    history = runs(world.folder)
    _settled_and_reconciled(world, history)
    _sent_once(world, history)
    _compared_with_confirmed(world, history)


def _settled_and_reconciled(world: World, history: list[Row]) -> None:
    assert len({run["run_id"] for run in history}) == len(history)
    for run in history:
        assert run["status"] in SETTLED, run["run_id"]
        for count in run["counts"] or []:
            assert sum(count[part] for part in PARTS) == count["rows"]
    # No folder of a run that was given up, none half-written.
    kept = {run["output"] for run in history if run["status"] != "abandoned"}
    assert {str(folder) for folder in (world.folder / "import" / "shop").iterdir()} == kept
    last = history[-1]
    assert last["status"] == "confirmed"
    counts = {c["source"]: {k: c[k] for k in ("rows", *PARTS)} for c in last["counts"]}
    assert counts == world.tables.counts()
    assert last["profiles"] == len(world.tables.people)


def _sent_once(world: World, history: list[Row]) -> None:
    """An execution for each file that was sent, and none for a run that was given up.

    Where several answers were lost it may be known that some of these files arrived, but not which.
    """
    files = table(world.folder, "files")
    bodies = []
    for execution in world.emulator.store.executions():
        body = world.emulator.store.input_file(execution["id"]).read_bytes()
        bodies.append((str(execution["id"]), hashlib.sha256(body).hexdigest()))
    sent = {run["run_id"] for run in history if run["status"] in ("confirmed", "unconfirmed")}
    recorded = [
        (file["execution_id"], file["sha256"])
        for file in files
        if file["run_id"] in sent
        and (file["execution_id"] or file["status"] != "failed")  # or it was refused at the door
    ]
    assert all(execution for execution, _ in recorded)
    assert sorted(body for body in bodies if body in recorded) == sorted(recorded)
    unclear = Counter(f["sha256"] for f in files if "cannot be told" in (f["message"] or ""))
    assert Counter(sha256 for id_, sha256 in bodies if (id_, sha256) not in recorded) <= unclear


def _compared_with_confirmed(world: World, history: list[Row]) -> None:
    """Each line says truly how it differs from what was confirmed when its run was planned.

    So a profile is sent as new only while none is confirmed: nothing is sent twice as new.
    """
    lines = table(world.folder, "lines")
    for run in history:
        state = delivered_at(world.folder, run["started_at"])
        mine = [line for line in lines if line["run_id"] == run["run_id"]]
        assert len({line["profile_key"] for line in mine}) == len(mine)
        for line in mine:
            before = state.get(line["profile_key"])
            if line["change"] == "new":
                assert before is None
            elif line["change"] == "changed":
                assert before not in (None, line["payload_hash"])
            elif line["change"] == "held":
                assert before != line["payload_hash"]
            else:  # one who left, or of whom nothing may be said today, was there
                assert line["change"] in ("gone", "kept", "unusable")
                assert before is not None


def delivered_at(folder: Path, moment: dt.datetime) -> dict[str, str]:
    """What was confirmed at that moment: profile key -> hash of the payload."""
    table = deltalake.DeltaTable(folder / "audit" / "delivered")
    table.load_as_version(moment)
    return {row["profile_key"]: row["payload_hash"] for row in table.to_pyarrow_table().to_pylist()}
