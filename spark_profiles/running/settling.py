"""EDGE. A written run -> sent, followed to its end, and what is certain moved into the state.

Files of the second phase are sent when every DELETE of the first is confirmed; else the next run
sends their lines, for then nothing of theirs is left to be deleted.

Lines that the platform rejected are recorded with their user and stay out; the other lines of
their file are confirmed. See `attribution` for how they are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_profiles.audit import slices
from spark_profiles.audit.attribution import Evidence, deletes_are_confirmed
from spark_profiles.audit.journal import FilesTable
from spark_profiles.audit.records import FileStatus
from spark_profiles.audit.states import RunStatus
from spark_profiles.delivery import upload
from spark_profiles.progress import Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from spark_profiles.audit.attribution import Outcome
    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.progress import Listener


def settle(
    audit: Audit,
    run: Run,
    datamart: Datamart,
    *,
    open_file: Callable[[str], BinaryIO],
    listener: Listener,
    settings: upload.Settings,
) -> Run:
    """Send what was not sent, follow it to its end, and move what is confirmed into the state."""
    journal = FilesTable(audit, run.run_id, run.name)
    upload.refuse_compressed(run.run_id, [file.name for file in journal.files()])
    run = audit.put_run(run, status=RunStatus.UPLOADING)
    for is_second in (False, True):
        files = journal.files()
        if not any(file.is_second == is_second for file in files):
            continue
        if is_second and not deletes_are_confirmed(files):
            listener(Event("upload", "what depends on unconfirmed deletes waits for the next run"))
            break
        _send(run, journal, datamart, open_file, listener, settings, is_second=is_second)
    listener(Event("confirm", f"{len(journal.files())} files"))
    return _confirmed(audit, run, journal)


def _send(
    run: Run,
    journal: FilesTable,
    datamart: Datamart,
    open_file: Callable[[str], BinaryIO],
    listener: Listener,
    settings: upload.Settings,
    *,
    is_second: bool,
) -> None:
    """Send the files of one phase to their end, parts of them again where lines failed."""
    open_part = slices.opener(open_file)
    while files := [file for file in journal.files() if file.is_second == is_second]:
        ended = upload.upload(
            files,
            datamart=datamart,
            open_file=open_part,
            import_name=upload.import_name(run.name, run.run_id, is_second=is_second),
            journal=journal,
            listener=listener,
            settings=settings,
        )
        parts = Evidence(ended).further(journal.claims())
        if not parts:
            return
        listener(Event("upload", f"{len(parts)} parts again, to find the lines that failed"))
        journal.add(parts, open_part)


def _confirmed(audit: Audit, run: Run, journal: FilesTable) -> Run:
    files = journal.files()
    found = Evidence(files).outcome()
    rejected = audit.reject(run, found.failed, journal.messages()) if found.failed else 0
    if any(file.is_second for file in files) and (found.open or rejected):
        audit.doubt_second_phase(run.run_id, run.name)
    audit.doubt(run.run_id, run.name, found.doubtful)
    sizes = {file.name: file.lines for file in files}
    whole = [part.file for part in found.arrived if part.lines == sizes[part.file]]
    cut = [part for part in found.arrived if part.file not in whole]
    audit.confirm(run.run_id, run.name, whole, cut)
    imports = [file.document_import_id for file in files if not file.is_second]
    return audit.put_run(
        run,
        status=RunStatus.UNCONFIRMED if found.open or rejected else RunStatus.CONFIRMED,
        confirmed=(run.lines or 0) - rejected - sum(file.lines for file in found.open),
        rejected=rejected,
        document_import_id=next(iter(imports), None),
        message=_in_words(found, rejected),
    )


def _in_words(found: Outcome, rejected: int) -> str | None:
    notes = [
        f"{file.name}: not sent, it waits for deletes that were not confirmed"
        if file.is_second and file.status is FileStatus.WRITTEN
        else f"{file.name}: {file.status.value}"
        for file in found.open
    ]
    if rejected:
        notes.append(f"{rejected:,} lines were rejected by the platform, see rejected_lines")
    return "; ".join(notes) or None
