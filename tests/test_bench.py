"""The benchmarks measure what they say, on a hundredth of the smallest scale."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench, processes, profiles, report

ROOT = Path(__file__).parent.parent


def fingerprint(folder: Path, *lines: str) -> profiles.Fingerprint:
    file = folder / "lines.ndjson"
    file.write_text("".join(f"{line}\n" for line in lines))
    return profiles.fingerprint([file])


def test_profiles_are_compared_as_values(tmp_path: Path) -> None:
    ours = fingerprint(tmp_path, '{"a":1,"b":{"c":2.50}}', '{"a":2}')
    assert fingerprint(tmp_path, '{"a":2,"b":{"c":null}}', '{"b":{"c":2.5},"a":1.0}').agrees(ours)
    assert not fingerprint(tmp_path, '{"a":1,"b":{"c":2.51}}', '{"a":2}').agrees(ours)
    assert not fingerprint(tmp_path, '{"a":1,"b":{"c":2.50}}').agrees(ours)
    with pytest.raises(SystemExit, match="not the same profiles: b"):
        bench._check({"a": ours, "b": fingerprint(tmp_path, '{"a":3}')})


def test_what_a_process_leaves_behind_is_waited_for_and_counted(tmp_path: Path) -> None:
    burn = "import time; t = time.monotonic() + 1\nwhile time.process_time() < 0.4: pass"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    cost = processes.cost([sys.executable, "-c", orphan], log=tmp_path / "log", timeout=60)
    assert cost.cpu > 0.4
    assert cost.seconds > 0.4
    with pytest.raises(RuntimeError, match="went wrong"):
        processes.cost(
            [sys.executable, "-c", "raise SystemExit('went wrong')"],
            log=tmp_path / "log",
            timeout=60,
        )


def test_ratios_are_taken_round_by_round() -> None:
    costs = {
        "ours-spark": [processes.Cost(10, 5, 1), processes.Cost(30, 6, 1)],
        "pyspark": [processes.Cost(20, 10, 1), processes.Cost(120, 10, 1)],
    }
    measured = report.Measured(1, "4g", costs, dict.fromkeys(costs, "x"), 1, 1)
    ours = report.table(measured).splitlines()[2]
    assert "0.38 (0.25–0.50)" in ours  # of seconds: 10/20 and 30/120
    assert "0.55 (0.50–0.60)" in ours  # of the processors: 5/10 and 6/10


@pytest.mark.sail
def test_a_small_bench_runs_to_its_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.bench", "--scale=0.01", "--rounds=1"]
    chosen = "--only=ours-sail,pyspark-on-sail,duckdb,polars,floor"
    places = [f"--work={tmp_path}", f"--results={tmp_path}"]
    subprocess.run(
        [*command, chosen, *places], cwd=ROOT, check=True, capture_output=True, timeout=120
    )
    kept = json.loads((tmp_path / "results" / "sf0.01.json").read_text())
    assert kept["lines"] == 1500
    page = (tmp_path / "RESULTS.md").read_text()
    assert all(name in page for name in ("spark_profiles on Sail", "DuckDB", "1,500 lines"))
    assert (tmp_path / "chart.svg").read_text().count("<rect") == 1 + 2 * 5
