"""EDGE. One run of a definition at a time: a lease that is taken, renewed and given back.

The lease is a gate, not a fence: it keeps two runs from starting over each other. Every effect
behind it can be repeated without harm, so that a holder who was thought dead does none.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol

from spark_profiles.errors import Problem, UnsettledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LENGTH = timedelta(minutes=5)
_ATTEMPTS = 5


class Table(Protocol):
    """Where leases are kept."""

    def lease(self, name: str) -> tuple[str, int] | None:
        """The last owner, and until when in epoch microseconds; None: nobody ever was."""

    def merge_lease(self, name: str, owner: str, *, until: datetime, take_from: str | None) -> bool:
        """Make `owner` the holder, if the holder is `take_from` (None: nobody ever was).

        Returns whether the write went through; False when another was quicker. Whose the lease
        then is must be read.
        """


@dataclass(frozen=True)
class Holder:
    """Who holds the lease of a definition, and until when if it is not renewed."""

    owner: str
    until: datetime

    @property
    def process(self) -> str:
        """Host and process."""
        return self.owner.rpartition(":")[0]

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this very machine, of which we see whether it is alive."""
        return self.process.rpartition(":")[0] == _host()


def owner() -> str:
    """A new owner: host, process, and what tells two leases of one process apart."""
    return f"{_host()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _host() -> str:
    return re.sub(r"[^\w.-]", "-", socket.gethostname())


@contextlib.contextmanager
def held(
    audit: Table, name: str, *, now: Callable[[], datetime], length: timedelta = LENGTH
) -> Iterator[None]:
    """Hold the lease of the definition `name` for as long as the block lasts.

    Raises:
        UnsettledError: another run holds it.
    """
    mine = owner()
    _take(audit, name, mine, now=now, length=length)
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


def bury(audit: Table, name: str, dead: str, *, now: Callable[[], datetime]) -> None:
    """End the lease of a holder on another machine, `host:process`, of whom we know the end.

    Nothing happens if the lease is free, or that of somebody else by now: whoever takes it then
    is told so. Of a process of this machine nobody's word is taken.
    """
    found = holder(audit, name)
    if found and found.process == dead and not found.is_here:
        release(audit, name, found.owner, now=now)


def holder(audit: Table, name: str) -> Holder | None:
    """Who holds the lease, or held it last."""
    found = audit.lease(name)
    if found is None:
        return None
    return Holder(found[0], datetime.fromtimestamp(found[1] / 1_000_000, timezone.utc))


def _take(
    audit: Table, name: str, mine: str, *, now: Callable[[], datetime], length: timedelta
) -> None:
    for _ in range(_ATTEMPTS):
        before = holder(audit, name)
        if before and before.until > now() and not _is_dead(before.owner):
            raise _at_work(name, before)
        taken_from = before.owner if before else None
        if audit.merge_lease(name, mine, until=now() + length, take_from=taken_from):
            after = holder(audit, name)
            if after and after.owner == mine:
                return
    raise _at_work(name, holder(audit, name))


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


def _is_dead(other: str) -> bool:
    """Whether the owner was a process of this very machine that is no more."""
    host, process, _ = other.rsplit(":", 2)
    if host != _host() or not process.isdigit():
        return False  # of other machines we cannot tell
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _at_work(name: str, by: Holder | None) -> UnsettledError:
    who = f"held by {by.process} until {by.until:%H:%M:%S} UTC" if by else "taken"
    remedy = "wait for that run to end; if it is dead, its lease ends by itself at that time"
    if by and not by.is_here:
        remedy += f", or now with `spark-profiles abandon {name} --dead {by.process}`"
    problem = Problem(f"lease of {name}", who, "a free lease", remedy)
    message = "Another run of this definition is at work; nothing was done"
    return UnsettledError(message, problem)
