"""Import files in memory, a journal that forgets nothing, and time that passes when slept."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from spark_profiles.audit.records import FileRecord, FileStatus, RejectedLine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def lines_of(number: int, count: int) -> dict[str, dict[str, Any]]:
    """What the lines of one file mean: account -> profile."""
    return {
        f"{number}-{n}": {"$compartment_id": 1, "$user_account_id": f"{number}-{n}", "n": n}
        for n in range(count)
    }


def body_of(profiles: dict[str, dict[str, Any]]) -> bytes:
    """The file that says so."""
    commands = [
        {
            "operation": "UPSERT",
            "compartment_id": "1",
            "user_account_id": account,
            "update_strategy": "FORCE_REPLACE",
            "user_profile": profile,
        }
        for account, profile in profiles.items()
    ]
    return "".join(json.dumps(command) + "\n" for command in commands).encode()


class Shelf:
    """Files in memory, and a journal that keeps every state it was told."""

    def __init__(self, sizes: Sequence[int] = (3, 3, 3)) -> None:
        self.wanted = {f"f{n}.ndjson": lines_of(n, size) for n, size in enumerate(sizes)}
        self.content = {name: body_of(profiles) for name, profiles in self.wanted.items()}
        self.states = {
            name: FileRecord(
                name, "UPSERT", len(self.wanted[name]), len(body), hashlib.sha256(body).hexdigest()
            )
            for name, body in self.content.items()
        }
        self.history: list[dict[str, FileStatus]] = []
        self.rejected: list[RejectedLine] = []
        self.opened: list[str] = []

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        self.rejected += rejected
        self.states.update({file.name: file for file in files})
        self.history.append({name: file.status for name, file in self.states.items()})

    def open(self, name: str) -> io.BytesIO:
        self.opened.append(name)
        return io.BytesIO(self.content[name])


class Time:
    """Time that passes when somebody sleeps, and hardly takes any."""

    def __init__(self, *, scale: float = 0.002, longest: float = 0.01) -> None:
        self._now, self._lock = 0.0, threading.Lock()
        self._scale, self._longest = scale, longest
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
            self.slept.append(seconds)
        time.sleep(min(seconds * self._scale, self._longest))

    def clock(self) -> float:
        with self._lock:
            return self._now


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
