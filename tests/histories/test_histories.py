"""The central law: kill a run anywhere, run it again, and everything is as it should be."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from histories import days, draw, laws, play
from histories.days import Day, Shape
from histories.play import KILLED, Ended, History, Step, Workers
from spark_profiles.emulator.behaviour import Behaviour

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
        Step(day=SECOND_DAY, shape=Shape(with_city=True, with_amount=True), rejects=4),
    ),
    "a run that gives another up and is stopped by a limit": (
        (Step(), Step(day=SECOND_DAY, kill="before write runs (uploading) #1")),
        Step(day=Day(left=8), accept=False),
    ),
}
"""Histories in whose last step the process is killed at each boundary in turn."""
ALIKE = {"a run that gives another up and is stopped by a limit": r"folder of a run|aband|tripped"}
"""Of a history that is like others up to there: the boundaries that only it has."""

TRIES = 3
"""Whether an execution is asked for again depends on how soon it ends."""
FIGURES = ("profiles missing", "profiles too many", "receipts without erasure")
"""What is counted and must be zero."""
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
    figures = Counter(dict.fromkeys(FIGURES, 0))
    killed_at: set[str] = set()

    def tell_figures() -> None:
        told = [f"{name}: {number}" for name, number in {**ends, **figures}.items()]
        kills = f"{ends[KILLED]} kills at {len(killed_at)} boundaries"
        with capsys.disabled():
            tell(f"\n{', '.join(told)}; {kills}")

    first = 1_000 * int(pytestconfig.getoption("--hypothesis-seed", None) or 0)
    for number in range(first, first + pytestconfig.getoption("--histories")):
        ended = play.play(draw.history(number), workers, figures)
        ends.update(["histories", *(one.how for one in ended)])
        killed_at.update(one.message for one in ended if one.how == KILLED)
        if ends["histories"] % 10 == 0:
            tell_figures()
    tell_figures()


E_MAIL, CARD_INSIDE = Shape(way=days.E_MAIL), Shape(way=days.CARD_INSIDE)
E_1607 = replace(E_MAIL, inside=1607)
NUMBER_INSIDE, CARD_OR_E_MAIL = Shape(way=days.NUMBER_INSIDE), Shape(way=days.CARD_OR_E_MAIL)
BROAD = Behaviour(delete_without_account="all profiles", execution_order="newest first")
"""A DELETE removes as much as it can."""
LINKING = replace(BROAD, upsert_links="account inside")


def played(shape: Shape, *changes: Day) -> tuple[Step, ...]:
    """A first run, and one after each of these days."""
    return Step(shape=shape), *(Step(day=day, shape=shape) for day in changes)


def mail(who: int) -> str:
    """The e-mail address of a person on the first day."""
    return str(days.OPENING.people[who]["email"])


SECOND_PHASE = "before POST document_imports #2"
STORIES = {
    "addresses, keys, swaps, chains, addresses that pass on": History(
        played(
            E_MAIL,
            Day(moved=3, rekeyed=2, renamed=2),
            Day(swapped=2, passed_on=2),
            Day(chained=3, rekeyed=2),
        ),
        behaviour=BROAD,
    ),
    "accounts inside, and a kill between the phases": History(
        (
            *played(NUMBER_INSIDE, Day(recarded=3, passed_on=2)),
            Step(
                day=Day(cards_swapped=2, swapped=1, moved=2),
                shape=NUMBER_INSIDE,
                kill=SECOND_PHASE,
            ),
        ),
        behaviour=LINKING,
    ),
    "visitors become known, two are one, compartments change": History(
        (
            *played(CARD_OR_E_MAIL, Day(recarded=5, merged=2)),
            Step(shape=replace(CARD_OR_E_MAIL, inside=1607, outside=1607)),
        ),
        behaviour=BROAD,
    ),
    "a contest, then resolved": History(
        played(CARD_INSIDE, Day(contested=2, moved=2), Day(renamed=12)), behaviour=BROAD
    ),
    "a DELETE at the user point of somebody who is contested": History(
        (
            *played(E_MAIL),
            Step(day=Day(edited=((9, "email", mail(0)), (0, "email", mail(1)))), shape=E_1607),
            Step(day=Day(edited=((0, "email", "a@x.fr"), (9, "email", mail(2)))), shape=E_1607),
            Step(day=Day(edited=((9, "email", mail(0)),)), shape=E_1607),
        ),
        behaviour=BROAD,
    ),
    "a rollback over moves, undone in part": History(
        (*played(E_MAIL, Day(moved=2, chained=5)), Step("rollback"), Step("rollback", rejects=2))
    ),
    "DELETEs and half of swaps rejected": History(
        (*played(E_MAIL), Step(day=Day(moved=4, swapped=4, left=1), shape=E_MAIL, rejects=2)),
        behaviour=BROAD,
    ),
    "the file with the DELETE of a chain fails": History(
        (*played(E_MAIL), Step(day=Day(chained=3), shape=E_MAIL, executions=("well", "failed")))
    ),
    "an erasure after moves": History(
        (*played(E_MAIL, Day(moved=12)), Step("erase", whom=3, by="email"))
    ),
    "a rollback while an erasure waits": History(
        (
            *played(E_MAIL),
            Step("erase", whom=3, kill="after write erasures (sent) #1"),
            Step("rollback"),
        )
    ),
}
"""What a day or a step is about, each in the shortest history that shows it."""


@pytest.fixture(scope="module")
def played_stories(
    workers: Workers, other_workers: Workers, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[list[Ended]]]]:
    """How the steps of the chosen stories ended; two are played at a time, for they are slow."""
    chosen = [
        item.callspec.params["name"]
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_people_change"
    ]
    idle: SimpleQueue[Workers] = SimpleQueue()
    idle.put(workers)
    idle.put(other_workers)

    def ended(name: str) -> list[Ended]:
        own = idle.get()
        try:
            return play.play(STORIES[name], own)
        finally:
            idle.put(own)

    pool = ThreadPoolExecutor(2)
    yield {name: pool.submit(ended, name) for name in chosen}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", STORIES)
def test_people_change(name: str, played_stories: dict[str, Future[list[Ended]]]) -> None:
    ended = played_stories[name].result()
    for step, end in zip(STORIES[name].steps, ended, strict=False):
        is_hindered = step.rejects or step.executions
        expected = (KILLED,) if step.kill else ("unconfirmed",) if is_hindered else step.clean_ends
        assert end.how in expected, end


BROKEN = {
    "confirm before polling": History((Step(rejects=4),)),
    "skip settling": History((Step(kill=f"after {POST} #1"), Step(day=Day(left=1)))),
    "keep the left address": History(played(E_MAIL, Day(moved=1))),
    "delete and upsert one address": History(played(E_MAIL, Day(swapped=1))),
    "one phase": History(  # UPSERTs are posted first
        played(NUMBER_INSIDE, Day(moved=12)),
        behaviour=replace(LINKING, execution_order="oldest first"),
    ),
}


@pytest.mark.large
@pytest.mark.parametrize("mutation", BROKEN)
def test_the_law_fails_when_the_library_is_broken(mutation: str, workers: Workers) -> None:
    play.play(BROKEN[mutation], workers)
    with pytest.raises(AssertionError):
        play.play(replace(BROKEN[mutation], mutation=mutation), workers)


def two_at_once(mutation: str, workers: Workers, others: Workers) -> list[str]:
    """The first stands still before it posts a file, the second begins and ends, the first goes on.

    Returns how first and second ended.
    """
    with play.world(History((), mutation), workers) as shop:
        shop.step(Step())
        first = shop.begin(Step(day=SECOND_DAY, stop=f"before {POST} #1"), workers)
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
