"""Limits: what is too unusual to be sent unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from spark_profiles.audit import guard
from spark_profiles.audit.guard import Acceptance, Figures, Limits, PropertyStats, SourceCounts
from spark_profiles.errors import GuardError

AS_OF = datetime(2026, 3, 31, tzinfo=timezone.utc)


def counts(rows: int, refused: int = 0) -> SourceCounts:
    return SourceCounts("crm", rows, rows - refused, refused, 0, 0, 0)


def figures(*sources: SourceCounts, **facts: Any) -> Figures:
    base = Figures(definition_hash="d", as_of=AS_OF, counts=sources, delivered=100)
    return replace(base, **facts)


def names(now: Figures, *before: Figures, limits: Limits | None = None) -> list[str]:
    return [trip.name for trip in guard.trips(now, before, limits=limits or Limits())]


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
    assert names(figures(now, gone=gone), figures(before)) == expected


def test_a_first_run_has_nothing_to_delete() -> None:
    assert names(figures(counts(10), delivered=0)) == []


def test_only_the_named_trip_is_accepted() -> None:
    found = guard.trips(
        figures(counts(0), gone=9, delivered=9), [figures(counts(9))], limits=Limits()
    )
    guard.check(found, accepted=Acceptance(("deletes", "empty:crm")))
    with pytest.raises(GuardError) as caught:
        guard.check(found, accepted=Acceptance(("deletes",)))
    assert "--accept empty:crm" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "usual", "expected"),
    [(50, 0, []), (51, 0, ["changes"]), (80, 40, []), (81, 40, ["changes"]), (100, 60, [])],
)
def test_changes_are_compared_with_what_is_usual(
    changed: int, usual: int, expected: list[str]
) -> None:
    runs = [figures(changed=usual), figures(changed=0)]
    assert names(figures(changed=changed), *runs) == expected


def test_a_changed_definition_may_change_everything() -> None:
    assert names(figures(changed=100), figures(definition_hash="other")) == []


@pytest.mark.parametrize(("days", "expected"), [(2, []), (4, ["late:crm"])])
def test_a_source_that_stands_still_is_late(days: int, expected: list[str]) -> None:
    newest = AS_OF - timedelta(days=1)
    before = figures(replace(counts(10), newest=newest))
    now = figures(replace(counts(10), newest=newest), as_of=AS_OF + timedelta(days=days))
    assert names(now, before, limits=Limits(late_days=3)) == expected


def test_sizes_have_limits_where_they_are_declared() -> None:
    big = figures(files=3, bytes=10)
    assert names(big) == []
    assert names(big, limits=Limits(files=2, bytes=9)) == ["files", "bytes"]


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        (PropertyStats("p", 100, 71, 5.9, 2.0), []),
        (PropertyStats("p", 100, 69, 5.9, 2.0), ["nulls:p"]),
        (PropertyStats("p", 100, 90, 6.1, 2.0), ["shift:p"]),
        (PropertyStats("p", 100, 90, None, None), []),
        (PropertyStats("new", 100, 0), []),
    ],
)
def test_properties_are_compared_with_the_last_run(
    stat: PropertyStats, expected: list[str]
) -> None:
    before = figures(stats=(PropertyStats("p", 100, 90, 4.0, 2.0),))
    assert names(figures(stats=(stat,)), before) == expected
    assert names(figures(stats=(stat,), definition_hash="other"), before) == []


def test_counts_that_do_not_add_up_are_seen() -> None:
    assert SourceCounts("s", 10, 5, 2, 1, 1, 1).adds_up
    assert not SourceCounts("s", 10, 5, 2, 1, 1, 0).adds_up
