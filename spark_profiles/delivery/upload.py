"""EDGE. Files of a manifest -> executions -> results. No Spark.

Each step is recorded before the next is taken, so that a stop at any point is continued:

    written -> sending     recorded before a byte leaves
    sending -> sent        the execution's id is known
    sent    -> confirmed   the platform took every line
            -> partial     it ended, but not every line is certain
            -> failed      it ended as a failure, or it cannot be told whether it arrived

A file found in `sending` may or may not have arrived: the executions of the import tell, see
`matching`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from spark_profiles import progress
from spark_profiles.delivery.sending import Sending, Settings
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spark_profiles.audit.records import FileRecord, Journal
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.progress import Listener

__all__ = ["Settings", "cancel", "import_name", "refuse_compressed", "upload"]


def upload(
    files: Sequence[FileRecord],
    *,
    datamart: Datamart,
    open_file: Callable[[str], BinaryIO],
    import_name: str,
    journal: Journal,
    listener: Listener = progress.silent,
    settings: Settings = Settings(),  # noqa: B008  frozen
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[FileRecord, ...]:
    """Send the files that are not sent, follow all to their end; returns them as they ended.

    Args:
        files: as recorded, in the order in which to send them.
        datamart: the API.
        open_file: opens a file by its name.
        import_name: name of the document import, should none be recorded yet.
        journal: keeps each state before the next step.
        listener: is told how far it is.
        settings: choices.
        sleep: waits seconds.
        clock: seconds that only rise.

    Raises:
        IntegrityError: a file is not the one that was recorded; it was not accepted.
        RefusedError: the API refuses all of it; mended, the same call continues.
        UnavailableError: the API does not answer, or not in time; the same call continues.
        KeyboardInterrupt: answers in flight were taken and recorded; the same call continues.
    """
    # After a file went twice, a start that was stopped may have left its second execution behind.
    if all(file.is_final and file.attempts <= 1 for file in files):
        return tuple(files)
    known = next((f.document_import_id for f in files if f.document_import_id), None)
    # A stop before it is recorded leaves an empty import behind, which does no harm.
    import_id = known or datamart.create_import(import_name, settings.priority).id
    known_files = [replace(file, document_import_id=import_id) for file in files]
    return Sending(
        known_files, datamart, open_file, journal, listener, settings, sleep, clock
    ).run()


def import_name(name: str, run_id: str, *, is_second: bool) -> str:
    """Name of the document import of one phase of a run."""
    return f"{name} {run_id}" + (" second phase" if is_second else "")


def refuse_compressed(run_id: str, names: Sequence[str]) -> None:
    """The API documents no compression, so nothing that is compressed is sent to it.

    Raises:
        DefinitionError: one of these files is.
    """
    if any(name.partition("#")[0].endswith(".gz") for name in names):
        problem = Problem(run_id, "files built with --gzip", "", "build again without --gzip")
        message = "Compressed files are not sent to this API; nothing was sent"
        raise DefinitionError(message, problem)


def cancel(
    files: Sequence[FileRecord],
    *,
    datamart: Datamart,
    journal: Journal,
    listener: Listener = progress.silent,
    settings: Settings = Settings(),  # noqa: B008  frozen
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[FileRecord, ...]:
    """Give up what can be given up; returns the files as they ended. Arguments as of `upload`.

    Nothing more is sent, executions that are still pending are cancelled, and those that the
    platform has begun are followed to their end.
    """
    doing = Sending(
        files, datamart, _nothing_is_read, journal, listener, settings, sleep, clock, gives_up=True
    )
    return doing.run()


def _nothing_is_read(name: str) -> BinaryIO:
    raise AssertionError(name)
