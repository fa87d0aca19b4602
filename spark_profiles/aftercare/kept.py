"""EDGE. Import files that are still kept, written again without some of their lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spark_profiles.files import digests
from spark_profiles.files.writing import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from spark_profiles.stores import Folder

_BATCH = 1 << 20


@dataclass(frozen=True)
class Rewritten:
    """One import file as it is now; without lines left it is not there any more."""

    path: str
    lines: int
    bytes: int
    sha256: str
    content_bytes: int
    """Of the lines themselves; where the file is compressed these two differ from those of it."""
    content_sha256: str


@dataclass
class _Measure:
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def see(self, data: bytes) -> bytes:
        self.size += len(data)
        self.digest.update(data)
        return data


@dataclass
class _Without:
    """A stream of lines without some, measured as it passes."""

    unwanted: Collection[bytes]
    lines: int = 0
    content: _Measure = field(default_factory=_Measure)
    stored: _Measure = field(default_factory=_Measure)

    def chunks(self, folder: Folder, path: str) -> Iterator[bytes]:
        """The file as it is to be stored; compressed where it is compressed now."""
        is_gzip = path.endswith(".gz")
        packer = zlib.compressobj(wbits=digests.GZIP) if is_gzip else None
        with folder.open(path) as stream:
            lines = _lines(gzip.GzipFile(fileobj=stream) if is_gzip else stream)
            for batch in self._batches(lines):
                data = self.content.see(batch)
                yield self.stored.see(packer.compress(data) if packer else data)
        if packer:
            yield self.stored.see(packer.flush())

    def _batches(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        batch: list[bytes] = []
        size = 0
        for line in lines:
            if line.rstrip(b"\n") in self.unwanted:
                continue
            self.lines += 1
            batch.append(line)
            size += len(line)
            if size >= _BATCH:
                yield b"".join(batch)
                batch, size = [], 0
        yield b"".join(batch)

    def rewritten(self, path: str) -> Rewritten:
        """What became of the file."""
        stored, content = self.stored, self.content
        return Rewritten(
            path,
            self.lines,
            stored.size,
            stored.digest.hexdigest(),
            content.size,
            content.digest.hexdigest(),
        )


def _lines(stream: Any) -> Iterator[bytes]:
    """The lines with their ends, whatever the chunks in which the store gives them."""
    rest = b""
    while chunk := stream.read(_BATCH):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def without(folder: Folder, paths: Sequence[str], unwanted: Collection[bytes]) -> list[Rewritten]:
    """Write these files again without the unwanted lines, then the manifest; safe to repeat.

    A file whose last line goes is removed. Files that are not there are left out.

    Args:
        folder: of the run.
        paths: of the files, below the folder.
        unwanted: whole lines without their ends.
    """
    done = []
    for path in paths:
        if not folder.exists(path):
            continue
        kept = _Without(unwanted)
        folder.replace(path, kept.chunks(folder, path))
        if kept.lines == 0:
            folder.remove_file(path)
        done.append(kept.rewritten(path))
    if done and folder.exists(MANIFEST):
        _correct_manifest(folder, {file.path: file for file in done})
    return done


def _correct_manifest(folder: Folder, rewritten: dict[str, Rewritten]) -> None:
    content = json.loads(b"".join(folder.chunks(MANIFEST)))
    for entry in content["files"]:
        if entry["path"] in rewritten:
            now = rewritten[entry["path"]]
            entry.update(lines=now.lines, bytes=now.bytes, sha256=now.sha256)
            entry.update(content_bytes=now.content_bytes, content_sha256=now.content_sha256)
    content["files"] = [entry for entry in content["files"] if entry["lines"]]
    folder.write(MANIFEST, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
