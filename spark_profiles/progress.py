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
