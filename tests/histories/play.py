"""Plays a history: steps in processes of their own, against an emulator that stays up.

A failing history is printed as it can be played again:

    PYTHONPATH=.:tests python -c "from histories.play import *; play(History(steps=(…)))"
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histories import days, laws
from histories.days import Day, Shape
from spark_profiles.emulator import server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spark_profiles.emulator.server import Emulator

ROOT = Path(__file__).parent.parent.parent
TOKEN = "api:secret"
KILLED = "killed"

FAULTS = (
    "no connection", "timeout before", "timeout after", "502 after", "garbled after",
    "401", "409", "413", "429", "500", "503",
)  # fmt: skip
"""What may become of a request; `after`: the platform took it all the same."""

EXECUTIONS = ("well", "failed", "cancelled")


@dataclass(frozen=True)
class Step:
    """One start of the job, and what happens to it."""

    day: Day | None = None
    """What changed since the last export; None: the same export again."""
    shape: Shape = Shape()  # noqa: RUF009  frozen
    source: str = "whole"
    """One of `days.SOURCES`."""
    accept: bool = True
    """Whether trips are accepted; an empty source never is."""
    kill: int | str | None = None
    """The boundary at which the process dies: its number, or its name and which time."""
    stop: str | None = None
    """The boundary at which the process stands still until it is told to go on."""
    faults: tuple[tuple[int, str], ...] = ()
    """Number of the request, and one of FAULTS."""
    executions: tuple[str, ...] = ()
    """How the next executions end: each one of EXECUTIONS."""
    rejects: int = 0
    """Every so-manieth customer is rejected by the platform; 0: none."""
    lose_error_files: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to it."""
        return self == Step(day=self.day, shape=self.shape)


@dataclass(frozen=True)
class History:
    """Steps, after which a clean one follows, with the tables and definition of the last."""

    steps: tuple[Step, ...]
    mutation: str = ""
    engine: str = "sail"


@dataclass
class Ended:
    """How a step ended."""

    how: str
    message: str = ""
    boundaries: list[str] = field(default_factory=list)


class Workers:
    """The server that forks a process for each step."""

    def __init__(self) -> None:
        paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "histories.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RUST_LOG": "off"},
        )

    def begin(self, step: dict[str, Any]) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps(step) + "\n")
        self._server.stdin.flush()

    def end(self) -> int:
        """The exit status; negative: the signal that ended it."""
        assert self._server.stdout
        return int(self._server.stdout.readline())

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait(timeout=30)


class World:
    """One shop, its folder, its platform and where its history stands."""

    def __init__(
        self, folder: Path, emulator: Emulator, workers: Workers, history: History
    ) -> None:
        self.folder, self.emulator, self.workers = folder, emulator, workers
        self.history = history
        self.tables, self.shape = days.OPENING, Shape()
        self.ended: list[Ended] = []
        self._begun = 0
        (folder / "token").write_text(TOKEN)

    def step(self, step: Step) -> Ended:
        """Take the step, and look whether what must hold after any step holds."""
        before = laws.runs(self.folder)
        request = self.begin(step, self.workers)
        ended = self.end(request, self.workers)
        laws.after_step(self, step, ended, before)
        return ended

    def begin(self, step: Step, workers: Workers) -> dict[str, Any]:
        """Start the step in a process of `workers`."""
        request = self.request(step)
        workers.begin(request)
        return request

    def end(self, request: dict[str, Any], workers: Workers) -> Ended:
        """Wait for the end of a step."""
        ended = self.outcome(request, workers.end())
        self.ended.append(ended)
        return ended

    def request(self, step: Step) -> dict[str, Any]:
        """What the worker is asked; the platform is told its faults, the tables are exported."""
        self._begun += 1
        number = self._begun
        if step.day is not None:
            self.tables = self.tables.after(step.day)
        self.shape = step.shape
        data = self.folder / f"data-{number}"
        days.export(self.tables, data, step.source)
        self._platform(step)
        return {
            "folder": str(self.folder),
            "data": str(data),
            "as_of": self.tables.as_of.strftime("%Y-%m-%d"),
            "definition": step.shape.text(),
            "url": self.emulator.url,
            "kill": step.kill,
            "stop": step.stop,
            "faults": step.faults,
            "lose_error_files": step.lose_error_files,
            "accept": step.accept,
            "mutation": self.history.mutation,
            "engine": self.history.engine,
            "log": str(self.folder / f"boundaries-{number}"),
            "said": str(self.folder / f"said-{number}"),
            "outcome": str(self.folder / f"outcome-{number}"),
        }

    def _platform(self, step: Step) -> None:
        store, verdicts = self.emulator.store, list(step.executions)
        start = type(store).start

        def started(number: int) -> bool:
            verdict = verdicts.pop(0) if verdicts else "well"
            if verdict == "cancelled":
                store.cancel(number)
                return False
            begun = start(store, number)
            if verdict == "failed":
                store.fail(number, "failed on demand")
                return False
            return begun

        def rejects(command: dict[str, Any]) -> bool:
            return bool(step.rejects) and int(command["user_account_id"][1:]) % step.rejects == 0

        store.start = started  # type: ignore[method-assign]
        self.emulator.faults.rejects = rejects

    def outcome(self, request: dict[str, Any], status: int) -> Ended:
        log, outcome = Path(request["log"]), Path(request["outcome"])
        boundaries = log.read_text().splitlines() if log.exists() else []
        if status == -9:
            return Ended(KILLED, boundaries[-1], boundaries)
        if not outcome.exists():
            said = Path(request["said"]).read_text(errors="replace")
            return Ended("broken", f"status {status}\n{said[-6000:]}", boundaries)
        told = json.loads(outcome.read_text())
        return Ended(told["ended"], told.get("message", ""), boundaries)


@contextlib.contextmanager
def world(history: History, workers: Workers) -> Iterator[World]:
    """A new shop and platform."""
    folder = Path(tempfile.mkdtemp(prefix="history-"))
    try:
        with server.running(folder / "datamart.sqlite", token=TOKEN) as emulator:
            yield World(folder, emulator, workers, history)
    finally:
        shutil.rmtree(folder)


def play(history: History, workers: Workers | None = None) -> list[Ended]:
    """Play the steps, then a clean one; returns how each ended.

    Raises:
        AssertionError: the law was broken.
        BrokenStepError: a step ended with an unforeseen error.
    """
    own = workers or Workers()
    try:
        with world(history, own) as shop:
            for step in history.steps:
                shop.step(step)
            shop.step(Step(shape=shop.shape))
            laws.after_history(shop)
            return shop.ended
    except (AssertionError, laws.BrokenStepError) as error:
        error.add_note(f"play({history!r})")
        for number, ended in enumerate(shop.ended, start=1):
            error.add_note(f"  step {number}: {ended.how}: {ended.message}")
        raise
    finally:
        if workers is None:
            own.close()
