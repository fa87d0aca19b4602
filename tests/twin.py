"""A slow plain-Python twin of aggregates: one property over one user's rows, in exact fractions.

It shares no code with the library. A row is a dict: id, at (aware, UTC), category, amount (Decimal
or None). Values come back as int, Decimal, str, bool, list or None.
"""

from __future__ import annotations

import calendar
import itertools
import math
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = dict[str, Any]
ZONE = ZoneInfo("Europe/Paris")
CONDITIONS = {
    "amount > 5": lambda r: r["amount"] is not None and r["amount"] > 5,
    "category = 'a'": lambda r: r["category"] == "a",
    "category <> 'a' or amount < 0": lambda r: (
        (r["category"] is not None and r["category"] != "a")
        or (r["amount"] is not None and r["amount"] < 0)
    ),
}


def value(prop: dict[str, Any], window: str, rows: list[Row], as_of: datetime) -> Any:
    """The value of the property over the window."""
    start, end = bounds(window, as_of)
    chosen = [r for r in rows if (start is None or r["at"] >= start) and r["at"] < end]
    if "where" in prop:
        chosen = [r for r in chosen if CONDITIONS[prop["where"]](r)]
    operation = next(name for name in OPERATIONS if name in prop)
    return OPERATIONS[operation](prop, sorted(chosen, key=lambda r: (r["at"], r["id"])), as_of)


def bounds(window: str, as_of: datetime) -> tuple[datetime | None, datetime]:  # noqa: C901
    """Start and end in UTC, by walking the wall clock day by day."""
    local = as_of.astimezone(ZONE).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "lifetime":
        return None, as_of
    if window[0].isdigit() and window.endswith("h"):
        return as_of - timedelta(hours=int(window[:-1])), as_of
    if window.endswith("mo"):
        return utc(months_back(local, int(window[:-2]))), as_of
    if window[:-1].isdigit() and window.endswith("d"):
        return utc(local - timedelta(days=int(window[:-1]))), as_of
    if window == "day_to_date":
        return utc(midnight), as_of
    if window == "previous_day":
        return utc(midnight - timedelta(days=1)), utc(midnight)
    if window == "previous_week":
        monday = midnight
        while monday.weekday() != 0:
            monday -= timedelta(days=1)
        return utc(monday - timedelta(days=7)), utc(monday)
    first = midnight.replace(day=1)
    if window == "month_to_date":
        return utc(first), as_of
    if window == "previous_month":
        return utc((first - timedelta(days=1)).replace(day=1)), utc(first)
    if window == "7d_ending_7d_ago":
        return utc(local - timedelta(days=7) - timedelta(days=7)), utc(local - timedelta(days=7))
    raise ValueError(window)


def months_back(local: datetime, count: int) -> datetime:
    """The same day so many months earlier, or the last day of that month."""
    year, month = local.year, local.month
    for _ in range(count):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    return local.replace(
        year=year, month=month, day=min(local.day, calendar.monthrange(year, month)[1])
    )


def utc(local: datetime) -> datetime:
    """The instant of a wall-clock time in Paris; the first of two, later by what was skipped."""
    return local.replace(tzinfo=ZONE, fold=0).astimezone(timezone.utc)


def day(moment: datetime) -> date:
    """The calendar day in Paris."""
    return moment.astimezone(ZONE).date()


def half_up(number: Fraction, digits: int) -> Decimal:
    """The number rounded half away from zero."""
    with localcontext() as context:
        context.prec = 100
        scaled = abs(number) * 10**digits
        whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
        return (Decimal(-whole if number < 0 else whole)).scaleb(-digits)


def divided(dividend: Fraction, divisor: Fraction, digits: int) -> Decimal | None:
    """The quotient, where it is declared to have a value."""
    limit = 10 ** (min(30, 37 - digits) - digits)
    if divisor == 0 or abs(dividend) >= limit or abs(divisor) >= limit:
        return None
    return half_up(dividend / divisor, digits)


def amounts(rows: list[Row]) -> list[Fraction]:
    """The known amounts."""
    return [Fraction(r["amount"]) for r in rows if r["amount"] is not None]


def _sum(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
    known = amounts(rows)
    return half_up(sum(known, Fraction(0)), 2) if known else None


def _average(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
    known = _merged(prop, rows)
    return (
        divided(sum(known, Fraction(0)), Fraction(len(known)), prop.get("scale", 6))
        if known
        else None
    )


def _merged(prop: dict[str, Any], rows: list[Row]) -> list[Fraction]:
    if "merge" not in prop:
        return amounts(rows)
    sums: dict[Any, Fraction] = defaultdict(Fraction)
    for row in rows:
        if row["amount"] is not None:
            local = day(row["at"])
            sums[local if prop["merge"] == "days" else (local.year, local.month)] += Fraction(
                row["amount"]
            )
    return [sums[key] for key in sorted(sums)][prop.get("skip", 0) :]


def _percentile(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
    known = sorted(_merged(prop, rows))
    if not known:
        return None
    place = Fraction(str(prop.get("at", "0.5"))) * (len(known) - 1)
    low = place.numerator // place.denominator
    rest = place - low
    high = known[low + 1] if rest else Fraction(0)
    return divided(known[low] * (1 - rest) + high * rest, Fraction(1), prop.get("scale", 6))


def _stddev(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
    known = amounts(rows)
    n = len(known)
    squares = sum((x * x for x in known), Fraction(0)) * 10**4
    if n < 2 or max(abs(x) for x in known) >= 10**16 or float(n * squares) >= 1e37:
        return None
    # Declared: exact sums, one root in double precision, none of more than 15 digits.
    spread = n * squares - (sum(known, Fraction(0)) * 100) ** 2
    root = math.sqrt(float(spread) / (float(n) * float(n - 1))) / 100
    return Decimal(repr(root)).quantize(Decimal("0.000001"), ROUND_HALF_UP) if root < 1e9 else None


def _extreme(function: Any) -> Any:
    def extreme(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
        known = _merged(prop, rows)
        return half_up(function(known), 2) if known else None

    return extreme


def _top(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> list[str] | None:
    by: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["category"] is not None:
            by[row["category"]].append(row)

    def measure(of: list[Row]) -> Fraction | None:
        known = amounts(of)
        if prop.get("by") == "sum(amount)":
            return sum(known, Fraction(0)) if known else None
        if prop.get("by") == "max(amount)":
            return max(known, default=None)
        return Fraction(len(of))

    def rank(name: str) -> tuple[bool, Fraction, str]:
        found = measure(by[name])
        return found is None, -(found or Fraction(0)), name

    return sorted(by, key=rank)[: prop.get("k", 3)] or None


def _latest(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> list[dict[str, Any]] | None:
    found = rows[::-1]
    if prop.get("order") == ["amount asc"]:
        found = sorted(found, key=lambda r: (r["amount"] is None, r["amount"] or 0))
    if "one_per" in prop:
        seen, kept = set(), []
        for row in found:
            if row["category"] not in seen:
                kept.append(row)
            seen.add(row["category"])
        found = kept
    records = [{"id": r["id"], "amount": r["amount"]} for r in found[: prop["latest"]]]
    return records or None


def _elapsed(first: Any, last: Any) -> Any:
    def elapsed(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Any:
        if not rows:
            return None
        begin, end = (pick(rows, as_of) for pick in (first, last))
        unit = next(prop[n] for n in ("recency", "tenure", "span") if n in prop)
        if unit == "hours":
            time = Fraction((end - begin) // timedelta(microseconds=1), 3_600_000_000)
        else:
            time = Fraction((day(end) - day(begin)).days, 7 if unit == "weeks" else 1)
        scale = prop.get("scale")
        return time.numerator // time.denominator if scale is None else half_up(time, scale)

    return elapsed


def _units(prop: dict[str, Any], rows: list[Row], unit: str) -> list[int]:
    days = {day(r["at"]) for r in rows}
    if unit == "weeks":  # ISO weeks begin on Monday
        return sorted({(d - timedelta(days=d.weekday())).toordinal() // 7 for d in days})
    if unit == "months":
        return sorted({d.year * 12 + d.month for d in days})
    return sorted(d.toordinal() for d in days)


def _streak(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> int:
    unit = prop["streak"]
    active = set(_units(prop, rows, unit))
    current = _units(prop, [{"at": as_of}], unit)[0]
    current = current if current in active else current - 1
    length = 0
    while current - length in active:
        length += 1
    return length


def _longest_streak(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> int:
    active = set(_units(prop, rows, prop["longest_streak"]))
    best = 0
    for begin in active:
        length = 0
        while begin + length in active:
            length += 1
        best = max(best, length)
    return best


def _gap(function: Any) -> Any:
    def gap(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Any:
        days = _units(prop, rows, "days")
        found = [Fraction(b - a) for a, b in itertools.pairwise(days)]
        return function(found) if found else None

    return gap


def _known(rows: list[Row]) -> list[Any]:
    return [r["category"] for r in rows if r["category"] is not None]


def _decayed(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
    total, is_known = Fraction(0), "count" in prop
    life = timedelta(days=int(prop["half_life"][:-1]))
    for row in rows:
        age = (as_of - row["at"]) // timedelta(microseconds=1) / (life // timedelta(microseconds=1))
        weight = Fraction(Decimal(repr(2.0**-age)).quantize(Decimal("1e-9"), ROUND_HALF_UP))
        if "count" in prop:
            total += weight
        elif row["amount"] is not None and abs(row["amount"]) < 10**20:
            total, is_known = total + weight * Fraction(row["amount"]), True
    return half_up(total, prop.get("scale", 6)) if is_known else None


def _ratio(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Decimal | None:
    chosen = [r for r in rows if CONDITIONS[prop["ratio"]](r)]
    if "of" in prop:
        return divided(sum(amounts(chosen), Fraction(0)), sum(amounts(rows), Fraction(0)), 6)
    return divided(Fraction(len(chosen)), Fraction(len(rows)), 6)


OPERATIONS: dict[str, Any] = {
    "half_life": _decayed,
    "count": lambda p, rows, a: len(rows),
    "count_distinct": lambda p, rows, a: len({r["amount"] for r in rows} - {None}),
    "sum": _sum,
    "average": _average,
    "min": _extreme(min),
    "max": _extreme(max),
    "stddev": _stddev,
    "median": _percentile,
    "percentile": _percentile,
    "first": lambda p, rows, a: next(iter(_known(rows)), None),
    "last": lambda p, rows, a: next(iter(_known(rows)[::-1]), None),
    "latest": _latest,
    "top": _top,
    "values": lambda p, rows, a: sorted(set(_known(rows)))[: p.get("limit", 1000)] or None,
    "any": lambda p, rows, a: any(map(CONDITIONS[p["any"]], rows)) if rows else None,
    "all": lambda p, rows, a: all(map(CONDITIONS[p["all"]], rows)) if rows else None,
    "ratio": _ratio,
    "recency": _elapsed(lambda rows, a: rows[-1]["at"], lambda rows, a: a),
    "tenure": _elapsed(lambda rows, a: rows[0]["at"], lambda rows, a: a),
    "span": _elapsed(lambda rows, a: rows[0]["at"], lambda rows, a: rows[-1]["at"]),
    "frequency": lambda p, rows, a: len(_units(p, rows, p["frequency"])),
    "streak": _streak,
    "longest_streak": _longest_streak,
    "average_gap": _gap(lambda found: half_up(sum(found, Fraction(0)) / len(found), 6)),
    "shortest_gap": _gap(lambda found: int(min(found))),
    "longest_gap": _gap(lambda found: int(max(found))),
}
