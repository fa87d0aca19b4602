"""Plays a history: steps in processes of their own, against an emulator that stays up.

A failing history is printed as it can be played again:

    PYTHONPATH=.:tests python -c "from histories.play import *; play(History(steps=(…)))"

With KEEP_HISTORIES=1 the folder of the history stays, to be looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from histories import days, laws
from histories.days import Day, Shape
from spark_profiles.emulator import server
from spark_profiles.emulator.behaviour import Behaviour

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
CLEAN_ENDS = {
    "run": ("confirmed",),
    "rollback": ("confirmed", "definition", "source"),  # nothing was sent, or lines were erased
    "erase": ("erased", "not_found"),
}
"""Kind of a step -> how it may end when nothing happens to it."""
ERASES_NOBODY = -1


@dataclass(frozen=True)
class Step:
    """One start of the job, and what happens to it."""

    kind: str = "run"
    """A key of CLEAN_ENDS: a rollback is one of the newest run that was sent."""
    whom: int = ERASES_NOBODY
    """Of an erasure: the place of the person in the tables, counted on from the first again.
    ERASES_NOBODY: only what was stopped is continued."""
    by: str = "customer_id"
    """Of an erasure: the column that names the person."""
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
    """The commands of every so-manieth identifier are rejected by the platform; 0: none."""
    lose_error_files: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to it."""
        clean = Step(self.kind, self.whom, self.by, self.day, self.shape)
        return self == clean

    @property
    def clean_ends(self) -> tuple[str, ...]:
        """How it may end when nothing happens to it."""
        return CLEAN_ENDS[self.kind]


@dataclass(frozen=True)
class History:
    """Steps; where the last is no clean run, one follows, with the last tables and definition."""

    steps: tuple[Step, ...]
    mutation: str = ""
    engine: str = "sail"
    behaviour: Behaviour = Behaviour()  # noqa: RUF009  frozen
    """What the platform does where its documentation leaves that open."""


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
        self.is_complete = False
        """Whether the last step was a clean run over tables without contests."""
        self.erasures: list[laws.Erasure] = []
        self.figures: Counter[str] = Counter()
        self._begun = 0
        (folder / "token").write_text(TOKEN)

    def step(self, step: Step) -> Ended:
        """Take the step, and look whether what must hold after any step holds."""
        before = laws.runs(self.folder)
        request = self.begin(step, self.workers)
        ended = self.end(request, self.workers)
        laws.after_step(self, step, ended, before)
        is_clean_run = step.kind == "run" and step.is_clean
        self.is_complete = is_clean_run and not self.tables.contested(self.shape)
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
        data = self.folder / f"data-{number}"
        users = self._erased(step) if step.kind == "erase" else []
        if step.kind == "run":
            if step.day is not None:
                self.tables = self.tables.after(step.day)
            self.shape = step.shape
            days.export(self.tables, data, step.source)
        self._platform(step)
        sent = ("uploading", "confirmed", "unconfirmed")
        newest = [run["run_id"] for run in laws.runs(self.folder) if run["status"] in sent][-1:]
        return {
            "kind": step.kind,
            "users": users,
            "run_id": "".join(newest),
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

    def _erased(self, step: Step) -> list[str]:
        """The names of whom to erase; they leave the tables, so that no run brings them again."""
        people = self.tables.people
        if step.whom == ERASES_NOBODY or len(people) == 1:
            return []
        person = people[step.whom % len(people)]
        given = person[step.by] or person["customer_id"]
        keys = laws.known_keys(self.folder, given)
        self.tables = self.tables.without(person)
        former = keys - {one["customer_id"] for one in self.tables.people}
        self.tables = replace(self.tables, never=self.tables.never | former)
        self.erasures.append(laws.Erasure(given, keys, former))
        return [given]

    def finish(self) -> None:
        """Continue erasures that were stopped, and end with a clean run without contests.

        A run that may have reached the platform is settled by a run first.
        """
        if laws.pending_erasures(self.folder):
            if any(run["status"] == "uploading" for run in laws.runs(self.folder)):
                self.step(Step(shape=self.shape))
            ended = self.step(Step("erase"))
            assert ended.how == "erased", ended
            assert not laws.pending_erasures(self.folder)
        if not self.is_complete:
            day = Day() if self.tables.contests else None
            self.step(Step(day=day, shape=self.shape))
        self.figures += laws.after_history(self)

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
            value = command.get("user_account_id") or command["email_hash"]
            drawn = int(hashlib.sha256(value.encode()).hexdigest()[:8], 16)
            return bool(step.rejects) and drawn % step.rejects == 0

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


def brief(value: Any) -> str:
    """The expression that makes it, without defaults."""
    if isinstance(value, tuple):
        parts = [brief(one) for one in value]
        return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
    if not is_dataclass(value):
        return repr(value)
    members = [(one.name, one.default, getattr(value, one.name)) for one in fields(value)]
    told = [f"{name}={brief(own)}" for name, default, own in members if own != default]
    return f"{type(value).__name__}({', '.join(told)})"


@contextlib.contextmanager
def world(history: History, workers: Workers) -> Iterator[World]:
    """A new shop and platform."""
    folder = Path(tempfile.mkdtemp(prefix="history-"))
    try:
        with server.running(
            folder / "datamart.sqlite", token=TOKEN, behaviour=history.behaviour
        ) as emulator:
            yield World(folder, emulator, workers, history)
    finally:
        if not os.environ.get("KEEP_HISTORIES"):
            shutil.rmtree(folder)


def play(
    history: History, workers: Workers | None = None, figures: Counter[str] | None = None
) -> list[Ended]:
    """Play the steps, and a clean one if the last is none; returns how each ended.

    Args:
        history: what to play.
        workers: who takes the steps; None: servers of its own.
        figures: what is counted is added to it.

    Raises:
        AssertionError: the law was broken.
        BrokenStepError: a step ended with an unforeseen error.
    """
    own = workers or Workers()
    try:
        with world(history, own) as shop:
            for step in history.steps:
                shop.step(step)
            shop.finish()
            if figures is not None:
                figures.update(shop.figures)
            return shop.ended
    except (AssertionError, laws.BrokenStepError) as error:
        error.add_note(f"play({brief(history)})")
        for number, ended in enumerate(shop.ended, start=1):
            error.add_note(f"  step {number}: {ended.how}: {ended.message}")
        raise
    finally:
        if workers is None:
            own.close()
