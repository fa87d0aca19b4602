"""Which execution is which file, where the answer to an upload was lost. Nothing is guessed.

Evidence, the strongest first; each execution and each file is used once:

    content       the platform's copy of the input has the SHA-256 of the file
    elimination   one execution is nobody's, its content cannot be had, and one file is without:
                  the import is this run's own; but not where another file went twice, of which
                  it may be the second execution that shows late, or ended without it being told

Totals are no evidence: a platform that counts wrongly would name the wrong file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spark_profiles.audit.records import FileRecord
    from spark_profiles.delivery.datamart import Execution


@dataclass(frozen=True)
class Matched:
    """What is known of files whose fate was unknown."""

    found: tuple[tuple[FileRecord, Execution], ...]
    """The file arrived, and this is its execution."""
    absent: tuple[FileRecord, ...]
    """No execution can be this file's."""
    unclear: tuple[FileRecord, ...]
    """It cannot be told whether it arrived."""
    nobodys: tuple[Execution, ...]
    """Executions that are no file's, as far as is known."""


def match(
    files: Sequence[FileRecord],
    executions: Sequence[Execution],
    *,
    accounted: frozenset[str],
    doubtful: frozenset[str],
    content: Callable[[Execution], str | None],
) -> Matched:
    """Match files of unknown fate with executions that no file is known for.

    Args:
        files: of unknown fate.
        executions: those of the run's import that no file is known for.
        accounted: SHA-256 of the files whose executions are known: an execution with such a
            content is a second one of that file.
        doubtful: names of the files of this run that may have an execution which is not known:
            sent more than once, or ended without it being told.
        content: the SHA-256 of an execution's input; None where it cannot be had.
    """
    waiting, found = list(files), []
    unknown, nobodys = [], []
    differs = False
    for execution in executions if files else ():
        sha256 = content(execution)
        same = next((file for file in waiting if file.sha256 == sha256), None)
        if same:
            waiting.remove(same)
            found.append((same, execution))
        elif sha256 in accounted or any(file.sha256 == sha256 for file in files):
            nobodys.append(execution)
        else:
            unknown.append(execution)
            differs = differs or sha256 is not None
    is_sure = len(waiting) == 1 and doubtful <= {waiting[0].name}
    if len(unknown) == 1 and is_sure and not differs:
        found.append((waiting.pop(), unknown.pop()))
    absent = () if unknown else tuple(waiting)
    unclear = tuple(waiting) if unknown else ()
    return Matched(tuple(found), absent, unclear, (*nobodys, *unknown))
