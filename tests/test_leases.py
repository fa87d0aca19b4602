"""Who holds a lease, and what ends it: time, or the seen death of its very process."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import written_run

from spark_profiles.audit import leases
from spark_profiles.errors import UnsettledError

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 24, 1, 2, 3, tzinfo=timezone.utc)
UNTIL = NOW + leases.LENGTH
HERE = leases.System()
MACHINE, START = HERE.identity()

needs_proc = pytest.mark.skipif(MACHINE == leases.UNKNOWN, reason="no /proc tells machines apart")


class MemoryTable:
    """Leases in memory, with the rule of the tables: an update needs the owner it takes from."""

    def __init__(self, owner: str | None = None) -> None:
        self.rows = {"shop": (owner, _micros(UNTIL))} if owner else {}

    def lease(self, name: str) -> tuple[str, int] | None:
        return self.rows.get(name)

    def merge_lease(self, name: str, owner: str, *, until: datetime, take_from: str | None) -> bool:
        if name not in self.rows or self.rows[name][0] == take_from:
            self.rows[name] = (owner, _micros(until))
        return True


def _micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


def is_taken(table: MemoryTable, *, at: datetime = NOW, system: leases.System = HERE) -> bool:
    """Whether a run that starts now takes the lease; if not, the table is unchanged."""
    before = dict(table.rows)
    try:
        with leases.held(table, "shop", now=lambda: at, system=system):
            return True
    except UnsettledError:
        assert table.rows == before
        return False


def assert_only_time_ends(owner: str, *, system: leases.System = HERE) -> None:
    table = MemoryTable(owner)
    assert not is_taken(table, system=system)
    assert not is_taken(table, at=UNTIL - timedelta(seconds=1), system=system)
    assert is_taken(table, at=UNTIL, system=system)


@contextmanager
def living_process() -> Iterator[subprocess.Popen[str]]:
    """A process that waits; `stdout` tells the owner that it is by its own account."""
    code = "from spark_profiles.audit import leases; print(leases.owner(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], text=True, cwd=written_run.ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def owner_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def dead_process() -> int:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def made_proc(
    folder: Path, *, boot: str = "b", namespace: str = "pid:[1]", stat: str | None = None
) -> leases.System:
    """A machine that shows this process by such a `/proc`."""
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").symlink_to(namespace)
    of_python = f"{os.getpid()} (python) S {' '.join(str(n) for n in range(4, 53))}"
    (folder / "self/stat").write_text(stat or of_python)
    return leases.System(folder)


def test_the_identity_is_of_boot_namespace_and_start(tmp_path: Path) -> None:
    fields = " ".join(str(n) for n in range(4, 53))
    odd = f"{os.getpid()} (a) b (c) R {fields}"
    one = made_proc(tmp_path / "1", stat=odd).identity()
    # printf 'bpid:[1]' | sha256sum | cut -c-12
    assert one == ("00f85ff74f77", "22")
    assert made_proc(tmp_path / "2", boot="c").identity()[0] != one[0]
    assert made_proc(tmp_path / "3", namespace="pid:[2]").identity()[0] != one[0]
    assert made_proc(tmp_path / "4").identity() == one


@pytest.mark.parametrize("stat", ["1", "(", "0 (python) S " + "1 " * 50])
def test_a_proc_that_shows_something_else_tells_nothing(tmp_path: Path, stat: str) -> None:
    """The last is that of another process namespace: `self` is not the number that we have."""
    assert made_proc(tmp_path, stat=stat).identity() == ("-", "-")


def test_without_a_boot_nothing_is_known(tmp_path: Path) -> None:
    assert made_proc(tmp_path / "made", boot="").identity() == ("-", "-")
    nowhere = leases.System(tmp_path / "nowhere")
    assert nowhere.identity() == ("-", "-")
    unknown = leases.Holder(leases.owner(nowhere), UNTIL, nowhere)
    assert unknown.owner.split(":")[:4] == [HERE.host(), str(os.getpid()), "-", "-"]
    assert (unknown.is_here, unknown.may_be_here) == (False, True)


@needs_proc
def test_an_owner_is_a_process_of_a_machine_and_two_leases_of_it_differ() -> None:
    host, process, machine, start, random = leases.owner().split(":")
    assert (host, process, machine, start) == (HERE.host(), str(os.getpid()), MACHINE, START)
    assert random != leases.owner().split(":")[4]
    held = leases.Holder(leases.owner(), UNTIL)
    assert (held.process, held.is_here) == (f"{host}:{process}", True)


@needs_proc
def test_a_process_of_another_namespace_keeps_its_lease_until_its_time_is_up(
    tmp_path: Path,
) -> None:
    """Of the same host name, and with a number that no process here has."""
    machine, start = made_proc(tmp_path).identity()
    assert_only_time_ends(f"{HERE.host()}:{dead_process()}:{machine}:{start}:0a1b2c3d")


@needs_proc
def test_a_dead_process_of_this_namespace_loses_its_lease_at_once() -> None:
    with living_process() as process:
        table = MemoryTable(owner_of(process))
        assert not is_taken(table)
        process.kill()
        process.wait()
        assert is_taken(table)


@needs_proc
def test_a_process_whose_number_was_reused_is_dead() -> None:
    with living_process() as process:
        host, number, machine, start, random = owner_of(process).split(":")
        assert number == str(process.pid)
        former = f"{host}:{number}:{machine}:{int(start) - 1}:{random}"
        assert is_taken(MemoryTable(former))


@needs_proc
def test_a_process_that_cannot_be_looked_at_is_not_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hiding = made_proc(tmp_path)  # has no folder of any other process
    machine, _ = hiding.identity()
    with living_process() as process:
        owner = f"{HERE.host()}:{process.pid}:{machine}:1:0a1b2c3d"
        assert_only_time_ends(owner, system=hiding)

    def refused(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert_only_time_ends(f"{HERE.host()}:{os.getpid()}:{MACHINE}:1:0a1b2c3d")


def test_of_an_unknown_machine_only_time_ends_a_lease(tmp_path: Path) -> None:
    nowhere = leases.System(tmp_path / "nowhere")
    dead = dead_process()
    for machine, start in (("-", "-"), (MACHINE, START)):
        owner = f"{HERE.host()}:{dead}:{machine}:{start}:0a1b2c3d"
        assert_only_time_ends(owner, system=nowhere)
    assert_only_time_ends(f"{HERE.host()}:{dead}:-:-:0a1b2c3d")


def test_an_owner_of_a_former_version_is_ended_by_time_only() -> None:
    owner = f"{HERE.host()}:{dead_process()}:0a1b2c3d"
    assert_only_time_ends(owner)
    assert leases.Holder(owner, UNTIL).process == owner.rpartition(":")[0]


@pytest.mark.parametrize(
    ("owner", "is_buried"),
    [
        pytest.param("elsewhere:7:aaaaaaaaaaaa:1:x", True, id="another machine"),
        pytest.param(
            "{host}:7:aaaaaaaaaaaa:1:x",
            True,
            id="another machine of this host name",
            marks=needs_proc,
        ),
        pytest.param("elsewhere:7:-:-:x", True, id="another host"),
        pytest.param("elsewhere:7:x", True, id="another host, former version"),
        pytest.param("{host}:7:{machine}:1:x", False, id="here"),
        pytest.param("{host}:7:-:-:x", False, id="perhaps here"),
        pytest.param("{host}:7:x", False, id="perhaps here, former version"),
    ],
)
def test_nobodys_word_is_taken_of_what_may_be_a_process_of_this_machine(
    owner: str, is_buried: bool
) -> None:
    holding = owner.format(host=HERE.host(), machine=MACHINE)
    table = MemoryTable(holding)
    word = holding.partition(":")[0]
    leases.bury(table, "shop", f"{word}:8", now=lambda: NOW)
    assert table.rows["shop"][1] == _micros(UNTIL)
    leases.bury(table, "shop", f"{word}:7", now=lambda: NOW)
    assert table.rows["shop"][1] == _micros(NOW if is_buried else UNTIL)


def test_without_proc_no_lease_of_this_host_name_is_buried(tmp_path: Path) -> None:
    nowhere = leases.System(tmp_path / "nowhere")
    owner = f"{HERE.host()}:7:aaaaaaaaaaaa:1:x"
    table = MemoryTable(owner)
    leases.bury(table, "shop", f"{HERE.host()}:7", now=lambda: NOW, system=nowhere)
    assert table.rows["shop"] == (owner, _micros(UNTIL))


@pytest.mark.parametrize(
    ("owner", "remedy"),
    [
        pytest.param(
            "elsewhere:7:aaaaaaaaaaaa:1:x",
            "wait for that run to end; if it is dead, its lease ends at that time, or"
            " now with `spark-profiles abandon shop --dead elsewhere:7`",
            id="elsewhere",
        ),
        pytest.param(
            "{host}:{process}:{machine}:{start}:x",
            "wait for that run to end; if it dies, its lease ends at that time at the latest",
            id="here",
            marks=needs_proc,
        ),
        pytest.param(
            "{host}:7:x",
            "wait for that run to end; whether it is alive cannot be seen: if not, its lease ends"
            " at that time",
            id="perhaps here",
        ),
    ],
)
def test_the_message_says_what_ends_the_lease(owner: str, remedy: str) -> None:
    holding = owner.format(host=HERE.host(), process=os.getpid(), machine=MACHINE, start=START)
    with (
        pytest.raises(UnsettledError) as caught,
        leases.held(MemoryTable(holding), "shop", now=lambda: NOW),
    ):
        pass
    (problem,) = caught.value.problems
    assert problem.found == f"held by {':'.join(holding.split(':')[:2])} until 01:07:03 UTC"
    assert problem.remedy == remedy


HOLDING = """
import os, sys
from datetime import datetime, timezone
from spark_profiles.audit import leases
from spark_profiles.audit.delta_rs import DeltaTables
from spark_profiles.errors import UnsettledError

try:
    with leases.held(DeltaTables(sys.argv[1]), "shop", now=lambda: datetime.now(timezone.utc)):
        print(leases.owner(), flush=True)
        sys.stdin.read()
except UnsettledError as error:
    print(leases.owner(), error)
    sys.exit(error.exit_code)
"""
# Process numbers up to some hundreds are used up before the first holds the lease: the second,
# which is 1 and has its threads after it, has no process of that number.
FIRST = 'hostname spark-driver; n=0; while [ $n -lt 500 ]; do (:); n=$((n+1)); done; "$@"; exit $?'
SECOND = 'hostname spark-driver; exec "$@"'
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts"]


def in_a_container(script: str, *command: str) -> subprocess.Popen[str]:
    """The command with a process namespace and a host name of its own, as in a container."""
    return written_run.start([*UNSHARE, "sh", "-c", script, "sh", *command], "",
                             stdin=subprocess.PIPE)  # fmt: skip


@pytest.fixture
def containers() -> None:
    """Skip where no process namespace can be made."""
    try:
        probe = in_a_container("hostname spark-driver")
    except FileNotFoundError:
        pytest.skip("there is no `unshare`")
    _, said = probe.communicate(timeout=60)
    if probe.returncode:
        pytest.skip(f"`unshare` is not permitted: {said.strip()}")


@pytest.mark.usefixtures("containers")
def test_of_two_containers_of_one_host_name_the_second_meets_the_lease(tmp_path: Path) -> None:
    audit = str(written_run.write(tmp_path, files=1).audit)
    command = [sys.executable, "-c", HOLDING, audit]
    with in_a_container(FIRST, *command) as first:
        try:
            assert first.stdout
            holding = first.stdout.readline()
            second = in_a_container(SECOND, *command)
            said, errors = second.communicate(timeout=60)
            assert second.returncode == UnsettledError.exit_code, said + errors
            assert first.poll() is None
            _, errors = first.communicate("", timeout=60)
            assert first.returncode == 0, errors
        finally:
            first.kill()
    assert "Another run of this definition is at work" in said
    mine, other = holding.split(":"), said.split(":")
    assert (mine[0], other[:2]) == ("spark-driver", ["spark-driver", "1"])
    assert int(mine[1]) > 500
    assert f"abandon shop --dead {mine[0]}:{mine[1]}" in said
