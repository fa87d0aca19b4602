"""Any store, seen from the driver: a location as Spark writes it -> bytes, by pyarrow.fs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyarrow import fs

from spark_profiles.errors import PlatformError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

CHUNK = 1 << 20


@dataclass(frozen=True)
class Folder:
    """A folder of a store. `location` is how Spark names it, `root` how the store does."""

    location: str
    root: str
    filesystem: fs.FileSystem

    def within(self, name: str) -> Folder:
        """The folder `name` inside this one."""
        return Folder(f"{self.location}/{name}", f"{self.root}/{name}", self.filesystem)

    def open(self, name: str) -> BinaryIO:
        """The file, to be read from its beginning."""
        stream: BinaryIO = self.filesystem.open_input_stream(f"{self.root}/{name}")
        return stream

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of the file, a piece at a time."""
        with self.open(name) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file or folder."""
        kind = self.filesystem.get_file_info(f"{self.root}/{name}".rstrip("/")).type
        return kind is not fs.FileType.NotFound

    def files(self, name: str = "") -> list[str]:
        """Files under the folder, by their path below this one, sorted; hidden ones left out."""
        selector = fs.FileSelector(
            f"{self.root}/{name}".rstrip("/"), allow_not_found=True, recursive=True
        )
        found = self.filesystem.get_file_info(selector)
        paths = [info.path[len(self.root) :].lstrip("/") for info in found if info.is_file]
        return sorted(path for path in paths if path.rpartition("/")[2][:1] not in (".", "_"))

    def remove(self, name: str = "") -> None:
        """Remove the folder and all in it; nothing happens when it is not there."""
        if self.exists(name):
            self.filesystem.delete_dir(f"{self.root}/{name}".rstrip("/"))

    def sizes(self) -> dict[str, int]:
        """Bytes of each file under the folder, hidden ones too, by their path below this one."""
        selector = fs.FileSelector(self.root, allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        return {
            info.path[len(self.root) :].lstrip("/"): info.size for info in found if info.is_file
        }

    def remove_file(self, name: str) -> None:
        """Remove one file."""
        self.filesystem.delete_file(f"{self.root}/{name}")

    def replace(self, name: str, chunks: Iterable[bytes]) -> None:
        """Give the file these bytes instead, whole or not at all."""
        folder, _, file = f"{self.root}/{name}".rpartition("/")
        with self.filesystem.open_output_stream(f"{folder}/_{file}.partial") as stream:
            for chunk in chunks:
                stream.write(chunk)
        self.filesystem.move(f"{folder}/_{file}.partial", f"{folder}/{file}")

    def move(self, name: str, to: str) -> None:
        """Give the file another place in this folder."""
        self.filesystem.create_dir(f"{self.root}/{to}".rpartition("/")[0], recursive=True)
        self.filesystem.move(f"{self.root}/{name}", f"{self.root}/{to}")

    def write(self, name: str, content: bytes) -> None:
        """Write a small file so that it is there whole or not at all."""
        self.filesystem.create_dir(self.root, recursive=True)
        self.replace(name, [content])


def folder(location: str | Path) -> Folder:
    """The folder at a path or URI (`/a/b`, `s3a://bucket/a`, `dbfs:/Volumes/…`, `hdfs://…`).

    Raises:
        PlatformError: the store is unknown here, or cannot be reached.
    """
    text = str(location).rstrip("/")
    text = re.sub(r"\A(dbfs:)(?=/Volumes/)|\Afile://(?=/)|\Afile:(?=/)", "", text)
    if "://" not in text:
        path = str(Path(text).absolute())
        return Folder(path, path, fs.LocalFileSystem())
    try:
        filesystem, root = fs.FileSystem.from_uri(re.sub(r"\As3[an]://", "s3://", text))
    except (OSError, ValueError) as error:
        problem = Problem(
            text.partition("://")[0] + "://…",
            f"not reachable from the driver ({type(error).__name__})",
            "a local path, s3://, gs://, abfss:// or hdfs://",
            "check the address and the credentials in the environment",
        )
        message = "The store cannot be opened"
        raise PlatformError(message, problem) from error
    return Folder(text, root, filesystem)
