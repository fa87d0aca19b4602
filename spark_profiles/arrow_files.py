"""EDGE. Recorded lines within the driver's reach -> the text of the planned files, by Arrow.

The same bytes that `spark_files` writes. Each row goes, as the text of its line, into the scratch
file of its import file; each scratch file is then sorted by key and written. Memory is that of
two import files, however many lines there are; the disk holds them once more meanwhile.
"""

from __future__ import annotations

import bisect
import mmap
import tempfile
import threading
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from spark_profiles import places
from spark_profiles.delivery import MEMBERS
from spark_profiles.digests import Content

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from spark_profiles.fileplan import Compression, Plan
    from spark_profiles.stores import Folder

    Parquet = tuple[Folder, Sequence[str]]  # files, by their names below a folder

_AT_ONCE = 2
"""Threads: each holds one import file, or a few thousand rows."""
_OPEN = 128
"""Import files at a time, each with two scratch files; for more the rows are read again."""
_ROWS, _BYTES = 8_192, 4 << 20
"""The most rows, and about the most bytes of rows, that a thread takes in hand at once."""
_COLUMNS = ["profile_key", "operation", "strategy", "identifier", "payload", "patch", "place"]
_TEXT = pa.large_string()
_INDEX = pa.schema([("profile_key", _TEXT), ("bytes", pa.int64())])
_GZIP = 16 + zlib.MAX_WBITS


def write(parquet: Parquet, planned: Plan, folder: Folder) -> list[Content]:
    """Write a part for each planned file into the folder, see `files.WriteText`.

    Args:
        parquet: where the recorded lines lie.
        planned: which files there are to be.
        folder: is made.
    """
    folder.create()
    written: list[Content] = []
    for start in range(0, len(planned.files), _OPEN):
        written += _write(parquet, planned, folder, range(start, len(planned.files))[:_OPEN])
    return [] if planned.compression == "gzip" else written


def _write(parquet: Parquet, planned: Plan, folder: Folder, numbers: range) -> list[Content]:
    recorded, names = parquet
    is_local = isinstance(folder.filesystem, fs.LocalFileSystem)
    with ExitStack() as opened, ThreadPoolExecutor(_AT_ONCE) as pool:
        scratch = {
            number: opened.enter_context(closing(_Scratch(folder.root if is_local else None)))
            for number in numbers
        }
        goals: dict[str, list[_Goal]] = defaultdict(list)
        for number, lines in scratch.items():
            ranges = places.read(planned.files[number].ranges)
            goals[planned.files[number].operation] += [(*ends, lines) for ends in ranges]
        list(pool.map(partial(_spread, recorded, goals), names))
        pa.default_memory_pool().release_unused()
        written = partial(_written, scratch, folder, planned.compression)
        return list(pool.map(written, numbers))


def _written(
    scratch: Mapping[int, _Scratch], folder: Folder, compression: Compression, number: int
) -> Content:
    with closing(scratch[number].in_order()) as chunks:
        content = Content(chunks, is_gzip=False)
        text = _packed(content) if compression == "gzip" else content
        folder.replace(f"part-{number:05d}", text)
    return content


class _Scratch:
    """The lines of one import file, in any order: on the disk, in two files without names."""

    def __init__(self, folder: str | None) -> None:
        self._texts, self._index = (
            tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  see `close`
            for _ in range(2)
        )
        self._writer = pa.ipc.new_stream(self._index, _INDEX)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give its room on the disk back."""
        self._texts.close()
        self._index.close()

    def add(self, keys: pa.LargeStringArray, texts: pa.LargeStringArray) -> None:
        rows = pa.RecordBatch.from_arrays([keys, pc.binary_length(texts)], schema=_INDEX)
        with self._lock:
            self._texts.write(_joined(texts))
            self._writer.write_batch(rows)

    def in_order(self) -> Generator[bytes]:
        """The text of the file, a piece at a time; nothing can be added any more."""
        self._writer.close()
        self._texts.flush()
        whole = pa.py_buffer(mmap.mmap(self._texts.fileno(), 0, access=mmap.ACCESS_READ))
        self._index.seek(0)
        index = pa.ipc.open_stream(self._index).read_all().combine_chunks()
        self.close()
        ends = pc.cumulative_sum(index["bytes"])
        offsets = pa.concat_arrays([pa.array([0]), *ends.chunks]).buffers()[1]
        texts = pa.LargeStringArray.from_buffers(len(index), offsets, whole)
        order = pc.sort_indices(index["profile_key"])
        step = _rows_at_once(len(index), whole.size)
        for start in range(0, len(order), step):
            yield _joined(texts.take(order.slice(start, step))).to_pybytes()


def _joined(texts: pa.LargeStringArray) -> pa.Buffer:
    """The texts, one behind the other: as Arrow holds them."""
    _, offsets, data = texts.buffers()
    ends = pa.Array.from_buffers(pa.int64(), len(texts) + 1, [None, offsets], offset=texts.offset)
    first, last = ends[0].as_py(), ends[len(texts)].as_py()
    return data.slice(first, last - first)


def _packed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(wbits=_GZIP)
    for chunk in chunks:
        yield deflate.compress(chunk)
    yield deflate.flush()


_Goal = tuple[int, int, _Scratch]
"""First and last place of lines, and where they belong."""


def _spread(folder: Folder, goals: Mapping[str, Sequence[_Goal]], name: str) -> None:
    """Each row of a Parquet file into the scratch file of its import file."""
    with folder.filesystem.open_input_file(f"{folder.root}/{name}") as source:
        parquet = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        about = parquet.metadata
        size = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
        step = _rows_at_once(about.num_rows, size)
        for lines in parquet.iter_batches(step, columns=_COLUMNS):
            keys, texts = lines["profile_key"].cast(_TEXT), _text(lines)
            for operation, files in goals.items():
                own = pc.indices_nonzero(pc.equal(lines["operation"], operation))
                order = own.take(pc.sort_indices(lines["place"].take(own)))
                own_keys, own_texts = keys.take(order), texts.take(order)
                own_places = lines["place"].take(order).to_pylist()
                for first, last, scratch in files:
                    start = bisect.bisect_left(own_places, first)
                    count = bisect.bisect_right(own_places, last, lo=start) - start
                    if count:
                        scratch.add(own_keys.slice(start, count), own_texts.slice(start, count))


def _rows_at_once(rows: int, size: int) -> int:
    """How many rows a thread takes in hand, of so many with so many bytes."""
    return max(1, min(_ROWS, _BYTES * rows // max(1, size)))


def _text(lines: pa.RecordBatch) -> pa.LargeStringArray:
    """The lines themselves with their ends: what `commands.text` says, said to Arrow."""
    names, members = pa.array(MEMBERS.keys()), pa.array(f",{text}" for text in MEMBERS.values())
    strategy = members.take(pc.index_in(lines["strategy"], names))
    parts = [
        '{"operation":"',
        lines["operation"],
        '",',
        pc.ascii_trim(lines["identifier"], characters="{}"),
        strategy.fill_null(""),
        ',"user_profile":',
        pc.coalesce(lines["patch"], lines["payload"]),
        "}\n",
    ]
    texts = [
        pa.scalar(part, _TEXT) if isinstance(part, str) else part.cast(_TEXT) for part in parts
    ]
    return pc.binary_join_element_wise(*texts, pa.scalar("", _TEXT))
