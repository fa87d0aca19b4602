"""An import file as it is recorded: where it stands, and what the platform said of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FileStatus(str, Enum):
    """Where a file stands."""

    WRITTEN = "written"
    SENDING = "sending"
    """It may have left the house, and may have arrived."""
    SENT = "sent"
    """It is an execution of the platform."""
    CONFIRMED = "confirmed"
    PARTIAL = "partial"
    """It ended, but not every line is certain."""
    FAILED = "failed"


_SECOND_PHASE = 2
FINAL = (FileStatus.CONFIRMED, FileStatus.PARTIAL, FileStatus.FAILED)


@dataclass(frozen=True)
class FileRecord:
    """One import file and what became of it; `name` is its path in the run's folder."""

    name: str
    operation: str
    lines: int
    bytes: int
    sha256: str
    status: FileStatus = FileStatus.WRITTEN
    document_import_id: str | None = None
    execution_id: str | None = None
    total_success: int | None = None
    total_failure: int | None = None
    message: str | None = None
    attempts: int = 0
    phase: int | None = None
    """The phase in which it is sent; None, of older runs, is the first."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> FileRecord:
        """The file of a row of `files`."""
        names = cls.__dataclass_fields__.keys() - {"name", "status"}
        facts: dict[str, Any] = {name: row.get(name) for name in names}
        return cls(name=row["file"], status=FileStatus(row["status"]), **facts)

    @property
    def is_second(self) -> bool:
        """Whether it waits for the deletes of the first phase."""
        return self.phase == _SECOND_PHASE

    @property
    def was_sent(self) -> bool:
        """Whether the platform may have any of it."""
        return self.attempts > 0 or self.execution_id is not None

    @property
    def is_final(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status in FINAL

    @property
    def is_doubtful(self) -> bool:
        """Whether the platform may have an execution of it that is not known here."""
        is_untold = self.status in (FileStatus.WRITTEN, FileStatus.FAILED) and not self.execution_id
        return self.attempts > (0 if is_untold else 1)


@dataclass(frozen=True)
class RejectedLine:
    """A line of an error file, as it came; its form is not documented."""

    file: str
    line_number: int | None
    message: str


class Journal(Protocol):
    """Where the state of files is kept."""

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        """Keep these states, and first the rejected lines; durable when it returns."""
