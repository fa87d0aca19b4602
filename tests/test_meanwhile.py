"""What a person sees while it works, where nobody is at a terminal."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from rich.console import Console

from spark_profiles import meanwhile
from spark_profiles.progress import Event


def test_a_notebook_shows_one_line_a_step_renewed_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[list[str]] = []

    class Handle:
        def __init__(self) -> None:
            lines.append([])
            self.shown = lines[-1]

        def update(self, content: dict[str, str], *, raw: bool) -> None:
            assert raw
            self.shown.append(content["text/plain"])

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert (content, raw, display_id) == ({"text/plain": ""}, True, True)
        return Handle()

    ipython: Any = types.ModuleType("IPython.display")
    ipython.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    monkeypatch.setattr(meanwhile, "_console", Console(force_jupyter=True))
    seconds = iter([0.0, 2.0, 2.0, 5.0])
    progress = meanwhile.Progress(quiet=False, clock=lambda: next(seconds))
    listener = progress.__enter__()
    listener(Event("write", "the files"))
    listener(Event("upload", "1 of 3 MB", 1, 3, "files"))
    listener(Event("upload", "2 of 3 MB", 2, 3, "files"))
    progress.__exit__(OSError, OSError("disk"), None)
    assert lines == [
        ["write    the files", "  write        2.0 s  the files"],
        [
            "upload   1 of 3 MB 1 of 3 files",
            "upload   2 of 3 MB 2 of 3 files",
            "  upload     stopped  2 of 3 MB 2 of 3 files",
        ],
    ]
