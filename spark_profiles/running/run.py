"""The order of effects: settle, record, guard, write, upload, confirm. Safe to repeat at any point.

Nothing that was sent is forgotten, and nothing counts as delivered that was not confirmed:

    lease             one run of a definition at a time
    before planning   a former run that may have reached the platform is settled first; one of
                      which nothing was sent is abandoned, for planning anew is always right
    record            lines, refused rows and counts; from here all is a function of the tables
    guard             limits on what is unusual; trips before any file is written
    write             import files, verified, the manifest last
    upload            document import, executions, polling; each step recorded before the next
    confirm           lines of confirmed files go into `delivered`
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from spark_profiles import progress, stores
from spark_profiles.audit import guard, leases, migrations
from spark_profiles.audit import history as histories
from spark_profiles.audit.journal import FilesTable
from spark_profiles.audit.records import FileStatus
from spark_profiles.audit.states import RunStatus, is_settled
from spark_profiles.audit.tables import Audit
from spark_profiles.delivery import upload
from spark_profiles.engine import session, watching
from spark_profiles.errors import (
    GuardError,
    IntegrityError,
    Problem,
    UnconfirmedError,
    UnsettledError,
)
from spark_profiles.files import arrow_files, fileplan, packing, spark_files, writing
from spark_profiles.files.manifest import Manifest, ManifestSource
from spark_profiles.lines import changes
from spark_profiles.planning import pipeline, sdl_fit
from spark_profiles.profiles import nesting
from spark_profiles.progress import Event
from spark_profiles.running import known, recording, settling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.definition.model import Definition
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.planning import sdl
    from spark_profiles.planning.pipeline import Plan
    from spark_profiles.progress import Listener
    from spark_profiles.stores import Folder

_COMPARED_RUNS = 5
"""So many confirmed runs the limits compare with."""


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Job:
    """What every step of a run needs: where things lie, and the limits."""

    spark: SparkSession
    output: str
    """The folder of import files."""
    audit: str
    """The folder or catalog schema of the audit tables."""
    max_bytes: int = packing.DEFAULT_LIMITS.bytes
    """Most bytes of the lines of one import file."""
    max_lines: int | None = None
    """Most lines of one import file."""
    compression: fileplan.Compression = "none"
    """How import files are written; `gzip` only for targets that take it."""
    limits: guard.Limits = field(default_factory=guard.Limits)
    schema: sdl.Schema | None = None
    """The datamart's own schema, which the profiles have to fit."""
    policy: changes.Policy = field(default_factory=changes.Policy)
    listener: Listener = progress.silent
    sending: upload.Settings = field(default_factory=upload.Settings)
    """Choices of uploads."""
    now: Callable[[], datetime] = _utc_now

    def tables(self) -> Audit:
        """The audit tables, created where they are not there yet."""
        is_sail = session.is_sail(self.spark)
        is_at_hand = session.is_at_hand(self.spark, self.audit)
        audit = Audit(self.spark, self.audit, now=self.now, is_sail=is_sail, is_at_hand=is_at_hand)
        audit.create()
        if migrations.migrate(audit, library_version=recording.VERSION):
            self.listener(Event("migrate", "the audit tables are brought to this version"))
        return audit

    @property
    def file_limits(self) -> packing.Limits:
        """The most that one import file may hold."""
        return packing.Limits(self.max_bytes, self.max_lines)

    def folder(self, run: Run) -> Folder:
        """Where the import files of a run lie."""
        return stores.folder(run.output)


@dataclass(frozen=True)
class Wish:
    """What one run is asked for, beside its definition."""

    as_of: str
    """ISO date or time, see `pipeline.plan`."""
    data: str = "."
    """The folder of relative source paths."""
    tables: Mapping[str, DataFrame] | None = None
    """DataFrames to use for some sources."""
    accepted: guard.Acceptance = field(default_factory=guard.Acceptance)
    """Trips that are right this time; recorded with the run."""
    resend: Sequence[str] = ()
    """Profile keys to send even if nothing changed, and even if rejected before."""
    remove: Sequence[str] = ()
    """Profile keys to delete although their users are still there."""
    planner: Callable[[Audit], Plan] | None = None
    """Makes the plan, instead of the sources: of a rollback, or an erasure."""


def build(job: Job, definition: Definition, **wish: Any) -> Run:
    """Plan, record, guard and write one run; nothing is sent. Returns the run as recorded.

    Args:
        job: where things lie.
        definition: what a profile is made of.
        wish: the members of `Wish`.

    Raises:
        UnsettledError: a former run may have reached the platform (upload it first), or another
            run is at work.
        GuardError: a limit was passed; the run is recorded as tripped.
    """
    audit = job.tables()
    with leases.held(audit, definition.name, now=job.now):
        return _build(job, audit, definition, Wish(**wish))


def deliver(job: Job, name: str, datamart: Datamart) -> Run | None:
    """Upload and confirm the written run of the definition `name`; None: nothing is waiting.

    Raises:
        UnconfirmedError: settled, but some lines were not confirmed; a new run sends them again.
        UnavailableError: the API does not answer; the same call continues.
        UnsettledError: another run is at work.
    """
    audit = job.tables()
    with leases.held(audit, name, now=job.now):
        waiting = [run for run in audit.runs(name) if not is_settled(run.status)]
        ready = [r for r in waiting if r.status in (RunStatus.WRITTEN, RunStatus.UPLOADING)]
        return _deliver(job, audit, ready[-1], datamart) if ready else None


def run(job: Job, definition: Definition, datamart: Datamart, **wish: Any) -> Run:
    """Settle what is open, then build and deliver one run. Arguments as of `build`."""
    audit = job.tables()
    with leases.held(audit, definition.name, now=job.now):
        for former in audit.runs(definition.name):
            if former.status is RunStatus.UPLOADING:
                job.listener(Event("settle", f"run {former.run_id} is settled first"))
                _settled(job, audit, former, datamart)
        built = _build(job, audit, definition, Wish(**wish))
        return _deliver(job, audit, built, datamart)


def retry(job: Job, name: str, datamart: Datamart) -> Run | None:
    """Send the unconfirmed files of the last run of `name` once more; None: there are none.

    Only of the newest run: what an older one sent may have been overtaken. Not after an erasure,
    which takes lines out of the files: the next run sends what is missing.
    """
    audit = job.tables()
    with leases.held(audit, name, now=job.now):
        runs = [run for run in audit.runs(name) if run.status is not RunStatus.ABANDONED]
        if not runs or runs[-1].status is not RunStatus.UNCONFIRMED:
            return None
        if histories.is_any_erased_since(audit, runs[-1]):
            return None
        FilesTable(audit, runs[-1].run_id, name).reset()
        return _deliver(job, audit, runs[-1], datamart)


def abandon(job: Job, name: str, *, dead: str | None = None) -> list[Run]:
    """Give up what the runs of `name` have not sent, and end the lease of a run that died.

    Args:
        job: where things lie.
        name: of the definition.
        dead: `host:process` of a holder of the lease on another machine who is known to be dead.

    Raises:
        UnsettledError: a run is at work, as far as can be seen from here; or one may have reached
            the platform: it can only be settled.
    """
    audit = job.tables()
    if dead:
        leases.bury(audit, name, dead, now=job.now)
    with leases.held(audit, name, now=job.now):
        return abandon_unsent(job, audit, audit.runs(name))


def abandon_unsent(job: Job, audit: Audit, history: Sequence[Run]) -> list[Run]:
    """Give up the runs of which nothing was sent.

    Raises:
        UnsettledError: of one of them something may have been sent.
    """
    open_runs = [former for former in history if not is_settled(former.status)]
    for former in open_runs:
        if former.status is RunStatus.UPLOADING:
            problem = Problem(
                former.run_id,
                "its files may have reached the platform",
                "a settled run",
                "`spark-profiles upload` or `run` settles it",
            )
            message = "A former run is not settled; nothing was planned"
            raise UnsettledError(message, problem)
    abandoned = []
    for former in open_runs:
        # Its files are a function of its recorded lines; they must not lie about as if to send.
        writing.discard(job.folder(former))
        abandoned.append(audit.put_run(former, status=RunStatus.ABANDONED))
    return abandoned


def _build(job: Job, audit: Audit, definition: Definition, wish: Wish) -> Run:
    history = audit.runs(definition.name)
    abandon_unsent(job, audit, history)
    job.listener(Event("plan", "reading what is to be sent"))
    plan = wish.planner(audit) if wish.planner else _plan(job, audit, history, definition, wish)
    asked = _asked(job, plan)
    recorded = recording.record(
        job.spark,
        audit,
        plan,
        history,
        output=job.output,
        limits=job.file_limits,
        compression=job.compression,
        now=job.now,
        listener=job.listener,
    )
    for step, keys in (("resend", wish.resend), ("remove", wish.remove)):
        known.tell_unknown(recorded.lines, step, keys, job.listener)
    unfit = []
    if asked:
        unfit = recording.unfit(recorded.to_send, nesting.shape(plan.profiles), asked)
    files = recorded.files.files
    sizes = {"files": len(files), "bytes": sum(file.bytes for file in files)}
    now = recorded.run.figures(recorded.stats, **sizes)
    run = _guard(job, audit, recorded.run, now, history, unfit, wish.accepted)
    return _write(job, audit, run, recorded.to_send, recorded.files)


def _plan(
    job: Job, audit: Audit, history: Sequence[Run], definition: Definition, wish: Wish
) -> Plan:
    return pipeline.plan(
        job.spark,
        definition,
        as_of=wish.as_of,
        tables=wish.tables,
        data=wish.data,
        known=known.of_run(audit, history, definition.name, resend=wish.resend, remove=wish.remove),
        policy=job.policy,
    )


def _asked(job: Job, plan: Plan) -> list[sdl_fit.Asked]:
    """What the schema of the datamart asks of the data.

    Raises:
        DefinitionError: the profile does not fit it.
    """
    if job.schema is None or plan.kind:  # what was delivered before is no question of today's
        return []
    return pipeline.asked(plan, job.schema)


def _guard(
    job: Job,
    audit: Audit,
    run: Run,
    now: guard.Figures,
    history: Sequence[Run],
    unfit: Sequence[guard.Trip],
    accepted: guard.Acceptance,
) -> Run:
    # Only runs over sources can be compared with each other.
    alike = [r for r in history if not r.kind and not run.kind]
    confirmed = [r for r in alike if r.status is RunStatus.CONFIRMED][-_COMPARED_RUNS:]
    before = [r.figures(audit.stats(r.run_id) if r is confirmed[-1] else ()) for r in confirmed]
    found = [*guard.trips(now, before, limits=job.limits), *unfit]
    named = ", ".join(trip.name for trip in found)
    try:
        guard.check(found, accepted=accepted)
    except GuardError:
        audit.put_run(run, status=RunStatus.TRIPPED, tripped=named)
        raise
    if not found:
        return run
    return audit.put_run(
        run, tripped=named, accepted=named, accepted_by=accepted.by, accepted_why=accepted.why
    )


def _write(job: Job, audit: Audit, run: Run, lines: DataFrame, planned: fileplan.Plan) -> Run:
    if sum(file.lines for file in planned.files) != run.lines:
        found = f"{sum(file.lines for file in planned.files):,} lines for files"
        message = "Files and recorded lines disagree; no file was written"
        raise IntegrityError(message, Problem(run.run_id, found, f"{run.lines:,} recorded lines"))
    about = Manifest(
        run_id=run.run_id,
        name=run.name,
        as_of=run.as_of.strftime("%Y-%m-%dT%H:%M:%SZ"),
        definition_hash=run.definition_hash,
        library_version=run.library_version,
        sources=tuple(ManifestSource(name=n, location=p, version=v) for n, p, v in run.sources),
        max_bytes=job.max_bytes,
    )
    texts: writing.WriteText = partial(spark_files.write, lines)
    if parquet := audit.parquet("lines", run.run_id):
        texts = partial(arrow_files.write, parquet)
    with watching.watched(job.spark, job.listener, Event("write", "writing the import files")):
        written = writing.write(texts, planned, job.folder(run), about)
    total = sum(file.bytes for file in written)
    records = [
        {**vars(file), "file": file.path, "status": FileStatus.WRITTEN.value, "attempts": 0}
        for file in written
    ]
    audit.put_records("files", run.run_id, records)
    return audit.put_run(run, status=RunStatus.WRITTEN, files=len(written), bytes=total)


def _settled(job: Job, audit: Audit, run: Run, datamart: Datamart) -> Run:
    return settling.settle(
        audit,
        run,
        datamart,
        open_file=job.folder(run).open,
        listener=job.listener,
        settings=job.sending,
    )


def _deliver(job: Job, audit: Audit, run: Run, datamart: Datamart) -> Run:
    settled = _settled(job, audit, run, datamart)
    if settled.status is RunStatus.UNCONFIRMED:
        problem = Problem(settled.run_id, str(settled.message), "", "run again: it sends the rest")
        message = "The upload ended, but not all of it was confirmed"
        raise UnconfirmedError(message, problem)
    return settled


def manifest(job: Job, run: Run) -> dict[str, object]:
    """The manifest of a written run."""
    with job.folder(run).open(writing.MANIFEST) as stream:
        content: dict[str, object] = json.loads(stream.read())
    return content
