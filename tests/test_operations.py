"""Every operation and window of docs/operations.md gives what the page says, on both engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import operations_table as table
import pytest

from spark_profiles import operations, windows

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


def test_every_example_of_the_page_is_what_spark_computes(spark: SparkSession) -> None:
    profiles = table.lines(table.plan(spark))
    assert differences(profiles) == []
    number = len(table.TABLE["operations"]) - 1
    assert table.TABLE["operations"][number]["writes_null"]
    written = profiles["bob"][f"c{number}"]
    assert written == {"lifetime": None, "30d": None, table.EMPTY: None}


def test_every_example_of_the_page_is_what_sail_computes() -> None:
    pytest.importorskip("pysail", reason="the extra [embedded] is not installed")
    done = subprocess.run(
        [sys.executable, table.__file__, "sail"],
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": "Pacific/Chatham"},
    )  # fmt: skip
    # The subprocess writes decimals as text, which `same` would not take for numbers.
    profiles = json.loads(done.stdout)
    assert differences(_numbers(profiles)) == []


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    try:
        return Decimal(value) if isinstance(value, str) else value
    except ArithmeticError:
        return value


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
