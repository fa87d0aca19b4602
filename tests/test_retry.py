"""Waiting and pace: rules of time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_files import Time

from spark_profiles.delivery import outcomes
from spark_profiles.delivery.outcomes import Then
from spark_profiles.delivery.retry import Pace, retry_after_s

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=timezone.utc)


@given(st.integers(0, 10_000_000))
def test_seconds_and_dates_say_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after_s(str(seconds), NOW) == seconds
    assert retry_after_s(date, NOW) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 25 Nov 2026 03:00:30 GMT", 30.0),
        ("Wednesday, 25-Nov-26 03:00:30 GMT", 30.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_odd_headers(header: str, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


def pace(time: Time, per_second: float | None = None) -> Pace:
    return Pace(parallel=8, per_second=per_second, clock=time.clock, sleep=time.sleep)


def test_a_budget_of_requests_is_never_passed() -> None:
    time = Time()
    one = pace(time, per_second=4)
    for _ in range(20):
        one.wait()
    assert time.clock() == pytest.approx(19 / 4)


def test_too_much_halves_and_spaces_and_good_answers_bring_it_back() -> None:
    time = Time()
    one = pace(time)
    one.wait()
    assert time.clock() == 0
    one.slower(7.0)
    one.slower(0.0)
    assert one.parallel == 2
    one.wait()
    assert time.clock() == 7.0, "everybody pauses as long as the platform asks"
    for _ in range(3):
        one.wait()
    assert time.clock() > 7.0, "then there are gaps"
    for _ in range(100):
        one.good()
    assert one.parallel == 8
    one.wait()
    before = time.clock()
    one.wait()
    assert time.clock() == before, "and no gaps any more"


def test_slowing_down_never_ends_below_one_nor_above_the_budget() -> None:
    one = pace(Time(), per_second=0.1)
    for _ in range(30):
        one.slower(0.0)
    assert one.parallel == 1
    assert one._gap == 10.0


def test_the_table_of_outcomes_is_whole_and_sound() -> None:
    assert len({rule.outcome for rule in outcomes.TABLE}) == len(outcomes.TABLE)
    for status in range(300, 600):
        rule = outcomes.of_status(status)
        assert rule in outcomes.TABLE
        # Nothing that a server may say after it took a file is repeated without a look.
        assert rule.taken == (status >= 500)
        assert rule.is_transient == (status >= 500 or status in (408, 429))
    assert all(rule.then is Then.REPEAT for rule in outcomes.TABLE if rule.slower)
