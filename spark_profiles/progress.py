"""What a long run says while it works: events in, nothing out. The command line draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One thing that happened: the step it belongs to, and how far that step is.

    `done` and `total` count in `unit`s ("files", "lines"); None where a step has no measure.
    `facts` are the same and more by name, for machines.
    """

    step: str
    message: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Drop the event: the default listener."""


@dataclass(frozen=True)
class Step:
    """One step of long work, and when it began and ended by the clock of its `Steps`."""

    step: str
    began: float
    ended: float


class Steps:
    """A listener that passes events on and notes the steps they belong to, in order.

    Args:
        onward: the listener that is told all events as well.
        clock: seconds since any moment.
        first: the step that begins at once; empty: the first event begins one.
    """

    def __init__(self, onward: Listener, clock: Callable[[], float], *, first: str = "") -> None:
        self._onward, self._clock = onward, clock
        self._step, self._since = first, clock() if first else 0.0
        self._noted: list[Step] = []

    def listen(self, event: Event) -> None:
        """Note where a step begins, and pass the event on."""
        if event.step != self._step:
            self._finish()
            self._step = event.step
        self._onward(event)

    def stop(self) -> list[Step]:
        """End the last step; all that were noted."""
        self._finish()
        self._step = ""
        return self._noted

    def _finish(self) -> None:
        now = self._clock()
        if self._step:
            self._noted.append(Step(self._step, self._since, now))
        self._since = now
