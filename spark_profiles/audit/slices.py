"""Part of a file: the name `file.ndjson#11-20` means its lines 11 to 20, both inclusive.

Where the platform says that lines failed but not which, a file is sent again in halves, until
each part either went through or failed as a whole.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAME = re.compile(r"\A(.+)#([0-9]+)-([0-9]+)\Z")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Slice:
    """Lines `first` to `last` of a file, counted from 1."""

    file: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """The name under which the part is recorded and opened."""
        return f"{self.file}#{self.first}-{self.last}"

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.last - self.first + 1

    def halves(self) -> tuple[Slice, Slice]:
        """The two parts into which it is split; it must have two lines at least."""
        middle = self.first + self.lines // 2 - 1
        return Slice(self.file, self.first, middle), Slice(self.file, middle + 1, self.last)


def parse(name: str, *, lines: int) -> Slice:
    """What a name means; the name of a whole file means all its `lines`."""
    found = _NAME.match(name)
    return Slice(found[1], int(found[2]), int(found[3])) if found else Slice(name, 1, lines)


def measured(part: Slice, open_file: Callable[[str], BinaryIO]) -> tuple[int, str]:
    """Bytes and SHA-256 of the part."""
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(part, open_file):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def opener(open_file: Callable[[str], BinaryIO]) -> Callable[[str], BinaryIO]:
    """Opens whole files by `open_file`, and parts by their names."""

    def opened(name: str) -> BinaryIO:
        found = _NAME.match(name)
        if not found:
            return open_file(name)
        part = Slice(found[1], int(found[2]), int(found[3]))
        return io.BufferedReader(_Stream(_chunks(part, open_file)), _CHUNK)

    return opened


def _chunks(part: Slice, open_file: Callable[[str], BinaryIO]) -> Iterator[bytes]:
    """The bytes of the part, a piece at a time."""
    before = 0  # lines that ended before this chunk
    with open_file(part.file) as stream:
        while before < part.last and (chunk := stream.read(_CHUNK)):
            ends = chunk.count(b"\n")
            start = _after(chunk, part.first - 1 - before)
            end = _after(chunk, part.last - before)
            before += ends
            if start < end:
                yield chunk[start:end]


def _after(chunk: bytes, lines: int) -> int:
    """The position behind so many line ends; the chunk's length where it has fewer."""
    position = 0
    for _ in range(lines):
        found = chunk.find(b"\n", position)
        if found < 0:
            return len(chunk)
        position = found + 1
    return position


class _Stream(io.RawIOBase):
    """Chunks of bytes as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            following = next(self._chunks, None)
            if following is None:
                return 0
            self._rest = following
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
