"""What a long run says while it works: events in, nothing out. The command line draws them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One thing that happened: the step it belongs to, and how far that step is.

    `done` and `total` count in `unit`s ("files", "lines"); None where a step has no measure.
    """

    step: str
    message: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = ""


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Drop the event: the default listener."""
