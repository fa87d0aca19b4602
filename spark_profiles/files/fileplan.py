"""EDGE. Recorded lines -> which files there will be, and which lines lie in each.

A pure function of the recorded lines: their places, bytes, operations and phases. See `packing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_profiles.audit import places
from spark_profiles.audit.schemas import FIRST_PHASE, UPSERT
from spark_profiles.engine import frames
from spark_profiles.errors import IntegrityError, Problem
from spark_profiles.files import packing
from spark_profiles.files.packing import DEFAULT_LIMITS, Grain, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyspark.sql import Column, DataFrame, Row

    from spark_profiles.files.packing import Pack

_GRAINS_A_FILE = 64
"""At least: what a grain holds beside others is at most 1/64 of a file."""

Compression = Literal["none", "gzip"]


@dataclass(frozen=True)
class ImportFile:
    """One import file: what is planned, and after writing its hashes (until then empty)."""

    path: str
    operation: str
    lines: int
    bytes: int
    """Of the file as it lies on the store; as planned, of its lines."""
    ranges: str
    """The places of its lines, see `places`."""
    phase: int = FIRST_PHASE
    """Files of the second phase are sent when the deletes of the first are confirmed."""
    sha256: str = ""
    content_bytes: int = 0
    content_sha256: str = ""


@dataclass(frozen=True)
class Plan:
    """Which files there will be."""

    files: tuple[ImportFile, ...]
    limits: Limits
    refused_lines: int = 0
    """Lines that alone are longer than a file may be: they lie in no file."""
    compression: Compression = "none"


def planned(
    lines: DataFrame, limits: Limits = DEFAULT_LIMITS, compression: Compression = "none"
) -> Plan:
    """The files of these recorded lines, see `plan`."""
    return plan(_surveyed(lines, limits), limits, compression)


def plan(
    grains: Iterable[Grain],
    limits: Limits = DEFAULT_LIMITS,
    compression: Compression = "none",
) -> Plan:
    """Few files within the limits, each of one operation and phase; see `packing.packs`.

    A line that alone is too long is in no file, and no range covers it.

    Raises:
        IntegrityError: lines that cannot be told apart by their place do not fit into one file.
    """
    ordered = sorted(grains, key=lambda g: (g.operation != UPSERT, g.operation, g.phase, g.first))
    refused = [grain for grain in ordered if grain.longest > limits.bytes]
    kept = [grain for grain in ordered if grain.longest <= limits.bytes]
    _refuse_collisions(kept, limits)
    rank = {grain: number for number, grain in enumerate(ordered)}
    ending = ".ndjson.gz" if compression == "gzip" else ".ndjson"
    files: list[ImportFile] = []
    for operation in dict.fromkeys(grain.operation for grain in kept):
        of_operation = [grain for grain in kept if grain.operation == operation]
        packs = [
            pack
            for phase in sorted({grain.phase for grain in of_operation})
            for pack in packing.packs([g for g in of_operation if g.phase == phase], limits)
        ]
        files += [
            ImportFile(
                path=f"operation={operation}/profiles-{n:05d}-of-{len(packs):05d}{ending}",
                operation=operation,
                lines=sum(grain.lines for grain in pack),
                bytes=sum(grain.bytes for grain in pack),
                ranges=places.written(_ranges(pack, rank)),
                phase=pack[0].phase,
            )
            for n, pack in enumerate(packs, start=1)
        ]
    return Plan(tuple(files), limits, sum(grain.lines for grain in refused), compression)


def _refuse_collisions(grains: Sequence[Grain], limits: Limits) -> None:
    most = limits.lines or packing.NO_LIMIT
    problems = [
        Problem("lines of one hash", f"{g.lines} lines, {g.bytes:,} bytes", "one file holds them")
        for g in grains
        if g.bytes > limits.bytes or g.lines > most
    ]
    if problems:
        message = "Lines do not fit into a file; no file was written"
        raise IntegrityError(message, *problems)


def _ranges(pack: Pack, rank: dict[Grain, int]) -> Iterator[tuple[int, int]]:
    """The places of a pack; neighbours become one range only if nothing lies between them."""
    begin = pack[0]
    for before, after in zip(pack, [*pack[1:], None], strict=True):
        if after is None or rank[after] != rank[before] + 1:
            yield begin.first, before.last
            begin = after or begin


def _surveyed(lines: DataFrame, limits: Limits) -> list[Grain]:
    """What lies where, in stretches of at most a few hundredths of a file.

    Cells of places that hold little are taken whole; where they hold more (many lines, or long
    ones) they are cut finer: a line that is long for itself alone, the others by their bytes and
    lines so far. So the driver holds some hundred grains a file.
    """
    fine = Limits(
        max(1, limits.bytes // _GRAINS_A_FILE),
        max(1, limits.lines // _GRAINS_A_FILE) if limits.lines else None,
    )
    sized = lines.withColumn("cell", places.cell(F.col("place")))
    rows = _grouped(sized, "cell").collect()
    whole = {(row["operation"], row["phase"], row["cell"]): _grain(row) for row in rows}
    coarse = [cell for cell, grain in whole.items() if _is_more(grain, fine)]
    found = [grain for cell, grain in whole.items() if cell not in set(coarse)]
    if coarse:
        asked = frames.of(lines.sparkSession, coarse, "operation string, phase int, cell int")
        there = sized.join(F.broadcast(asked), on=[*places.KIND, "cell"], how="left_semi")
        found += [_grain(row) for row in _cut(there, fine).collect()]
    return found


def _is_more(grain: Grain, fine: Limits) -> bool:
    return grain.bytes > fine.bytes or (fine.lines is not None and grain.lines > fine.lines)


def _grouped(sized: DataFrame, cell: str) -> DataFrame:
    return sized.groupBy(*places.KIND, cell).agg(
        F.min("place").alias("first"),
        F.max("place").alias("last"),
        F.count("*").alias("lines"),
        F.sum("bytes").alias("bytes"),
        F.max("bytes").alias("longest"),
    )


def _cut(sized: DataFrame, fine: Limits) -> DataFrame:
    """Cells of places, cut into grains: in the order of places, by what lies before each line."""
    cell = Window.partitionBy(*places.KIND, "cell").orderBy("place")
    before = cell.rowsBetween(Window.unboundedPreceding, -1)
    # Lines of one place cannot be parted, so they count as one.
    at_place = sized.groupBy(*places.KIND, "cell", "place").agg(
        F.count("*").alias("n"), F.sum("bytes").alias("size"), F.max("bytes").alias("most")
    )
    is_alone = F.col("size") > fine.bytes
    share = F.sum(F.when(~is_alone, F.col("size"))).over(before)
    count = F.sum(F.when(~is_alone, F.col("n"))).over(before)
    pieces = at_place.select(
        "*",
        F.sum(is_alone.cast("int")).over(cell.rowsBetween(Window.unboundedPreceding, 0)).alias("a"),
        is_alone.alias("b"),
        _steps(share, fine.bytes).alias("c"),
        _steps(count, fine.lines or packing.NO_LIMIT).alias("d"),
    )
    return pieces.groupBy(*places.KIND, "cell", "a", "b", "c", "d").agg(
        F.min("place").alias("first"),
        F.max("place").alias("last"),
        F.sum("n").alias("lines"),
        F.sum("size").alias("bytes"),
        F.max("most").alias("longest"),
    )


def _steps(so_far: Column, step: int) -> Column:
    return F.floor(F.coalesce(so_far, F.lit(0)) / F.lit(step)).cast("bigint")


def _grain(row: Row) -> Grain:
    return Grain(**{name: row[name] for name in Grain.__dataclass_fields__})


def too_long(lines: DataFrame, max_bytes: int) -> DataFrame:
    """The lines that fit into no file, as refused rows; one row is a line."""
    size = F.format_string('{"bytes":%d}', F.col("bytes"))
    return lines.where(F.col("bytes") > max_bytes).select(
        F.lit("import line").alias("source"),
        F.col("profile_key").alias("key"),
        F.array(F.lit("line_too_long")).alias("reasons"),
        size.alias("row"),
    )
