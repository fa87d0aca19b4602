"""Real processes, killed at any point, the uploader and the platform: the end is the same."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import written_run

if TYPE_CHECKING:
    from pathlib import Path

    from written_run import WrittenRun

SECRET = "api:any"
FILES = 50


class Platform:
    """The emulator as a process of its own, at one address."""

    def __init__(self, folder: Path, *, slow: float) -> None:
        self.store, self.port, self.slow = folder / "datamart.sqlite", 0, slow
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "spark_profiles.cli", "emulator", "--store", str(self.store),
            "--port", str(self.port), "--execution-seconds", str(self.slow / 2),
            "--fault", f"latency on=upload seconds={self.slow} times=0",
        ]  # fmt: skip
        self.process = written_run.start(command, SECRET)
        assert self.process.stdout
        told = self.process.stdout.readline()
        self.port = int(re.findall(r":(\d+);", told)[0])

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.communicate()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.store) as connection:
            return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("kills", "slow", "seed"),
    [(3, 0.04, 7), *(pytest.param(20, 0.4, n, marks=pytest.mark.large) for n in (1, 2))],
)
def test_kills_of_both_sides_change_nothing_in_the_end(
    tmp_path: Path, kills: int, slow: float, seed: int
) -> None:
    """Kill after kill at drawn moments, then let the upload go through."""
    made = written_run.write(tmp_path, files=FILES)
    platform = Platform(tmp_path, slow=slow)
    platform.start()
    try:
        killed, stood = _kill(platform, made, kills, random.Random(seed))
        last = written_run.start(_command(platform, made), SECRET)
        _, err = last.communicate(timeout=300)
        assert last.returncode == 0, err
    finally:
        platform.kill()
    assert killed["uploader"] > kills // 2, "the kills came before the end"
    assert killed["platform"] == kills // 3
    assert len(set(stood)) > kills // 3, "at different points"
    assert {row["status"] for row in made.rows("files")} == {"confirmed"}
    bodies = Counter(
        (tmp_path / "datamart.sqlite.files" / f"{number}.ndjson").read_bytes()
        for (number,) in platform.rows("SELECT id FROM executions")
    )
    assert bodies == Counter(made.bodies()), "each file is one execution"
    totals = platform.rows("SELECT count(*), sum(succeeded), sum(failed) FROM executions")
    assert totals == [(FILES, 3 * FILES, 0)]
    accounts = {account for (account,) in platform.rows("SELECT account FROM profiles")}
    assert accounts == set(made.profiles())


def _command(platform: Platform, made: WrittenRun) -> list[str]:
    return made.command(platform.url, "--parallel", "3", "--json")


def _kill(
    platform: Platform, made: WrittenRun, times: int, draw: random.Random
) -> tuple[Counter[str], list[int]]:
    """How often each side was killed, and how many files had arrived then."""
    kills, stood = Counter[str](), []
    for number in range(times):
        uploader = written_run.start(_command(platform, made), SECRET)
        assert uploader.stderr
        if number % 5 < 3:  # while it sends or follows; else perhaps while it starts
            uploader.stderr.readline()
            time.sleep(draw.uniform(0.0, 0.3 + 2 * platform.slow))
        else:
            time.sleep(draw.uniform(0.5, 3.0))
        if number % 3 == 2:
            platform.kill()
            platform.start()
            kills["platform"] += 1
        if uploader.poll() is None:
            kills["uploader"] += 1
        uploader.kill()
        uploader.communicate()
        stood.append(_executions(platform))
    return kills, stood


def _executions(platform: Platform) -> int:
    (row,) = platform.rows("SELECT count(*) FROM executions")
    return int(str(row[0]))
