"""The same definition by Spark, Sail, DuckDB and plain Python, on drawn data: equal, exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import drawn
import duckdb
import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FEW = [(1, 46, 12), (4, 60, 12)]
# 12 x 50 = 600 drawn definitions of one property over two windows, each over 40 drawn data sets.
MANY = [(seed, 50, 40) for seed in range(100, 112)]


@pytest.mark.parametrize("seed", FEW, ids=str)
def test_the_engine_agrees_with_plain_python(
    spark: SparkSession, seed: tuple[int, int, int]
) -> None:
    case = drawn.draw(*seed)
    assert drawn.differences(case, drawn.computed(spark, case)) == []


@pytest.mark.parametrize("seed", [(n, 46, 60) for n in range(7)], ids=str)
def test_duckdb_agrees_with_plain_python(seed: tuple[int, int, int]) -> None:
    case = drawn.draw(*seed)
    wrong, compared = duckdb_differences(case)
    assert wrong == []
    assert compared > 400


@pytest.mark.large
@pytest.mark.parametrize("seed", MANY, ids=str)
def test_all_engines_agree_on_many_definitions(
    spark: SparkSession, seed: tuple[int, int, int]
) -> None:
    case = drawn.draw(*seed)
    assert drawn.differences(case, drawn.computed(spark, case)) == []
    assert sail(seed)["wrong"] == []
    assert duckdb_differences(case)[0] == []


def sail(seed: tuple[int, int, int]) -> dict[str, Any]:
    """What Sail, which cannot share a process with Spark, gives for a drawn case."""
    done = subprocess.run(
        [sys.executable, drawn.__file__, *map(str, seed)],
        capture_output=True, text=True, check=True, env={**os.environ, "RUST_LOG": "error"},
    )  # fmt: skip
    return json.loads(done.stdout)


# DuckDB's own calendar, sums, orders and sets. Window -> start and end, of the local as-of `a`.
WINDOWS = {
    "lifetime": ("timestamp '0001-01-01'", "a"),
    "1d": ("a - interval 1 day", "a"),
    "7d": ("a - interval 7 day", "a"),
    "30d": ("a - interval 30 day", "a"),
    "1mo": ("a - interval 1 month", "a"),
    "12mo": ("a - interval 12 month", "a"),
    "day_to_date": ("date_trunc('day', a)", "a"),
    "previous_day": ("date_trunc('day', a) - interval 1 day", "date_trunc('day', a)"),
    "previous_week": ("date_trunc('week', a) - interval 7 day", "date_trunc('week', a)"),
    "month_to_date": ("date_trunc('month', a)", "a"),
    "previous_month": ("date_trunc('month', a) - interval 1 month", "date_trunc('month', a)"),
    "7d_ending_7d_ago": ("a - interval 14 day", "a - interval 7 day"),
}
LOCAL_DAY = "cast(timezone('Europe/Paris', at_) as date)"
SPAN = f"(max({LOCAL_DAY}) - min({LOCAL_DAY}))"
DAYS_AGO = f"(cast(any_value(a) as date) - max({LOCAL_DAY}))"
OPERATIONS = {
    "count": lambda p: "count(*)",
    "count_distinct": lambda p: "count(distinct amount)",
    "sum": lambda p: "sum(amount)",
    "min": lambda p: "min(amount)",
    "max": lambda p: "max(amount)",
    "first": lambda p: "arg_min(category, (at_, id)) filter (category is not null)",
    "last": lambda p: "arg_max(category, (at_, id)) filter (category is not null)",
    "values": lambda p: (
        "list_slice(list_sort(list(distinct category) filter (category is not null)), 1,"
        f" {p.get('limit', 1000)})"
    ),
    "any": lambda p: f"bool_or(coalesce({p['any']}, false))",
    "all": lambda p: f"bool_and(coalesce({p['all']}, false))",
    "recency": lambda p: DAYS_AGO if p["recency"] == "days" else None,
    "tenure": lambda p: f"(cast(any_value(a) as date) - min({LOCAL_DAY}))",
    "span": lambda p: f"{SPAN} // 7" if p["span"] == "weeks" else None,
    "frequency": lambda p: f"count(distinct date_trunc('{p['frequency'][:-1]}', {LOCAL_DAY}))",
    "latest": lambda p: (
        None if "order" in p or "one_per" in p
        else f"list({{'id': id, 'amount': amount}} order by at_ desc, id desc)[1:{p['latest']}]"
    ),
}  # fmt: skip


def duckdb_differences(case: drawn.Case) -> tuple[list[str], int]:
    """Where DuckDB's values are not the twin's, and how many were compared."""
    import twin

    base = duckdb.connect()
    columns = "u varchar, id int, at_ timestamptz, category varchar, amount decimal(28,2)"
    base.execute(f"create table rows ({columns})")
    rows = [(u, *row.values()) for u, of in case.users.items() for row in of]
    base.executemany("insert into rows values (?, ?, ?, ?, ?)", rows)
    base.execute("create table users as select unnest(?) u", [list(case.users)])
    wrong, compared = [], 0
    for prop in case.properties.values():
        operation = next(name for name in twin.OPERATIONS if name in prop)
        is_plain = not {"merge", "trend", "per", "bands", "default"} & prop.keys()
        sql = OPERATIONS.get(operation, lambda p: None)(prop) if is_plain else None
        for window in prop["windows"] if sql else ():
            if window not in WINDOWS:
                continue
            start, end = (f"timezone('Europe/Paris', {edge})" for edge in WINDOWS[window])
            end = "$as_of" if WINDOWS[window][1] == "a" else end
            # On DuckDB an `a` of the hour that comes twice loses which it is; so `$as_of` itself.
            found = dict(base.execute(
                f"""
                with asked as (select *, timezone('Europe/Paris', $as_of::timestamptz) as a
                               from rows where {prop.get("where", "true")})
                select u, (select {sql} from asked r where r.u = users.u
                           and at_ >= {start} and at_ < {end}::timestamptz) from users
                """,
                {"as_of": case.as_of},
            ).fetchall())  # fmt: skip
            for user, of in case.users.items():
                expected = twin.value(prop, window, of, case.as_of)
                compared += 1
                if _plain(found[user]) != _plain(expected):
                    wrong.append(f"{user} {prop} {window}: {found[user]!r}, expected {expected!r}")
    return wrong, compared


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value] or None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
