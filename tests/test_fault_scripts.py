"""Drawn scripts of faults: whatever goes wrong, every file ends once, and with a reason.

`--fault-scripts N` runs so many; script n is the same each time.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from import_files import Shelf, Time

from spark_profiles.audit.records import FileStatus
from spark_profiles.delivery import upload
from spark_profiles.delivery.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.emulator import server
from spark_profiles.emulator.behaviour import Behaviour
from spark_profiles.emulator.faults import OF_EXECUTIONS, Fault
from spark_profiles.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spark_profiles.audit.records import FileRecord, RejectedLine
    from spark_profiles.delivery.datamart import Exchange
    from spark_profiles.emulator.server import Emulator

SECRET = "api:the-token-of-the-scripts"
RETRY = RetryPolicy(attempts=4, longest_wait_s=4.0)
REQUESTS = [
    ("status", status)
    for status in (400, 401, 403, 404, 409, 413, 415, 422, 429, 429, 500, 502, 503, 503, 504, 418)
] + [
    (kind, 503)
    for kind in (
        "latency", "reset_before_body", "reset_in_body", "reset_after_body", "lost_answer",
        "lost_answer", "lost_answer", "garbled", "restart",
    )
]  # fmt: skip
REMEMBERED = (878,)
"""Scripts that once found a fault of ours: they always run."""
ROUTES = ["any", "create_import", "upload", "upload", "upload", "list", "poll", "data_file"]


class KilledError(BaseException):
    """The runner stops here, as if killed: nothing after this is done."""


@dataclass
class Script:
    """What one script draws."""

    number: int
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.number)
        draw = self.dice
        self.sizes = [draw.randint(1, 5) for _ in range(draw.randint(1, 7))]
        self.faults = [self._fault() for _ in range(draw.randint(0, 5))]
        self.parallel = draw.randint(1, 4)
        self.multipart = draw.random() < 0.2
        self.is_strict = draw.random() < 0.3  # content cannot be read, lists have no total
        self.kills = [draw.randint(1, 4) for _ in range(draw.choice((0, 0, 1, 2)))]

    def _fault(self) -> Fault:
        draw = self.dice
        more: dict[str, Any] = {"times": draw.choice((1, 1, 2, 3, 0)), "after": draw.randint(0, 4)}
        if draw.random() < 0.3:
            kind = draw.choice(sorted(OF_EXECUTIONS))
            return Fault(kind, **more, share=0.5 if kind == "partial" else 1.0)
        kind, status = draw.choice(REQUESTS)
        if kind == "restart":
            more["times"] = max(1, more["times"])
        retry_after = draw.choice(("", "2", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"))
        return Fault(
            kind,
            on=draw.choice(ROUTES),
            status=status,
            share=draw.choice((1.0, 0.6)),
            retry_after=retry_after,
            seconds=0.002,
            **more,
        )


class Runner:
    """Starts uploads of one script until every file ended."""

    def __init__(self, script: Script, emulator: Emulator) -> None:
        self.script, self.emulator = script, emulator
        self.datamart_id = str(10_000 + script.number)
        self.shelf = Shelf(script.sizes)
        self.asked: Counter[str] = Counter()
        self.starts = self.fired = 0
        self.reasons: list[str] = []

    def run(self) -> None:
        faults = self.emulator.faults
        faults.clear(seed=self.script.number)
        faults.add(*self.script.faults)
        kills = list(self.script.kills)
        while not all(file.is_final for file in self.shelf.states.values()):
            self.starts += 1
            assert self.starts < 20, self.reasons
            if self.starts == 4:  # the world recovers
                self._clear()
            self._start(kills.pop() if kills else 0)
        self._clear()

    def _clear(self) -> None:
        # A restart breaks what everyone is at, and refuses them while it lasts.
        everyone = self.script.parallel * RETRY.attempts
        for one in self.emulator.faults.armed():
            self.fired += one["used"] * (everyone if one["kind"] == "restart" else 1)
        self.emulator.faults.clear()

    def _start(self, kill_after: int) -> None:
        time = Time()
        keep, shelf = self.shelf.record, self.shelf
        kept = 0

        class Journal:
            def record(
                self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()
            ) -> None:
                nonlocal kept
                kept += 1
                if kill_after and kept > kill_after:
                    raise KilledError
                keep(files, rejected)

        connection = Connection(self.emulator.url, self.datamart_id, Token("env", "SCRIPT_TOKEN"))
        with Datamart(
            connection,
            retry=RETRY,
            parallel=self.script.parallel,
            sleep=time.sleep,
            clock=time.clock,
            observe=self._observed,
        ) as datamart:
            try:
                upload.upload(
                    list(shelf.states.values()),
                    datamart=datamart,
                    open_file=shelf.open,
                    import_name="script",
                    journal=Journal(),
                    settings=upload.Settings(deadline_s=300, multipart=self.script.multipart),
                    sleep=time.sleep,
                    clock=time.clock,
                )
            except (RefusedError, UnavailableError) as error:
                self.reasons.append(str(error))
            except KilledError:
                self.reasons.append("killed")

    def _observed(self, exchange: Exchange) -> None:
        is_upload = exchange.method == "POST" and exchange.path.endswith("/executions")
        self.asked["upload" if is_upload else "other"] += 1


@pytest.fixture(scope="module")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Emulator]]:
    folder: Path = tmp_path_factory.mktemp("scripts")
    strict = Behaviour(
        input_file_readable=False, totals_in_lists=False, largest_page=2, error_file="text"
    )
    with (
        server.running(folder / "a.sqlite", token=SECRET) as first,
        server.running(folder / "b.sqlite", token=SECRET, behaviour=strict) as second,
    ):
        yield [first, second]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "script" in metafunc.fixturenames:
        count = metafunc.config.getoption("--fault-scripts")
        metafunc.parametrize("script", [*range(count), *(n for n in REMEMBERED if n >= count)])


def test_every_file_ends_once_and_with_a_reason(
    script: int, emulators: list[Emulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPT_TOKEN", SECRET)
    drawn = Script(script)
    runner = Runner(drawn, emulators[drawn.is_strict])
    runner.run()
    check_files(runner)
    check_datamart(runner)
    check_requests(runner)


def check_files(runner: Runner) -> None:
    for file in runner.shelf.states.values():
        if file.status is FileStatus.CONFIRMED:
            assert (file.total_success, file.total_failure) == (file.lines, 0)
        else:
            assert file.message, file
            assert SECRET not in file.message
    assert SECRET not in "".join(runner.reasons)


def check_datamart(runner: Runner) -> None:
    """What the datamart holds is what the files say, as far as they are confirmed."""
    store, shelf = runner.emulator.store, runner.shelf
    held = {account: payload for _, account, payload in store.profiles(runner.datamart_id)}
    wanted = {a: p for profiles in shelf.wanted.values() for a, p in profiles.items()}
    assert held.items() <= wanted.items()
    for name, file in shelf.states.items():
        there = len(held.keys() & shelf.wanted[name].keys())
        if file.status is FileStatus.CONFIRMED:
            assert there == file.lines
        elif file.status is FileStatus.PARTIAL:
            assert there >= (file.total_success or 0)
        elif file.message and file.message.startswith(("FAILED", "not taken")):
            assert there == 0
    # By content: no file is two executions.
    taken = Counter(
        store.input_file(row["id"]).read_bytes()
        for row in store.executions()
        if row["datamart"] == runner.datamart_id
    )
    assert set(taken) <= set(shelf.content.values())
    assert not taken or max(taken.values()) == 1, runner.reasons


def check_requests(runner: Runner) -> None:
    """The bound that `docs/upload.md` states.

    Each upload beyond the first of a file has a fault or a stop to blame. All others: a start
    looks 60 times at most before its deadline, each time with a request for each file or page,
    and each fault costs one repetition and one search.
    """
    files = len(runner.shelf.states)
    pages = 1 + files if runner.script.is_strict else 1
    stops = len(runner.reasons)
    assert runner.asked["upload"] <= files + runner.fired + stops * min(files, 8)
    bound = runner.starts * 60 * (files + pages) + runner.fired * (3 + files + 2 * pages)
    assert runner.asked["other"] <= bound
