"""Deliver a written run without Spark: audit tables + files -> executions -> recorded results.

The state machine is that of `run`. Moving confirmed lines into `delivered` is left to Spark: a
merge by delta-rs holds its join in memory, however large. So the run stays `uploading` with all
its files at their end, and the next `run`, or `upload` with Spark, settles it without a request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from spark_profiles import progress, stores
from spark_profiles.audit import journal, leases, slices, states
from spark_profiles.audit.attribution import deletes_are_confirmed
from spark_profiles.audit.journal import FilesTable
from spark_profiles.audit.records import FileStatus
from spark_profiles.audit.states import RunStatus
from spark_profiles.delivery import upload
from spark_profiles.errors import IntegrityError, Problem, UnconfirmedError, UnsettledError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from spark_profiles.audit.records import FileRecord, RejectedLine
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.progress import Listener
    from spark_profiles.stores import Folder

    Row = dict[str, Any]


_MANIFEST = "manifest.json"


class Tables(leases.Table, journal.Tables, Protocol):
    """What is needed of the audit tables."""


@dataclass(frozen=True)
class Waiting:
    """A run whose files are to be sent: its row of `runs`, its files, and where they lie."""

    run: Row
    files: tuple[FileRecord, ...]
    folder: Folder

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.run["run_id"])

    @property
    def import_name(self) -> str:
        """Name of the run's document import."""
        return upload.import_name(str(self.run["name"]), self.run_id, is_second=False)


def waiting(tables: Tables, name: str, *, folder: str | None = None) -> Waiting | None:
    """The newest run of the definition `name` that waits to be sent; None: none does.

    Args:
        tables: the audit tables.
        name: of the definition.
        folder: where the run's files lie, if not where they were written.

    Raises:
        IntegrityError: manifest and recorded files disagree.
    """
    ready = (RunStatus.WRITTEN.value, RunStatus.UPLOADING.value)
    runs = [row for row in tables.rows("runs", name=name) if row["status"] in ready]
    if not runs:
        return None
    run = max(runs, key=lambda row: (row["started_at"], row["run_id"]))
    files = FilesTable(tables, run["run_id"], name).files()
    found = Waiting(run, tuple(files), stores.folder(folder or run["output"]))
    _check_manifest(found)
    return found


def deliver(
    tables: Tables,
    found: Waiting,
    datamart: Datamart,
    *,
    settings: upload.Settings,
    now: Callable[[], datetime],
    listener: Listener = progress.silent,
    gives_up: bool = False,
) -> tuple[FileRecord, ...]:
    """Send the files of a waiting run, or continue; returns them as they ended.

    Raises:
        UnconfirmedError: they ended, but not all were confirmed; the next run sends the rest.
        UnavailableError: the API does not answer; the same call continues.
        UnsettledError: another run of this definition is at work.
        DefinitionError: the files are compressed.
    """
    upload.refuse_compressed(found.run_id, [file.name for file in found.files])
    states.check(RunStatus(found.run["status"]), RunStatus.UPLOADING)
    with leases.held(tables, str(found.run["name"]), now=now):
        alone = _Alone(tables, found.run_id, str(found.run["name"]))
        run = {**found.run, "status": RunStatus.UPLOADING.value, "updated_at": now()}
        tables.put_records("runs", found.run_id, [run])
        common: dict[str, Any] = {
            "datamart": datamart, "journal": alone, "listener": listener, "settings": settings,
        }  # fmt: skip
        ended: tuple[FileRecord, ...] = ()
        for is_second in (False, True):
            files = [file for file in found.files if file.is_second == is_second]
            if not files:
                continue
            if gives_up:
                ended += upload.cancel(files, **common)
            elif is_second and not deletes_are_confirmed(ended):
                ended += tuple(files)  # as they are: the next run sends their lines
            else:
                ended += upload.upload(
                    files,
                    open_file=slices.opener(found.folder.open),
                    import_name=upload.import_name(
                        str(run["name"]), found.run_id, is_second=is_second
                    ),
                    **common,
                )
        imports = [file.document_import_id for file in ended if not file.is_second]
        run |= {"document_import_id": next(iter(imports), None), "updated_at": now()}
        tables.put_records("runs", found.run_id, [run])
    if failed := [file for file in ended if file.status is not FileStatus.CONFIRMED]:
        problems = [Problem(f.name, f"{f.status.value}: {f.message}") for f in failed]
        message = "The upload ended, but not all of it was confirmed; the next run sends the rest"
        raise UnconfirmedError(message, *problems)
    return ended


def _check_manifest(found: Waiting) -> None:
    if all(file.is_final for file in found.files):
        return
    with found.folder.open(_MANIFEST) as stream:
        listed = json.loads(stream.read())["files"]
    told = {(one["path"], one["lines"], one["bytes"], one["sha256"]) for one in listed}
    # Parts of files that were sent again are recorded too; the manifest knows whole files.
    whole = [file for file in found.files if "#" not in file.name]
    recorded = {(file.name, file.lines, file.bytes, file.sha256) for file in whole}
    if told != recorded:
        problem = Problem(
            f"{found.folder.location}/{_MANIFEST}",
            f"{len(told ^ recorded)} entries differ from the recorded files",
            "the manifest that was written with them",
            "build again",
        )
        message = "The manifest is not that of the run; nothing was sent"
        raise IntegrityError(message, problem)


class _Alone(FilesTable):
    """The journal of one run, which nobody else may write meanwhile."""

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        """Record these files, if all is as it was left."""
        if self._recorded() != self._rows:
            problem = Problem(
                self._run_id, "its files were recorded by somebody else", "one upload at a time",
                "wait until the other has ended, then run the same command again",
            )  # fmt: skip
            message = "Another upload of this run is at work"
            raise UnsettledError(message, problem)
        super().record(files, rejected)
