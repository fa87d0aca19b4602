"""Runs us and the others side by side: alternating, each a whole process, all output compared.

python -m benchmarks.bench --scale 1 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import data, processes, profiles, report
from spark_profiles.engine import jars, session

HERE = Path(__file__).resolve().parent
CONTENDERS = HERE / "contenders"


@dataclass(frozen=True)
class Contender:
    """One way to make the profiles. In its command, names in braces are filled in."""

    name: str
    what: str
    command: tuple[str, ...]
    lines: str
    """Where its lines lie below its output, as a glob."""


def _script(name: str, *more: str) -> tuple[str, ...]:
    return (sys.executable, str(CONTENDERS / name), "{data}", "{output}", *more)


def _ours(engine: str) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "spark_profiles.cli", "build", str(HERE / "profiles.yaml"),
        "--as-of=1998-08-03", "--data={data}", "--output={output}/import",
        "--audit={output}/audit", f"--engine={engine}",
    )  # fmt: skip


def _by_hand(*how: str) -> tuple[str, ...]:
    return _script("with_pyspark.py", "{heap}", *how)


_OUR_LINES = "import/**/profiles-*.ndjson"
ALL = (
    Contender("ours-spark", "spark_profiles on Spark", _ours("spark"), _OUR_LINES),
    Contender("ours-sail", "spark_profiles on Sail", _ours("sail"), _OUR_LINES),
    Contender("pyspark", "PySpark by hand", _by_hand(), "part-*"),
    Contender("pyspark-laid-out", "PySpark, laid out by key", _by_hand("laid-out"), "part-*"),
    Contender("pyspark-on-sail", "PySpark by hand, on Sail", _by_hand("sail"), "*.txt"),
    Contender("duckdb", "DuckDB, one SQL script", _script("with_duckdb.py"), "*.ndjson"),
    Contender("polars", "Polars, lazy", _script("with_polars.py"), "*.ndjson"),
    Contender("floor", "scan and write, no work", _script("floor.py", "{bytes}"), "*.ndjson"),
)


def main() -> None:
    """Measure, compare, report."""
    options = _options()
    tables = data.make(options.scale, options.work.absolute())
    start_cold(options.work.absolute() / "cache")
    chosen = [c for c in ALL if not options.only or c.name in options.only.split(",")]
    costs: dict[str, list[processes.Cost]] = {contender.name: [] for contender in chosen}
    prints: dict[str, profiles.Fingerprint] = {}
    for turn in range(1, options.rounds + 1):
        for contender in chosen:
            size = max((p.bytes for p in prints.values()), default=round(options.scale * 2e8))
            cost, files = _run(contender, tables, options, size)
            costs[contender.name].append(cost)
            _say(f"round {turn}  {contender.name:<11} {cost.seconds:7.1f} s  cpu {cost.cpu:7.1f} s")
            # The same program on the same bytes: looking at its first output is enough.
            if turn == 1 and contender.name != "floor":
                prints[contender.name] = profiles.fingerprint(files)
        _check(prints)
    measured = report.Measured(
        scale=options.scale,
        heap=options.heap,
        costs=costs,
        titles={contender.name: contender.what for contender in chosen},
        lines=max((p.lines for p in prints.values()), default=0),
        bytes=max((p.bytes for p in prints.values()), default=0),
    )
    _say(report.table(measured))
    if options.results:
        report.write(measured, options.results)
    if not options.keep:
        shutil.rmtree(options.work / "output", ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="TPC-H scale factor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="names, with commas between")
    parser.add_argument("--heap", default="4g", help="of every JVM")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="for data")
    parser.add_argument("--results", type=Path, help="folder for RESULTS.md and its chart")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds of one process")
    parser.add_argument("--keep", action="store_true", help="keep what was written last")
    return parser.parse_args()


def start_cold(cache: Path) -> None:
    """Let ours find Delta's jars there, but no archive of classes: the others have none."""
    cache.mkdir(parents=True, exist_ok=True)
    jars.delta(cache, session.find_java(cache))
    os.environ["SPARK_PROFILES_CACHE"] = str(cache)


def _run(
    contender: Contender, tables: Path, options: argparse.Namespace, size: int
) -> tuple[processes.Cost, Iterator[Path]]:
    output = options.work.absolute() / "output" / contender.name
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(exist_ok=True)
    filled = {"data": tables, "output": output, "heap": options.heap, "bytes": size}
    command = [part.format(**filled) for part in contender.command]
    os.environ["SPARK_PROFILES_MEMORY"] = options.heap
    log = output.with_suffix(".log")
    cost = processes.cost(command, log=log, timeout=options.timeout)
    return cost, output.glob(contender.lines)


def _check(prints: dict[str, profiles.Fingerprint]) -> None:
    """Stop unless all made the same profiles."""
    first = next(iter(prints.values()), None)
    odd = [name for name, found in prints.items() if first and not found.agrees(first)]
    if odd:
        told = json.dumps({name: asdict(found) for name, found in prints.items()}, indent=2)
        message = f"not the same profiles: {', '.join(odd)}\n{told}"
        raise SystemExit(message)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
