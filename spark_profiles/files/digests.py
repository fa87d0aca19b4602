"""The bytes of a file as they pass by: how many, how many lines, which hash. Memory stays flat."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GZIP = 16 + zlib.MAX_WBITS
"""For zlib: a gzip file, with its head and its check."""
_PIECE = 1 << 20


class Digest:
    """SHA-256, size, and number of line ends of the bytes added so far."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = self.ends = 0
        self.last = b""

    def add(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._hash.update(chunk)
        self.size += len(chunk)
        self.ends += chunk.count(b"\n")
        self.last = chunk[-1:] or self.last

    @property
    def sha256(self) -> str:
        """The hash, as lower-case hex."""
        return self._hash.hexdigest()


class Content:
    """The lines of a file, compressed or not, and the digests of both forms."""

    def __init__(self, chunks: Iterable[bytes], *, is_gzip: bool) -> None:
        self._chunks, self._is_gzip = chunks, is_gzip
        self.stored = Digest()
        self.lines = Digest() if is_gzip else self.stored

    def __iter__(self) -> Iterator[bytes]:
        """The uncompressed bytes, a piece at a time.

        Raises:
            ValueError: what should be gzip is not, or ends too early.
        """
        for chunk in self._chunks if not self._is_gzip else self._unpacked():
            self.lines.add(chunk)
            yield chunk

    def _unpacked(self) -> Iterator[bytes]:
        inflate = zlib.decompressobj(GZIP)
        try:
            for chunk in self._chunks:
                self.stored.add(chunk)
                rest = chunk
                while rest:
                    yield inflate.decompress(rest, _PIECE)
                    rest = inflate.unconsumed_tail
        except zlib.error as error:
            message = "not gzip"
            raise ValueError(message) from error
        if not inflate.eof or inflate.unused_data:
            message = "gzip that is cut off or continued"
            raise ValueError(message)

    def read(self) -> None:
        """Read to the end, for the digests only."""
        for _ in self:
            pass
