"""A slow plain-Python twin of aggregates: one property over one user's rows, in exact fractions.

It shares no code with the library. A row is a dict: id, at (aware, UTC), category, amount (Decimal
or None). Values come back as int, Decimal, str, bool, list or None.
"""

from __future__ import annotations

import calendar
import itertools
import math
import re
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
    "amount < 0": lambda r: r["amount"] is not None and r["amount"] < 0,
    "amount < 50": lambda r: r["amount"] is not None and r["amount"] < 50,
    "category = 'a'": lambda r: r["category"] == "a",
    "category = 'book'": lambda r: r["category"] == "book",
    "category <> 'a' or amount < 0": lambda r: (
        (r["category"] is not None and r["category"] != "a")
        or (r["amount"] is not None and r["amount"] < 0)
    ),
}
PERIODS = {"day": "1d", "week": "1w", "month": "1mo", "quarter": "3mo", "year": "12mo"}


def value(prop: dict[str, Any], window: str, rows: list[Row], as_of: datetime) -> Any:
    """The value of the property over the window, all but its `tiles`."""
    if "per" in prop:
        inner = {n: v for n, v in prop.items() if n not in ("per", "categories")}
        of = {c: [r for r in rows if r[prop["per"]] == c] for c in prop["categories"]}
        return {category: value(inner, window, chosen, as_of) for category, chosen in of.items()}
    found = _over(prop, bounds(window, as_of), rows, as_of)
    if "trend" in prop:
        found = _trend(prop, found, _over(prop, bounds(window, as_of, before=True), rows, as_of))
    if "bands" in prop and found is not None:
        reached = [name for name, bound in prop["bands"].items() if found >= bound]
        found = reached[-1] if reached else None
    return prop.get("default") if found is None else found


def _over(
    prop: dict[str, Any], edges: tuple[datetime | None, datetime], rows: list[Row], as_of: datetime
) -> Any:
    start, end = edges
    chosen = [r for r in rows if (start is None or r["at"] >= start) and r["at"] < end]
    if "where" in prop:
        chosen = [r for r in chosen if CONDITIONS[prop["where"]](r)]
    operation = next(name for name in OPERATIONS if name in prop)
    return OPERATIONS[operation](prop, sorted(chosen, key=lambda r: (r["at"], r["id"])), as_of)


def _trend(prop: dict[str, Any], now: Any, before: Any) -> Any:
    """From the exact values; what is divided has at most 6 digits, the result is rounded once."""
    if now is None or before is None:
        return None
    change = Fraction(now) - Fraction(before)
    digits = prop.get("scale", 6)
    if prop["trend"] == "growth":
        return divided(*(Fraction(half_up(x, 6)) for x in (change, abs(Fraction(before)))), digits)
    return half_up(change, digits) if "half_life" in prop else now - before


def steps(numbers: list[Any], tiles: int, best: str) -> list[int | None]:
    """The step of each of the users' numbers."""
    known = [-n if best == "low" else n for n in numbers if n is not None]
    signed = [None if n is None else -n if best == "low" else n for n in numbers]
    return [
        None if n is None else tiles * sum(other < n for other in known) // len(known) + 1
        for n in signed
    ]


def bounds(
    window: str, as_of: datetime, *, before: bool = False
) -> tuple[datetime | None, datetime]:
    """Start and end in UTC, by walking the wall clock; `before`: of the window before it."""
    start, end = _bounds(window, as_of, before)
    return start, min(end, as_of)


def _bounds(window: str, as_of: datetime, before: bool) -> tuple[datetime | None, datetime]:
    if window == "lifetime":
        return None, as_of
    if window.endswith("_last_year"):
        return _bounds(window.removesuffix("_last_year"), back(as_of, "12mo"), before)
    if "_ending_" in window:
        length, _, until = window.removesuffix("_ago").partition("_ending_")
        end = back(as_of, until)
        return _sliding(length, end, before)
    if window[0].isdigit() and "_to_" in window:
        first, last = (datetime.fromisoformat(text) for text in window.split("_to_"))
        return (utc(first - (last - first)), utc(first)) if before else (utc(first), utc(last))
    if window[0].isdigit():
        return _sliding(window, as_of, before)
    return _calendar(window, as_of, before)


def _sliding(length: str, end: datetime, before: bool) -> tuple[datetime, datetime]:
    count, unit = int(re.match(r"\d+", length)[0]), re.sub(r"\d+", "", length)  # type: ignore[index]
    return (back(end, f"{2 * count}{unit}"), back(end, length)) if before else (
        back(end, length), end)  # fmt: skip


def _calendar(window: str, as_of: datetime, before: bool) -> tuple[datetime, datetime]:
    period = window.removeprefix("previous_").removesuffix("_to_date")
    if before:
        as_of_before = back(as_of, PERIODS[period])
        if window == f"{period}_to_date":
            return _calendar(f"previous_{window}", as_of, before=False)
        return _calendar(window, as_of_before, before=False)
    midnight = as_of.astimezone(ZONE).replace(tzinfo=None, hour=0, minute=0, second=0)
    first = begin(midnight.replace(microsecond=0), period)
    if window == period:  # whole, which only `_last_year` asks
        return utc(first), utc(following(first, period))
    if window == f"{period}_to_date":
        return utc(first), as_of
    former = begin(first - timedelta(days=1), period)
    if window == f"previous_{period}":
        return utc(former), utc(first)
    return utc(former), min(back(as_of, PERIODS[period]), utc(first))


def begin(midnight: datetime, period: str) -> datetime:
    """The first midnight of the period, going back day by day."""
    first = {
        "day": lambda d: True,
        "week": lambda d: d.weekday() == 0,
        "month": lambda d: d.day == 1,
        "quarter": lambda d: d.day == 1 and d.month in (1, 4, 7, 10),
        "year": lambda d: d.day == 1 and d.month == 1,
    }[period]
    while not first(midnight):
        midnight -= timedelta(days=1)
    return midnight


def following(first: datetime, period: str) -> datetime:
    """The first midnight of the next period, going on day by day."""
    midnight = first + timedelta(days=1)
    while begin(midnight, period) == first:
        midnight += timedelta(days=1)
    return midnight


def back(moment: datetime, length: str) -> datetime:
    """So much earlier: minutes and hours exactly, the rest by the wall clock."""
    count, unit = int(re.match(r"\d+", length)[0]), re.sub(r"\d+", "", length)  # type: ignore[index]
    if unit in ("m", "h"):
        return moment - timedelta(minutes=count * (60 if unit == "h" else 1))
    local = moment.astimezone(ZONE).replace(tzinfo=None)
    if unit == "mo":
        return utc(months_back(local, count))
    return utc(local - timedelta(days=count * (7 if unit == "w" else 1)))


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
    if prop.get("approximate"):
        known = sorted(_significant(x) for x in known)
    if not known:
        return None
    place = Fraction(str(prop.get("at", "0.5"))) * (len(known) - 1)
    low = place.numerator // place.denominator
    rest = place - low
    high = known[low + 1] if rest else Fraction(0)
    return divided(known[low] * (1 - rest) + high * rest, Fraction(1), prop.get("scale", 6))


def _significant(number: Fraction) -> Fraction:
    """Rounded to 3 significant digits, of numbers below 1 to hundredths."""
    size = 10 ** (len(str(int(abs(number)))) - 1)
    return Fraction(half_up(number / size, 2)) * size


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
    def extreme(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> Any:
        if "category" in (prop.get("min"), prop.get("max")):
            return function(_known(rows), default=None, key=str.encode)
        known = _merged(prop, rows)
        return half_up(function(known), 2) if known else None

    return extreme


def _top(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> list[Any] | None:
    by: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["category"] is not None:
            by[row["category"]].append(row)

    def measure(of: list[Row]) -> Fraction | None:
        known = amounts(of)
        function = prop.get("by", "count(1)").removesuffix("(amount)")
        if function in ("max", "min"):
            return {"max": max, "min": min}[function](known, default=None)
        if function == "sum":
            return sum(known, Fraction(0)) if known else None
        return Fraction(len(of))

    measures = {name: measure(of) for name, of in by.items()}

    def rank(name: str) -> tuple[bool, Fraction, str]:
        return measures[name] is None, -(measures[name] or Fraction(0)), name

    names = sorted(by, key=rank)[: prop.get("k", 3)]
    if "members" not in prop:
        return names or None
    whole = sum((m for m in measures.values() if m is not None), Fraction(0))
    return [
        {
            "name": n,
            "value": None if m is None else half_up(m, 2),
            "share": None if m is None else divided(m, whole, prop["scale"]),
        }
        for n in names
        for m in [measures[n]]
    ] or None


def _latest(prop: dict[str, Any], rows: list[Row], as_of: datetime) -> list[dict[str, Any]] | None:
    found = rows[::-1]
    for order in reversed(prop.get("order", [])):
        name, _, direction = order.partition(" ")
        known = sorted(
            (r for r in found if r[name] is not None),
            key=lambda r, name=name: r[name],
            reverse=direction == "desc",
        )
        found = known + [r for r in found if r[name] is None]
    if "one_per" in prop:
        seen, kept = set(), []
        for row in found:
            if row["category"] not in seen:
                kept.append(row)
            seen.add(row["category"])
        found = kept
    fields = prop["fields"]
    records = [{name: r[of] for name, of in fields.items()} for r in found[: prop["latest"]]]
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
        if "hours" in prop.values():
            moments = sorted({r["at"] for r in rows})
            found = [Fraction((b - a) // timedelta(microseconds=1), 3_600_000_000)
                     for a, b in itertools.pairwise(moments)]  # fmt: skip
        else:
            days = _units(prop, rows, "days")
            found = [Fraction(b - a) for a, b in itertools.pairwise(days)]
        return function(found) if found else None

    return gap


def _known(rows: list[Row], column: str = "category") -> list[Any]:
    return [r[column] for r in rows if r[column] is not None]


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
    if not is_known or "trend" in prop:
        return total if is_known else None
    return half_up(total, prop.get("scale", 6))


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
    "first": lambda p, rows, a: next(iter(_known(rows, p["first"])), None),
    "last": lambda p, rows, a: next(iter(_known(rows, p["last"])[::-1]), None),
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
