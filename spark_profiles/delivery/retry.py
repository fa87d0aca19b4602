"""How long to wait, and how fast to go: rules of time, with the clock and the dice as arguments."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds of attempts and of time; both hold."""

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    total_s: float = 300.0


def wait_before(
    attempt: int, policy: RetryPolicy, *, retry_after_s: float | None, jitter: float
) -> float | None:
    """Seconds to wait before `attempt` (2 is the first retry); None means give up.

    Without word from the server the wait doubles with each attempt up to the longest, and
    `jitter` (0 to 1) takes away up to half of it, so that many clients do not return at once.
    """
    if attempt > policy.attempts:
        return None
    if retry_after_s is not None:
        return retry_after_s
    ceiling = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** (attempt - 2))
    return ceiling * (1 - jitter / 2)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for, given as seconds or as an HTTP date; else None."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - now).total_seconds())


class Pace:
    """How fast requests may leave, and how many uploads at once; shared by all threads.

    `per_second` is a budget that is never passed. When the platform says that it is too much,
    uploads at once are halved and requests are spaced; when it goes well, both come back slowly.
    """

    _RECOVERY = 10
    """So many good answers in a row undo one step."""
    _FIRST_GAP_S, _LONGEST_GAP_S = 0.1, 5.0

    def __init__(
        self,
        *,
        parallel: int,
        per_second: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._most, self._clock, self._sleep = parallel, clock, sleep
        self._least_gap = 1.0 / per_second if per_second else 0.0
        self._gap, self.parallel = self._least_gap, parallel
        self._next, self._good = 0.0, 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until the next request may leave."""
        with self._lock:
            now = self._clock()
            leaves = max(now, self._next)
            self._next = leaves + self._gap
        if leaves > now:
            self._sleep(leaves - now)

    def slower(self, pause_s: float) -> None:
        """The platform has too much: pause everybody, then go on with half."""
        with self._lock:
            self._good = 0
            self.parallel = max(1, self.parallel // 2)
            wider = min(self._LONGEST_GAP_S, max(self._FIRST_GAP_S, self._gap * 2))
            self._gap = max(self._least_gap, wider)
            self._next = max(self._next, self._clock() + pause_s)

    def good(self) -> None:
        """An answer came as it should."""
        with self._lock:
            self._good += 1
            if self._good % self._RECOVERY == 0:
                self.parallel = min(self._most, self.parallel + 1)
                gap = self._gap / 2
                self._gap = gap if gap > max(self._least_gap, 0.05) else self._least_gap
