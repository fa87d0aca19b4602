"""EDGE. Planned files -> files on a store, verified, and their manifest.

`spark_files` or `arrow_files` writes the text. All is made in a hidden folder; nobody sees a file
before every file and the manifest are there (on an object store: before every file is there).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from spark_profiles.audit.schemas import DELETE, UPSERT
from spark_profiles.errors import (
    DefinitionError,
    IntegrityError,
    PlatformError,
    Problem,
    SparkProfilesError,
)
from spark_profiles.files import manifest
from spark_profiles.files.digests import Content
from spark_profiles.files.fileplan import Plan
from spark_profiles.files.manifest import ManifestFile
from spark_profiles.stores import Folder

if TYPE_CHECKING:
    from spark_profiles.files.fileplan import Compression, ImportFile
    from spark_profiles.files.manifest import Manifest

MANIFEST = manifest.NAME
_STAGED = "_parts"
_AT_ONCE = 8


WriteText = Callable[[Plan, Folder], Sequence[Content]]
"""Writes the lines of each planned file into a folder that is not there yet, in the order of their
addresses, as `part-<its number, from 00000>…`. Returns what it saw pass by of each file; if it
cannot, nothing, and what lies on the store is read."""


def write(
    write_text: WriteText, planned: Plan, folder: Folder, about: Manifest
) -> tuple[ImportFile, ...]:
    """Write the planned files and the manifest into `folder`, verified; returns the files.

    They are made beside it, in a hidden folder that an earlier attempt may have left, and appear
    at once. After any failure there is no manifest, and what was made is removed.

    Args:
        write_text: see `WriteText`.
        planned: which files there are to be.
        folder: must not be there yet.
        about: the manifest but for its files, their limits and compression.

    Raises:
        DefinitionError: the folder holds other files.
        IntegrityError: bytes or lines that were written are not as planned.
        PlatformError: the store does not take the files.
    """
    discard(folder, only_unfinished=True)
    _refuse_taken(folder)
    hidden = folder.hidden_sibling()
    try:
        count = len(planned.files)
        seen = write_text(planned, hidden.within(_STAGED)) if planned.files else ()
        known = seen if len(seen) == count else [None] * count
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            verified = partial(_verified, hidden, planned.compression)
            written = list(pool.map(verified, planned.files, _parts(hidden, count), known))
        files = tuple(file for file, _ in written)
        _publish(hidden, folder, written, about.model_copy(update=_facts(planned, files)))
    except BaseException as error:
        with contextlib.suppress(OSError):
            discard(folder, only_unfinished=True)
        if not _is_of_store(error):
            raise
        raise _not_written(folder, error) from error
    return files


def discard(folder: Folder, *, only_unfinished: bool = False) -> None:
    """Remove the files of a run, and what an attempt to write them left behind."""
    folder.hidden_sibling().remove()
    if not only_unfinished:
        folder.remove()
    elif folder.is_object_store and not folder.exists(MANIFEST):
        for operation in (UPSERT, DELETE):
            folder.remove(f"operation={operation}")


def _refuse_taken(folder: Folder) -> None:
    if folder.files(hidden=True):
        problem = Problem(
            folder.location, "holds files", "a new folder", "choose another folder for the output"
        )
        message = "The folder of the run is taken; nothing was written"
        raise DefinitionError(message, problem)


_PART = re.compile(rf"{_STAGED}/part-(\d+)[^/]*")
"""What was written of a file; what an attempt left elsewhere in its folder is none of it."""


def _parts(hidden: Folder, count: int) -> list[list[str]]:
    """For each file the paths of what was written of it."""
    found: list[list[str]] = [[] for _ in range(count)]
    for path in hidden.files(_STAGED):
        part = _PART.fullmatch(path)
        number = int(part[1]) if part else count
        if number < count:
            found[number].append(path)
    return found


def _verified(
    hidden: Folder,
    compression: Compression,
    file: ImportFile,
    parts: Sequence[str],
    seen: Content | None,
) -> tuple[ImportFile, str]:
    """One file as it was written, with its hashes, and where it lies.

    Raises:
        IntegrityError: it is not as planned.
    """
    if len(parts) != 1:
        raise _differs(file, f"{len(parts)} parts", "1 part")
    if seen is None:
        seen = Content(hidden.chunks(parts[0]), is_gzip=compression == "gzip")
        seen.read()
    lines, stored = seen.lines, seen.stored
    if stored.size != hidden.size(parts[0]):
        raise _differs(file, f"{hidden.size(parts[0])} bytes", f"{stored.size} bytes")
    if (lines.size, lines.ends, lines.last) != (file.bytes, file.lines, b"\n"):
        expected = f"{file.lines} lines, {file.bytes} bytes"
        raise _differs(file, f"{lines.ends} lines, {lines.size} bytes", expected)
    written = replace(
        file,
        bytes=stored.size,
        sha256=stored.sha256,
        content_bytes=lines.size,
        content_sha256=lines.sha256,
    )
    return written, parts[0]


def _differs(file: ImportFile, found: str, expected: str) -> IntegrityError:
    message = "A written file is not as recorded; no manifest was written"
    return IntegrityError(message, Problem(file.path, found, expected, "run again"))


def _facts(planned: Plan, files: Sequence[ImportFile]) -> dict[str, object]:
    """What only the writer knows of a manifest."""
    return {
        "compression": planned.compression,
        "max_bytes": planned.limits.bytes,
        "max_lines": planned.limits.lines,
        "files": tuple(
            ManifestFile(**{name: getattr(file, name) for name in ManifestFile.model_fields})
            for file in files
        ),
    }


def _publish(
    hidden: Folder, folder: Folder, files: Sequence[tuple[ImportFile, str]], whole: Manifest
) -> None:
    """Give the files their names, write the manifest, and let all appear.

    A folder is renamed in one step; on an object store each object appears whole, copied inside
    the store, and the manifest after all of them.
    """
    target = folder if folder.is_object_store else hidden
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda item: hidden.move(item[1], target, item[0].path), files))
    hidden.remove(_STAGED)
    target.write(MANIFEST, whole.text())
    if folder.is_object_store:
        hidden.remove()
    else:
        hidden.become(folder)


_REASONS = (
    ("No space left", "no space left"),
    ("Disk quota exceeded", "the quota is used up"),
    ("File too large", "a file larger than the system allows"),
    ("Read-only file system", "the store is read-only"),
    ("Permission denied", "no permission to write"),
    ("ACCESS_DENIED", "no permission to write"),
    ("AccessDenied", "no permission to write"),
    ("NoSuchBucket", "the bucket does not exist"),
    ("NO_SUCH_BUCKET", "the bucket does not exist"),
)


# What stands in the messages of an engine whose write failed for the store's sake.
_SIGNS = (
    *("java.io.IOException", "FileNotFoundException", "java.nio.file.", "AccessControlException"),
    *("S3Exception", "AzureException", "StorageException", "UnknownHostException"),
    *("ObjectStore", "object store", "os error"),
    *(sign for sign, _ in _REASONS),
)


def _is_of_store(error: BaseException) -> bool:
    """Whether the store is to blame; a fault of ours is told as what it is."""
    if isinstance(error, SparkProfilesError) or not isinstance(error, Exception):
        return False
    return isinstance(error, OSError) or any(sign in str(error) for sign in _SIGNS)


def _not_written(folder: Folder, error: BaseException) -> PlatformError:
    text = str(error)
    reason = next((words for sign, words in _REASONS if sign in text), type(error).__name__)
    problem = Problem(
        folder.location, reason, "a store that takes the files", "mend the store, then run again"
    )
    message = "The import files could not be written; there is no manifest"
    return PlatformError(message, problem)
