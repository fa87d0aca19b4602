"""EDGE. Upkeep of the audit tables: compact, prune by retention, vacuum, measure.

Spark does it by SQL. The embedded engine has no such commands; there the package `deltalake` does
it, on tables at a path of this machine.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles import progress, stores
from spark_profiles.aftercare import removal
from spark_profiles.audit import history, leases, schemas
from spark_profiles.audit.states import is_settled
from spark_profiles.errors import DefinitionError, PlatformError, Problem
from spark_profiles.progress import Event
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from datetime import datetime

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit
    from spark_profiles.progress import Listener

WEEK = 168
"""Hours for which Delta keeps removed files, unless told otherwise: readers may be at work."""
_LOG = "_delta_log"


@dataclass(frozen=True)
class Pruned:
    """What went of the tables."""

    runs: int
    lines: int
    refused_rows: int
    rejected_lines: int


@dataclass(frozen=True)
class Upkeep:
    """What one call of `maintain` did, and how large the tables are after it."""

    pruned: Pruned
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Size:
    """One table on its store."""

    table: str
    rows: int
    files: int
    """Of the newest version."""
    stored_files: int
    """With those of former versions, not yet vacuumed, and the log."""
    stored_bytes: int


def maintain(
    audit: Audit, *, keep_days: int, vacuum_hours: int = WEEK, listener: Listener = progress.silent
) -> Upkeep:
    """Prune, compact and vacuum the tables, while no run is at work. Safe to repeat.

    Args:
        audit: the tables.
        keep_days: for so long refused rows, rejected lines and former payloads are kept, and for
            so long a run can be rolled back.
        vacuum_hours: for so long files of former table versions are kept.
        listener: is told how far it is.

    Raises:
        UnsettledError: a run is at work.
    """
    with ExitStack() as stack:
        for name in sorted({run.name for run in audit.runs()}):
            stack.enter_context(leases.held(audit, name, now=audit.now))
        listener(Event("prune", f"what is older than {keep_days} days"))
        pruned = prune(audit, before=audit.now() - timedelta(days=keep_days))
        listener(Event("compact", "joining small files"))
        compact(audit)
        listener(Event("vacuum", f"files of versions older than {vacuum_hours} hours"))
        vacuum(audit, hours=vacuum_hours)
        _note_erasures(audit, before=audit.now() - timedelta(hours=vacuum_hours))
        listener(Event("measure", "files and bytes of each table"))
        return Upkeep(pruned, tuple(sizes(audit)))


def prune(audit: Audit, *, before: datetime) -> Pruned:
    """Forget what runs that began before an instant no longer need to know.

    Their refused rows and rejected lines go, and each line but the last confirmed one of an
    address: with it any younger run can still be rolled back. Counts, files and states of all
    runs stay, so does what is delivered. Runs that are not settled are left alone.
    """
    done = {"lines": 0, "refused_rows": 0, "rejected_lines": 0}
    pruned = 0
    for name in sorted({run.name for run in audit.runs()}):
        runs = audit.runs(name)
        old = [run for run in runs if _is_old(run, before)]
        if not old:
            continue
        for run in old:
            if not run.pruned_at:  # first: from here on it is refused to roll back
                audit.put_run(run, pruned_at=audit.now())
                pruned += 1
        done["lines"] += _prune_lines(audit, runs, old)
        for table in ("refused_rows", "rejected_lines"):
            done[table] += _prune_rows(audit, table, old)
    return Pruned(runs=pruned, **done)


def _is_old(run: Run, before: datetime) -> bool:
    if run.started_at is None or not is_settled(run.status):
        return False
    return run.started_at < before


def _prune_lines(audit: Audit, runs: list[Run], old: list[Run]) -> int:
    sent = history.sent(audit, runs).where(F.col("run_id").isin([run.run_id for run in old]))
    kept = history.newest(sent.where("is_confirmed")).where(F.col("operation") == schemas.UPSERT)
    key = ["run_id", "address"]
    doomed = sent.select(*key).join(kept.select(*key), on=key, how="left_anti")
    count = doomed.count()
    if count:
        removal.delete(audit, "lines", doomed, on=key)
    return count


def _prune_rows(audit: Audit, table: str, old: list[Run]) -> int:
    of_old = audit.read(table).where(F.col("run_id").isin([run.run_id for run in old]))
    count = of_old.count()
    if count:
        removal.delete(audit, table, of_old, on=["run_id"])
    return count


def compact(audit: Audit) -> None:
    """Join the small files of each partition into larger ones; no row changes."""
    for table in schemas.TABLES:
        if audit.is_sail:
            _by_deltalake(audit, table).optimize.compact()
        else:
            audit.spark.sql(f"OPTIMIZE {audit.target(table)}").collect()


def vacuum(audit: Audit, *, hours: int = WEEK) -> None:
    """Remove the files that no version of the last `hours` needs.

    Under a week, readers that began before may fail: nothing else may be at work on the tables.
    With 0 hours the past of the log goes as well (of tables at a path), and with it every value
    that is no longer in a table.
    """
    for table in schemas.TABLES:
        if audit.is_sail:
            _by_deltalake(audit, table).vacuum(
                hours, dry_run=False, enforce_retention_duration=False, full=True
            )
        elif hours < WEEK:
            _vacuum_early(audit.target(table), audit, hours)
        else:
            audit.spark.sql(f"VACUUM {audit.target(table)} RETAIN {hours} HOURS").collect()
        if hours == 0 and audit.is_path:
            _forget_past(audit, table)


def _note_erasures(audit: Audit, *, before: datetime) -> None:
    """Record of erasures that ended before an instant that nothing of them is stored any more."""
    is_over = F.col("erased_at") <= columns.at(before)
    over = audit.read("erasures").where(F.col("vacuumed_at").isNull() & is_over)
    now = columns.at(audit.now())
    for row in over.select("run_id").collect():
        rows = audit.of_run("erasures", row["run_id"]).withColumn("vacuumed_at", now)
        audit.put("erasures", row["run_id"], rows)


def _vacuum_early(target: str, audit: Audit, hours: int) -> None:
    # Properties of the table, for a moment: the session's settings are the user's own. The
    # interval makes each of these commits write a checkpoint, which `_forget_past` needs.
    early = {
        "delta.deletedFileRetentionDuration": f"interval {hours} hours",
        "delta.checkpointInterval": "1",
    }
    settings = ", ".join(f"'{name}' = '{value}'" for name, value in early.items())
    audit.spark.sql(f"ALTER TABLE {target} SET TBLPROPERTIES ({settings})").collect()
    audit.spark.sql(f"VACUUM {target} RETAIN {hours} HOURS").collect()
    names = ", ".join(f"'{name}'" for name in early)
    audit.spark.sql(f"ALTER TABLE {target} UNSET TBLPROPERTIES ({names})").collect()


def _forget_past(audit: Audit, table: str) -> None:
    """Remove the log's entries before its last checkpoint; they tell smallest values of files."""
    if audit.is_sail:
        _by_deltalake(audit, table).create_checkpoint()
    log = stores.folder(f"{audit.location}/{table}").within(_LOG)
    last = int(json.loads(b"".join(log.chunks("_last_checkpoint")))["version"])
    for name in log.files():
        version = name.partition(".")[0]
        if version.isdigit() and int(version) < last:
            log.remove_file(name)


def sizes(audit: Audit) -> list[Size]:
    """How large each table is; of a catalog schema only rows are known, and the rest is 0."""
    found = []
    for table in schemas.TABLES:
        rows = audit.read(table)
        stored = stores.folder(f"{audit.location}/{table}").sizes() if audit.is_path else {}
        files = len(rows.inputFiles()) if not audit.is_sail else len(_live_files(audit, table))
        found.append(Size(table, rows.count(), files, len(stored), sum(stored.values())))
    return found


def _live_files(audit: Audit, table: str) -> list[str]:
    files: list[str] = _by_deltalake(audit, table).file_uris()
    return files


def _by_deltalake(audit: Audit, table: str) -> Any:
    """The table, opened by delta-rs.

    Raises:
        PlatformError: it is not installed.
        DefinitionError: the tables are not at a path.
    """
    if not audit.is_path:
        problem = Problem(audit.location, "a catalog schema", "a folder", "use --engine spark")
        message = "The embedded engine cannot maintain tables of a catalog"
        raise DefinitionError(message, problem)
    try:
        from deltalake import DeltaTable  # noqa: PLC0415  an extra
    except ImportError as error:
        remedy = "pip install 'spark-profiles[delta-rs]'"
        problem = Problem("deltalake", "not installed", "", remedy)
        message = "The embedded engine needs deltalake to maintain tables"
        raise PlatformError(message, problem) from error
    return DeltaTable(f"{audit.location}/{table}")
