"""EDGE. Recorded lines within the driver's reach -> the text of the planned files, by Arrow.

The same bytes that `spark_files` writes. Each row goes, as the text of its line, into the scratch
file of its import file; each scratch file is then sorted by address and written. Memory is that of
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
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from spark_profiles.audit import places
from spark_profiles.definition.delivery import MEMBERS
from spark_profiles.errors import IntegrityError, PlatformError, Problem
from spark_profiles.files.digests import GZIP, Content

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from spark_profiles.files.fileplan import Compression, Plan
    from spark_profiles.stores import Folder, Parquet

_AT_ONCE = 2
"""Threads: each holds one import file, or a few thousand rows."""
_OPEN = 48
"""Import files at a time, each with two scratch files; for more the rows are read again."""
_ROWS, _BYTES = 8_192, 4 << 20
"""The most rows, and about the most bytes of rows, that a thread takes in hand at once."""
_COLUMNS = [
    "address", "operation", "phase", "strategy", "identifier", "payload", "patch", "place",
]  # fmt: skip
_TEXT = pa.large_string()
_NUMBERS = {"place": pa.int64(), "phase": pa.int32()}
_LINES = pa.schema([(name, _NUMBERS.get(name, _TEXT)) for name in _COLUMNS])
_INDEX = pa.schema([("address", _TEXT), ("bytes", pa.int64())])


def write(recorded: Parquet, planned: Plan, folder: Folder) -> list[Content]:
    """Write a part for each planned file into the folder, see `writing.WriteText`.

    Args:
        recorded: the lines as they are recorded.
        planned: which files there are to be.
        folder: is made.

    Raises:
        IntegrityError: what is recorded cannot be read.
        PlatformError: there is no room for scratch files.
    """
    folder.create()
    written: list[Content] = []
    for start in range(0, len(planned.files), _OPEN):
        written += _write(recorded, planned, folder, range(start, len(planned.files))[:_OPEN])
    return [] if planned.compression == "gzip" else written


def _write(recorded: Parquet, planned: Plan, folder: Folder, numbers: range) -> list[Content]:
    # Beside the files, where there is room for them; but a store is no place for scratch.
    is_local = isinstance(folder.filesystem, fs.LocalFileSystem)
    place = folder.root if is_local else tempfile.gettempdir()
    with ExitStack() as opened, ThreadPoolExecutor(_AT_ONCE) as pool:
        scratch = {number: opened.enter_context(closing(_Scratch(place))) for number in numbers}
        goals: dict[tuple[str, int], list[_Goal]] = defaultdict(list)
        for number, lines in scratch.items():
            file = planned.files[number]
            ranges = places.read(file.ranges)
            goals[file.operation, file.phase] += [(*ends, lines) for ends in ranges]
        list(pool.map(partial(_spread, recorded.folder, goals), recorded.names))
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

    def __init__(self, place: str) -> None:
        self._place, self._open = place, ExitStack()
        new = partial(tempfile.TemporaryFile, dir=place)
        with _room(place):
            self._texts, self._index = (self._open.enter_context(new()) for _ in range(2))
        self._writer = pa.ipc.new_stream(self._index, _INDEX)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give its room on the disk back."""
        with suppress(OSError):  # of bytes that could not be written: told already
            self._open.close()

    def add(self, addresses: pa.LargeStringArray, texts: pa.LargeStringArray) -> None:
        rows = pa.RecordBatch.from_arrays([addresses, pc.binary_length(texts)], schema=_INDEX)
        with self._lock, _room(self._place):
            self._texts.write(_joined(texts))
            self._writer.write_batch(rows)

    def in_order(self) -> Generator[bytes]:
        """The text of the file, a piece at a time; nothing can be added any more."""
        with _room(self._place):
            self._writer.close()
            self._texts.flush()
        if not self._texts.tell():  # nothing can be mapped
            return
        whole = pa.py_buffer(mmap.mmap(self._texts.fileno(), 0, access=mmap.ACCESS_READ))
        self._index.seek(0)
        index = pa.ipc.open_stream(self._index).read_all().combine_chunks()
        self.close()
        ends = pc.cumulative_sum(index["bytes"])
        offsets = pa.concat_arrays([pa.array([0]), *ends.chunks]).buffers()[1]
        texts = pa.LargeStringArray.from_buffers(len(index), offsets, whole)
        order = pc.sort_indices(index["address"])
        step = _rows_at_once(len(index), whole.size)
        for start in range(0, len(order), step):
            yield _joined(texts.take(order.slice(start, step))).to_pybytes()


@contextmanager
def _room(place: str) -> Iterator[None]:
    """What is wrong with scratch files is not laid on the store of the import files."""
    try:
        yield
    except OSError as error:
        found = (error.strerror or type(error).__name__).lower()
        problem = Problem(
            place, found, "room for the text of all lines", "free some, or set TMPDIR if it is that"
        )
        message = "Scratch files could not be written; there is no manifest"
        raise PlatformError(message, problem) from error


def _joined(texts: pa.LargeStringArray) -> pa.Buffer:
    """The texts, one behind the other: as Arrow holds them."""
    _, offsets, data = texts.buffers()
    ends = pa.Array.from_buffers(pa.int64(), len(texts) + 1, [None, offsets], offset=texts.offset)
    first, last = ends[0].as_py(), ends[len(texts)].as_py()
    return data.slice(first, last - first)


def _packed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(wbits=GZIP)
    for chunk in chunks:
        yield deflate.compress(chunk)
    yield deflate.flush()


_Goal = tuple[int, int, _Scratch]
"""First and last place of lines, and where they belong."""


def _spread(folder: Folder, goals: Mapping[tuple[str, int], Sequence[_Goal]], name: str) -> None:
    """Each row of a Parquet file into the scratch file of its import file."""
    for lines in _read(folder, name):
        for (operation, phase), files in goals.items():
            is_own = pc.and_(
                pc.equal(lines["operation"], operation), pc.equal(lines["phase"], phase)
            )
            own = pc.indices_nonzero(is_own)
            ordered = lines.take(own.take(pc.sort_indices(lines["place"].take(own))))
            own_addresses, texts = ordered["address"], _text(ordered)
            own_places = ordered["place"].to_pylist()
            for first, last, scratch in files:
                start = bisect.bisect_left(own_places, first)
                count = bisect.bisect_right(own_places, last, lo=start) - start
                if count:
                    scratch.add(own_addresses.slice(start, count), texts.slice(start, count))


def _read(folder: Folder, name: str) -> Iterator[pa.RecordBatch]:
    """The lines of a Parquet file, some at a time."""
    try:
        with folder.filesystem.open_input_file(f"{folder.root}/{name}") as source:
            parquet = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
            for number in range(parquet.num_row_groups):
                about = parquet.metadata.row_group(number)
                step = _rows_at_once(about.num_rows, about.total_byte_size)
                for rows in parquet.iter_batches(step, row_groups=[number], columns=_COLUMNS):
                    yield from _halved(rows.select(_COLUMNS).cast(_LINES))
    except (OSError, pa.ArrowException) as error:
        problem = Problem(
            folder.location, f"{name}: {type(error).__name__}", "the recorded lines", "run again"
        )
        message = "What is recorded cannot be read; no file was written"
        raise IntegrityError(message, problem) from error


def _rows_at_once(rows: int, size: int) -> int:
    """How many rows a thread takes in hand, of so many with so many bytes."""
    return max(1, min(_ROWS, _BYTES * rows // max(1, size)))


def _halved(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in pieces: long ones may lie together."""
    if rows.nbytes <= 2 * _BYTES or rows.num_rows == 1:
        yield rows
    else:
        half = rows.num_rows // 2
        yield from _halved(rows.slice(0, half))
        yield from _halved(rows.slice(half))


def _text(lines: pa.RecordBatch) -> pa.LargeStringArray:
    """The lines themselves with their ends: what `commands.text` says, said to Arrow."""
    names, members = pa.array(MEMBERS.keys()), pa.array(f",{text}" for text in MEMBERS.values())
    strategy = members.take(pc.index_in(lines["strategy"], names.cast(_TEXT)))
    parts = [
        '{"operation":"',
        lines["operation"],
        '",',
        pc.ascii_trim(lines["identifier"], characters="{}"),
        strategy.fill_null("").cast(_TEXT),
        ',"user_profile":',
        pc.coalesce(lines["patch"], lines["payload"]),
        "}\n",
    ]
    texts = [pa.scalar(part, _TEXT) if isinstance(part, str) else part for part in parts]
    # Where one is null, which none should be, the line is too short, and found out to be.
    return pc.binary_join_element_wise(
        *texts, pa.scalar("", _TEXT), null_handling="replace", null_replacement=""
    )
