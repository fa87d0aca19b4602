"""The states of a run, and which may follow which: one table, nothing else decides."""

from __future__ import annotations

from enum import Enum

from spark_profiles.errors import IntegrityError, Problem


class RunStatus(str, Enum):
    """Where a run stands. Until UPLOADING nothing of it has left the house."""

    PLANNED = "planned"
    """The run has an id; its lines are being recorded."""
    RECORDED = "recorded"
    """All lines and refused rows lie in the audit tables, and the counts add up."""
    TRIPPED = "tripped"
    """A limit was passed; waits for a decision."""
    WRITTEN = "written"
    """The import files and their manifest are there."""
    UPLOADING = "uploading"
    """Files may have reached the platform."""
    CONFIRMED = "confirmed"
    """Every line is confirmed and stands in `delivered`."""
    UNCONFIRMED = "unconfirmed"
    """Settled, but some files failed; their lines are sent again by the next run."""
    ABANDONED = "abandoned"
    """Given up before anything was sent; the next run planned anew."""


NEXT = {
    RunStatus.PLANNED: {RunStatus.RECORDED, RunStatus.ABANDONED},
    RunStatus.RECORDED: {RunStatus.TRIPPED, RunStatus.WRITTEN, RunStatus.ABANDONED},
    RunStatus.TRIPPED: {RunStatus.ABANDONED},
    RunStatus.WRITTEN: {RunStatus.UPLOADING, RunStatus.ABANDONED},
    RunStatus.UPLOADING: {RunStatus.CONFIRMED, RunStatus.UNCONFIRMED},
    RunStatus.CONFIRMED: set(),
    RunStatus.UNCONFIRMED: {RunStatus.UPLOADING},
    RunStatus.ABANDONED: set(),
}

IN_WORDS = {
    RunStatus.PLANNED: "stopped while recording; nothing was sent; the next run plans anew",
    RunStatus.RECORDED: "recorded, no files yet; nothing was sent; the next run plans anew",
    RunStatus.TRIPPED: "stopped by a limit; nothing was sent; the next run plans anew",
    RunStatus.WRITTEN: "files are written; nothing was sent; `upload` sends them",
    RunStatus.UPLOADING: "files may have been sent; `upload` or `run` settles it first",
    RunStatus.CONFIRMED: "done; every line is confirmed",
    RunStatus.UNCONFIRMED: "settled with failures; the next run, or `retry`, sends what is missing",
    RunStatus.ABANDONED: "given up before anything was sent",
}


SENT = {RunStatus.UPLOADING, RunStatus.CONFIRMED, RunStatus.UNCONFIRMED}
"""Something of the run may have reached the platform; nothing of others is ever delivered."""

SETTLED = {RunStatus.CONFIRMED, RunStatus.UNCONFIRMED, RunStatus.ABANDONED}


def is_settled(status: RunStatus) -> bool:
    """Whether nothing more happens to the run by itself."""
    return status in SETTLED


def drawn() -> str:
    """The table as a state diagram (Mermaid), for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {RunStatus.PLANNED.value}"]
    for before, following in NEXT.items():
        steps = sorted(after.value for after in following)
        lines += [f"    {before.value} --> {after}" for after in steps]
        if not following:
            lines.append(f"    {before.value} --> [*]")
    return "\n".join(lines) + "\n"


def check(before: RunStatus, after: RunStatus) -> None:
    """Refuse a step that the table does not know.

    Raises:
        IntegrityError: the step is not allowed.
    """
    if after != before and after not in NEXT[before]:
        problem = Problem("run", f"{before.value} -> {after.value}", "a step of the state table")
        message = "A run cannot take this step"
        raise IntegrityError(message, problem)
