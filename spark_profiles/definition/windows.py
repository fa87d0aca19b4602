"""Windows of time: a name + as-of + time zone -> `[start, end)`, two instants in UTC.

    30d, 8w, 12mo              the last n calendar days, weeks, months before as-of
    90m, 24h                   the last n exact minutes or hours before as-of
    lifetime                   everything before as-of
    month_to_date              since the start of the month (day, week, quarter, year) of as-of
    previous_month             the whole month before the one of as-of
    previous_month_to_date     the month before, as far as this month has come
    …_last_year                any of these, one year earlier: month_to_date_last_year
    month_last_year            the whole month (day, week, quarter, year) of the date a year ago
    30d_ending_30d_ago         30 days that end 30 days before as-of
    2026-01-01_to_2026-02-01   from the start of the first date to the start of the second

All are half-open and end at as-of at the latest. Days are calendar days in the time zone: across a
change of the clocks a day has 23 or 25 hours, and `1d` before midnight is midnight. A wall-clock
time that the clocks skip is read as if they had not been moved; one that comes twice is the first.
A day that the month does not have is its last. Weeks start on the day declared.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

PERIODS = ("day", "week", "month", "quarter", "year")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NAMED = (
    "lifetime",
    *(f"{period}_to_date" for period in PERIODS),
    *(f"previous_{period}" for period in PERIODS),
    *(f"previous_{period}_to_date" for period in PERIODS),
)
FORMS = (
    f"90m, 24h, 30d, 8w, 12mo, {', '.join(NAMED)}, one of these with _last_year, "
    "month_last_year (day, week, quarter, year), 30d_ending_30d_ago or 2026-01-01_to_2026-02-01"
)
_LENGTH = r"([1-9][0-9]{0,4})(m|h|d|w|mo)"
_SLIDING = re.compile(rf"\A{_LENGTH}\Z")
_OFFSET = re.compile(rf"\A({_LENGTH})_ending_({_LENGTH})_ago\Z")
_BETWEEN = re.compile(r"\A(\d{4}-\d{2}-\d{2})_to_(\d{4}-\d{2}-\d{2})\Z")
_LAST_YEAR = "_last_year"
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_LONGEST = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}
"""So many days after the first of a period the next one has begun, and not yet ended."""


@dataclass(frozen=True)
class Bounds:
    """The half-open interval `[start, end)` in UTC; `start` None means since ever."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class Calendar:
    """Where days and weeks begin."""

    time_zone: str
    week_starts: str = "monday"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone, with all changes of its clocks."""
        return ZoneInfo(self.time_zone)

    @property
    def first_weekday(self) -> int:
        """The day that begins a week; Monday is 0."""
        return WEEKDAYS.index(self.week_starts)


def is_window(name: str) -> bool:
    """Whether `name` is a window."""
    if name.endswith(_LAST_YEAR):
        base = name.removesuffix(_LAST_YEAR)
        is_known = base in NAMED or base in PERIODS or _SLIDING.match(base) is not None
        return base != "lifetime" and is_known
    if between := _BETWEEN.match(name):
        return _is_date(between[1]) and _is_date(between[2]) and between[1] < between[2]
    return name in NAMED or bool(_SLIDING.match(name) or _OFFSET.match(name))


def has_before(name: str) -> bool:
    """Whether the window `name` has one before it: all but lifetime have."""
    return name != "lifetime"


def bounds(
    name: str, *, as_of: datetime, time_zone: str, week_starts: str = "monday", before: bool = False
) -> Bounds:
    """The interval of the window `name` at the instant `as_of` (aware).

    With `before`, of the window before it: as long a time that ends where this one starts; of
    `month_to_date` and `previous_month` (and the like) the same one month earlier.

    Raises:
        ValueError: `name` is no window, or `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        message = "as_of needs a time zone"
        raise ValueError(message)
    if not is_window(name) or (before and not has_before(name)):
        message = f"{name!r} is no window; windows are {FORMS}"
        raise ValueError(message)
    days = Calendar(time_zone, week_starts)
    end = as_of.astimezone(timezone.utc)
    found = _earlier(name, end, days) if before else _bounds(name, end, days)
    start = None if found.start is None else min(found.start, end)
    return Bounds(start, min(found.end, end))


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


def _bounds(name: str, end: datetime, days: Calendar) -> Bounds:
    if name == "lifetime":
        return Bounds(None, end)
    if name in PERIODS:  # with _last_year
        first = _first_day(_local(end, days.zone).date(), name, days)
        following = _first_day(first + timedelta(days=_LONGEST[name]), name, days)
        return Bounds(_midnight(first, days.zone), _midnight(following, days.zone))
    if name.endswith(_LAST_YEAR):
        return _bounds(name.removesuffix(_LAST_YEAR), _back(end, 12, "mo", days.zone), days)
    if sliding := _SLIDING.match(name):
        return Bounds(_back(end, int(sliding[1]), sliding[2], days.zone), end)
    if offset := _OFFSET.match(name):
        last = _back(end, int(offset[5]), offset[6], days.zone)
        return Bounds(_back(last, int(offset[2]), offset[3], days.zone), last)
    if between := _BETWEEN.match(name):
        first, last_day = (date.fromisoformat(text) for text in between.groups())
        return Bounds(_midnight(first, days.zone), _midnight(last_day, days.zone))
    return _calendar_bounds(name, end, days)


def _calendar_bounds(name: str, end: datetime, days: Calendar) -> Bounds:
    period = name.removesuffix("_to_date").removeprefix("previous_")
    local = _local(end, days.zone)
    first = _first_day(local.date(), period, days)
    if not name.startswith("previous_"):
        return Bounds(_midnight(first, days.zone), end)
    before = _first_day(first - timedelta(days=1), period, days)
    whole = Bounds(_midnight(before, days.zone), _midnight(first, days.zone))
    if not name.endswith("_to_date"):
        return whole
    return Bounds(whole.start, min(_period_back(end, period, days.zone), whole.end))


def _earlier(name: str, end: datetime, days: Calendar) -> Bounds:
    """The window before the window `name`."""
    if name.endswith(_LAST_YEAR):
        return _earlier(name.removesuffix(_LAST_YEAR), _back(end, 12, "mo", days.zone), days)
    this = _bounds(name, end, days)
    if sliding := _SLIDING.match(name):
        return Bounds(_back(end, 2 * int(sliding[1]), sliding[2], days.zone), this.start or end)
    if offset := _OFFSET.match(name):
        length, unit = int(offset[2]), offset[3]
        return Bounds(_back(this.end, 2 * length, unit, days.zone), this.start or end)
    if between := _BETWEEN.match(name):
        first, last = (date.fromisoformat(text) for text in between.groups())
        return Bounds(_midnight(first - (last - first), days.zone), _midnight(first, days.zone))
    period = name.removesuffix("_to_date").removeprefix("previous_")
    if name == f"{period}_to_date":
        return _calendar_bounds(f"previous_{name}", end, days)
    return _bounds(name, _period_back(end, period, days.zone), days)


def _period_back(end: datetime, period: str, zone: ZoneInfo) -> datetime:
    if period in _MONTHS:
        return _back(end, _MONTHS[period], "mo", zone)
    return _back(end, 7 if period == "week" else 1, "d", zone)


def _back(end: datetime, count: int, unit: str, zone: ZoneInfo) -> datetime:
    if unit in ("m", "h"):
        return end - (timedelta(minutes=count) if unit == "m" else timedelta(hours=count))
    local = _local(end, zone)
    if unit == "mo":
        return _instant(_months_before(local, count), zone)
    return _instant(local - timedelta(days=count * (7 if unit == "w" else 1)), zone)


def _months_before(local: datetime, count: int) -> datetime:
    year, month = divmod(local.year * 12 + local.month - 1 - count, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return local.replace(year=year, month=month + 1, day=min(local.day, last_day))


def _first_day(day: date, period: str, days: Calendar) -> date:
    if period == "day":
        return day
    if period == "week":
        return day - timedelta(days=(day.weekday() - days.first_weekday) % 7)
    if period == "month":
        return day.replace(day=1)
    if period == "quarter":
        return day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
    return day.replace(month=1, day=1)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return _instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001  wall clock


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
