"""Which lines of a file failed, where the platform only says how many did. Pure.

What an error file says is not documented, so it is taken as a claim and put to the test: each line
that it names is sent again alone. Where that does not settle it, the file is sent again in halves.
Sending a line again changes nothing on the platform. So long until each failure of a file is a
line, or a part, of which nothing was taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.audit import slices
from spark_profiles.audit.records import FileRecord, FileStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spark_profiles.audit.slices import Slice

MOST_PARTS = 200
"""So many parts are sent in one run at most; what is not certain then is sent by the next run."""
_MOST_CLAIMS = 20


@dataclass(frozen=True)
class Outcome:
    """What is certain of the files of a run."""

    arrived: tuple[Slice, ...]
    """Each line of these was taken, but those that lie in a failed part."""
    failed: tuple[Slice, ...]
    """Not one line of these was taken, and the platform looked at each."""
    open: tuple[FileRecord, ...]
    """Files of which it is not certain what became of their lines."""
    doubtful: tuple[str, ...]
    """Names of those of them that were sent, and of files that failed in more or other lines at one
    time than at another: what of them did not arrive for certain may yet lie on the platform."""


class Evidence:
    """What the executions of files and of their parts say together."""

    def __init__(self, records: Sequence[FileRecord]) -> None:
        self._records = {record.name: record for record in records}
        self._slices = {r.name: slices.parse(r.name, lines=r.lines) for r in records}
        self._failed = [self._slices[r.name] for r in records if _is_whole_failure(r)]

    def outcome(self) -> Outcome:
        """What is certain by now."""
        arrived: list[Slice] = []
        unsure = []
        for name, record in self._records.items():
            if self._slices[name].name == name:
                continue  # a part speaks through its file
            found = self._arrived(record)
            if found is None:
                unsure.append(record)
            else:
                arrived += found
        open_files = {record.name for record in unsure}
        failed = tuple(part for part in _outermost(self._failed) if part.file not in open_files)
        doubtful = tuple(
            name
            for name, record in self._records.items()
            if (name in open_files and record.was_sent)
            or (self._slices[name].name != name and self._contradicts_itself(name))
        )
        return Outcome(tuple(arrived), failed, tuple(unsure), doubtful)

    def _contradicts_itself(self, file: str) -> bool:
        """Whether lines of the file failed in one of its executions, and not in another."""
        return any(
            not self._adds_up(record, self._slices[name])
            for name, record in self._records.items()
            if self._slices[name].file == file
            and record.status in (FileStatus.CONFIRMED, FileStatus.PARTIAL)
        )

    def _adds_up(self, record: FileRecord, part: Slice) -> bool:
        """Whether just so many lines failed alone as the platform counted in the whole."""
        inside = _outermost(bad for bad in self._failed if _is_inside(bad, part))
        return sum(bad.lines for bad in inside) == (record.total_failure or 0)

    def further(self, claims: Mapping[str, frozenset[int]]) -> list[Slice]:
        """The parts to send next; none where all is certain, or too many would be needed.

        Args:
            claims: file or part -> the lines that its error file names, counted from 1 in it.
        """
        wanted: list[Slice] = []
        for name, record in self._records.items():
            part = self._slices[name]
            is_file = part.name != name
            if is_file and self._arrived(record) is None:
                wanted += self._open_parts(record, part, claims)
        parts = sum(self._slices[name].name == name for name in self._records)
        return wanted if parts + len(wanted) <= MOST_PARTS else []

    def _open_parts(
        self, record: FileRecord, part: Slice, claims: Mapping[str, frozenset[int]]
    ) -> list[Slice]:
        if record.status is not FileStatus.PARTIAL or part.lines == 1:
            return []
        named = claims.get(record.name, frozenset())
        probes = [
            slices.Slice(part.file, part.first + line - 1, part.first + line - 1)
            for line in sorted(named)
            if 1 <= line <= part.lines
        ]
        new = [probe for probe in probes if probe.name not in self._records]
        is_claim = len(probes) == record.total_failure and len(probes) <= _MOST_CLAIMS
        if is_claim and new:
            return new
        wanted: list[Slice] = []
        for half in part.halves():
            known = self._records.get(half.name)
            if known is None:
                wanted.append(half)
            elif self._arrived(known) is None:
                wanted += self._open_parts(known, half, claims)
        return wanted

    def _arrived(self, record: FileRecord) -> list[Slice] | None:
        """The parts of it that arrived; None where that is not certain."""
        part = self._slices[record.name]
        if record.status is FileStatus.CONFIRMED:
            return [part]
        if _is_whole_failure(record):
            return []
        if record.status is not FileStatus.PARTIAL:
            return None
        is_complete = (record.total_success or 0) + (record.total_failure or 0) == record.lines
        if is_complete and self._adds_up(record, part):
            return [part]
        return self._arrived_in_halves(part)

    def _arrived_in_halves(self, part: Slice) -> list[Slice] | None:
        if part.lines == 1:
            return None
        found: list[Slice] = []
        for half in part.halves():
            record = self._records.get(half.name)
            arrived = self._arrived(record) if record else None
            if arrived is None:
                return None
            found += arrived
        return found


def deletes_are_confirmed(files: Sequence[FileRecord]) -> bool:
    """Whether the platform took every DELETE of these: then the second phase may begin."""
    deletes = [file for file in files if file.operation == "DELETE" and not file.is_second]
    outcome = Evidence(deletes).outcome()
    return not outcome.open and not outcome.failed


def _is_whole_failure(record: FileRecord) -> bool:
    return record.status is FileStatus.PARTIAL and (
        (record.total_success, record.total_failure) == (0, record.lines)
    )


def _is_inside(inner: Slice, outer: Slice) -> bool:
    return inner.file == outer.file and outer.first <= inner.first and inner.last <= outer.last


def _outermost(parts: Iterable[Slice]) -> list[Slice]:
    """The parts without those that lie in another of them."""
    found: list[Slice] = []
    for part in sorted(parts, key=lambda p: (p.file, p.first, -p.last)):
        if not found or not _is_inside(part, found[-1]):
            found.append(part)
    return found
