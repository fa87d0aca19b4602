"""EDGE. The bytes of a recorded file, on their way: the last of them only if all are right."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from spark_profiles.errors import IntegrityError, Problem, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spark_profiles.audit.records import FileRecord

CHUNK = 1 << 20
"""Of what is read, hashed and sent at once: smaller ones cost more processor time."""


def verified(
    file: FileRecord, open_file: Callable[[str], BinaryIO], count: Callable[[int], None]
) -> Iterator[bytes]:
    """The parts of the file; the last of them only if all together are what was recorded.

    Args:
        file: as recorded, with its SHA-256.
        open_file: opens a file by its name.
        count: is told how many bytes went so far, and 0 at the beginning.

    Raises:
        IntegrityError: they are not; the request then breaks off and is not accepted.
        UnavailableError: the store failed while it was read.
    """
    digest, size, last = hashlib.sha256(), 0, b""
    count(0)
    try:
        with open_file(file.name) as stream:
            while size <= file.bytes and (chunk := stream.read(CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                if size < file.bytes:
                    # At once, while the processor still has it at hand.
                    yield chunk
                    count(size)
                else:
                    last = chunk
    except FileNotFoundError:
        raise _differs(file, "not there") from None
    except OSError as error:
        problem = Problem(file.name, f"cannot be read ({type(error).__name__})", "", "run again")
        message = "The store of the files does not answer"
        raise UnavailableError(message, problem) from error
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        raise _differs(file, f"{size} bytes, SHA-256 {digest.hexdigest()[:12]}…")
    yield last
    count(size)


def _differs(file: FileRecord, found: str) -> IntegrityError:
    expected = f"{file.bytes} bytes, SHA-256 {file.sha256[:12]}…"
    message = "A file is not the one that was written; it was not sent"
    return IntegrityError(message, Problem(file.name, found, expected, "build again"))
