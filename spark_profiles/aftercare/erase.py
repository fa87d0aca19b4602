"""The order of an erasure: what is known of a person goes, and a receipt without names stays.

    intend    the persons' names on record, until all is done: a stop at any point is continued
    send      a DELETE for each profile the platform has or may have, as a run of its own
    files     import files that are still kept, without the lines
    tables    lines, delivered, rejected lines, refused rows, messages
    forget    the names on record; what stays is the receipt, with hashes, counts and times
    vacuum    the files of former versions, which hold the values until then

Nothing of it looks at the sources: who is still in them comes back with the next run. Erase there
first.
"""

from __future__ import annotations

import json
import re
import secrets
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles.aftercare import (
    kept,
    maintain,
    mentions,
    persons,
    receipts,
    removal,
    rollback,
)
from spark_profiles.aftercare.mentions import Persons
from spark_profiles.audit import history, leases, schemas
from spark_profiles.audit.guard import Acceptance
from spark_profiles.engine import frames
from spark_profiles.errors import DefinitionError, NotFoundError, Problem, UnconfirmedError
from spark_profiles.lines import address_changes, commands
from spark_profiles.progress import Event
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit
    from spark_profiles.definition.model import Definition
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.planning.pipeline import Plan
    from spark_profiles.running.run import Job

ERASURE = "erasure"
REQUESTED, SENT, ERASED = "requested", "sent", "erased"
# Columns that may quote a line: what a platform says is its own choice.
_MESSAGES = {"rejected_lines": "message", "files": "message", "runs": "message"}


@dataclass(frozen=True)
class _Erasure:
    """One erasure as recorded; `pending` is None once nothing of it is left to do."""

    run_id: str
    status: str
    receipt: dict[str, Any]
    pending: Persons | None
    requested_at: datetime
    erased_at: datetime | None = None
    vacuumed_at: datetime | None = None


def erase(
    job: Job,
    users: Sequence[str],
    datamart: Datamart | None,
    *,
    key: str = "",
    vacuum_now: bool = False,
    document: Callable[[bytes], None] | None = None,
    keep_successors: bool = False,
) -> list[dict[str, Any]]:
    """Remove persons from the platform, the audit tables and the kept import files.

    Finishes erasures that were stopped first; with no users it does only that. Every address ever
    sent for a person is deleted, unless it is certainly gone, or another user has it now.

    Args:
        job: where things lie.
        users: keys, account ids, e-mail addresses or their hashes, or values of properties that
            are marked `personal: identifying`.
        datamart: the API; None: the platform is told in another way, no DELETE is sent.
        key: a secret for the hashes of the receipt, see `receipts.Hasher`.
        vacuum_now: remove files of former table versions at once, not after the retention of
            `maintain`; nothing else may be reading or writing the tables.
        document: takes the bytes of a USER_POINTS_DELETION document that names the persons'
            user points; the platform deletes the whole person with it, not the profile alone.
        keep_successors: users who have an address of these persons now are other persons. Without
            it, a person who is delivered nowhere and whose address belongs to another key is not
            erased: it may be the same person under that key.

    Returns:
        The receipts: hashes, counts and times, no names.

    Raises:
        DefinitionError: no user was given, and no erasure was stopped.
        NotFoundError: some of the users were found nowhere, or not for certain; all others are
            erased, and the error has their receipts.
        UnsettledError: a run may have reached the platform and is not settled.
        UnconfirmedError: a DELETE was not confirmed; nothing was erased; the same call continues.
    """
    audit = job.tables()
    with _alone(job, audit):
        for name in _names(audit):
            run.abandon_unsent(job, audit, audit.runs(name))
    stopped = [erasure for erasure in _erasures(audit) if erasure.pending]
    if not users and not stopped:
        message = "There is nobody to erase"
        raise DefinitionError(message, Problem("user", "none given, and no erasure was stopped"))
    job.listener(Event("find", "looking for the persons in the audit tables"))
    found = persons.search(audit, users, keep_successors=keep_successors)
    begun = [*stopped, _intended(audit, found, key)] if found.certain else stopped
    done, failures = _all_carried_out(job, audit, begun, datamart, document)
    if vacuum_now:
        job.listener(Event("vacuum", "removing files of former table versions"))
        with _alone(job, audit):
            maintain.vacuum(audit, hours=0)
        done = [_record(audit, erasure, vacuumed_at=audit.now()) for erasure in done]
    written = [_receipt(erasure) for erasure in done]
    _refuse_incomplete(found, failures, written)
    return written


def _all_carried_out(
    job: Job,
    audit: Audit,
    begun: Sequence[_Erasure],
    datamart: Datamart | None,
    document: Callable[[bytes], None] | None,
) -> tuple[list[_Erasure], list[UnconfirmedError]]:
    """The erasures that are done, and why others are not: each is carried out by itself."""
    done, failures = [], []
    for erasure in begun:
        try:
            done.append(_carried_out(job, audit, erasure, datamart, document))
        except UnconfirmedError as error:
            failures.append(error)
    return done, failures


def _refuse_incomplete(
    found: persons.Search, failures: Sequence[UnconfirmedError], written: list[dict[str, Any]]
) -> None:
    """Name those who were not erased.

    Raises:
        UnconfirmedError: an erasure is not finished.
        NotFoundError: some are not found, or not for certain.
    """
    if failures:
        unconfirmed = [problem for failure in failures for problem in failure.problems]
        message = f"{len(failures)} erasures are not finished; the same command continues"
        unfinished = UnconfirmedError(message, *unconfirmed)
        unfinished.receipts = written
        raise unfinished
    if problems := found.problems():
        message = f"{len(problems)} of {len(found.profiles)} given persons were not erased"
        error = NotFoundError(message, *problems)
        error.receipts = written
        raise error


def _names(audit: Audit) -> list[str]:
    return sorted({made.name for made in audit.runs()})


@contextmanager
def _alone(job: Job, audit: Audit) -> Iterator[None]:
    """Hold the leases of all definitions.

    Raises:
        UnsettledError: a run is at work.
    """
    with ExitStack() as stack:
        for name in _names(audit):
            stack.enter_context(leases.held(audit, name, now=job.now))
        yield


def _erasures(audit: Audit) -> list[_Erasure]:
    rows = [row.asDict() for row in audit.read("erasures").orderBy("run_id").collect()]
    for row in rows:
        row["receipt"] = json.loads(row["receipt"])
        row["pending"] = Persons.from_json(row["pending"]) if row["pending"] else None
    return [_Erasure(**row) for row in rows]


def _record(audit: Audit, erasure: _Erasure, **changed: Any) -> _Erasure:
    after = _Erasure(**{**vars(erasure), **changed})
    pending = after.pending.to_json() if after.pending else None
    record = {**vars(after), "receipt": json.dumps(after.receipt), "pending": pending}
    audit.put_records("erasures", after.run_id, [record])
    return after


def _receipt(erasure: _Erasure) -> dict[str, Any]:
    times = {
        name: moment.astimezone(timezone.utc).isoformat() if moment else None
        for name, moment in vars(erasure).items()
        if name.endswith("_at")
    }
    return {"erasure": erasure.run_id, **erasure.receipt, **times}


def _intended(audit: Audit, search: persons.Search, key: str) -> _Erasure:
    """The erasure on record, with all names of the persons and what was found of them."""
    profiles = {profile for text in search.certain for profile in search.profiles[text]}
    found = persons.known(audit, search.certain, profiles)
    hasher = receipts.Hasher(secrets.token_hex(16), key)
    receipt = {
        "hashes": sorted(hasher.hash(given) for given in found.given),
        "method": hasher.method,
        "salt": hasher.salt,
        "profiles": len(found.profiles),
        "lines": _of(audit, "lines", found).count(),
        "delivered": _of(audit, "delivered", found).count(),
        "refused_rows": _refused(audit, found).count(),
        "deletes_confirmed": 0,
        "import_files": 0,
    }
    number = audit.read("erasures").count() + 1
    now = audit.now()
    begun = _Erasure(f"erasure-{number:04d}", REQUESTED, receipt, found, requested_at=now)
    return _record(audit, begun)


def _of(audit: Audit, table: str, found: Persons) -> DataFrame:
    return audit.read(table).join(_keys(audit, found), on=["name", "profile_key"], how="left_semi")


def _keys(audit: Audit, found: Persons) -> DataFrame:
    return frames.of(audit.spark, list(found.profiles), "name string, profile_key string")


def _refused(audit: Audit, found: Persons) -> DataFrame:
    members: dict[str, set[str]] = {}
    made = {one.definition_hash: one for one in audit.runs()}
    for one in made.values():
        members.setdefault(one.name, set()).update(_key_columns(rollback.recorded_definition(one)))
    return mentions.refused_rows(audit, found, {n: sorted(c) for n, c in members.items()})


def _key_columns(made_of: Definition) -> set[str]:
    """The words of all expressions that name a user: columns, and functions, which do no harm."""
    keys = [source.key for source in made_of.sources.values()]
    keys += [str(identifier.claim) for identifier in made_of.identifiers]
    keys += [str(made_of.profile_keys.user_account_id)]
    return {word for key in keys for word in re.findall(r"[A-Za-z_]\w*", key)}


def _carried_out(
    job: Job,
    audit: Audit,
    erasure: _Erasure,
    datamart: Datamart | None,
    document: Callable[[bytes], None] | None,
) -> _Erasure:
    found = erasure.pending
    if found is None:
        return erasure
    if document:
        document(receipts.deletion_document(persons.own_identifiers(audit, found)))
    if datamart:  # also where it was sent already: a rollback may have brought a profile back
        confirmed = erasure.receipt["deletes_confirmed"] + sum(
            _deleted(job, audit, name, found, datamart) for name in sorted(dict(found.profiles))
        )
        receipt = {**erasure.receipt, "deletes_confirmed": confirmed}
        erasure = _record(audit, erasure, status=SENT, receipt=receipt)
    with _alone(job, audit):
        job.listener(Event("erase", "rewriting kept import files"))
        rewritten = _erase_files(job, audit, found)
        job.listener(Event("erase", "rewriting the audit tables"))
        _erase_tables(audit, found)
    receipt = {**erasure.receipt, "import_files": erasure.receipt["import_files"] + rewritten}
    return _record(
        audit, erasure, status=ERASED, receipt=receipt, pending=None, erased_at=audit.now()
    )


def _deleted(job: Job, audit: Audit, name: str, found: Persons, datamart: Datamart) -> int:
    """Send a DELETE for each of the profiles that the platform has or may have; how many."""
    runs = audit.runs(name)
    keys = [(of, key) for of, key in found.profiles if of == name]
    gone = _may_be_there(audit, runs, name, keys)
    count = gone.count()
    if count == 0:
        return 0
    made_of = rollback.recorded_definition(runs[-1])

    def planner(tables: Audit) -> Plan:
        nobody = gone.limit(0)
        changed = address_changes.at_addresses(gone, nobody, as_of=runs[-1].as_of)
        rest = tables.delivered(name).count() - count
        return rollback.given(tables, made_of, runs[-1], changed, profiles=rest, kind=ERASURE)

    names = ("deletes", f"empty:{made_of.spine[0]}")
    accepted = Acceptance(names, why="an erasure: the profiles were asked for by name")
    as_of = runs[-1].as_of.isoformat()
    run.run(job, made_of, datamart, as_of=as_of, accepted=accepted, planner=planner)
    return count


def _may_be_there(
    audit: Audit, runs: Sequence[Run], name: str, keys: Sequence[tuple[str, str]]
) -> DataFrame:
    """The persons' profiles that are delivered, or that the platform may have all the same."""
    mine = frames.of(audit.spark, keys, "name string, profile_key string")
    both = ["name", "profile_key"]
    delivered = audit.delivered(name)
    own = delivered.join(mine, on=both, how="left_semi")
    # What is delivered for certain is there, whosever it is; else the platform may hold the
    # person's profile at an address that another user was to take over.
    certain = delivered.where(F.col("payload_hash") != schemas.IN_DOUBT).unionByName(own)
    may_be = history.may_be_there(audit, runs).where(F.col("operation") == schemas.UPSERT)
    others = (
        may_be.join(mine, on=both, how="left_semi")
        .join(certain.select("address").distinct(), on="address", how="left_anti")
        .dropDuplicates(["address"])
    )
    return own.select(*history.PAYLOAD).unionByName(others.select(*history.PAYLOAD))


def _erase_files(job: Job, audit: Audit, found: Persons) -> int:
    """Kept files without the lines, and their rows; before the lines themselves, which tell where.

    Returns how many files were written again.
    """
    count = 0
    runs = {made.run_id: made for made in audit.runs()}
    lines = history.sent(audit, list(runs.values())).where(F.col("file").isNotNull())
    mine = lines.join(_keys(audit, found), on=["name", "profile_key"], how="left_semi")
    rows = mine.select("run_id", "file", commands.text().alias("text")).collect()
    unwanted: dict[str, dict[str, set[bytes]]] = {}
    for row in rows:
        of_run = unwanted.setdefault(row["run_id"], {})
        of_run.setdefault(row["file"], set()).add(row["text"].encode())
    for run_id, by_file in unwanted.items():
        every = set().union(*by_file.values())
        done = kept.without(job.folder(runs[run_id]), sorted(by_file), every)
        _correct_files(audit, run_id, {file.path: file for file in done})
        count += len(done)
    return count


def _correct_files(audit: Audit, run_id: str, done: Mapping[str, kept.Rewritten]) -> None:
    if not done:
        return
    records = [row.asDict() for row in audit.of_run("files", run_id).collect()]
    for record in records:
        if record["file"] not in done:
            continue
        now = done[record["file"]]
        if record["status"] not in ("confirmed", "partial"):  # it may be sent again
            record.update(lines=now.lines, bytes=now.bytes, sha256=now.sha256)
        record["message"] = f"the kept file has {now.lines} lines left, after an erasure"
    audit.put_records("files", run_id, records)


def _erase_tables(audit: Audit, found: Persons) -> None:
    refused = _refused(audit, found).collect()
    if refused:  # the fact that a row was refused stays, so that the counts of runs still add up
        columns = "run_id string, source string, row string"
        rows = frames.of(audit.spark, [tuple(row) for row in refused], columns)
        removal.blank(
            audit, "refused_rows", rows, on=["run_id", "source", "row"], columns=["key", "row"]
        )
    if found.profiles:
        keys = _keys(audit, found)
        removal.blank(
            audit,
            "rejected_lines",
            keys,
            on=["name", "profile_key"],
            columns=["profile_key", "address", "payload", "payload_hash", "message"],
        )
    for table, column in _MESSAGES.items():
        mentioned = audit.read(table).where(mentions.mentions(column, found, short_ids=True))
        if mentioned.count():
            removal.blank(audit, table, mentioned, on=["run_id", column], columns=[column])
    if found.profiles:
        keys = _keys(audit, found)
        # The line of who took an address over has the hash of what was there.
        there = _of(audit, "lines", found).where(F.col("address").isNotNull())
        removal.blank(audit, "lines", there, on=["name", "address"], columns=["delivered_hash"])
        for table in ("delivered", "lines"):
            removal.delete(audit, table, keys, on=["name", "profile_key"])
