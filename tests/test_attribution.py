"""Which lines failed: found by sending parts again, whatever the error file claims."""

from __future__ import annotations

import hashlib
import io

from hypothesis import given
from hypothesis import strategies as st

from spark_profiles.audit import slices
from spark_profiles.audit.attribution import MOST_PARTS, Evidence
from spark_profiles.audit.records import FileRecord, FileStatus
from spark_profiles.audit.slices import Slice


def record(part: Slice, bad: frozenset[int], name: str) -> FileRecord:
    """The record of a file or part after a platform that rejects the lines `bad`."""
    failed = sum(part.first <= line <= part.last for line in bad)
    status = FileStatus.PARTIAL if failed else FileStatus.CONFIRMED
    return FileRecord(name, "UPSERT", part.lines, 0, "", status, total_success=part.lines - failed,
                      total_failure=failed)  # fmt: skip


@given(
    lines=st.integers(1, 400),
    bad=st.frozensets(st.integers(1, 400), max_size=6),
    claim=st.sampled_from(["right", "from zero", "none", "nonsense"]),
)
def test_every_failed_line_is_found_and_no_other(
    lines: int, bad: frozenset[int], claim: str
) -> None:
    bad = frozenset(line for line in bad if line <= lines)
    told = {
        "right": bad,
        "from zero": frozenset(line - 1 for line in bad),
        "none": frozenset(),
        "nonsense": frozenset({1, 7, 900}),
    }[claim]
    whole = Slice("f", 1, lines)
    records = [record(whole, bad, "f")]
    claims = {"f": told}
    while parts := Evidence(records).further(claims):
        known = {r.name for r in records}
        assert not known & {part.name for part in parts}, "nothing is sent twice"
        records += [record(part, bad, part.name) for part in parts]
        assert len(records) <= MOST_PARTS + 1
    found = Evidence(records).outcome()
    failed = {n for part in found.failed for n in range(part.first, part.last + 1)}
    arrived = {n for part in found.arrived for n in range(part.first, part.last + 1)} - failed
    assert failed == bad
    assert arrived == set(range(1, lines + 1)) - bad
    assert not found.open
    assert not found.doubtful
    if claim == "right" and len(bad) < lines:
        assert len(records) <= 1 + len(bad)


def test_a_file_of_unknown_fate_stays_open() -> None:
    failed = FileRecord("f", "UPSERT", 3, 0, "", FileStatus.FAILED)
    evidence = Evidence([failed, record(Slice("g", 1, 2), frozenset(), "g")])
    assert evidence.further({}) == []
    assert evidence.outcome().open == (failed,)
    assert evidence.outcome().arrived == (Slice("g", 1, 2),)


def test_too_many_failures_are_left_to_the_next_run() -> None:
    bad = frozenset(range(1, 4000, 2))
    records = [record(Slice("f", 1, 4000), bad, "f")]
    while parts := Evidence(records).further({}):
        records += [record(part, bad, part.name) for part in parts]
    assert len(records) <= MOST_PARTS + 1
    assert [file.name for file in Evidence(records).outcome().open] == ["f"]


@given(st.lists(st.binary(max_size=9).filter(lambda b: b"\n" not in b), min_size=1), st.data())
def test_a_part_of_a_file_is_its_lines(texts: list[bytes], data: st.DataObject) -> None:
    body = b"".join(text + b"\n" for text in texts)
    first = data.draw(st.integers(1, len(texts)))
    last = data.draw(st.integers(first, len(texts)))
    part = Slice("f", first, last)
    expected = b"".join(text + b"\n" for text in texts[first - 1 : last])
    opened = slices.opener(lambda _: io.BytesIO(body))
    assert opened(part.name).read() == expected
    assert slices.measured(part, opened) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert slices.parse(part.name, lines=len(texts)) == part
    assert opened("f").read() == body


def test_lines_that_failed_at_one_time_only_are_in_doubt() -> None:
    """In the whole one of four lines failed; in parts, the two of the second half."""
    whole = record(Slice("f", 1, 4), frozenset({2}), "f")
    halves = [Slice("f", 1, 2), Slice("f", 3, 4)]
    parts = [record(half, frozenset({3, 4}), half.name) for half in halves]
    found = Evidence([whole, *parts]).outcome()
    assert (found.arrived, found.failed) == ((halves[0],), (halves[1],))
    assert found.doubtful == ("f",)


def test_a_line_that_was_taken_once_and_rejected_once_is_in_doubt() -> None:
    """One of three lines failed in the whole file; sent again in parts, two of them did."""

    def partly(name: str, lines: int, taken: int) -> FileRecord:
        return FileRecord(
            name, "UPSERT", lines, 0, "", FileStatus.PARTIAL, execution_id=name, attempts=1,
            total_success=taken, total_failure=lines - taken,
        )  # fmt: skip

    outcome = Evidence([partly("f", 3, 2), partly("f#2-3", 2, 1), partly("f#1-1", 1, 0)]).outcome()
    assert outcome.doubtful == ("f",)
