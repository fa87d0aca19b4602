"""Drawn definitions over drawn data: what the engines and the twins are compared on.

python tests/drawn.py SEED PROPERTIES USERS     the same on Sail: prints what differs from the twin
"""

from __future__ import annotations

import json
import random
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import twin

from spark_profiles.definition import loader
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

WINDOWS = (
    *("lifetime", "24h", "1d", "7d", "30d", "1mo", "12mo", "day_to_date", "previous_day"),
    *("previous_week", "month_to_date", "previous_month", "7d_ending_7d_ago"),
    *("90m", "2w", "week_to_date", "quarter_to_date", "year_to_date", "previous_quarter"),
    *("previous_year", "previous_month_to_date", "30d_last_year", "month_last_year"),
    "2025-10-01_to_2025-11-01",
)
# The clocks of Paris: 2026-03-29 skips 02:00 to 03:00, 2025-10-26 has it twice. And a month's end.
AS_OF = ("2026-03-29T12:00", "2026-03-30", "2026-03-30T02:30", "2025-10-27", "2025-10-26T02:30",
         "2026-03-31T00:30", "2024-02-29")  # fmt: skip
OPERATIONS: tuple[dict[str, Any], ...] = (
    {"count": True}, {"count_distinct": "amount"}, {"sum": "amount"}, {"average": "amount"},
    {"average": "amount", "scale": 2}, {"min": "amount"}, {"max": "amount"}, {"stddev": "amount"},
    {"median": "amount"}, {"percentile": "amount", "at": 0.9},
    {"percentile": "amount", "at": 0.125},
    {"first": "category"}, {"last": "category"},
    {"latest": 3, "fields": {"id": "id", "amount": "amount"}},
    {"latest": 2, "fields": {"id": "id", "amount": "amount"}, "order": ["amount asc"]},
    {"latest": 4, "fields": {"id": "id", "amount": "amount"}, "one_per": "category"},
    {"top": "category", "k": 2}, {"top": "category", "by": "sum(amount)"},
    {"top": "category", "k": 1, "by": "max(amount)"}, {"values": "category", "limit": 2},
    {"any": "amount > 5"}, {"all": "amount > 5"}, {"ratio": "category = 'a'"},
    {"ratio": "category = 'a'", "of": "amount"}, {"recency": "days"}, {"recency": "hours"},
    {"recency": "weeks", "scale": 2}, {"tenure": "days"}, {"span": "weeks"},
    {"span": "hours", "scale": 1},
    {"frequency": "days"}, {"frequency": "weeks"}, {"frequency": "months"}, {"streak": "days"},
    {"streak": "weeks"}, {"longest_streak": "days"}, {"longest_streak": "months"},
    {"average_gap": "days"}, {"shortest_gap": "days"}, {"longest_gap": "days"},
    {"average": "amount", "merge": "days", "skip": 1}, {"max": "amount", "merge": "months"},
    {"median": "amount", "merge": "days"}, {"count": True, "half_life": "7d"},
    {"sum": "amount", "half_life": "30d", "scale": 2},
)  # fmt: skip


NUMBERS = ("count", "count_distinct", "sum", "average", "stddev", "median", "percentile", "ratio",
           "recency", "tenure", "span", "frequency", "streak", "longest_streak", "average_gap",
           "shortest_gap", "longest_gap")  # fmt: skip


class Case(NamedTuple):
    """Drawn properties, drawn rows of each user, and the as-of."""

    properties: dict[str, dict[str, Any]]
    users: dict[str, list[twin.Row]]
    as_of: datetime


def draw(seed: int, properties: int, users: int) -> Case:
    """The same for the same seed."""
    random_ = random.Random(seed)
    local = datetime.fromisoformat(AS_OF[seed % len(AS_OF)])
    as_of = twin.utc(local)
    drawn = {}
    for number in range(properties):
        prop = dict(random_.choice(OPERATIONS) if number >= len(OPERATIONS) else OPERATIONS[number])
        if random_.random() < 0.3:
            prop["where"] = random_.choice(list(twin.CONDITIONS))
        prop |= _more(random_, prop)
        names = WINDOWS[1:] if "trend" in prop else WINDOWS
        drawn[f"p{number}"] = {**prop, "windows": random_.sample(names, 2)}
    return Case(drawn, {f"u{n}": _rows(random_, as_of) for n in range(users)}, as_of)


def _more(random_: random.Random, prop: dict[str, Any]) -> dict[str, Any]:
    """What goes with many operations: trends, categories, bands, values for nothing."""
    more: dict[str, Any] = {}
    is_number = bool(set(NUMBERS) & prop.keys())
    if is_number and random_.random() < 0.15:
        more["trend"] = random_.choice(["change", "growth"])
    if random_.random() < 0.15:
        more |= {"per": "category", "categories": ["a", "é", "no such"]}
    if is_number and random_.random() < 0.1:
        more["bands"] = {"few": 0, "some": 2, "many": 50}
    elif is_number and random_.random() < 0.15:
        more["default"] = random_.choice([0, -7])
    return more


def _rows(random_: random.Random, as_of: datetime) -> list[twin.Row]:
    rows: list[twin.Row] = []
    for number in range(random_.choice([0, 1, 2, 3, 5, 8, 20])):
        span = random_.choice([3600 * 3, 86400 * 2, 86400 * 40, 86400 * 400])
        at = as_of - timedelta(seconds=random_.randint(1, span))
        if rows and random_.random() < 0.25:
            at = random_.choice(rows)["at"]  # ties of time
        if random_.random() < 0.2:  # exactly on the edges: midnights in Paris, the hour, as-of
            at = twin.utc(datetime.combine(twin.day(at), datetime.min.time()))
        size = random_.choice([1, 2, 3, 4, 16, 22])
        amount = Decimal(random_.randint(-(10**size), 10**size)).scaleb(-2)
        rows.append({
            "id": number,
            "at": at,
            "category": random_.choice(["a", "b", "c", "é", None]),
            "amount": random_.choice([amount, amount, amount, Decimal("5.00"), None]),
        })  # fmt: skip
    return rows


def computed(spark: SparkSession, case: Case) -> dict[str, dict[str, Any]]:
    """User -> property -> window -> value, as the engine computes it."""
    plan = pipeline.plan(
        spark, definition(case), as_of=case.as_of.isoformat(), tables=tables(spark, case)
    )
    found = plan.profiles.collect()
    return {r["profile_key"]: r["user_profile"].asDict(recursive=True) for r in found}


def tables(spark: SparkSession, case: Case, *, shuffle: int = 0) -> dict[str, DataFrame]:
    """The rows as tables, in any order; some rows were delivered twice."""
    rows = [(user, *row.values()) for user, of in case.users.items() for row in of]
    random.Random(shuffle).shuffle(rows)
    columns = "customer string, id int, at timestamp, category string, amount decimal(28,2)"
    users = [(user,) for user in case.users]
    return {
        "customers": spark.createDataFrame(users, "customer string"),
        "purchases": spark.createDataFrame(rows + rows[::3], columns),
    }


def definition(case: Case) -> Any:
    """The drawn properties as a definition."""
    many = {"table": "purchases", "key": "customer", "time": "at", "row_id": ["id"]}
    return loader.parse_definition({
        "name": "drawn",
        "time_zone": "Europe/Paris",
        "identifier": {"user_account_id": "customer"},
        "sources": {"customers": {"table": "customers", "key": "customer"}, "purchases": many},
        "users": "customers",
        "empty_sections": "write",
        "profile": {name: {"from": "purchases", **prop} for name, prop in case.properties.items()},
    })  # fmt: skip


def differences(case: Case, profiles: dict[str, dict[str, Any]]) -> list[str]:
    """Where an engine's values are not the twin's."""
    found = []
    for user, rows in case.users.items():
        for name, prop in case.properties.items():
            for window in prop["windows"]:
                expected = twin.value(prop, window, rows, case.as_of)
                value = profiles[user][name][window]
                if value != expected:
                    found.append(f"{user} {prop} {window}: {value!r}, expected {expected!r}")
    return found


def compared(case: Case) -> int:
    """How many values are compared."""
    return len(case.users) * sum(len(prop["windows"]) for prop in case.properties.values())


if __name__ == "__main__":
    from spark_profiles.engine import session

    drawn = draw(*map(int, sys.argv[1:4]))
    wrong = differences(drawn, computed(session.embedded_session(), drawn))
    sys.stdout.write(json.dumps({"compared": compared(drawn), "wrong": wrong}))
