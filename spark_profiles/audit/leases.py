"""EDGE. One run of a definition at a time: a lease that is taken, renewed and given back.

The lease is a gate, not a fence: it keeps two runs from starting over each other. Every effect
behind it can be repeated without harm, so that a holder who was thought dead does none.

An owner is `host:process:machine:start:random`. The machine is the boot and the process namespace,
because containers share host names and each numbers its processes from 1. The start time is there
because process numbers are reused. Where they cannot be known, only time ends a lease.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from spark_profiles.errors import Problem, UnsettledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LENGTH = timedelta(minutes=5)
UNKNOWN = "-"
_ATTEMPTS = 5
_START_TIME = 22 - 3  # the 22nd field of `stat`; the third is the first after the command


class Table(Protocol):
    """Where leases are kept."""

    def lease(self, name: str) -> tuple[str, int] | None:
        """The last owner, and until when in epoch microseconds; None: nobody ever was."""

    def merge_lease(self, name: str, owner: str, *, until: datetime, take_from: str | None) -> bool:
        """Make `owner` the holder, if the holder is `take_from` (None: nobody ever was).

        Returns whether the write went through; False when another was quicker. Whose the lease
        then is must be read.
        """


@dataclass(frozen=True, slots=True)
class System:
    """What this process can learn about the machine it runs on; tests give another `/proc`."""

    proc: Path = Path("/proc")

    def host(self) -> str:
        """The host name, without any character that separates the parts of an owner."""
        return re.sub(r"[^\w.-]", "-", socket.gethostname())

    def identity(self) -> tuple[str, str]:
        """Machine (boot and process namespace) and start time of this process, both or neither."""
        try:
            boot = (self.proc / "sys/kernel/random/boot_id").read_text().strip()
            namespace = str((self.proc / "self/ns/pid").readlink())
            process, start = self._process_and_start("self")
        except (OSError, ValueError, IndexError):
            return UNKNOWN, UNKNOWN
        if not boot or process != os.getpid():  # this `/proc` shows another process namespace
            return UNKNOWN, UNKNOWN
        return hashlib.sha256(f"{boot}{namespace}".encode()).hexdigest()[:12], start

    def has_ended(self, process: int, start: str) -> bool:
        """Whether a process of this machine has ended; False also if that cannot be seen."""
        try:
            os.kill(process, 0)
            return self._process_and_start(str(process))[1] != start
        except ProcessLookupError:
            return True
        except (OSError, ValueError, IndexError):
            return False

    def _process_and_start(self, name: str) -> tuple[int, str]:
        stat = (self.proc / name / "stat").read_text(errors="replace")
        after_command = stat.rpartition(")")[2]  # a command may hold blanks and parentheses
        return int(stat.split(" ", 1)[0]), after_command.split()[_START_TIME]


_THIS_SYSTEM = System()


@dataclass(frozen=True)
class Holder:
    """Who holds the lease of a definition, and until when if it is not renewed."""

    owner: str
    until: datetime
    system: System = field(default=_THIS_SYSTEM, compare=False, repr=False)

    @property
    def process(self) -> str:
        """Host and process."""
        host, process, _, _ = _owner_parts(self.owner)
        return f"{host}:{process}"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this very machine, of which we see whether it is alive."""
        machine = _owner_parts(self.owner)[2]
        return machine != UNKNOWN and machine == self.system.identity()[0]

    @property
    def may_be_here(self) -> bool:
        """Whether it is here, or its host name is ours and nothing tells the machines apart."""
        host, _, machine, _ = _owner_parts(self.owner)
        is_unknown = UNKNOWN in (machine, self.system.identity()[0])
        return self.is_here or (is_unknown and host == self.system.host())


def owner(system: System = _THIS_SYSTEM) -> str:
    """A new owner: the process, and a random part that distinguishes two leases of one process."""
    machine, start = system.identity()
    return f"{system.host()}:{os.getpid()}:{machine}:{start}:{uuid.uuid4().hex[:8]}"


def _owner_parts(owner: str) -> tuple[str, str, str, str]:
    """Host, process, machine and start time; former versions wrote `host:process:random`."""
    match owner.split(":"):
        case [host, process, machine, start, _]:
            return host, process, machine, start
        case [host, process, *_]:
            return host, process, UNKNOWN, UNKNOWN
    return owner, UNKNOWN, UNKNOWN, UNKNOWN


@contextlib.contextmanager
def held(
    audit: Table,
    name: str,
    *,
    now: Callable[[], datetime],
    length: timedelta = LENGTH,
    system: System = _THIS_SYSTEM,
) -> Iterator[None]:
    """Hold the lease of the definition `name` for as long as the block lasts.

    Raises:
        UnsettledError: another run holds it.
    """
    mine = owner(system)
    _take(audit, name, mine, now=now, length=length, system=system)
    ended = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(audit, name, mine, now, length, ended), daemon=True
    )
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        release(audit, name, mine, now=now)


def release(audit: Table, name: str, mine: str, *, now: Callable[[], datetime]) -> None:
    """Give the lease back, if it is still that of `mine`."""
    audit.merge_lease(name, mine, until=now(), take_from=mine)


def bury(
    audit: Table,
    name: str,
    dead: str,
    *,
    now: Callable[[], datetime],
    system: System = _THIS_SYSTEM,
) -> None:
    """End the lease of a holder on another machine, `host:process`, of whom we know the end.

    Nothing happens if the lease is free, or that of somebody else by now: whoever takes it then
    is told so. Of a process that is or may be of this machine nobody's word is taken.
    """
    found = holder(audit, name, system)
    if found and found.process == dead and not found.may_be_here:
        release(audit, name, found.owner, now=now)


def holder(audit: Table, name: str, system: System = _THIS_SYSTEM) -> Holder | None:
    """Who holds the lease, or held it last, as seen from this system."""
    found = audit.lease(name)
    if found is None:
        return None
    until = datetime.fromtimestamp(found[1] / 1_000_000, timezone.utc)
    return Holder(found[0], until, system)


def _take(
    audit: Table,
    name: str,
    mine: str,
    *,
    now: Callable[[], datetime],
    length: timedelta,
    system: System,
) -> None:
    for _ in range(_ATTEMPTS):
        before = holder(audit, name, system)
        if before and before.until > now() and not _is_dead(before.owner, system):
            raise _at_work(name, before)
        taken_from = before.owner if before else None
        if audit.merge_lease(name, mine, until=now() + length, take_from=taken_from):
            after = holder(audit, name, system)
            if after and after.owner == mine:
                return
    raise _at_work(name, holder(audit, name, system))


def _renew(
    audit: Table,
    name: str,
    mine: str,
    now: Callable[[], datetime],
    length: timedelta,
    ended: threading.Event,
) -> None:
    while not ended.wait(length.total_seconds() / 3):
        audit.merge_lease(name, mine, until=now() + length, take_from=mine)


def _is_dead(other: str, system: System) -> bool:
    """Whether the owner was a process of this very machine that has ended."""
    _, process, machine, start = _owner_parts(other)
    if machine == UNKNOWN or machine != system.identity()[0] or not process.isdecimal():
        return False  # only time tells
    return system.has_ended(int(process), start)


def _at_work(name: str, by: Holder | None) -> UnsettledError:
    who = f"held by {by.process} until {by.until:%H:%M:%S} UTC" if by else "taken"
    problem = Problem(f"lease of {name}", who, "a free lease", _remedy(name, by))
    message = "Another run of this definition is at work; nothing was done"
    return UnsettledError(message, problem)


def _remedy(name: str, by: Holder | None) -> str:
    wait = "wait for that run to end"
    if by is None:
        return wait
    if by.is_here:
        return f"{wait}; if it dies, its lease ends at that time at the latest"
    if by.may_be_here:
        return f"{wait}; whether it is alive cannot be seen: if not, its lease ends at that time"
    now = f"now with `spark-profiles abandon {name} --dead {by.process}`"
    return f"{wait}; if it is dead, its lease ends at that time, or {now}"
