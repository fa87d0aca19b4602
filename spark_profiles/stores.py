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
_OBJECT_STORES = ("s3", "gcs", "abfs")


@dataclass(frozen=True)
class Folder:
    """A folder of a store. `location` is how Spark names it, `root` how the store does."""

    location: str
    root: str
    filesystem: fs.FileSystem

    @property
    def is_object_store(self) -> bool:
        """Whether objects appear whole when they are closed, and a folder cannot be renamed."""
        return self.filesystem.type_name in _OBJECT_STORES

    def within(self, name: str) -> Folder:
        """The folder `name` inside this one."""
        return Folder(f"{self.location}/{name}", f"{self.root}/{name}", self.filesystem)

    def hidden_sibling(self) -> Folder:
        """The folder beside this one that readers pass over: the same name after `_`."""
        location, root = (re.sub(r"([^/]+)\Z", r"_\1", text) for text in (self.location, self.root))
        return Folder(location, root, self.filesystem)

    def open(self, name: str) -> BinaryIO:
        """The file, to be read from its beginning."""
        path = f"{self.root}/{name}"
        # As it lies there: a name that ends in .gz would be read uncompressed.
        stream: BinaryIO = self.filesystem.open_input_stream(path, compression=None)
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

    def size(self, name: str) -> int | None:
        """Bytes of the file; None: it is not there."""
        size: int | None = self.filesystem.get_file_info(f"{self.root}/{name}").size
        return size

    def files(self, name: str = "", *, hidden: bool = False) -> list[str]:
        """Files under the folder, by their path below this one, sorted."""
        selector = fs.FileSelector(
            f"{self.root}/{name}".rstrip("/"), allow_not_found=True, recursive=True
        )
        found = self.filesystem.get_file_info(selector)
        paths = [info.path[len(self.root) :].lstrip("/") for info in found if info.is_file]
        shown = [p for p in paths if hidden or p.rpartition("/")[2][:1] not in (".", "_")]
        return sorted(shown)

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
        # An object appears when it is closed; a file would be seen while it grows.
        partial = f"{folder}/{file}" if self.is_object_store else f"{folder}/_{file}.partial"
        with self.filesystem.open_output_stream(partial) as stream:
            for chunk in chunks:
                stream.write(chunk)
        if not self.is_object_store:
            self.filesystem.move(partial, f"{folder}/{file}")

    def move(self, name: str, to: Folder, new_name: str) -> None:
        """Give the file another place in the same store; its bytes do not pass the driver."""
        source, target = f"{self.root}/{name}", f"{to.root}/{new_name}"
        if self.is_object_store:
            self.filesystem.copy_file(source, target)
            self.filesystem.delete_file(source)
        else:
            self.filesystem.create_dir(target.rpartition("/")[0], recursive=True)
            self.filesystem.move(source, target)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file so that it is there whole or not at all."""
        self.create()
        self.replace(name, [content])

    def create(self) -> None:
        """Make the folder, where a store has any."""
        if not self.is_object_store:
            self.filesystem.create_dir(self.root, recursive=True)

    def become(self, other: Folder) -> None:
        """Rename the folder, in one step; no object store can."""
        self.filesystem.move(self.root, other.root)


@dataclass(frozen=True)
class Parquet:
    """Parquet files, by their names below a folder."""

    folder: Folder
    names: tuple[str, ...]


def folder(location: str | Path) -> Folder:
    """The folder at a path or URI (`/a/b`, `s3a://bucket/a`, `dbfs:/Volumes/…`, `hdfs://…`).

    Raises:
        PlatformError: the store is unknown here, or cannot be reached.
    """
    text = str(location).rstrip("/")
    if re.match(r"(?!dbfs:|file:)[a-z][a-z0-9+.-]*://", text):
        return _remote(text)
    if text.startswith(("dbfs:/Volumes/", "/Volumes/")):
        path = text.removeprefix("dbfs:")
        return Folder(path, path, fs.LocalFileSystem())
    if text.startswith(("dbfs:", "/dbfs/")):  # the driver sees it as a mounted folder
        path = "/" + text.removeprefix("dbfs:").removeprefix("/dbfs").lstrip("/")
        return Folder(f"dbfs:{path}", f"/dbfs{path}", fs.LocalFileSystem())
    path = str(Path(re.sub(r"\Afile:/*", "/", text)).absolute())
    # With its scheme, or a cluster would take the path for one of its default store.
    return Folder(f"file://{path}", path, fs.LocalFileSystem())


def _remote(text: str) -> Folder:
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
