"""Every operation and window of docs/operations.md gives what the page says, on both engines."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import cross_table
import operations_table as table
import pytest

from spark_profiles.definition import loader, operations, windows
from spark_profiles.errors import DefinitionError
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def same(value: Any) -> Any:
    """Numbers as decimals, so that 10.50 and 10.5 are one value; JSON has no other difference."""
    if isinstance(value, (list, tuple)):
        return [same(item) for item in value]
    if isinstance(value, dict):
        known = {name: same(item) for name, item in value.items() if item is not None}
        return known or None  # an object without any value is left out
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else value


def differences(profiles: dict[str, dict[str, Any]]) -> list[str]:
    found = []
    for number, case in enumerate(table.TABLE["operations"]):
        expected = dict(case["values"])
        if case.get("writes_null"):
            expected = {k: None if v == "null" else v for k, v in expected.items()}
        computed = table.found(number, profiles)
        for name, value in expected.items():
            if same(computed[name]) != same(value):
                found.append(f"{case['write']} {name}: {computed[name]!r}, expected {value!r}")
    return found


def test_every_example_of_the_page_is_what_the_engine_computes(spark: SparkSession) -> None:
    profiles = table.lines(table.plan(spark))
    assert differences(profiles) == []
    number = len(table.TABLE["operations"]) - 1
    assert table.TABLE["operations"][number]["writes_null"]
    written = profiles["bob"][f"c{number}"]
    assert written == {"lifetime": None, "30d": None, table.EMPTY: None}


@pytest.mark.parametrize(
    "all_windows", [False, pytest.param(True, marks=pytest.mark.large)], ids=["some", "all"]
)
def test_every_operation_over_every_window_is_what_the_twin_says(
    spark: SparkSession, all_windows: bool
) -> None:
    asked = cross_table.asked(all_windows=all_windows)
    assert {w for prop in asked.values() for w in prop["windows"]} == cross_table.WINDOWS.keys()
    expected, computed = cross_table.expected(), cross_table.computed(spark, asked)
    assert computed.keys() == expected.keys() if all_windows else computed.keys() < expected.keys()
    wrong = {cell: (v, expected[cell]) for cell, v in computed.items() if v != expected[cell]}
    assert wrong == {}


def test_a_difference_that_does_not_fit_is_no_value(spark: SparkSession) -> None:
    """Not the end of the run, as a plain subtraction is with ANSI mode on, and on Sail."""
    huge, fit = Decimal(9 * 10**37), Decimal(9 * 10**36)
    rows = [
        (user, n, _days_ago(days), amount)
        for user, most in (("a", huge), ("b", fit))
        for n, (days, amount) in enumerate([(1, most), (40, -most)])
    ]
    plan = pipeline.plan(
        spark,
        loader.parse_definition({**cross_table.HEADER, "profile": {"p": {
            "from": "purchases", "sum": "amount", "windows": ["30d"], "trend": "change",
        }}}),
        as_of="2026-04-01",
        tables={
            "customers": spark.createDataFrame([("a",), ("b",)], "customer string"),
            "purchases": spark.createDataFrame(
                rows, "customer string, id int, at timestamp, amount decimal(38,0)"
            ),
        },
    )  # fmt: skip
    found = {r["profile_key"]: r["user_profile"]["p"] for r in plan.profiles.collect()}
    assert found["a"] is None
    assert found["b"]["30d"] == 2 * fit


@pytest.mark.parametrize(
    ("by", "share"),
    [
        ("sum(amount)", ["0.70", "0.30"]),
        ("avg(amount)", ["0.70", "0.30"]),
        ("max(amount)", ["0.70", "0.30"]),
        ("min(whole)", ["0.67", "0.33"]),
        ("count(amount)", ["0.50", "0.50"]),
    ],
)
def test_a_share_is_of_the_measures_as_they_are(
    spark: SparkSession, by: str, share: list[str]
) -> None:
    """Of 1.4 and 0.6, as of 2 and 1: not of whole numbers made of them."""
    found = _over_two(
        spark, {"top": "category", "k": 2, "by": by, "members": ["name", "share"], "scale": 2}
    )
    assert [(one["name"], str(one["share"])) for one in found] == [
        ("a", share[0]), ("b", share[1]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"top": "category", "by": "sum(distinct amount)"}, "is no measure"),
        ({"top": "category", "by": "count(amount, whole)"}, "is no measure"),
        ({"top": "category", "by": "count(distinct amount, whole)"}, "is no measure"),
        ({"top": "category", "by": "max(category)"}, "a number, a date or a timestamp"),
        ({"top": "category", "by": "max(at)", "members": ["name", "share"]}, "a number"),
        ({"max": "category", "tiles": 5}, "p.tiles: a value of type string"),
        ({"any": "amount > 1", "tiles": 3}, "p.tiles: a value of type boolean"),
        ({"latest": 2, "fields": {"a": "amount"}, "tiles": 5}, "p.tiles: a value of type array"),
    ],
    ids=str,
)
def test_what_cannot_be_computed_is_refused(
    spark: SparkSession, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(DefinitionError) as found:
        _over_two(spark, asked)
    assert said in str(found.value)


def _over_two(spark: SparkSession, asked: dict[str, Any]) -> Any:
    """The value over a row of two categories each."""
    rows = [
        ("u", 1, _days_ago(2), Decimal("1.4"), 2, "a"),
        ("u", 2, _days_ago(3), Decimal("0.6"), 1, "b"),
    ]
    types = (
        "customer string, id int, at timestamp, amount decimal(10,1), whole int, category string"
    )
    profile = {"p": {"from": "purchases", **asked}}
    plan = pipeline.plan(
        spark,
        loader.parse_definition({**cross_table.HEADER, "profile": profile}),
        as_of="2026-04-01",
        tables={
            "customers": spark.createDataFrame([("u",)], "customer string"),
            "purchases": spark.createDataFrame(rows, types),
        },
    )  # fmt: skip
    return plan.profiles.collect()[0]["user_profile"]["p"]


def _days_ago(days: int) -> datetime:
    return datetime(2026, 4, 1, tzinfo=timezone.utc) - timedelta(days=days)


def test_the_page_of_all_windows_is_current() -> None:
    assert cross_table.PAGE.read_text(encoding="utf-8") == cross_table.page()


def test_every_kind_of_window_and_row_gives_something() -> None:
    """The cross is no table of nothing: each window has rows, and each case its own answer."""
    of_count = {
        (case, window): value
        for (text, case, window), value in cross_table.expected().items()
        if text == "count: true"
    }
    for window in cross_table.WINDOWS:
        counts = [of_count["known", window], of_count["only unknown", window]]
        assert counts[0] == counts[1] > 1, window


def test_the_page_has_every_operation() -> None:
    asked = {name for prop in table.properties().values() for name in prop}
    assert set(operations.OPERATIONS) <= asked
    modifiers = {"where", "default", "scale", "nulls", "bands", "per", "at", "order", "one_per",
                 "k", "by", "members", "of", "approximate", "merge", "skip", "half_life", "trend",
                 "tiles", "best"}  # fmt: skip
    assert modifiers <= asked


def test_the_page_is_current() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.page()


@pytest.mark.parametrize("case", table.TABLE["windows"], ids=lambda case: case["write"])
def test_every_window_of_the_page_has_its_bounds(case: dict[str, Any]) -> None:
    zone = ZoneInfo("Europe/Paris")

    def instant(text: str | None) -> datetime | None:
        if text is None:
            return None
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(timezone.utc)

    found = windows.bounds(
        case["write"],
        as_of=windows.as_of_instant(case["as_of"], "Europe/Paris"),
        time_zone="Europe/Paris",
        week_starts=case.get("week_starts", "monday"),
    )
    assert (found.start, found.end) == (instant(case["start"]), instant(case["end"]))


def test_every_kind_of_window_is_on_the_page() -> None:
    assert set(windows.NAMED) <= {case["write"] for case in table.TABLE["windows"]}
