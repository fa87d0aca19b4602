"""The central law: kill a run anywhere, run it again, and everything is as it should be."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from histories import draw, laws, play
from histories.days import Day, Shape
from histories.play import KILLED, History, Step, Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sail

POST = "POST document_imports/N/executions"
SECOND_DAY = Day(joined=2, renamed=2, left=1, bought=3, dirt=True)
LONG = "a run that settles another, with changes, deletes and rejected lines"
"""A sweep of minutes: with `--large` only."""
SWEPT = {
    "the first run": ((), Step()),
    LONG: (
        (Step(executions=("failed",), kill="after GET document_imports/N/executions/N #1"),),
        Step(SECOND_DAY, Shape(with_city=True, with_amount=True), rejects=4),
    ),
    "a run that gives another up and is stopped by a limit": (
        (Step(), Step(SECOND_DAY, kill="before write runs (uploading) #1")),
        Step(Day(left=8), accept=False),
    ),
}
"""Histories in whose last step the process is killed at each boundary in turn."""
ALIKE = {"a run that gives another up and is stopped by a limit": r"folder of a run|aband|tripped"}
"""Of a history that is like others up to there: the boundaries that only it has."""

TRIES = 3
"""Whether an execution is asked for again depends on how soon it ends."""
EACH = 6
"""A kill takes two seconds; which boundaries are hit without `--histories 100`."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    server = Workers()
    yield server
    server.close()


@pytest.fixture(scope="module")
def other_workers() -> Iterator[Workers]:
    server = Workers()
    yield server
    server.close()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.large] * (n == LONG)) for n in SWEPT]
)
def test_killed_at_each_boundary(
    name: str, workers: Workers, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """One kill after another in one history, at every sixth boundary.

    With many histories at all of them, each in a history of its own.
    """
    former, last = SWEPT[name]
    ended = play.play(History((*former, last)), workers)[len(former)]
    is_large = pytestconfig.getoption("--histories") >= 100
    wanted = [
        boundary
        for boundary in dict.fromkeys(ended.boundaries)  # polls repeat
        # After an effect is before the next, unless effects go on side by side.
        if is_large or not boundary.startswith("after") or boundary == ended.boundaries[-1]
        if is_large or re.search(ALIKE.get(name, ""), boundary)
    ]
    wanted = wanted if is_large or name in ALIKE else wanted[::EACH]
    steps = [replace(last, kill=f"{boundary} #1") for boundary in wanted]
    hit: Counter[str] = Counter()
    if not is_large:
        again = [replace(step, day=None) for step in steps[1:]]
        for ended in play.play(History((*former, steps[0], *again)), workers)[len(former) : -1]:
            hit[ended.message] += ended.how == KILLED
    for step, boundary in zip(steps, wanted, strict=True):
        for _ in range(TRIES):
            if not hit[boundary]:
                ended = play.play(History((*former, step)), workers)[len(former)]
                hit[ended.message] += ended.how == KILLED
    with capsys.disabled():
        tell(f"\n{name}: killed at {len(wanted)} boundaries")
        for boundary in wanted:
            tell(f"{hit[boundary]:4}  {boundary}")
    assert all(hit[boundary] for boundary in wanted)


def tell(line: str) -> None:
    print(line)  # noqa: T201  the list is what was asked for


def test_drawn_histories(
    workers: Workers, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same histories each time, or others with --hypothesis-seed."""
    ends: Counter[str] = Counter()
    killed_at: set[str] = set()

    @settings(
        max_examples=pytestconfig.getoption("--histories"),
        deadline=None,
        database=None,
        derandomize=pytestconfig.getoption("--hypothesis-seed", None) is None,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # a step takes a second: shrink by hand from what is printed
        suppress_health_check=list(HealthCheck),
    )
    @given(draw.histories)
    def holds(history: History) -> None:
        ended = play.play(history, workers)
        ends.update(["histories", *(one.how for one in ended)])
        killed_at.update(one.message for one in ended if one.how == KILLED)
        if ends["histories"] % 10 == 0:
            with capsys.disabled():
                tell(f"{dict(ends)}, killed at {len(killed_at)} boundaries")

    holds()


BROKEN = {
    "confirm before polling": (Step(rejects=4),),
    "skip settling": (Step(kill=f"after {POST} #1"), Step(Day(left=1))),
}


@pytest.mark.large
@pytest.mark.parametrize("mutation", BROKEN)
def test_the_law_fails_when_the_order_is_broken(mutation: str, workers: Workers) -> None:
    play.play(History(BROKEN[mutation]), workers)
    with pytest.raises(AssertionError):
        play.play(History(BROKEN[mutation], mutation), workers)


def two_at_once(mutation: str, workers: Workers, others: Workers) -> list[str]:
    """The first stands still before it posts a file, the second begins and ends, the first goes on.

    Returns how first and second ended.
    """
    with play.world(History((), mutation), workers) as shop:
        shop.step(Step())
        first = shop.begin(Step(SECOND_DAY, stop=f"before {POST} #1"), workers)
        process = process_at(f"before {POST}", Path(first["log"]))
        second = shop.end(shop.begin(Step(), others), others)
        os.kill(process, signal.SIGCONT)
        ended = [shop.end(first, workers), second]
        if "broken" in [one.how for one in ended]:
            raise laws.BrokenStepError(str(ended))
        shop.step(Step())
        laws.after_history(shop)
        if second.how == "unsettled":
            assert "Another run of this definition is at work" in second.message
        return [one.how for one in ended]


def process_at(boundary: str, log: Path) -> int:
    """The process that stands at this boundary, once it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        told = log.read_text().splitlines() if log.exists() else []
        if boundary in told:
            time.sleep(0.2)  # a signal takes its time
            return int(log.with_suffix(".pid").read_text())
        time.sleep(0.02)
    raise TimeoutError(boundary)


def test_of_two_at_once_one_goes_on(workers: Workers, other_workers: Workers) -> None:
    assert two_at_once("", workers, other_workers) == ["confirmed", "unsettled"]


@pytest.mark.large
def test_the_law_fails_without_the_lease(workers: Workers, other_workers: Workers) -> None:
    with pytest.raises(AssertionError):
        two_at_once("drop the lease", workers, other_workers)


def test_of_two_begun_together_one_goes_on(workers: Workers, other_workers: Workers) -> None:
    with play.world(History(()), workers) as shop:
        requests = [shop.begin(Step(), server) for server in (workers, other_workers)]
        ended = [
            shop.end(request, server)
            for request, server in zip(requests, (workers, other_workers), strict=True)
        ]
        assert sorted(one.how for one in ended) == ["confirmed", "unsettled"], ended
        shop.step(Step())
        laws.after_history(shop)
