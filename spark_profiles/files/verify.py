"""A manifest -> everything that is wrong with its files. No Spark; memory for one line at a time.

Checked are: that each listed file is there and no other, its bytes, SHA-256 and number of lines,
the limits, and of each line that it parses, fits the contract of a command, asks for the operation
of its file, and comes after the line before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from spark_profiles import progress, stores
from spark_profiles.core.addresses import Address
from spark_profiles.errors import IntegrityError, Problem
from spark_profiles.files import contract, manifest
from spark_profiles.files.digests import Content
from spark_profiles.files.manifest import Manifest
from spark_profiles.progress import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spark_profiles.files.manifest import ManifestFile
    from spark_profiles.progress import Listener
    from spark_profiles.stores import Folder

_TOLD = 10
"""Problems of the lines of one file that are told one by one; of the others only how many."""


@dataclass(frozen=True)
class Verified:
    """What was found right."""

    manifest: Manifest
    files: int
    lines: int
    bytes: int


def verify(location: str, *, listener: Listener = progress.silent) -> Verified:
    """Check all that a manifest says; `location` is its path, or its folder.

    Raises:
        IntegrityError: something is not as the manifest says; lists every problem.
        PlatformError: the store cannot be opened.
    """
    folder = stores.folder(location.removesuffix(f"/{manifest.NAME}"))
    listed = _manifest(folder)
    problems = list(_strangers(folder, listed))
    for number, file in enumerate(listed.files):
        listener(Event("verify", file.path, number, len(listed.files), "files"))
        problems += _file_problems(folder, file, listed)
    if problems:
        message = f"The files are not what the manifest says ({len(problems)} problems)"
        raise IntegrityError(message, *problems)
    return Verified(
        listed,
        len(listed.files),
        sum(file.lines for file in listed.files),
        sum(file.bytes for file in listed.files),
    )


def _manifest(folder: Folder) -> Manifest:
    problem = None
    try:
        with folder.open(manifest.NAME) as stream:
            return Manifest.model_validate_json(stream.read())
    except OSError as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else "cannot be read"
        problem = Problem(manifest.NAME, reason, f"a manifest in {folder.location}")
    except ValidationError as error:
        faults = sorted({".".join(map(str, fault["loc"])) or "JSON" for fault in error.errors()})
        problem = Problem(manifest.NAME, f"wrong: {', '.join(faults)}", "manifest version 2")
    message = "There is no manifest to verify"
    raise IntegrityError(message, problem)


def _strangers(folder: Folder, listed: Manifest) -> Iterator[Problem]:
    """Files that the manifest does not know, and files that it lists twice."""
    paths = [file.path for file in listed.files]
    for path in folder.files(hidden=True):
        if path not in (*paths, manifest.NAME):
            yield Problem(path, "is not in the manifest", "", "remove it, or build again")
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        yield Problem(path, "is listed twice in the manifest")


def _file_problems(folder: Folder, file: ManifestFile, listed: Manifest) -> list[Problem]:
    content = Content(folder.chunks(file.path), is_gzip=listed.compression == "gzip")
    lines = _Lines(file, listed)
    try:
        lines.check(content)
    except FileNotFoundError:
        return [Problem(file.path, "is not there", f"{file.bytes:,} bytes")]
    except (OSError, ValueError) as error:
        return [Problem(file.path, f"cannot be read: {error}"[:200])]
    stored, text = content.stored, content.lines
    found = [
        ("bytes", stored.size, file.bytes),
        ("SHA-256", stored.sha256, file.sha256),
        ("bytes of lines", text.size, file.content_bytes),
        ("SHA-256 of lines", text.sha256, file.content_sha256),
        ("lines", text.ends, file.lines),
        ("last byte", text.last, b"\n"),
    ]
    wrong = [Problem(file.path, f"{name} {has}", str(says)) for name, has, says in found
             if has != says]  # fmt: skip
    if text.size > listed.max_bytes:
        wrong.append(Problem(file.path, f"{text.size:,} bytes", f"at most {listed.max_bytes:,}"))
    if listed.max_lines and text.ends > listed.max_lines:
        wrong.append(Problem(file.path, f"{text.ends:,} lines", f"at most {listed.max_lines:,}"))
    return wrong + lines.problems()


class _Lines:
    """The lines of one file, looked at one after another."""

    def __init__(self, file: ManifestFile, listed: Manifest) -> None:
        self._file, self._longest = file, listed.max_bytes
        self._number = 0
        self._before: bytes | None = None
        self._wrong: list[Problem] = []
        self._more = 0

    def check(self, chunks: Iterable[bytes]) -> None:
        """Look at every line; a rest without end counts as one."""
        rest = bytearray()
        for chunk in chunks:
            *whole, last = chunk.split(b"\n")
            for piece in whole:
                rest += piece
                self._look(bytes(rest))
                rest.clear()
            # What is longer than a file may be is no line of it; its digests are taken on.
            if len(rest) <= self._longest:
                rest += last
        if rest:
            self._look(bytes(rest))

    def problems(self) -> list[Problem]:
        """What is wrong with the lines."""
        more = [Problem(self._file.path, f"{self._more:,} more lines are wrong")]
        return self._wrong + (more if self._more else [])

    def _look(self, line: bytes) -> None:
        self._number += 1
        try:
            command = contract.command(line)
            self._check_place(command)
        except ValueError as error:
            if len(self._wrong) < _TOLD:
                where = f"{self._file.path}:{self._number}"
                self._wrong.append(Problem(where, str(error)))
            else:
                self._more += 1

    def _check_place(self, command: dict[str, object]) -> None:
        if command["operation"] != self._file.operation:
            message = f"operation {command['operation']} in a file of {self._file.operation}"
            raise ValueError(message)
        address = str(Address.of_command(command)).encode()
        is_after, self._before = self._before is None or address > self._before, address
        if not is_after:
            message = "not after the line before it, by address"
            raise ValueError(message)
