"""Arrow's side of writing, without an engine: what may be wrong with lines, disks and stores."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from linework import ABOUT, parquet, row

from spark_profiles import stores
from spark_profiles.core.addresses import Address
from spark_profiles.errors import IntegrityError, PlatformError
from spark_profiles.files import arrow_files, fileplan, verify, writing
from spark_profiles.files.packing import Grain, Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN = "s3a://import/shop/run_id=1"
COLUMNS = [
    "profile_key", "operation", "strategy", "identifier", "payload", "address", "phase",
]  # fmt: skip


def text(line: tuple[Any, ...]) -> bytes:
    """The line as the contract has it, put together here."""
    _, operation, strategy, identifier, payload, *_ = line
    said = f',"update_strategy":"{strategy}"' if strategy else ""
    whole = f'{{"operation":"{operation}",{identifier[1:-1]}{said},"user_profile":{payload}}}'
    return f"{whole}\n".encode()


def recorded(lines: Sequence[tuple[Any, ...]], place: Path, *, types: Any = None) -> None:
    """Parquet files of the lines, in any order; the place of a line is drawn."""
    draw = random.Random(5)
    table = {name: [line[n] for line in lines] for n, name in enumerate(COLUMNS)}
    table |= {"patch": pa.nulls(len(lines), pa.string()), "bytes": [len(text(x)) for x in lines]}
    table["place"] = [draw.randrange(-(2**63), 2**63) for _ in lines]
    place.mkdir()
    whole = pa.table(table)
    for n in range(3):
        pq.write_table(whole.slice(n * (len(lines) // 3 + 1), len(lines) // 3 + 1),
                       place / f"{n}.parquet", row_group_size=40)  # fmt: skip


def planned(place: Path, limit: int = 20_000, **more: Any) -> fileplan.Plan:
    rows = [r for p in sorted(place.iterdir()) for r in pq.read_table(p).to_pylist()]
    grains = [
        Grain(r["operation"], r["place"], r["place"], 1, r["bytes"], r["bytes"]) for r in rows
    ]
    return fileplan.plan(grains, Limits(limit), **more)


@pytest.fixture
def lines() -> list[tuple[Any, ...]]:
    draw = random.Random(1)
    made = [row(f"{draw.choice(['a', 'é', '😀'])}{n}", {"t": "é" * n}) for n in range(200)]
    return draw.sample(made, len(made)) + [row(f"d{n}", {}, "DELETE") for n in range(20)]


@pytest.fixture
def place(tmp_path: Path, lines: list[tuple[Any, ...]]) -> Path:
    recorded(lines, tmp_path / "lines")
    return tmp_path / "lines"


def write(place: Path, location: Any, plan: fileplan.Plan | None = None) -> Any:
    texts = lambda *asked: arrow_files.write(parquet(place), *asked)  # noqa: E731
    return writing.write(texts, plan or planned(place), stores.folder(location), ABOUT)


def test_every_line_is_written_once_in_the_order_of_addresses(
    place: Path, tmp_path: Path, lines: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_files, "_OPEN", 2)
    monkeypatch.setattr(arrow_files, "_BYTES", 700)
    made = write(place, tmp_path / "run")
    assert len(made) > 3
    bodies = [
        (tmp_path / "run" / file.path).read_bytes().splitlines(keepends=True) for file in made
    ]
    assert sorted(chain(*bodies)) == sorted(map(text, lines))
    for body in bodies:
        addresses = [str(Address.of_command(json.loads(line))).encode() for line in body]
        assert addresses == sorted(addresses)
    assert verify.verify(str(tmp_path / "run")).lines == 220
    packed = write(place, tmp_path / "packed", planned(place, compression="gzip"))
    assert [file.content_sha256 for file in packed] == [file.sha256 for file in made]
    assert verify.verify(str(tmp_path / "packed")).lines == 220


def test_text_of_any_arrow_type_is_text(place: Path, tmp_path: Path) -> None:
    plan = planned(place)
    made = write(place, tmp_path / "one", plan)
    for path in place.iterdir():
        table = pq.read_table(path)
        views = [name for name in COLUMNS if name not in ("strategy", "phase")]
        for name in views:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, table[name].cast(pa.string_view()))
        at = table.schema.get_field_index("strategy")
        table = table.set_column(at, "strategy", table["strategy"].dictionary_encode())
        pq.write_table(table, path)
    assert write(place, tmp_path / "two", plan) == made


def test_long_lines_that_lie_together_are_taken_one_by_one(tmp_path: Path) -> None:
    tiny, long = [row(f"t{n}", {}) for n in range(30_000)], {"t": "x" * 400_000}
    recorded([*tiny, *(row(f"l{n}", long) for n in range(300))], tmp_path / "lines")
    for path in (tmp_path / "lines").iterdir():
        pq.write_table(pq.read_table(path), path)  # in one row group
    folder = stores.folder(tmp_path / "lines")
    batches = [batch for n in range(3) for batch in arrow_files._read(folder, f"{n}.parquet")]
    sizes = [batch.nbytes for batch in batches]
    assert sum(sizes) > 120_000_000
    assert max(sizes) <= 2 * arrow_files._BYTES


@pytest.mark.parametrize("wrong", ["a null", "a file less", "no file", "a broken file", "no rows"])
def test_what_is_recorded_wrong_is_told_and_leaves_nothing(
    place: Path, tmp_path: Path, wrong: str
) -> None:
    plan = planned(place)
    first, second, third = sorted(place.iterdir())
    table = pq.read_table(first)
    if wrong == "a null":
        at = table.schema.get_field_index("payload")
        values = [None, *table["payload"].to_pylist()[1:]]
        pq.write_table(table.set_column(at, "payload", pa.array(values, pa.string())), first)
    elif wrong == "no rows":
        for path in (first, second, third):
            pq.write_table(table.slice(0, 0), path)
    elif wrong == "a broken file":
        first.write_bytes(b"PAR1, once")
    else:
        for path in (first,) if wrong == "a file less" else (first, second, third):
            path.unlink()
    with pytest.raises(IntegrityError, match=r"no (manifest|file) was written") as caught:
        write(place, tmp_path / "run", plan)
    assert str(tmp_path / "run") not in str(caught.value)
    assert list(tmp_path.iterdir()) == [place]


def test_a_recorded_file_that_vanishes_is_no_fault_of_the_store(
    place: Path, tmp_path: Path
) -> None:
    gone = stores.Parquet(stores.folder(place), ("0.parquet", "gone.parquet"))
    with pytest.raises(IntegrityError, match=r"recorded cannot be read(.|\n)*gone.parquet"):
        writing.write(lambda *asked: arrow_files.write(gone, *asked), planned(place),
                    stores.folder(tmp_path / "run"), ABOUT)  # fmt: skip
    assert list(tmp_path.iterdir()) == [place]


def test_a_part_that_is_shorter_than_what_was_written_is_found(place: Path, tmp_path: Path) -> None:
    def cut(plan: fileplan.Plan, folder: stores.Folder) -> Any:
        seen = arrow_files.write(parquet(place), plan, folder)
        part = Path(folder.root, "part-00001")
        part.write_bytes(part.read_bytes()[:-1])
        return seen

    with pytest.raises(IntegrityError, match="not as recorded"):
        writing.write(cut, planned(place), stores.folder(tmp_path / "run"), ABOUT)
    assert list(tmp_path.iterdir()) == [place]


def test_many_files_need_few_descriptors(tmp_path: Path) -> None:
    recorded([row(f"c{n}", {}) for n in range(300)], tmp_path / "lines")
    plan = planned(tmp_path / "lines", limit=250)
    assert len(plan.files) > 200
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 128, before[1]))
    try:
        assert len(write(tmp_path / "lines", tmp_path / "run", plan)) == len(plan.files)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# A process of its own, killed where all lines lie in scratch files.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
import test_arrow_files as t
from spark_profiles import stores
stores.Folder.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
t.write(Path({place!r}), {run!r})
"""


def test_a_killed_process_leaves_no_line_behind(place: Path, tmp_path: Path) -> None:
    script = KILLED.format(
        tests=str(Path(__file__).parent), place=str(place), run=str(tmp_path / "run")
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.parent != place]
    write(place, tmp_path / "run")
    assert verify.verify(str(tmp_path / "run")).lines == 220


def test_files_go_to_an_object_store_by_way_of_scratch(
    place: Path, tmp_path: Path, s3: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = write(place, RUN)
    assert [file.sha256 for file in made] == [f.sha256 for f in write(place, tmp_path / "run")]
    assert verify.verify(RUN).lines == 220
    assert {path.name for path in tmp_path.iterdir()} == {"lines", "run"}


def test_a_disk_with_room_for_scratch_only_is_told(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: stores.Folder, name: str, chunks: Any) -> None:
        next(iter(chunks))
        message = "[Errno 28] Error writing bytes to file. Detail: No space left on device"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr(stores.Folder, "replace", full)
        with pytest.raises(PlatformError, match="no space left"):
            write(place, tmp_path / "run")
    assert list(tmp_path.iterdir()) == [place]
    assert len(write(place, tmp_path / "run")) > 3


def test_no_room_for_scratch_files_is_not_laid_on_the_store(
    place: Path, tmp_path: Path, s3: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(PlatformError, match="scratch") as caught:
            write(place, RUN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert str(tmp_path) in str(caught.value)
