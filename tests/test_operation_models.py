"""What cannot be meant is refused before any data is read, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from spark_profiles.definition.operations import Aggregate


def aggregate(**members: Any) -> Aggregate:
    return Aggregate(**{"from": "purchases", **members})


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "give exactly one operation of count"),
        ({"count": True, "sum": "amount"}, "found count and sum"),
        ({"sum": "a", "k": 2}, "k goes with top: {top: category, k: 3"),
        ({"percentile": "a"}, "percentile needs at: {percentile: amount, at: 0.9}"),
        ({"percentile": "a", "at": 1.5}, "less than or equal to 1"),
        ({"count": True, "windows": ["30x"]}, "'30x' is no window; write 90m, 24h, 30d"),
        ({"count": True, "windows": ["2026-02-30_to_2026-03-01"]}, "is no window"),
        ({"count": True, "windows": ["2026-03-01_to_2026-02-01"]}, "is no window"),
        ({"count": True, "windows": ["lifetime_last_year"]}, "is no window"),
        ({"count": True, "windows": ["30d"], "max_age": "30d"}, "exclude each other"),
        ({"count": True, "trend": "growth"}, "trend needs windows that have one before them"),
        ({"first": "a", "windows": ["30d"], "trend": "growth"}, "trend goes with count or"),
        ({"count": True, "per": "category"}, "per and categories go together"),
        ({"average": "a", "skip": 1}, "skip goes with merge"),
        ({"stddev": "a", "merge": "days"}, "merge goes with sum or average"),
        ({"sum": "a", "merge": "days", "half_life": "7d"}, "half_life and merge exclude"),
        ({"count": True, "half_life": "1mo"}, "should match pattern"),
        ({"latest": 3}, "latest and fields go together"),
        ({"count": True, "order": ["amount desc"]}, "order goes with latest"),
        ({"count": True, "bands": {"high": 5, "low": 0}}, "bands {high: 5, low: 0} do not ascend"),
        ({"recency": "days", "best": "low"}, "best goes with tiles"),
        ({"recency": "months"}, "'hours', 'days' or 'weeks'"),
        ({"min": "a", "approximate": True}, "approximate goes with count_distinct or median"),
    ],
)
def test_a_wrong_property_says_what_to_write(members: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        aggregate(**members)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        ({"sum": "a"}, None),
        ({"sum": "a", "windows": ["30d"]}, "windows"),
        ({"sum": "a", "merge": "days"}, "merge"),
        ({"last": "a"}, "last"),
        ({"streak": "days"}, "streak"),
        ({"count": True, "half_life": "7d"}, "half_life"),
    ],
)
def test_what_asks_when_a_row_happened(members: dict[str, Any], asked: str | None) -> None:
    assert aggregate(**members).needs_time == asked
