"""EDGE. Recorded lines -> import files of bounded bytes, verified, and their manifest.

Spark writes the text, without a Python worker. Which line lies in which file follows from the
recorded lines alone: buckets of the key's hash are packed in order into files up to the limit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles import commands
from spark_profiles.errors import IntegrityError, Problem, SourceError
from spark_profiles.schemas import UPSERT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.stores import Folder

MAX_BYTES = 95_000_000
MANIFEST = "manifest.json"
_STAGING = "_staging"


@dataclass(frozen=True)
class Grain:
    """The lines of one operation in one bucket: never parted."""

    operation: str
    bucket: int
    lines: int
    bytes: int
    longest: int
    """Bytes of the longest line."""


@dataclass(frozen=True)
class ImportFile:
    """One import file: what is planned, and after writing its SHA-256 (until then empty)."""

    path: str
    operation: str
    lines: int
    bytes: int
    first_bucket: int
    last_bucket: int
    sha256: str = ""


def plan(grains: Iterable[Grain], *, max_bytes: int) -> list[ImportFile]:
    """Files of at most `max_bytes`, each of consecutive buckets of one operation.

    Raises:
        SourceError: a line or a bucket alone is over the limit.
    """
    _refuse_long_lines(grains := list(grains), max_bytes)
    packs: list[list[Grain]] = []
    for grain in sorted(grains, key=lambda g: (g.operation != UPSERT, g.bucket)):
        if grain.bytes > max_bytes:
            problem = Problem(
                f"bucket {grain.bucket} of {grain.operation}",
                f"{grain.lines} lines of {grain.bytes:,} bytes together",
                f"at most {max_bytes:,} bytes a file",
                "raise the limit of bytes a file",
            )
            message = "Lines do not fit into a file; no file was written"
            raise SourceError(message, problem)
        last = packs[-1] if packs else []
        fits = sum(g.bytes for g in last) + grain.bytes <= max_bytes
        if last and last[0].operation == grain.operation and fits:
            last.append(grain)
        else:
            packs.append([grain])
    return [_file(pack, packs) for pack in packs]


def _refuse_long_lines(grains: Sequence[Grain], max_bytes: int) -> None:
    over = [grain for grain in grains if grain.longest > max_bytes]
    if over:
        problem = Problem(
            "lines",
            f"a line of {max(grain.longest for grain in over):,} bytes",
            f"at most {max_bytes:,} bytes",
            "shorten the profile: fewer records, or fewer properties",
        )
        message = "A line alone is longer than a file may be; no file was written"
        raise SourceError(message, problem)


def _file(pack: list[Grain], packs: list[list[Grain]]) -> ImportFile:
    operation = pack[0].operation
    alike = [other for other in packs if other[0].operation == operation]
    number = next(n for n, other in enumerate(alike, start=1) if other is pack)
    return ImportFile(
        path=f"operation={operation}/profiles-{number:05d}-of-{len(alike):05d}.ndjson",
        operation=operation,
        lines=sum(g.lines for g in pack),
        bytes=sum(g.bytes for g in pack),
        first_bucket=pack[0].bucket,
        last_bucket=pack[-1].bucket,
    )


def grains(lines: DataFrame) -> list[Grain]:
    """What lies in each bucket; reads two columns of the recorded lines."""
    rows = (
        lines.groupBy("operation", "bucket")
        .agg(
            F.count("*").alias("lines"),
            F.sum("bytes").alias("bytes"),
            F.max("bytes").alias("longest"),
        )
        .collect()
    )
    return [Grain(r["operation"], r["bucket"], r["lines"], r["bytes"], r["longest"]) for r in rows]


def write(
    spark: SparkSession, lines: DataFrame, planned: Sequence[ImportFile], folder: Folder
) -> list[ImportFile]:
    """Write the planned files into `folder` and verify each; returns them with their SHA-256.

    What an earlier attempt left in the folder is removed first. Nothing counts as written before
    the manifest lies there: see `write_manifest`.

    Raises:
        IntegrityError: bytes or lines on the store are not as planned.
    """
    folder.remove()
    if not planned:
        return []
    _write_text(spark, lines, planned, folder)
    written = [_settle(folder, number, file) for number, file in enumerate(planned)]
    folder.remove(_STAGING)
    return written


def _write_text(
    spark: SparkSession, lines: DataFrame, planned: Sequence[ImportFile], folder: Folder
) -> None:
    ranges = [(f.operation, f.first_bucket, f.last_bucket, n) for n, f in enumerate(planned)]
    files = spark.createDataFrame(
        ranges, "operation string, first_bucket int, last_bucket int, file int"
    )
    # Ranges do not overlap, so each line meets one file.
    is_inside = (
        (F.col("l.operation") == F.col("f.operation"))
        & (F.col("l.bucket") >= F.col("f.first_bucket"))
        & (F.col("l.bucket") <= F.col("f.last_bucket"))
    )
    joined = lines.alias("l").join(F.broadcast(files).alias("f"), on=is_inside, how="inner")
    text = joined.select(
        "f.file", "l.profile_key", "l.operation", "l.strategy", "l.identifier", "l.payload"
    ).select("file", "profile_key", commands.text().alias("value"))
    # A file lies whole in one partition; the order begins with it, or the writer would re-sort.
    (
        text.repartition(len(planned), F.col("file"))
        .sortWithinPartitions("file", "profile_key")
        .select("value", "file")
        .write.partitionBy("file")
        .option("compression", "none")
        .mode("error")
        .text(folder.within(_STAGING).location)
    )


def _settle(folder: Folder, number: int, file: ImportFile) -> ImportFile:
    """Verify one written file and give it its name."""
    parts = folder.files(f"{_STAGING}/file={number}")
    if len(parts) != 1:
        raise _differs(file, f"{len(parts)} parts", "1 part")
    digest, size, ends = hashlib.sha256(), 0, 0
    for chunk in folder.chunks(parts[0]):
        digest.update(chunk)
        size += len(chunk)
        ends += chunk.count(b"\n")
    if (size, ends) != (file.bytes, file.lines):
        found, expected = f"{ends} lines, {size} bytes", f"{file.lines} lines, {file.bytes} bytes"
        raise _differs(file, found, expected)
    folder.move(parts[0], file.path)
    return ImportFile(**{**asdict(file), "sha256": digest.hexdigest()})


def _differs(file: ImportFile, found: str, expected: str) -> IntegrityError:
    message = "A written file is not as recorded; no manifest was written"
    return IntegrityError(message, Problem(file.path, found, expected, "run again"))


def write_manifest(folder: Folder, files: Sequence[ImportFile], facts: dict[str, Any]) -> None:
    """Write `manifest.json`, last: with it the files count as written."""
    listed = [
        {key: getattr(f, key) for key in ("path", "operation", "lines", "bytes", "sha256")}
        for f in files
    ]
    content = {"manifest_version": 1, **facts, "files": listed}
    folder.write(MANIFEST, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
