"""EDGE. What the uploader does, kept in the audit tables `files` and `rejected_lines`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from spark_profiles import slices
from spark_profiles.upload import FileRecord, FileStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spark_profiles.audit import Audit
    from spark_profiles.slices import Slice
    from spark_profiles.upload import RejectedLine


class FilesTable:
    """The journal of one run: each state is on record before the next step is taken."""

    def __init__(self, audit: Audit, run_id: str, name: str) -> None:
        self._audit, self._run_id, self._name = audit, run_id, name
        rows = audit.of_run("files", run_id).orderBy("file").collect()
        self._rows = {row["file"]: row.asDict() for row in rows}

    def files(self) -> list[FileRecord]:
        """The files as recorded, UPSERT before DELETE, in the order of their names."""
        order = sorted(self._rows.values(), key=lambda r: (r["operation"] == "DELETE", r["file"]))
        return [_file_record(row) for row in order]

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        """Record these files, and first the lines that the platform rejected."""
        if rejected:
            self._reject(rejected)
        for file in files:
            facts = {**vars(file), "file": file.name, "status": file.status.value}
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
        """Put files that ended without certainty back to where they were before they were sent."""
        parts = {name for name in self._rows if "#" in name}
        new = {"status": FileStatus.WRITTEN.value, "document_import_id": None, "attempts": 0,
               "execution_id": None, "total_success": None, "total_failure": None}  # fmt: skip
        self._rows = {
            name: row if row["status"] == FileStatus.CONFIRMED.value else {**row, **new}
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
        self._audit.put_records("files", self._run_id, list(self._rows.values()))

    def _rejected_rows(self) -> list[dict[str, Any]]:
        rows = self._audit.of_run("rejected_lines", self._run_id).collect()
        return [row.asDict() for row in rows]

    def _reject(self, lines: Sequence[RejectedLine]) -> None:
        """Replace what is recorded of these files; a repeated look tells the same again."""
        replaced = {line.file for line in lines}
        kept = [row for row in self._rejected_rows() if row["file"] not in replaced]
        told = [{**vars(line), "name": self._name} for line in lines]
        self._audit.put_records("rejected_lines", self._run_id, kept + told)


def _file_record(row: Mapping[str, Any]) -> FileRecord:
    names = FileRecord.__dataclass_fields__.keys() - {"name", "status"}
    facts = {name: row[name] for name in names}
    return FileRecord(name=row["file"], status=FileStatus(row["status"]), **facts)
