"""An execution at its end -> what became of its file, and the lines that were rejected."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from spark_profiles.audit.records import FileRecord, FileStatus, RejectedLine
from spark_profiles.errors import SparkProfilesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spark_profiles.delivery.datamart import Datamart, Execution

MOST_REJECTED = 10_000
"""Lines of one error file that are kept; that there were more is kept too."""
_MESSAGE = 2_000
_MOST_BYTES = 64_000_000


def ended(file: FileRecord, execution: Execution) -> FileRecord:
    """The file, after its execution: confirmed only where every line is certain.

    An execution that goes on leaves the file as it is.
    """
    if not execution.is_final:
        return file
    succeeded, failed = execution.total_success, execution.total_failure
    file = replace(file, total_success=succeeded, total_failure=failed)
    if execution.status != "SUCCEEDED":
        message = f"{execution.status}: {execution.message or 'no message'}"[:_MESSAGE]
        return replace(file, status=FileStatus.FAILED, message=message)
    if (succeeded, failed) == (file.lines, 0):
        return replace(file, status=FileStatus.CONFIRMED, message=None)
    message = f"{succeeded} taken and {failed} failed of {file.lines} lines"
    return replace(file, status=FileStatus.PARTIAL, message=message)


def rejected(file: FileRecord, execution: Execution, datamart: Datamart) -> list[RejectedLine]:
    """The lines of the error file, if there is one; streamed, and no more than are kept."""
    if not execution.error_file_uri:
        return []
    kept: list[RejectedLine] = []
    try:
        with datamart.data_file(execution.error_file_uri) as parts:
            for text in _lines(parts):
                if len(kept) == MOST_REJECTED:
                    more = f"more than {MOST_REJECTED:,} lines; the rest is not kept"
                    return [*kept, RejectedLine(file.name, None, more)]
                told = datamart.masked(text)
                kept.append(RejectedLine(file.name, _line_number(told), told[:_MESSAGE]))
    except SparkProfilesError as error:
        message = f"the error file cannot be read: {error.message}"
        return [*kept, RejectedLine(file.name, None, message)]
    return kept


def content_hash(execution: Execution, datamart: Datamart) -> str | None:
    """SHA-256 of the platform's copy of the input; None where it cannot be had."""
    if not execution.input_file_uri:
        return None
    digest = hashlib.sha256()
    try:
        with datamart.data_file(execution.input_file_uri) as parts:
            for part in parts:
                digest.update(part)
    except SparkProfilesError:
        return None
    return digest.hexdigest()


def _lines(parts: Iterable[bytes]) -> Iterator[str]:
    """Lines that are not empty; one that never ends is cut, so that memory is bounded."""
    rest, total = b"", 0
    for part in parts:
        total += len(part)
        *whole, rest = (rest + part).split(b"\n")
        for line in [*whole, rest] if len(rest) > 1 << 20 else whole:
            if line.strip():
                yield line.decode("utf-8", errors="replace").rstrip("\r")
        rest = rest if len(rest) <= 1 << 20 else b""
        if total > _MOST_BYTES:
            return
    if rest.strip():
        yield rest.decode("utf-8", errors="replace").rstrip("\r")


def _line_number(text: str) -> int | None:
    """The line it speaks of, only where it says so without doubt."""
    try:
        number = json.loads(text)["line"]
    except (ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None
