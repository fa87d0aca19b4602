"""Files on a disk: within both limits, complete, in order, where `places` says; whole or absent."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from linework import ABOUT, by_arrow, by_spark, recorded, row
from pyspark.sql import functions as F

from spark_profiles import stores
from spark_profiles.audit import places
from spark_profiles.core.addresses import Address
from spark_profiles.definition.delivery import MEMBERS
from spark_profiles.errors import DefinitionError, IntegrityError, PlatformError
from spark_profiles.files import arrow_files, fileplan, packing, spark_files, verify, writing
from spark_profiles.files.packing import Limits
from spark_profiles.lines import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

    TextsOf = Callable[[DataFrame], writing.WriteText]

LIMIT = 4_000


def skewed(random: random.Random, longest: int) -> int:
    """Length of a text: mostly tiny, sometimes most of a file, rarely more than one."""
    kinds = [(6, 30), (2, 300), (2, longest), (1, 60)]
    most = random.choices([most for _, most in kinds], [weight for weight, _ in kinds])[0]
    return random.randint(0, most)


@pytest.fixture(params=[pytest.param(by_spark, marks=pytest.mark.jvm), by_arrow])
def texts_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextsOf:
    """Lines -> what writes them as text: Spark, or Arrow from Parquet files."""
    return lambda lines: request.param(lines, tmp_path_factory.mktemp("recorded") / "lines")


def written(
    texts_of: TextsOf, lines: DataFrame, folder: Path, limits: Limits, **more: Any
) -> tuple[fileplan.ImportFile, ...]:
    lines = lines.cache()
    planned = fileplan.planned(lines, limits, **more)
    made = writing.write(texts_of(lines), planned, stores.folder(folder), ABOUT)
    lines.unpersist()
    return made


def bodies(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.ndjson"))}


def drawn(draw: random.Random) -> list[tuple[Any, ...]]:
    """Cases of skewed lines; each case is an operation of its own, for those are kept apart."""
    rows: list[tuple[Any, ...]] = []
    for case in range(12):
        longest = draw.choice([100, 1_900, 2_600, 5_000])
        for n in range(draw.choice([1, 3, 60, 150])):
            text = draw.choice("aé€😀") + "x" * skewed(draw, longest)
            key, _, *rest = row(f"{case}-{draw.choice(' !é')}{n}", {"t": text})
            rows.append((key, f"case{case}", *rest))
    draw.shuffle(rows)
    return rows


@pytest.mark.jvm
@pytest.mark.parametrize("count", [1, 2, 11, 60])
def test_each_file_has_a_partition_of_its_own(spark: SparkSession, count: int) -> None:
    rows = [(number,) for number in spark_files._apart(spark, count)]
    spread = spark.createDataFrame(rows, "number int").repartition(count, "number")
    parts = spread.select("number", F.spark_partition_id().alias("part")).collect()
    assert [number for _, number in sorted((r["part"], r["number"]) for r in parts)] == [
        number for (number,) in rows
    ]
    assert len(parts) == count


def test_what_an_attempt_left_is_no_part_of_a_file(tmp_path: Path) -> None:
    whole = ["_parts/part-00000-a-c000.txt", "_parts/part-00001"]
    left = [
        "_parts/_temporary/0/attempt_1/part-00001-b-c000.txt",
        "_parts/__magic_job-1/tasks/__base/part-00001-b-c000.txt.pending",
        "_parts/part-00002-a-c000.txt",  # of a partition without lines
    ]
    for path in (*whole, *left):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert writing._parts(stores.folder(tmp_path), 2) == [[path] for path in whole]


def test_drawn_lines_lie_where_they_should(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf
) -> None:
    limits = Limits(LIMIT, 12)
    lines = recorded(spark, drawn(random.Random(7))).cache()
    planned = fileplan.planned(lines, limits)
    seen = texts_of(lines)(planned, stores.folder(tmp_path / "_parts"))

    sent = {r["profile_key"]: r for r in lines.withColumn("text", commands.text()).collect()}
    fitting = {key for key, r in sent.items() if r["bytes"] <= LIMIT}
    assert planned.refused_lines == len(sent) - len(fitting) > 0
    refused = fileplan.too_long(lines, LIMIT).collect()
    assert {r["key"] for r in refused} == sent.keys() - fitting
    told = places_told(spark, lines, planned)
    found: list[str] = []
    folder = stores.folder(tmp_path)
    parts = writing._parts(folder, len(planned.files))
    for file, written_parts, content in zip(planned.files, parts, seen or parts, strict=True):
        done, part = writing._verified(
            folder, "none", file, written_parts, content if seen else None
        )
        body = (tmp_path / part).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (done.bytes, done.sha256)
        texts = body.decode().split("\n")[:-1]
        assert 0 < len(body) <= LIMIT
        assert 0 < len(texts) <= 12
        commands_ = [json.loads(text) for text in texts]
        keys = [command["user_account_id"] for command in commands_]
        addresses = [str(Address.of_command(command)).encode() for command in commands_]
        assert addresses == sorted(addresses)
        assert all(sent[key]["text"] == text for key, text in zip(keys, texts, strict=True))
        assert [told[file.path, n] for n in range(1, len(keys) + 1)] == keys
        found += keys
    assert sorted(found) == sorted(fitting)
    assert len(told) == len(fitting)
    lines.unpersist()


def places_told(
    spark: SparkSession, lines: DataFrame, planned: fileplan.Plan
) -> dict[tuple[str, int], str]:
    """File and line number, as the tables tell them -> profile key."""
    frame = spark.createDataFrame(
        [(f.path, f.operation, f.phase, f.ranges) for f in planned.files],
        "file string, operation string, phase int, ranges string",
    )
    rows = places.numbered(places.placed(lines, frame)).collect()
    return {(r["file"], r["line_number"]): r["profile_key"] for r in rows}


def test_drawn_cases_take_few_files(spark: SparkSession) -> None:
    """Of each case, against what its single lines need at least."""
    rows = drawn(random.Random(8))
    lines = recorded(spark, rows)
    limits = Limits(LIMIT)
    planned = fileplan.planned(lines, limits)
    singles = [
        packing.Grain(r["operation"], r["place"], r["place"], 1, r["bytes"], r["bytes"])
        for r in lines.where(F.col("bytes") <= LIMIT)
        .select("operation", "place", "bytes")
        .collect()
    ]
    for case in {grain.operation for grain in singles}:
        count = sum(file.operation == case for file in planned.files)
        needed = packing.fewest([grain for grain in singles if grain.operation == case], limits)
        assert count <= -(-11 * needed // 10)


@pytest.fixture(scope="module")
def rows() -> list[tuple[Any, ...]]:
    draw = random.Random(3)
    upserts = [row(f"c{n}", {"t": "x" * skewed(draw, 2_500)}) for n in range(300)]
    return upserts + [row(f"d{n}", {}, "DELETE") for n in range(40)]


def test_the_same_lines_give_the_same_bytes(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf, rows: list[tuple[Any, ...]]
) -> None:
    results = []
    before = spark.conf.get("spark.sql.shuffle.partitions")
    try:
        for partitions in (1, 2, 7, 64):
            spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
            shuffled = random.Random(partitions).sample(rows, len(rows))
            lines = recorded(spark, shuffled).repartition(max(1, partitions % 5))
            written(texts_of, lines, tmp_path / str(partitions), Limits(LIMIT))
            results.append(bodies(tmp_path / str(partitions)))
            found = verify.verify(str(tmp_path / str(partitions)))
            assert found.lines == 340
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert len(results[0]) > 10
    assert all(result == results[0] for result in results)


@pytest.mark.jvm
def test_spark_and_arrow_write_the_same_bytes(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lines of every strategy, with keys that UTF-8 and UTF-16 order differently."""
    monkeypatch.setattr(arrow_files, "_OPEN", 3)
    draw = random.Random(11)
    keys = [f"{draw.choice(['a', 'é', chr(0xFFEE), '😀'])}{n}" for n in range(300)]
    rows = [row(key, {"t": "😀" * skewed(draw, 900)}) for key in keys]
    rows += [row(f"d{n}", {}, "DELETE") for n in range(40)]
    strategy = F.element_at(
        F.array(*map(F.lit, MEMBERS), F.lit(None)), F.abs(F.hash("profile_key")) % 7 + 1
    )
    is_patched = F.col("strategy").startswith("PARTIAL")
    lines = recorded(spark, rows).withColumn("strategy", strategy)
    patch = F.when(is_patched, F.lit('{"t":"\u2028"}'))
    size = F.octet_length(commands.text()).cast("bigint") + 1
    lines = lines.withColumn("patch", patch).withColumn("bytes", size)
    for way in (by_spark, by_arrow):
        texts = partial(way, scratch=tmp_path / "lines")
        written(texts, lines, tmp_path / way.__name__, Limits(LIMIT))
    assert len(bodies(tmp_path / "by_spark")) > 20
    assert bodies(tmp_path / "by_arrow") == bodies(tmp_path / "by_spark")


def test_gzip_holds_the_same_lines(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf, rows: list[tuple[Any, ...]]
) -> None:
    lines = recorded(spark, rows[:50])
    for file in written(texts_of, lines, tmp_path / "run", Limits(LIMIT), compression="gzip"):
        content = gzip.decompress((tmp_path / "run" / file.path).read_bytes())
        assert hashlib.sha256(content).hexdigest() == file.content_sha256
        assert len(content) == file.content_bytes <= LIMIT
    assert verify.verify(str(tmp_path / "run")).lines == 50


def test_a_folder_that_holds_files_is_never_written_over(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf, rows: list[tuple[Any, ...]]
) -> None:
    lines = recorded(spark, rows[:3])
    written(texts_of, lines, tmp_path / "run", Limits(LIMIT))
    before = bodies(tmp_path / "run")
    with pytest.raises(DefinitionError, match="is taken"):
        written(texts_of, lines, tmp_path / "run", Limits(LIMIT))
    assert bodies(tmp_path / "run") == before


def test_lines_that_differ_from_the_plan_leave_nothing(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf, rows: list[tuple[Any, ...]]
) -> None:
    lines = recorded(spark, rows[:9])
    limits = Limits(LIMIT)
    planned = fileplan.planned(lines, limits)
    texts = texts_of(lines.where("profile_key <> 'c1'"))
    with pytest.raises(IntegrityError, match="not as recorded"):
        writing.write(texts, planned, stores.folder(tmp_path / "run"), ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_no_lines_give_a_manifest_without_files(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf
) -> None:
    lines = recorded(spark, [row("a", {})]).where(F.lit(False))
    written(texts_of, lines, tmp_path / "run", Limits(LIMIT))
    assert verify.verify(str(tmp_path / "run")).files == 0


# A process of its own, so that it can be killed: the text is given by the test.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from linework import ABOUT
from spark_profiles import stores
from spark_profiles.files import fileplan, writing
from spark_profiles.files.packing import Grain, Limits
def write_text(planned, folder):
    Path(folder.root).mkdir(parents=True)
    for n, file in enumerate(planned.files):
        Path(folder.root, f"part-{{n:05d}}").write_bytes(b"x" * (file.bytes - 1) + b"\\n")
    return ()
step = {step!r}
def stop(*args, **kw):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "verify": writing._verified = stop
if step == "name": stores.Folder.move = stop
if step == "manifest": stores.Folder.write = stop
if step == "appear": stores.Folder.become = stop
planned = fileplan.plan([Grain("UPSERT", n, n, 1, 60, 60) for n in range(3)], Limits(100))
writing.write(write_text, planned, stores.folder({folder!r}), ABOUT)
"""


@pytest.mark.parametrize("step", ["verify", "name", "manifest", "appear"])
def test_a_killed_writer_leaves_nothing_to_see_and_nothing_in_the_way(
    tmp_path: Path, step: str
) -> None:
    def attempt(step: str) -> int:
        script = KILLED.format(
            tests=str(Path(__file__).parent), step=step, folder=str(tmp_path / "run")
        )
        return subprocess.run([sys.executable, "-c", script], check=False).returncode

    assert attempt(step) == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    assert all(path.name.startswith("_") for path in tmp_path.iterdir())
    assert attempt("none") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "manifest.json",
        "operation=UPSERT",
    ]


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk of 300 KB, or a reason why this machine gives none."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    mounted = subprocess.run(options, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_and_leaves_room_for_a_second_try(
    spark: SparkSession, small_disk: Path, texts_of: TextsOf
) -> None:
    big = recorded(spark, [row(f"c{n}", {"t": os.urandom(3_000).hex()}) for n in range(80)])
    with pytest.raises(PlatformError, match="no space left") as caught:
        written(texts_of, big, small_disk / "run", Limits(100_000))
    assert caught.value.exit_code == 5
    assert list(small_disk.iterdir()) == []
    written(texts_of, big.where("profile_key < 'c2'"), small_disk / "run", Limits(100_000))
    assert verify.verify(str(small_disk / "run")).files > 0


def test_a_fault_of_ours_is_not_laid_on_the_store(
    spark: SparkSession, tmp_path: Path, texts_of: TextsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*args: Any) -> None:
        raise KeyError("file")

    monkeypatch.setattr(writing, "_publish", faulty)
    with pytest.raises(KeyError):
        written(texts_of, recorded(spark, [row("a", {})]), tmp_path / "run", Limits(LIMIT))
    assert list(tmp_path.iterdir()) == []  # and nothing is left lying about


def test_a_store_that_takes_nothing_is_told(
    spark: SparkSession, small_disk: Path, texts_of: TextsOf
) -> None:
    remount = ["mount", "-o", "remount,{}", str(small_disk)]
    lines = recorded(spark, [row("a", {})])
    subprocess.run([part.format("ro") for part in remount], check=True)
    with pytest.raises(PlatformError, match="could not be written"):
        written(texts_of, lines, small_disk / "run", Limits(LIMIT))
    assert list(small_disk.iterdir()) == []
    subprocess.run([part.format("rw") for part in remount], check=True)
    written(texts_of, lines, small_disk / "run", Limits(LIMIT))
    assert verify.verify(str(small_disk / "run")).lines == 1
