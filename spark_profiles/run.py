"""The order of effects: settle, record, guard, write, upload, confirm. Safe to repeat at any point.

Nothing that was sent is forgotten, and nothing counts as delivered that was not confirmed:

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
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pyspark.sql import functions as F

from spark_profiles import (
    files,
    guard,
    pipeline,
    progress,
    schemas,
    session,
    stores,
    upload,
)
from spark_profiles.audit import Audit, Run
from spark_profiles.errors import (
    GuardError,
    IntegrityError,
    Problem,
    UnconfirmedError,
    UnsettledError,
)
from spark_profiles.progress import Event
from spark_profiles.states import RunStatus, is_settled
from spark_profiles.upload import FileRecord, FileStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.datamart import Datamart
    from spark_profiles.definition import Definition
    from spark_profiles.pipeline import Plan
    from spark_profiles.progress import Listener
    from spark_profiles.stores import Folder
    from spark_profiles.upload import RejectedLine

VERSION = "0.1.0"


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
    max_bytes: int = files.MAX_BYTES
    """Most bytes of one import file."""
    limits: guard.Limits = field(default_factory=guard.Limits)
    listener: Listener = progress.silent
    now: Callable[[], datetime] = _utc_now

    def tables(self) -> Audit:
        """The audit tables, created where they are not there yet."""
        is_sail = session.engine(self.spark).startswith("Sail")
        audit = Audit(self.spark, self.audit, now=self.now, is_sail=is_sail)
        audit.create()
        return audit

    def folder(self, run: Run) -> Folder:
        """Where the import files of a run lie."""
        return stores.folder(run.output)


def build(
    job: Job,
    definition: Definition,
    *,
    as_of: str,
    data: str = ".",
    tables: Mapping[str, DataFrame] | None = None,
    accepted: Sequence[str] = (),
) -> Run:
    """Plan, record, guard and write one run; nothing is sent. Returns the run as recorded.

    Args:
        job: where things lie.
        definition: what a profile is made of.
        as_of: ISO date or time, see `pipeline.plan`.
        data: the folder of relative source paths.
        tables: DataFrames to use for some sources.
        accepted: names of trips that are right this time; recorded with the run.

    Raises:
        UnsettledError: a former run may have reached the platform; upload it first.
        GuardError: a limit was passed; the run is recorded as tripped.
    """
    audit = job.tables()
    history = audit.runs(definition.name)
    return _build(job, audit, history, definition, as_of, data, tables, accepted)


def _build(
    job: Job,
    audit: Audit,
    history: Sequence[Run],
    definition: Definition,
    as_of: str,
    data: str,
    tables: Mapping[str, DataFrame] | None,
    accepted: Sequence[str],
) -> Run:
    _abandon_unsent(job, audit, history)
    job.listener(Event("plan", "reading the sources"))
    plan = pipeline.plan(
        job.spark,
        definition,
        as_of=as_of,
        tables=tables,
        data=data,
        delivered=audit.delivered(definition.name),
    )
    run = _record(job, audit, plan, history)
    run = _guard(audit, run, history, job.limits, accepted)
    return _write(job, audit, run)


def deliver(job: Job, name: str, datamart: Datamart) -> Run | None:
    """Upload and confirm the written run of the definition `name`; None: nothing is waiting.

    Raises:
        UnconfirmedError: settled, but some files were not confirmed; a new run sends them again.
        UnavailableError: the API does not answer; the same call continues.
    """
    audit = job.tables()
    waiting = [run for run in audit.runs(name) if not is_settled(run.status)]
    ready = [r for r in waiting if r.status in (RunStatus.WRITTEN, RunStatus.UPLOADING)]
    return _deliver(job, audit, ready[-1], datamart) if ready else None


def run(
    job: Job,
    definition: Definition,
    datamart: Datamart,
    *,
    as_of: str,
    data: str = ".",
    tables: Mapping[str, DataFrame] | None = None,
    accepted: Sequence[str] = (),
) -> Run:
    """Settle what is open, then build and deliver one run. Arguments as of `build`."""
    audit = job.tables()
    history = audit.runs(definition.name)
    in_flight = [former for former in history if former.status is RunStatus.UPLOADING]
    for former in in_flight:
        job.listener(Event("settle", f"run {former.run_id} is settled first"))
        _settle(job, audit, former, datamart)
    history = audit.runs(definition.name) if in_flight else history
    built = _build(job, audit, history, definition, as_of, data, tables, accepted)
    return _deliver(job, audit, built, datamart)


def _abandon_unsent(job: Job, audit: Audit, history: Sequence[Run]) -> None:
    for former in history:
        if former.status is RunStatus.UPLOADING:
            problem = Problem(
                former.run_id,
                "its files may have reached the platform",
                "a settled run",
                "`spark-profiles upload` or `run` settles it",
            )
            message = "A former run is not settled; nothing was planned"
            raise UnsettledError(message, problem)
        if not is_settled(former.status):
            # Its files are a function of its recorded lines; they must not lie about as if to send.
            job.folder(former).remove()
            audit.put_run(former, status=RunStatus.ABANDONED)


def _record(job: Job, audit: Audit, plan: Plan, history: Sequence[Run]) -> Run:
    """Write lines, refused rows and counts; they are the run from here on."""
    definition = plan.definition
    run_id = _run_id(plan, history)
    start = Run(
        run_id=run_id,
        name=definition.name,
        status=RunStatus.PLANNED,
        as_of=plan.as_of,
        definition_hash=definition.definition_hash,
        definition=definition.model_dump_json(by_alias=True, exclude_defaults=True),
        library_version=VERSION,
        engine=session.engine(job.spark),
        output=f"{job.output.rstrip('/')}/{definition.name}/run_id={run_id}",
        sources=tuple((t.name, t.location, t.version) for t in plan.tables.values()),
        started_at=job.now(),
    )
    run = audit.put_run(start)
    job.listener(Event("record", "computing profiles and recording the lines"))
    audit.put("lines", run_id, plan.lines.withColumn("name", F.lit(definition.name)))
    job.listener(Event("count", "counting rows, keeping refused ones"))
    audit.put("refused_rows", run_id, plan.refused)
    counts = tuple(guard.SourceCounts(**row.asDict()) for row in plan.counts.collect())
    counts = tuple(sorted(counts, key=lambda count: list(definition.sources).index(count.source)))
    figures = _figures(audit, run, counts)
    return audit.put_run(run, status=RunStatus.RECORDED, counts=counts, **figures)


def _run_id(plan: Plan, history: Sequence[Run]) -> str:
    """`name-1998-04-01-01`: definition, as-of in its own zone, and how many times by now."""
    local = plan.as_of.astimezone(ZoneInfo(plan.definition.time_zone))
    is_midnight = (local.hour, local.minute, local.second) == (0, 0, 0)
    day = local.strftime("%Y-%m-%d" if is_midnight else "%Y-%m-%dT%H%M%S")
    prefix = f"{plan.definition.name}-{day}-"
    taken = sum(run.run_id.startswith(prefix) for run in history)
    return f"{prefix}{taken + 1:02d}"


def _figures(audit: Audit, run: Run, counts: Sequence[guard.SourceCounts]) -> dict[str, int]:
    """Counts of the recorded lines; what stayed the same follows from what was delivered.

    Raises:
        IntegrityError: rows or profiles are missing from the counts.
    """
    rows = audit.of_run("lines", run.run_id).groupBy("change").agg(F.count("*").alias("n"))
    by_change = {row["change"]: row["n"] for row in rows.collect()}
    new, changed, gone = (by_change.get(c, 0) for c in (schemas.NEW, schemas.CHANGED, schemas.GONE))
    same = audit.delivered(run.name).count() - changed - gone
    profiles = sum(count.users for count in counts)
    problems = [
        Problem(f"sources.{c.source}", f"the parts of {c.rows:,} rows do not add up", str(c))
        for c in counts
        if not c.adds_up
    ]
    if profiles != new + changed + same:
        found = f"{new:,} new + {changed:,} changed + {same:,} same"
        problems.append(Problem("profiles", found, f"{profiles:,} users"))
    if problems:
        message = "The counts of the run do not add up; nothing was sent"
        raise IntegrityError(message, *problems)
    total = new + changed + gone
    return {
        "profiles": profiles, "new": new, "changed": changed, "gone": gone, "same": same,
        "lines": total,
    }  # fmt: skip


def _guard(
    audit: Audit,
    run: Run,
    history: Sequence[Run],
    limits: guard.Limits,
    accepted: Sequence[str],
) -> Run:
    confirmed = [r for r in history if r.status is RunStatus.CONFIRMED]
    found = guard.trips(
        run.counts,
        confirmed[-1].counts if confirmed else (),
        gone=run.gone or 0,
        delivered=(run.changed or 0) + (run.gone or 0) + (run.same or 0),
        limits=limits,
    )
    named = ", ".join(trip.name for trip in found)
    try:
        guard.check(found, accepted=accepted)
    except GuardError:
        audit.put_run(run, status=RunStatus.TRIPPED, message=f"tripped: {named}")
        raise
    return audit.put_run(run, message=f"accepted: {named}") if found else run


def _write(job: Job, audit: Audit, run: Run) -> Run:
    job.listener(Event("write", "writing the import files"))
    lines = audit.of_run("lines", run.run_id)
    planned = files.plan(files.grains(lines), max_bytes=job.max_bytes)
    written = files.write(job.spark, lines, planned, job.folder(run))
    total = sum(file.bytes for file in written)
    if sum(file.lines for file in written) != run.lines:
        found = f"{sum(file.lines for file in written):,} lines in files"
        message = "Files and recorded lines disagree; no manifest was written"
        raise IntegrityError(message, Problem(run.run_id, found, f"{run.lines:,} recorded lines"))
    facts = {
        "run_id": run.run_id,
        "name": run.name,
        "as_of": run.as_of.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "definition_hash": run.definition_hash,
        "library_version": run.library_version,
        "sources": [{"name": n, "location": p, "version": v} for n, p, v in run.sources],
    }
    files.write_manifest(job.folder(run), written, facts)
    records = [
        {**vars(file), "file": file.path, "status": FileStatus.WRITTEN.value, "attempts": 0}
        for file in written
    ]
    audit.put_records("files", run.run_id, records)
    return audit.put_run(run, status=RunStatus.WRITTEN, files=len(written), bytes=total)


class _FilesTable:
    """The uploader's journal: the `files` rows of one run, replaced at each step."""

    def __init__(self, audit: Audit, run_id: str) -> None:
        self._audit, self._run_id = audit, run_id
        rows = audit.of_run("files", run_id).orderBy("file").collect()
        self._rows = {row["file"]: row.asDict() for row in rows}

    def files(self) -> list[FileRecord]:
        """The files as recorded, UPSERT before DELETE, in the order of their names."""
        order = sorted(self._rows.values(), key=lambda r: (r["operation"] == "DELETE", r["file"]))
        return [_file_record(row) for row in order]

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        """Record these files, and first the lines that the platform rejected."""
        if rejected:
            self._reject(rejected)
        for file in files:
            facts = {**vars(file), "file": file.name, "status": file.status.value}
            self._rows[file.name] = {**self._rows[file.name], **facts}
        self._audit.put_records("files", self._run_id, list(self._rows.values()))

    def _reject(self, lines: Sequence[RejectedLine]) -> None:
        """Replace what is recorded of these files; a repeated look tells the same again."""
        replaced = {line.file for line in lines}
        rows = self._audit.of_run("rejected_lines", self._run_id).collect()
        kept = [row.asDict() for row in rows if row["file"] not in replaced]
        self._audit.put_records("rejected_lines", self._run_id, kept + [vars(n) for n in lines])


def _file_record(row: Mapping[str, Any]) -> FileRecord:
    names = FileRecord.__dataclass_fields__.keys() - {"name", "status"}
    facts = {name: row[name] for name in names}
    return FileRecord(name=row["file"], status=FileStatus(row["status"]), **facts)


def _deliver(job: Job, audit: Audit, run: Run, datamart: Datamart) -> Run:
    settled = _settle(job, audit, run, datamart)
    if settled.status is RunStatus.UNCONFIRMED:
        problem = Problem(settled.run_id, str(settled.message), "", "run again: it sends the rest")
        message = "The upload ended, but not all of it was confirmed"
        raise UnconfirmedError(message, problem)
    return settled


def _settle(job: Job, audit: Audit, run: Run, datamart: Datamart) -> Run:
    """Send what was not sent, follow it to its end, and move what is confirmed into the state."""
    run = audit.put_run(run, status=RunStatus.UPLOADING)
    journal = _FilesTable(audit, run.run_id)
    pending = journal.files()
    if pending:
        upload.upload(
            pending,
            datamart=datamart,
            open_file=job.folder(run).open,
            import_name=f"{run.name} {run.run_id}",
            journal=journal,
            listener=job.listener,
        )
    done = [file for file in journal.files() if file.status is FileStatus.CONFIRMED]
    failed = [file for file in journal.files() if file.status is not FileStatus.CONFIRMED]
    job.listener(Event("confirm", f"{len(done)} files confirmed"))
    if done:
        audit.confirm(run.run_id, run.name, [file.name for file in done])
    imports = {file.document_import_id for file in done + failed}
    return audit.put_run(
        run,
        status=RunStatus.UNCONFIRMED if failed else RunStatus.CONFIRMED,
        confirmed=sum(file.lines for file in done),
        document_import_id=next(iter(imports), None),
        message="; ".join(f"{f.name}: {f.status.value}" for f in failed) or run.message,
    )


def manifest(job: Job, run: Run) -> dict[str, object]:
    """The manifest of a written run."""
    with job.folder(run).open(files.MANIFEST) as stream:
        content: dict[str, object] = json.loads(stream.read())
    return content
