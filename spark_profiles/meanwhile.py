"""What a person, or a machine, is told while a command works: on standard error."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from rich.status import Status

    from spark_profiles.progress import Event, Listener

_console = Console(stderr=True, highlight=False)


class _Cell:
    """A line below the cell of a notebook, renewed in place."""

    def __init__(self) -> None:
        from IPython.display import display  # noqa: PLC0415  every notebook has it

        self._line = display({"text/plain": ""}, raw=True, display_id=True)

    def update(self, text: str) -> None:
        """Show this instead."""
        self._line.update({"text/plain": text}, raw=True)


class Progress:
    """A context manager that gives a listener, and tells each step with its seconds.

    In a terminal and in a notebook a line is renewed while a step works.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._clock = quiet, clock
        self._step, self._text, self._since = "", "", 0.0
        self._status: Status | None = None
        self._cell: _Cell | None = None

    def __enter__(self) -> Listener:
        return self.listen

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish(failed=error is not None)

    def listen(self, event: Event) -> None:
        """Show one event."""
        if self._quiet:
            return
        measure = f"{event.done} of {event.total} {event.unit}" if event.total else ""
        text = " ".join(part for part in (event.message, measure) if part)
        if event.step != self._step:
            self._finish(failed=False)
            self._step, self._since = event.step, self._clock()
            if _console.is_jupyter:
                self._cell = _Cell()
            elif _console.is_terminal:
                self._status = _console.status("")
                self._status.start()
        self._text = text
        if shown := self._cell or self._status:
            shown.update(f"{self._step:<8} {text}")

    def _finish(self, *, failed: bool) -> None:
        if self._status:
            self._status.stop()
            self._status = None
        if self._step and not self._quiet:
            seconds = self._clock() - self._since
            mark = "stopped" if failed else f"{seconds:6.1f} s"
            told = f"  {self._step:<8} {mark:>9}  {self._text}"
            if self._cell:
                self._cell.update(told)
            else:
                _console.print(told, markup=False)
        self._step = ""


def event_lines() -> AbstractContextManager[Listener]:
    """A listener that tells each event on standard error, a line of JSON each."""

    def listen(event: Event) -> None:
        told = {"event": event.step, "message": event.message, **event.facts}
        if event.total is not None:
            told |= {"done": event.done, "total": event.total, "unit": event.unit}
        sys.stderr.write(json.dumps(told) + "\n")

    return nullcontext(listen)
