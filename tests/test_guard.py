"""Limits: what is too unusual to be sent unseen."""

from __future__ import annotations

import pytest

from spark_profiles import guard
from spark_profiles.errors import GuardError
from spark_profiles.guard import Limits, SourceCounts


def counts(rows: int, refused: int = 0) -> SourceCounts:
    return SourceCounts("crm", rows, rows - refused, refused, 0, 0, 0)


def names(
    now: SourceCounts, before: SourceCounts, gone: int = 0, delivered: int = 100
) -> list[str]:
    found = guard.trips([now], [before], gone=gone, delivered=delivered, limits=Limits())
    return [trip.name for trip in found]


@pytest.mark.parametrize(
    ("now", "before", "gone", "expected"),
    [
        (counts(100), counts(100), 10, []),
        (counts(100), counts(100), 11, ["deletes"]),
        (counts(100, refused=20), counts(100), 0, []),
        (counts(100, refused=21), counts(100), 0, ["refused:crm"]),
        (counts(50), counts(100), 0, []),
        (counts(49), counts(100), 0, ["shrunken:crm"]),
        (counts(0), counts(100), 0, ["empty:crm"]),
        (counts(0), counts(0), 0, ["empty:crm"]),
        (counts(500), counts(100), 0, []),
    ],
)
def test_limits(now: SourceCounts, before: SourceCounts, gone: int, expected: list[str]) -> None:
    assert names(now, before, gone) == expected


def test_a_first_run_has_nothing_to_delete() -> None:
    assert guard.trips([counts(10)], (), gone=0, delivered=0, limits=Limits()) == []


def test_only_the_named_trip_is_accepted() -> None:
    found = guard.trips([counts(0)], [counts(9)], gone=9, delivered=9, limits=Limits())
    guard.check(found, accepted=["deletes", "empty:crm"])
    with pytest.raises(GuardError) as caught:
        guard.check(found, accepted=["deletes"])
    assert "--accept empty:crm" in str(caught.value)


def test_counts_that_do_not_add_up_are_seen() -> None:
    assert SourceCounts("s", 10, 5, 2, 1, 1, 1).adds_up
    assert not SourceCounts("s", 10, 5, 2, 1, 1, 0).adds_up
