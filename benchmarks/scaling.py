"""How a first load grows: with the number of users, and with the rows of one of them.

python -m benchmarks.scaling --scales 1,5,20 --skew 5 --heap 2g --results benchmarks
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb

from benchmarks import bench, data, processes, report

# Beside the orders as they are. New keys of orders, so that none is a duplicate.
_MORE = """
    SELECT * FROM '{orders}' UNION ALL BY NAME
    SELECT * EXCLUDE (copy) REPLACE (o_orderkey + 1000000000 * (1 + copy) AS o_orderkey, {key} AS o_custkey)
    FROM '{orders}', range({copies}) AS copies(copy) LIMIT {rows}
"""
SKEWS = {
    "as they are": "SELECT * FROM '{orders}'",
    "30 % of them of one user": "SELECT * REPLACE (CASE WHEN hash(o_orderkey) % 10 < 3 "
    "THEN 1::BIGINT ELSE o_custkey END AS o_custkey) FROM '{orders}'",
    "10 M more, spread": _MORE.replace("{key}", "o_custkey"),
    "10 M more, of one user": _MORE.replace("{key}", "1::BIGINT"),
}
_TEN_MILLION = 10_000_000


class Load(NamedTuple):
    """What one first load took."""

    title: str
    lines: int
    rows: int
    """Of all sources."""
    cost: processes.Cost
    driver: int
    """Bytes: the most that the Python process held."""


def main() -> None:
    """Measure, and write the page."""
    options = _options()
    os.environ["SPARK_PROFILES_MEMORY"] = options.heap
    bench.start_cold(options.work.absolute() / "cache")
    tables = {scale: data.make(scale, options.work.absolute()) for scale in options.scales}
    grown, on_sail = (
        [_load(f"SF{scale:g}", folder, options, engine) for scale, folder in tables.items()]
        for engine in ("spark", "sail")
    )
    base = data.make(options.skew, options.work.absolute())
    skewed = [
        _load(f"orders {name}", _with_orders(base, name, query), options, "spark")
        for name, query in SKEWS.items()
    ]
    page = _page(options, grown, on_sail, skewed)
    print(page, flush=True)
    if options.results:
        (options.results / "SCALING.md").write_text(page, encoding="utf-8")


def _options() -> argparse.Namespace:
    def scales(text: str) -> list[float]:
        return [float(scale) for scale in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scales", type=scales, default=[1.0, 5.0, 20.0])
    parser.add_argument("--skew", type=float, default=5, help="scale factor of the skewed ones")
    parser.add_argument("--heap", default="2g", help="of the JVM")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="for data")
    parser.add_argument("--results", type=Path, help="folder for SCALING.md")
    return parser.parse_args()


def _with_orders(base: Path, name: str, query: str) -> Path:
    """The tables of `base`, with other orders."""
    made = base.parent / f"{base.name}-{name.replace(' ', '-').replace('%', 'percent')}"
    if not made.exists():
        partial = base.parent / f"_{made.name}"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "orders").mkdir(parents=True)
        for table in ("customer", "scores", "newsletters"):
            (partial / table).symlink_to(base / table)
        orders = base / "orders" / "*.parquet"
        with duckdb.connect() as connection:
            count = connection.execute(f"SELECT count(*) FROM '{orders}'").fetchall()[0][0]
            copies = -(-_TEN_MILLION // count)
            rows = query.format(orders=orders, copies=copies, rows=count + _TEN_MILLION)
            target = partial / "orders"
            connection.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet, PER_THREAD_OUTPUT)")
        partial.rename(made)
    return made


def _load(title: str, tables: Path, options: argparse.Namespace, engine: str) -> Load:
    output = options.work.absolute() / "output" / "scaling"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    ours = next(c for c in bench.ALL if c.name == f"ours-{engine}")
    command = [part.format(data=tables, output=output) for part in ours.command]
    profile = output / "profile.json"
    command += [f"--profile={profile}", "--json"]
    cost = processes.cost(command, log=output / "log", timeout=7200)
    told = (output / "log").read_text(encoding="utf-8")
    run = json.loads(told[told.index("{") :])
    rows = sum(source["rows"] for source in run["counts"])
    driver = json.loads(profile.read_text(encoding="utf-8"))["driver_peak_bytes"]
    print(f"{title} on {engine}: {cost}", flush=True)
    shutil.rmtree(output)
    return Load(title, run["lines"], rows, cost, driver)


def _page(
    options: argparse.Namespace, grown: list[Load], on_sail: list[Load], skewed: list[Load]
) -> str:
    scales = ",".join(f"{scale:g}" for scale in options.scales)
    command = f"python -m benchmarks.scaling --scales {scales} --skew {options.skew:g}"
    return f"""\
# How a first load grows

`{command} --heap {options.heap}` · {report.machine()}

Each is a whole process, from raw tables to recorded lines, verified files and manifest. A process
that takes no time to start would take as long for each million lines at every size; a JVM takes
half a minute to start and to compile what runs, whatever its data. What each further million took,
beyond the size before, is without that.

`driver` is the most that the Python process held, `engine` the most of the process that computes:
the JVM (heap {options.heap} and what lies beside it), or on Sail the Python process itself.

## With the number of users, on Spark

{_growth(grown)}

## With the number of users, on Sail

{_growth(on_sail)}

## With the rows of one user, on Spark, at scale factor {options.skew:g}

Compare those of as many rows: the second with the first, the last with the one before it.

{_table(_HEAD, [_row(load) for load in skewed])}
"""


_HEAD = ["", "lines", "rows", "seconds", "per million lines", "cpu", "driver", "engine"]


def _growth(loads: list[Load]) -> str:
    """The loads, each also with the seconds of what it has more than the one before."""
    further = ["", *map(_further, loads, loads[1:])]
    rows = [[*_row(load), more] for load, more in zip(loads, further, strict=True)]
    return _table([*_HEAD, "each further million"], rows)


def _further(before: Load, load: Load) -> str:
    seconds = load.cost.seconds - before.cost.seconds
    return f"{seconds / (load.lines - before.lines) * 1e6:.1f}"


def _row(load: Load) -> list[str]:
    seconds = load.cost.seconds
    return [
        load.title, f"{load.lines:,}", f"{load.rows:,}", f"{seconds:.1f}",
        f"{seconds / load.lines * 1e6:.1f}", f"{load.cost.cpu:.0f}",
        f"{load.driver / 1e6:.0f} MB", f"{load.cost.memory / 1e9:.1f} GB",
    ]  # fmt: skip


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
