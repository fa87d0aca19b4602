"""Windows of time: a name + as-of + time zone -> `[start, end)`, two instants in UTC.

    30d, 8w, 12mo      the last n calendar days, weeks, months before as-of, in the time zone
    90m, 24h           the last n exact minutes or hours before as-of
    lifetime           everything before as-of
    day_to_date        since the start of the day (week, month, quarter, year) of as-of
    previous_month     the whole month (day, week, quarter, year) before the one of as-of

Days are calendar days: across a change of the clocks a day has 23 or 25 hours, and `1d` before
midnight is midnight. Weeks start on Monday.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

PERIODS = ("day", "week", "month", "quarter", "year")
NAMED = (
    "lifetime",
    *(f"{period}_to_date" for period in PERIODS),
    *(f"previous_{period}" for period in PERIODS),
)
_SLIDING = re.compile(r"\A([1-9][0-9]{0,4})(m|h|d|w|mo)\Z")


@dataclass(frozen=True)
class Bounds:
    """The half-open interval `[start, end)` in UTC; `start` None means since ever."""

    start: datetime | None
    end: datetime


def is_window(name: str) -> bool:
    """Whether `name` is a window."""
    return name in NAMED or _SLIDING.match(name) is not None


def bounds(name: str, *, as_of: datetime, time_zone: str) -> Bounds:
    """The interval of the window `name` at the instant `as_of` (aware).

    Raises:
        ValueError: `name` is no window, or `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        message = "as_of needs a time zone"
        raise ValueError(message)
    end = as_of.astimezone(timezone.utc)
    if name == "lifetime":
        return Bounds(None, end)
    zone = ZoneInfo(time_zone)
    local = end.astimezone(zone).replace(tzinfo=None)
    if sliding := _SLIDING.match(name):
        return Bounds(_before(int(sliding[1]), sliding[2], end, local, zone), end)
    if name not in NAMED:
        message = f"{name!r} is no window; windows are 90m, 24h, 30d, 8w, 12mo, {', '.join(NAMED)}"
        raise ValueError(message)
    period = name.removesuffix("_to_date").removeprefix("previous_")
    first = _first_day(local.date(), period)
    if name.endswith("_to_date"):
        return Bounds(_midnight(first, zone), end)
    return Bounds(
        _midnight(_first_day(first - timedelta(days=1), period), zone), _midnight(first, zone)
    )


def as_of_instant(text: str, time_zone: str) -> datetime:
    """The instant meant by `text`: a date is the midnight that begins it, in the time zone.

    A time without offset is a wall-clock time in the time zone; one with offset is exact.

    Raises:
        ValueError: `text` is no ISO 8601 date or time.
    """
    given = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if given.tzinfo is None:
        given = given.replace(tzinfo=ZoneInfo(time_zone))
    return given.astimezone(timezone.utc)


def _before(count: int, unit: str, end: datetime, local: datetime, zone: ZoneInfo) -> datetime:
    if unit in ("m", "h"):
        return end - (timedelta(minutes=count) if unit == "m" else timedelta(hours=count))
    if unit == "mo":
        return _instant(_months_before(local, count), zone)
    return _instant(local - timedelta(days=count * (7 if unit == "w" else 1)), zone)


def _months_before(local: datetime, count: int) -> datetime:
    year, month = divmod(local.year * 12 + local.month - 1 - count, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return local.replace(year=year, month=month + 1, day=min(local.day, last_day))


def _first_day(day: date, period: str) -> date:
    if period == "day":
        return day
    if period == "week":
        return day - timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    if period == "quarter":
        return day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
    return day.replace(month=1, day=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return _instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001  wall clock


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(timezone.utc)
