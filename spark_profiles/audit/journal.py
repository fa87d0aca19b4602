"""EDGE. What the uploader does, kept in the audit tables `files` and `rejected_lines`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from spark_profiles.audit import slices
from spark_profiles.audit.records import FileRecord, FileStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spark_profiles.audit.records import RejectedLine
    from spark_profiles.audit.slices import Slice

    Row = dict[str, Any]


class Tables(Protocol):
    """What is needed of the audit tables, whoever reads and writes them."""

    def rows(self, table: str, **equal: str) -> list[Row]:
        """The rows with these values."""

    def put_records(self, table: str, run_id: str, records: Sequence[Row]) -> None:
        """Make these what the table holds of the run, instead of what it held."""


class FilesTable:
    """The journal of one run: each state is on record before the next step is taken."""

    def __init__(self, tables: Tables, run_id: str, name: str) -> None:
        self._tables, self._run_id, self._name = tables, run_id, name
        self._rows = self._recorded()

    def _recorded(self) -> dict[str, Row]:
        return {row["file"]: row for row in self._tables.rows("files", run_id=self._run_id)}

    def files(self) -> list[FileRecord]:
        """The files as recorded, UPSERT before DELETE, in the order of their names."""
        order = sorted(self._rows.values(), key=lambda r: (r["operation"] == "DELETE", r["file"]))
        return [FileRecord.of_row(row) for row in order]

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        """Record these files, and first the lines that the platform rejected."""
        if rejected:
            self._reject(rejected)
        for file in files:
            facts = {name: value for name, value in vars(file).items() if name != "name"}
            facts["status"] = file.status.value
            self._rows[file.name] = {**self._rows[file.name], **facts}
        self._save()

    def add(self, parts: Sequence[Slice], open_file: Callable[[str], BinaryIO]) -> None:
        """Record parts of files, to be sent as files of their own."""
        for part in parts:
            size, sha256 = slices.measured(part, open_file)
            new = {"lines": part.lines, "bytes": size, "sha256": sha256, "attempts": 0,
                   "status": FileStatus.WRITTEN.value, "file": part.name, "execution_id": None,
                   "total_success": None, "total_failure": None, "message": None}  # fmt: skip
            self._rows[part.name] = {**self._rows[part.file], **new}
        self._save()

    def reset(self) -> None:
        """Put files that ended without certainty back to where they were before they were sent.

        With a file of deletes also those that waited for it: what it deletes may be in them.
        """
        is_delete_open = any(
            row["operation"] == "DELETE" and row["status"] != FileStatus.CONFIRMED.value
            for row in self._rows.values()
        )
        parts = {name for name in self._rows if "#" in name}
        new = {"status": FileStatus.WRITTEN.value, "document_import_id": None, "attempts": 0,
               "execution_id": None, "total_success": None, "total_failure": None}  # fmt: skip
        self._rows = {
            name: row if _is_done(row, is_delete_open=is_delete_open) else {**row, **new}
            for name, row in self._rows.items()
            if name not in parts
        }
        self._save()

    def claims(self) -> dict[str, frozenset[int]]:
        """File or part -> the lines that its error file names."""
        found: dict[str, set[int]] = {}
        for row in self._rejected_rows():
            if row["line_number"] is not None:
                found.setdefault(row["file"], set()).add(row["line_number"])
        return {name: frozenset(numbers) for name, numbers in found.items()}

    def messages(self) -> dict[tuple[str, int | None], str]:
        """What the error files say: file or part and line in it -> message."""
        return {(row["file"], row["line_number"]): row["message"] for row in self._rejected_rows()}

    def _save(self) -> None:
        self._tables.put_records("files", self._run_id, list(self._rows.values()))

    def _rejected_rows(self) -> list[Row]:
        return self._tables.rows("rejected_lines", run_id=self._run_id)

    def _reject(self, lines: Sequence[RejectedLine]) -> None:
        """Replace what is recorded of these files; a repeated look tells the same again."""
        replaced = {line.file for line in lines}
        kept = [row for row in self._rejected_rows() if row["file"] not in replaced]
        told = [{**vars(line), "name": self._name} for line in lines]
        self._tables.put_records("rejected_lines", self._run_id, kept + told)


def _is_done(row: Mapping[str, Any], *, is_delete_open: bool) -> bool:
    """Whether a file need not be sent again."""
    waits = FileRecord.of_row(row).is_second and is_delete_open
    return row["status"] == FileStatus.CONFIRMED.value and not waits
