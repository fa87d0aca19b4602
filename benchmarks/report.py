"""What was measured -> a table, a page and a chart."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

from benchmarks.processes import Cost


@dataclass(frozen=True)
class Measured:
    """All rounds of one scale."""

    scale: float
    heap: str
    costs: dict[str, list[Cost]]
    titles: dict[str, str]
    lines: int
    bytes: int


def table(measured: Measured) -> str:
    """The figures as a Markdown table; ratios are taken round by round, then their median."""
    names = [name for name in ("pyspark", "duckdb") if name in measured.costs]
    head = ["", "seconds", "processor seconds", "memory"]
    head += [f"seconds to {name}" for name in names]
    head += [f"processor to {name}" for name in names]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, costs in measured.costs.items():
        row = [measured.titles[name]]
        row += [_spread([c.seconds for c in costs], 1), _spread([c.cpu for c in costs], 1)]
        row.append(f"{max(c.memory for c in costs) / 1e9:.1f} GB")
        row += [_spread(_ratios(costs, measured.costs[other], "seconds"), 2) for other in names]
        row += [_spread(_ratios(costs, measured.costs[other], "cpu"), 2) for other in names]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(measured: Measured, folder: Path) -> None:
    """Keep the figures of this scale, and write RESULTS.md and chart.svg anew from all kept."""
    kept = folder / "results"
    kept.mkdir(parents=True, exist_ok=True)
    record = {**asdict(measured), "machine": machine()}
    name = f"sf{measured.scale:g}.json"
    (kept / name).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    records = [json.loads(file.read_text(encoding="utf-8")) for file in kept.glob("sf*.json")]
    records.sort(key=lambda r: r["scale"])
    (folder / "RESULTS.md").write_text(_page(records), encoding="utf-8")
    (folder / "chart.svg").write_text(_chart(records[-1]), encoding="utf-8")


def _measured(record: dict[str, object]) -> Measured:
    fields = {name: record[name] for name in Measured.__dataclass_fields__}
    costs = {name: [Cost(**c) for c in costs] for name, costs in fields["costs"].items()}
    return Measured(**{**fields, "costs": costs})


def _page(records: list[dict[str, object]]) -> str:
    parts = [_HEAD]
    for record in records:
        measured = _measured(record)
        rounds = max(map(len, measured.costs.values()))
        parts += [
            f"## Scale factor {measured.scale:g}",
            f"`make bench SCALE={measured.scale:g} ROUNDS={rounds}` · {measured.lines:,} lines, "
            f"{measured.bytes / 1e9:.2f} GB · heap of a JVM {measured.heap} · {record['machine']}",
            table(measured),
        ]
    return "\n\n".join(parts) + "\n"


def _ratios(costs: list[Cost], others: list[Cost], member: str) -> list[float]:
    pairs = zip(costs, others, strict=True)
    return [getattr(ours, member) / getattr(other, member) for ours, other in pairs]


def _spread(values: list[float], digits: int) -> str:
    middle = f"{median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def machine() -> str:
    """What it was measured on."""
    versions = [
        f"{package} {metadata.version(package)}"
        for package in ("pyspark", "delta-spark", "pysail", "duckdb", "polars")
    ]
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, " + ", ".join(versions)


_HEAD = """\
# Results

One profile a customer of TPC-H: counts, sums and maxima of orders over five windows, the last three
orders, counts of five priorities, scores and newsletters as arrays (`profiles.yaml`). Each contender
is a whole process, from its start to the end of the last process it started; all take turns, and all
are checked to have made the same profiles as JSON values. Ours also records each line in a Delta
table, checks the counts of every source, verifies each file by SHA-256 and writes a manifest; the
others only write text. Every JVM has the same heap and collector, no UI, and no archive of classes
(with the one that the first demo lays out, ours start some seconds sooner). PySpark by hand also
runs with every source laid out by its key and sorted, as ours are, and on Sail: what our two
engines need for the profiles alone. Figures are medians, with the least and the
most in parentheses; ratios are taken within a round. Processor seconds are user and system time of
all processes: on a machine that does other things as well they are the steadier figure.

![Processor seconds](chart.svg)"""

_BAR, _GAP, _LEFT, _WIDE = 24, 10, 210, 440


def _chart(record: dict[str, object]) -> str:
    """Bars of seconds, with processor seconds as a thin line in each."""
    measured = _measured(record)
    most = max(median([max(c.seconds, c.cpu) for c in costs]) for costs in measured.costs.values())
    height = len(measured.costs) * (_BAR + _GAP) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + 110} {height}" '
        'font-family="sans-serif" font-size="13" role="img">',
        f"<title>Seconds of whole processes at scale factor {measured.scale:g}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="22" font-weight="bold">Scale factor {measured.scale:g}: seconds of the '
        "whole process (bar), of processors (line)</text>",
    ]
    for number, (name, costs) in enumerate(measured.costs.items()):
        top = 38 + number * (_BAR + _GAP)
        seconds, cpu = (median([getattr(c, m) for c in costs]) for m in ("seconds", "cpu"))
        color = "#2a6f97" if name.startswith("ours") else "#a9b4bd"
        wide, line = (max(1.0, value / most * _WIDE) for value in (seconds, cpu))
        parts += [
            f'<text x="12" y="{top + 17}">{measured.titles[name]}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{wide:.1f}" height="{_BAR}" fill="{color}"/>',
            f'<rect x="{_LEFT}" y="{top + _BAR - 5}" width="{line:.1f}" height="3" fill="#222"/>',
            f'<text x="{_LEFT + max(wide, line) + 6:.1f}" y="{top + 17}">{seconds:.1f} · '
            f"{cpu:.1f}</text>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
