"""Windows: half-open, in calendar days of a time zone, right across changes of the clocks."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
import twin
from hypothesis import given
from hypothesis import strategies as st

from spark_profiles.definition import windows


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# Paris is UTC+1 until 2026-03-29 01:00 UTC, then UTC+2 until 2026-10-25 01:00 UTC.
@pytest.mark.parametrize(
    ("name", "as_of", "start", "end"),
    [
        ("90m", "2026-03-31T10:00", "2026-03-31T08:30", "2026-03-31T10:00"),
        ("24h", "2026-03-29T22:00", "2026-03-28T22:00", "2026-03-29T22:00"),
        # The day of the change has 23 hours, so a calendar day before midnight is midnight.
        ("1d", "2026-03-29T22:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("1d", "2026-10-25T23:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("30d", "2026-03-30T22:00", "2026-02-28T23:00", "2026-03-30T22:00"),
        ("8w", "2026-03-30T22:00", "2026-02-02T23:00", "2026-03-30T22:00"),
        ("1mo", "2026-03-30T22:00", "2026-02-27T23:00", "2026-03-30T22:00"),
        ("12mo", "2024-02-28T23:00", "2023-02-27T23:00", "2024-02-28T23:00"),
        ("day_to_date", "2026-03-30T10:00", "2026-03-29T22:00", "2026-03-30T10:00"),
        ("week_to_date", "2026-04-01T10:00", "2026-03-29T22:00", "2026-04-01T10:00"),
        ("month_to_date", "2026-04-10T10:00", "2026-03-31T22:00", "2026-04-10T10:00"),
        ("quarter_to_date", "2026-06-10T10:00", "2026-03-31T22:00", "2026-06-10T10:00"),
        ("year_to_date", "2026-06-10T10:00", "2025-12-31T23:00", "2026-06-10T10:00"),
        ("previous_day", "2026-03-30T10:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("previous_month", "2026-04-10T10:00", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("previous_quarter", "2026-06-10T10:00", "2025-12-31T23:00", "2026-03-31T22:00"),
        ("previous_year", "2026-06-10T10:00", "2024-12-31T23:00", "2025-12-31T23:00"),
    ],
)
def test_bounds_are_calendar_bounds_in_paris(name: str, as_of: str, start: str, end: str) -> None:
    found = windows.bounds(name, as_of=utc(as_of), time_zone="Europe/Paris")
    assert (found.start, found.end) == (utc(start), utc(end))


def test_lifetime_has_no_start() -> None:
    found = windows.bounds("lifetime", as_of=utc("2026-04-10T10:00"), time_zone="UTC")
    assert (found.start, found.end) == (None, utc("2026-04-10T10:00"))


@pytest.mark.parametrize("name", ["", "30", "d", "0d", "30D", "30d\n", "-1d", "next_month", "1y"])
def test_what_is_no_window_is_refused(name: str) -> None:
    assert not windows.is_window(name)
    with pytest.raises(ValueError, match="is no window"):
        windows.bounds(name, as_of=utc("2026-04-10T10:00"), time_zone="UTC")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-31", "2026-03-30T22:00"),  # midnight in Paris
        ("2026-03-31T08:00", "2026-03-31T06:00"),
        ("2026-03-31T08:00Z", "2026-03-31T08:00"),
        ("2026-03-31T08:00+05:00", "2026-03-31T03:00"),
    ],
)
def test_as_of_without_offset_is_read_in_the_definitions_zone(text: str, instant: str) -> None:
    assert windows.as_of_instant(text, "Europe/Paris") == utc(instant)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)),
    st.sampled_from(["Europe/Paris", "America/New_York", "Pacific/Chatham", "Asia/Kolkata"]),
    st.sampled_from(["day", "week", "month", "quarter", "year"]),
)
def test_a_previous_period_ends_where_the_current_one_begins(
    moment: datetime, zone: str, period: str
) -> None:
    as_of = moment.replace(tzinfo=timezone.utc)
    current = windows.bounds(f"{period}_to_date", as_of=as_of, time_zone=zone)
    previous = windows.bounds(f"previous_{period}", as_of=as_of, time_zone=zone)
    assert previous.end == current.start
    assert previous.start is not None
    assert previous.start < previous.end <= current.end


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)),
    st.sampled_from(["Europe/Paris", "America/New_York", "Pacific/Chatham", "Asia/Kolkata"]),
    st.sampled_from(
        ["90m", "1d", "30d", "8w", "1mo", "12mo", "previous_day", "previous_week", "previous_month",
         "previous_quarter", "previous_year", "30d_ending_30d_ago", "2001-03-25_to_2001-10-29"]
    ),
)  # fmt: skip
def test_the_window_before_ends_where_the_window_starts(
    moment: datetime, zone: str, name: str
) -> None:
    as_of = moment.replace(tzinfo=timezone.utc)
    this = windows.bounds(name, as_of=as_of, time_zone=zone)
    before = windows.bounds(name, as_of=as_of, time_zone=zone, before=True)
    assert this.start is not None
    assert before.start is not None
    assert before.start <= before.end == this.start <= this.end <= as_of
    assert this.end == as_of or name not in ("90m", "1d", "30d", "8w", "1mo", "12mo")


def test_lifetime_has_no_window_before_it() -> None:
    with pytest.raises(ValueError, match="is no window"):
        windows.bounds("lifetime", as_of=utc("2026-04-10T10:00"), time_zone="UTC", before=True)


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)),
    st.sampled_from(windows.WEEKDAYS),
)
def test_a_week_starts_on_the_day_declared(moment: datetime, weekday: str) -> None:
    as_of = moment.replace(tzinfo=timezone.utc)
    week = windows.bounds("week_to_date", as_of=as_of, time_zone="UTC", week_starts=weekday)
    assert week.start is not None
    assert week.start.strftime("%A").lower() == weekday
    assert (as_of - week.start).days < 7


ALL = [
    *(n for n in windows.NAMED if n != "lifetime"), *(f"{p}_last_year" for p in windows.PERIODS),
    *(f"{n}_last_year" for n in windows.NAMED if n != "lifetime"), "30d_last_year",
    "90m", "24h", "1d", "30d", "8w", "1mo", "12mo", "7d_ending_7d_ago", "1mo_ending_1mo_ago",
    "2026-03-01_to_2026-03-30",
]  # fmt: skip


@given(
    moment=st.datetimes(datetime(2023, 12, 1), datetime(2026, 11, 1)),
    hours=st.sampled_from([0, 1, 2, 3, None]),
    before=st.booleans(),
)
def test_bounds_are_those_of_walking_the_wall_clock(
    moment: datetime, hours: int | None, before: bool
) -> None:
    """All windows, and the ones before them; often in the hours in which the clocks are moved."""
    if hours is not None:
        changes = [utc("2026-03-29T00:00"), utc("2025-10-26T00:00"), utc("2024-02-29T12:00")]
        as_of = changes[moment.day % 3] + (moment - moment.replace(hour=0)) * hours / 3
    else:
        as_of = moment.replace(tzinfo=timezone.utc)
    for name in ALL:
        found = windows.bounds(name, as_of=as_of, time_zone="Europe/Paris", before=before)
        start, end = twin.bounds(name, as_of, before=before)
        assert start is not None
        assert (found.start, found.end) == (min(start, as_of), end), name
