"""EDGE. Files of a manifest -> executions -> results. No Spark.

Each step is recorded before the next is taken, so that a stop at any point is continued:

    written -> sending     recorded before a byte leaves
    sending -> sent        the execution's id is known
    sent    -> confirmed   the platform took every line
            -> partial     it ended, but not every line is certain
            -> failed      it ended as a failure

A file found in `sending` may or may not have arrived: the executions of the import tell.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from spark_profiles import progress
from spark_profiles.datamart import AmbiguousOutcome
from spark_profiles.errors import (
    IntegrityError,
    Problem,
    SparkProfilesError,
    UnavailableError,
    UnconfirmedError,
)
from spark_profiles.progress import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spark_profiles.datamart import Datamart, Execution
    from spark_profiles.progress import Listener

CHUNK = 1 << 18
_SENDS = 3
"""How often one file is sent, if it is shown each time that it did not arrive."""
_MESSAGE = 2_000


class FileStatus(str, Enum):
    """Where a file stands."""

    WRITTEN = "written"
    SENDING = "sending"
    SENT = "sent"
    CONFIRMED = "confirmed"
    PARTIAL = "partial"
    FAILED = "failed"


FINAL = (FileStatus.CONFIRMED, FileStatus.PARTIAL, FileStatus.FAILED)


@dataclass(frozen=True)
class FileRecord:
    """One import file and what became of it; `name` is its path in the run's folder."""

    name: str
    operation: str
    lines: int
    bytes: int
    sha256: str
    status: FileStatus = FileStatus.WRITTEN
    document_import_id: str | None = None
    execution_id: str | None = None
    total_success: int | None = None
    total_failure: int | None = None
    message: str | None = None
    attempts: int = 0


@dataclass(frozen=True)
class RejectedLine:
    """A line of an error file, as it came; its form is not documented."""

    file: str
    line_number: int | None
    message: str


class Journal(Protocol):
    """Where the state of files is kept."""

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        """Keep these states, and first the rejected lines; durable when it returns."""


@dataclass(frozen=True)
class _Upload:
    """What the steps of one upload share."""

    datamart: Datamart
    open_file: Callable[[str], BinaryIO]
    journal: Journal
    listener: Listener
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    poll_every_s: float
    deadline_s: float


def upload(
    files: Sequence[FileRecord],
    *,
    datamart: Datamart,
    open_file: Callable[[str], BinaryIO],
    import_name: str,
    journal: Journal,
    listener: Listener = progress.silent,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    poll_every_s: float = 0.5,
    deadline_s: float = 24 * 3600.0,
) -> tuple[FileRecord, ...]:
    """Send the files that are not sent, follow all to their end; returns them as they ended.

    Args:
        files: as recorded, in the order in which to send them.
        datamart: the API.
        open_file: opens a file by its name.
        import_name: name of the document import, should none be recorded yet.
        journal: keeps each state before the next step.
        listener: is told how far it is.
        sleep: waits seconds.
        clock: seconds that only rise.
        poll_every_s: seconds between looks at pending executions.
        deadline_s: seconds after which polling ends; the same call continues later.

    Raises:
        IntegrityError: a file is not the one that was recorded; it was not accepted.
        UnavailableError: the API does not answer; the same call continues.
        UnconfirmedError: executions cannot be told apart.
    """
    context = _Upload(
        datamart, open_file, journal, listener, sleep, clock, poll_every_s, deadline_s
    )
    known = _with_import(files, import_name, context)
    for position, file in enumerate(known):
        listener(Event("upload", file.name, position, len(known), "files"))
        if file.status in (FileStatus.WRITTEN, FileStatus.SENDING):
            known[position] = _arrived(file, known, context)
    return tuple(_followed(known, context))


def _with_import(files: Sequence[FileRecord], name: str, context: _Upload) -> list[FileRecord]:
    """The files, each with the one document import of the run: the recorded one, or a new one.

    A stop before it is recorded leaves an empty import behind, which does no harm.
    """
    known = next((f.document_import_id for f in files if f.document_import_id), None)
    import_id = known or context.datamart.create_import(name).id
    return [replace(file, document_import_id=import_id) for file in files]


def _arrived(file: FileRecord, files: Sequence[FileRecord], context: _Upload) -> FileRecord:
    """The file with its execution: found on the platform, or sent."""
    if file.status is FileStatus.SENDING:
        found = _unaccounted(file, files, context)
        if found:
            return _sent(file, found)
    while True:
        file = _sending(file, files, context)
        try:
            execution = context.datamart.post_execution(
                str(file.document_import_id), partial(_verified, file, context), file.bytes
            )
        except AmbiguousOutcome:
            found = _unaccounted(file, files, context)
            if found is None and file.attempts % _SENDS == 0:
                raise
            if found is None:
                continue
            execution = found
        return _sent(file, execution)


def _sending(file: FileRecord, files: Sequence[FileRecord], context: _Upload) -> FileRecord:
    """The file on record as being sent, in one write with the arrivals before it.

    So there is one write a file. A stop before the arrival of a file is on record finds it in
    `sending`, and its execution as the one that is nobody's.
    """
    sending = replace(file, status=FileStatus.SENDING, attempts=file.attempts + 1)
    context.journal.record([sending if other.name == file.name else other for other in files])
    return sending


def _sent(file: FileRecord, execution: Execution) -> FileRecord:
    return replace(file, status=FileStatus.SENT, execution_id=execution.id)


def _unaccounted(
    file: FileRecord, files: Sequence[FileRecord], context: _Upload
) -> Execution | None:
    """The execution that must be this file's, if it arrived; files are sent one after another.

    Raises:
        UnconfirmedError: several executions are nobody's, and their content does not tell.
    """
    recorded = {other.execution_id for other in files}
    found = [
        execution
        for execution in context.datamart.executions(str(file.document_import_id))
        if execution.id not in recorded
    ]
    if len(found) <= 1:
        return found[0] if found else None
    same = [execution for execution in found if _content_hash(execution, context) == file.sha256]
    if len(same) == 1:
        return same[0]
    problem = Problem(
        file.name,
        f"{len(found)} executions of import {file.document_import_id} belong to no file",
        "at most one",
        "look at them on the platform; the next run sends what is missing",
    )
    message = "It cannot be told which execution is which file"
    raise UnconfirmedError(message, problem)


def _content_hash(execution: Execution, context: _Upload) -> str | None:
    if not execution.input_file_uri:
        return None
    try:
        content = context.datamart.data_file(execution.input_file_uri)
    except SparkProfilesError:
        return None
    return hashlib.sha256(content).hexdigest()


def _verified(file: FileRecord, context: _Upload) -> Iterator[bytes]:
    """The bytes of the file; the last of them only if all are what was recorded.

    Raises:
        IntegrityError: they are not; the request then breaks off and is not accepted.
    """
    digest, size, held = hashlib.sha256(), 0, b""
    with context.open_file(file.name) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if held:
                yield held
            held = chunk
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        problem = Problem(
            file.name,
            f"{size} bytes, SHA-256 {digest.hexdigest()[:12]}…",
            f"{file.bytes} bytes, SHA-256 {file.sha256[:12]}…",
            "build again",
        )
        message = "A file is not the one that was written; it was not sent"
        raise IntegrityError(message, problem)
    yield held


def _followed(files: list[FileRecord], context: _Upload) -> list[FileRecord]:
    """The files, each at its end.

    Raises:
        UnavailableError: the deadline passed before.
    """
    begun = context.clock()
    is_on_record = False  # the last arrival is not: see `_sending`
    while any(file.status not in FINAL for file in files):
        done = sum(file.status in FINAL for file in files)
        context.listener(Event("poll", "waiting for the platform", done, len(files), "files"))
        context.sleep(context.poll_every_s)
        looked_at = [_looked_at(file, context) for file in files]
        after = [file for file, _ in looked_at]
        if after != files or not is_on_record:
            context.journal.record(after, [line for _, lines in looked_at for line in lines])
            is_on_record = True
        files = after
        pending = sum(file.status not in FINAL for file in files)
        if pending and context.clock() - begun > context.deadline_s:
            problem = Problem(
                "executions", f"{pending} not ended", "", "the same command continues"
            )
            message = "The platform did not finish in time"
            raise UnavailableError(message, problem)
    return files


def _looked_at(file: FileRecord, context: _Upload) -> tuple[FileRecord, Sequence[RejectedLine]]:
    """The file as it stands now, and the lines that were rejected."""
    if file.status is not FileStatus.SENT:
        return file, ()
    execution = context.datamart.execution(str(file.document_import_id), str(file.execution_id))
    if not execution.is_final:
        return file, ()
    succeeded, failed = execution.total_success, execution.total_failure
    ended = replace(file, total_success=succeeded, total_failure=failed)
    if execution.status != "SUCCEEDED":
        message = f"{execution.status}: {execution.message or 'no message'}"[:_MESSAGE]
        return replace(ended, status=FileStatus.FAILED, message=message), ()
    if (succeeded, failed) == (file.lines, 0):
        return replace(ended, status=FileStatus.CONFIRMED, message=None), ()
    message = f"{succeeded} taken and {failed} failed of {file.lines} lines"
    partial = replace(ended, status=FileStatus.PARTIAL, message=message)
    return partial, _rejected(file, execution, context)


def _rejected(file: FileRecord, execution: Execution, context: _Upload) -> list[RejectedLine]:
    if not execution.error_file_uri:
        return []
    try:
        content = context.datamart.data_file(execution.error_file_uri)
    except SparkProfilesError as error:
        return [RejectedLine(file.name, None, f"the error file cannot be read: {error.message}")]
    texts = content.decode("utf-8", errors="replace").splitlines()
    return [RejectedLine(file.name, _line_number(text), text[:_MESSAGE]) for text in texts if text]


def _line_number(text: str) -> int | None:
    """The line it speaks of, only where it says so without doubt."""
    try:
        number = json.loads(text)["line"]
    except (ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
