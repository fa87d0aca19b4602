"""What must hold after every step, and after the last."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake

from histories import days
from spark_profiles.emulator import points

if TYPE_CHECKING:
    from histories.days import Wanted
    from histories.play import Ended, Step, World

Row = dict[str, Any]
DATAMART = "1500"
SYSTEM_FIELDS = ("$creation_ts", "$last_modified_ts")
IN_DOUBT = "in doubt"
NOT_SENT = ("planned", "recorded", "tripped", "written", "abandoned")
SETTLED = ("confirmed", "unconfirmed", "abandoned")
PARTS = ("used", "refused", "duplicate", "orphan", "after_as_of")
OPERATIONS = {
    "new": "UPSERT", "changed": "UPSERT", "moved": "UPSERT", "resent": "UPSERT",
    "gone": "DELETE", "left": "DELETE",
    "held": None, "kept": None, "unusable": None, "replaced": None,
}  # fmt: skip
"""Change of a line -> what is asked of the platform."""


class BrokenStepError(Exception):
    """A step ended with an error that nobody foresaw: no proof that a law is broken, but worse."""


@dataclass(frozen=True)
class Erasure:
    """What was known of a person when their erasure was asked for."""

    given: str
    keys: frozenset[str]
    """Keys under which the audit tables knew the person."""
    former: frozenset[str]
    """Those of `keys` that nobody in the tables has any more."""


def table(folder: Path, name: str) -> list[Row]:
    """An audit table, read by another reader of Delta than the one that wrote it."""
    location = folder / "audit" / name
    if not (location / "_delta_log").exists():
        return []
    return deltalake.DeltaTable(location).to_pyarrow_table().to_pylist()


def runs(folder: Path) -> list[Row]:
    """The recorded runs, oldest first."""
    return sorted(table(folder, "runs"), key=lambda run: run["started_at"])


def platform(world: World) -> list[Row]:
    """Every profile that the platform holds, under whatever user point and account."""
    rows = world.emulator.store.db.all("SELECT payload FROM profiles")
    return [_custom(row["payload"]) for row in rows]


def _custom(payload: str) -> Row:
    stored: Row = json.loads(payload)
    return {name: value for name, value in stored.items() if name not in SYSTEM_FIELDS}


def _texts(profiles: list[Row]) -> Counter[str]:
    return Counter(json.dumps(profile, sort_keys=True) for profile in profiles)


def _profile_at(world: World, wanted: Wanted) -> Row | None:
    """What is read under the identifier, compartment and account of a profile."""
    db = world.emulator.store.db
    rows = db.all(
        "SELECT payload FROM profiles WHERE datamart=? AND point=? AND compartment=? AND account=?",
        DATAMART, points.find(db, DATAMART, wanted.kind, wanted.value), wanted.compartment,
        wanted.account,
    )  # fmt: skip
    return _custom(rows[0]["payload"]) if rows else None


# After each step


def after_step(world: World, step: Step, ended: Ended, before: list[Row]) -> None:
    """What holds whatever happened."""
    if ended.how == "broken":
        raise BrokenStepError(ended.message)
    if step.is_clean:
        assert ended.how in step.clean_ends, (ended.how, ended.message)
        if ended.how in ("confirmed", "erased"):
            _platform_is_as_delivered(world)
    known = {run["run_id"] for run in before}
    made = [run for run in runs(world.folder) if run["run_id"] not in known]
    if step.kind == "erase":
        _receipts_are_true(world)
        return
    assert len(made) <= 1
    if step.kind == "run":
        _after_run(world, step, ended, made)
    elif step.is_clean and ended.how == "confirmed" and not world.erasures:
        undone = next(run for run in reversed(before) if run["status"] not in NOT_SENT)
        _is_as_before(world, undone)


def _platform_is_as_delivered(world: World) -> None:
    """The audit tables tell the truth, but for what is in doubt until a run over the sources."""
    delivered = table(world.folder, "delivered")
    if IN_DOUBT not in {row["payload_hash"] for row in delivered}:
        told = _texts([json.loads(row["payload"]) for row in delivered])
        on_platform = _texts(platform(world))
        assert on_platform == told, (told - on_platform, on_platform - told)


def _is_as_before(world: World, undone: Row) -> None:
    """After a rollback the same is delivered as before the run that it undid."""
    now, then = table(world.folder, "delivered"), _delivered_before(world.folder, undone)
    both = [
        sorted((row["address"], row["profile_key"], row["payload_hash"]) for row in rows)
        for rows in (now, then)
    ]
    if IN_DOUBT not in {payload_hash for rows in both for _, _, payload_hash in rows}:
        assert both[0] == both[1]


def _after_run(world: World, step: Step, ended: Ended, made: list[Row]) -> None:
    if step.source == "whole":
        contested = world.tables.contested(world.shape)
        for run in made:
            _stay_as_delivered(world, run, contested)
        if step.is_clean and not contested:
            _platform_is_as_wanted(world)
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
        told = _stay_as_delivered(world, run, lost)
        if run["status"] != "planned" and run["profiles"] is not None:
            known = {row["profile_key"] for row in _delivered_before(world.folder, run)}
            assert {line["profile_key"] for line in told} == lost & known


def _stay_as_delivered(world: World, run: Row, keys: set[str]) -> list[Row]:
    """The lines of these keys in a run: they say that nothing is sent, or nothing else."""
    lines = [line for line in lines_of(world.folder, run["run_id"]) if line["profile_key"] in keys]
    changes = {line["change"] for line in lines}
    assert changes <= {"unusable", "replaced", "resent"}, (run["run_id"], lines)
    return lines


def lines_of(folder: Path, run_id: str) -> list[Row]:
    """The recorded lines of a run."""
    return [line for line in table(folder, "lines") if line["run_id"] == run_id]


# After the last step


def after_history(world: World) -> Counter[str]:
    """The central law; returns what was looked at."""
    figures = _platform_is_as_wanted(world)
    history = runs(world.folder)
    _settled_and_reconciled(world, history)
    _sent_once(world, history)
    _compared_with_confirmed(world, history)
    _in_phases(world, history)
    _receipts_are_true(world)
    return figures + Counter(receipts=len(_receipts(world)))


def _platform_is_as_wanted(world: World) -> Counter[str]:
    wanted = world.tables.profiles(world.shape)
    on_platform, hoped = _texts(platform(world)), _texts([one.profile for one in wanted])
    missing, many = hoped - on_platform, on_platform - hoped
    assert not missing, f"missing on the platform: {missing}"
    assert not many, f"too many on the platform: {many}"
    for one in wanted:
        assert _profile_at(world, one) == one.profile, one
    delivered = table(world.folder, "delivered")
    assert sorted((row["address"], row["profile_key"]) for row in delivered) == sorted(
        (one.address, one.key) for one in wanted
    )
    profiles = {one.address: one.profile for one in wanted}
    for row in delivered:
        assert json.loads(row["payload"]) == profiles[row["address"]]
        assert row["payload_hash"] == hashlib.sha256(row["payload"].encode()).hexdigest()
    return Counter(
        {
            "profiles": len(wanted),
            "profiles missing": missing.total(),
            "profiles too many": many.total(),
        }
    )


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


def _is_unsent(file: Row) -> bool:
    """Whether the file waited for deletes that were not confirmed."""
    return file["status"] == "written" and file["phase"] == 2 and not file["attempts"]


def _sent_once(world: World, history: list[Row]) -> None:
    """An execution for each file that was sent, and none for a run that was given up.

    Where several answers were lost it may be known that some of these files arrived, but not which.
    """
    files = [file for file in table(world.folder, "files") if not _is_unsent(file)]
    bodies = [
        (str(row["id"]), hashlib.sha256(_body(world, row["id"])).hexdigest())
        for row in world.emulator.store.executions()
    ]
    sent = {run["run_id"] for run in history if run["status"] in ("confirmed", "unconfirmed")}
    recorded = [
        (file["execution_id"], file["sha256"])
        for file in files
        if file["run_id"] in sent
        and (file["execution_id"] or file["status"] != "failed")  # or it was refused at the door
    ]
    assert all(execution for execution, _ in recorded)
    if world.erasures:  # files were written anew without the person, and messages removed
        assert {execution for execution, _ in recorded} <= {execution for execution, _ in bodies}
        return
    assert sorted(body for body in bodies if body in recorded) == sorted(recorded)
    unclear = Counter(f["sha256"] for f in files if "cannot be told" in (f["message"] or ""))
    assert Counter(sha256 for id_, sha256 in bodies if (id_, sha256) not in recorded) <= unclear


def _body(world: World, execution: int) -> bytes:
    return world.emulator.store.input_file(execution).read_bytes()


def _compared_with_confirmed(world: World, history: list[Row]) -> None:
    """Each line says truly how it differs from what was confirmed when its run was planned.

    So a profile is sent as new only while none is confirmed: nothing is sent twice as new.
    """
    lines = defaultdict(list)
    for line in table(world.folder, "lines"):
        lines[line["run_id"]].append(line)
    for run in history:
        state = _delivered_before(world.folder, run)
        _one_an_address(lines[run["run_id"]])
        for line in lines[run["run_id"]]:
            _check_line(line, state, by_address=run["kind"] is not None)


def _one_an_address(lines: list[Row]) -> None:
    """No two lines name one address, but the one that is sent and the one that it replaces."""
    sent = Counter(line["address"] for line in lines if line["operation"])
    assert all(number == 1 for number in sent.values()), sent
    upserted = {line["address"] for line in lines if line["operation"] == "UPSERT"}
    replaced = [line["address"] for line in lines if line["change"] == "replaced"]
    assert set(replaced) <= upserted
    others = Counter(
        line["address"]
        for line in lines
        if line["change"] not in ("replaced", "resent")  # which stands beside why it is not wanted
    )
    assert all(number == 1 for number in others.values()), others


def _check_line(line: Row, state: list[Row], *, by_address: bool) -> None:
    """The line against what was delivered before its run; a rollback compares addresses only."""
    change, key = line["change"], line["profile_key"]
    here = next((row for row in state if row["address"] == line["address"]), None)
    of_user = [row for row in state if row["profile_key"] == key]
    was_mine = here is not None and here["profile_key"] == key
    assert line["operation"] == OPERATIONS[change], line
    if line["operation"] == "UPSERT":
        assert line["delivered_hash"] == (here and here["payload_hash"]), line
    if by_address:
        assert (change == "new") == (here is None), line
        assert change != "gone" or was_mine, line
    elif change == "new":
        assert not of_user, line
    elif change == "moved":
        assert any(row["address"] != line["address"] for row in of_user), line
    elif change == "changed":
        assert was_mine, line
        assert here["payload_hash"] != line["payload_hash"], line
    elif change == "resent":
        assert was_mine, line
        assert here["payload_hash"] == line["payload_hash"], line
    elif change != "held":  # one who left, or of whom nothing may be said today, was there
        assert was_mine, line


def _delivered_before(folder: Path, run: Row) -> list[Row]:
    """What was confirmed when the run began."""
    return delivered_at(folder, run["started_at"])


def delivered_at(folder: Path, moment: dt.datetime) -> list[Row]:
    """What was confirmed at that moment."""
    delivered = deltalake.DeltaTable(folder / "audit" / "delivered")
    delivered.load_as_version(moment)
    return delivered.to_pyarrow_table().to_pylist()


# Phases


def _in_phases(world: World, history: list[Row]) -> None:
    """Nothing of a second phase was sent before the platform took every DELETE of the first."""
    store = world.emulator.store
    executions = defaultdict(list)
    for row in store.executions():
        executions[row["import_id"]].append(row)
    by_name = defaultdict(list)
    for resource in store.imports():
        by_name[resource["name"]] += executions[int(resource["id"])]
    lines = defaultdict(list)
    for line in table(world.folder, "lines"):
        lines[line["run_id"]].append(line)
    for run in history:
        name = f"{run['name']} {run['run_id']}"
        second = by_name[f"{name} second phase"]
        if not second:
            continue
        begun = min(row["created"] for row in second)
        taken = {
            command
            for row in by_name[name]
            if row["ended"] is not None and row["ended"] <= begun
            for command in _taken(world, row)
        }
        deletes = [line for line in lines[run["run_id"]] if line["operation"] == "DELETE"]
        assert {line["phase"] for line in deletes} <= {1}
        assert {_command(line) for line in deletes} <= taken, run["run_id"]


def _command(line: Row) -> str:
    """The command of a recorded DELETE."""
    identifier, profile = json.loads(line["identifier"]), json.loads(line["payload"])
    return _sorted({"operation": "DELETE", **identifier, "user_profile": profile})


def _taken(world: World, execution: Any) -> list[str]:
    """The commands that an execution applied."""
    if execution["status"] != "SUCCEEDED":
        return []
    errors = world.emulator.store.error_file(execution["id"])
    told = errors.read_text().splitlines() if errors.exists() else []
    failed = {json.loads(line)["line"] for line in told}
    commands = _body(world, execution["id"]).splitlines()
    return [_sorted(json.loads(c)) for n, c in enumerate(commands, start=1) if n not in failed]


def _sorted(command: Row) -> str:
    return json.dumps(command, sort_keys=True)


# Erasures


def known_keys(folder: Path, given: str) -> frozenset[str]:
    """The keys of the person that the audit tables know by this key, e-mail address or card.

    Who had an address before and is delivered nowhere now is the same person.
    """
    rows = [*table(folder, "lines"), *table(folder, "delivered")]
    delivered = {row["profile_key"] for row in table(folder, "delivered")}
    email = hashlib.sha256(given.strip().lower().encode()).hexdigest()
    names = {given.strip(), email}
    keys = {row["profile_key"] for row in rows if names & _names(row)}
    while True:
        addresses = {row["address"] for row in rows if row["profile_key"] in keys} - {None}
        sharing = {row["profile_key"] for row in rows if row["address"] in addresses}
        former = sharing - delivered - keys
        if not former:
            return frozenset(keys)
        keys |= former


def _names(row: Row) -> set[str]:
    identifier = json.loads(row["identifier"] or "{}")
    account = json.loads(row["payload"] or "{}").get("$user_account_id")
    values = {identifier.get(name) for name in ("user_account_id", "email_hash")}
    return {row["profile_key"], account, *values} - {None}


def pending_erasures(folder: Path) -> bool:
    """Whether an erasure was stopped before its end."""
    return any(row["pending"] for row in table(folder, "erasures"))


def _receipts(world: World) -> list[Row]:
    return [row for row in table(world.folder, "erasures") if row["status"] == "erased"]


def _receipts_are_true(world: World) -> None:
    """Each receipt is of a person who was asked for, and of whom nothing is left."""
    for row in _receipts(world):
        assert row["pending"] is None
        receipt = json.loads(row["receipt"])
        named = [one for one in world.erasures if _hash(one.given, receipt) in receipt["hashes"]]
        assert named, "a receipt of somebody who was not asked for"
        for name in ("lines", "delivered"):
            keys = {row["profile_key"] for row in table(world.folder, name)}
            for one in named:
                assert not keys & one.former, f"{name}: {keys & one.former} after an erasure"


def _hash(given: str, receipt: Row) -> str:
    text = given.strip().lower() if "@" in given else given.strip()
    salt = bytes.fromhex(receipt["salt"])
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt, 200_000).hex()
