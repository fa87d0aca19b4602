"""The recipes of docs/operations.md do what they say; what they give is worked out by hand."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spark_profiles.definition import loader
from spark_profiles.lines import commands
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RECIPES = Path(__file__).with_name("recipes.yaml")
PURCHASES = [
    ("u1", 1, "2026-03-30 10:00", "100.00"), ("u1", 2, "2025-03-10 10:00", "7.00"),
    ("u1", 3, "2025-03-31 18:00", "2.00"), ("u2", 4, "2026-03-20 10:00", "20.00"),
    ("u2", 5, "2026-03-01 10:00", "30.00"), ("u3", 6, "2026-02-01 10:00", "4.00"),
    ("u3", 7, "2026-01-31 10:00", "4.00"), ("u3", 8, "2026-01-30 10:00", "2.00"),
    ("u4", 9, "2026-01-01 10:00", "125.00"), ("u4", 10, "2025-12-31 10:00", "125.00"),
    ("u4", 11, "2025-12-30 10:00", "125.00"), ("u4", 12, "2025-12-29 10:00", "125.00"),
]  # fmt: skip
SCORES = [
    ("u1", "churn", "2026-03-30 00:00", "0.90"), ("u1", "churn", "2026-03-01 00:00", "0.40"),
    ("u1", "upsell", "2026-02-01 00:00", "0.70"), ("u2", "upsell", "2026-03-30 00:00", "0.20"),
]  # fmt: skip
ADDRESSES = [("u1", "Lyon", "home", False), ("u1", "Brest", "holiday", False),
             ("u1", "Paris", "work", True)]  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_recipes_give_what_is_worked_out_by_hand(spark: SparkSession) -> None:
    timed = [(u, n, at(when), Decimal(amount)) for u, n, when, amount in PURCHASES]
    scored = [(u, model, at(when), Decimal(score)) for u, model, when, score in SCORES]
    tables = {
        "customers": spark.createDataFrame([(f"u{n}",) for n in range(1, 6)], "customer string"),
        "purchases": spark.createDataFrame(
            timed, "customer string, id int, at timestamp, amount decimal(9,2)"
        ),
        "scores": spark.createDataFrame(
            scored, "customer string, model string, at timestamp, score decimal(3,2)"
        ),
        "addresses": spark.createDataFrame(
            ADDRESSES, "customer string, city string, kind string, is_main boolean"
        ),
    }
    definition = loader.load_definition(RECIPES)
    plan = pipeline.plan(spark, definition, as_of="2026-03-31T12:00", tables=tables)
    rows = plan.lines.select("profile_key", commands.text().alias("line")).collect()
    found = {r["profile_key"]: json.loads(r["line"])["user_profile"] for r in rows}

    def of(section: str) -> dict[str, Any]:
        return {user: profile.get(section) for user, profile in sorted(found.items())}

    # floor(5 x users with a worse one / users with one) + 1; u5 counts where nothing counts as 0.
    assert of("rfm") == {
        "u1": {"recency": 4, "frequency": 2, "monetary": 3, "code": "423"},
        "u2": {"recency": 3, "frequency": 3, "monetary": 2, "code": "332"},
        "u3": {"recency": 2, "frequency": 4, "monetary": 1, "code": "241"},
        "u4": {"recency": 1, "frequency": 5, "monetary": 4, "code": "154"},
        # What a derived value names, it sees without its default.
        "u5": {"frequency": 1, "monetary": 1},
    }
    scores = of("scores")
    assert scores["u1"] == {
        "latest": {"churn": 0.9},
        "fresh": [{"model": "churn", "score": 0.9}],
        "history": [
            {"score": 0.9, "at": int(at("2026-03-30 00:00").timestamp() * 1000)},
            {"score": 0.4, "at": int(at("2026-03-01 00:00").timestamp() * 1000)},
        ],
    }
    assert scores["u2"] == {"latest": {"upsell": 0.2}, "fresh": [{"model": "upsell", "score": 0.2}]}
    assert scores["u3"] is None
    season = {"month_to_date": 100, "month_to_date_last_year": 7, "month_last_year": 9}
    assert of("season")["u1"] == season
    assert of("segment") == {
        "u1": "good", "u2": "good", "u3": "small", "u4": "best", "u5": "sleeping",
    }  # fmt: skip
    assert of("addresses")["u1"] == [
        {"city": "Paris", "kind": "work"}, {"city": "Brest", "kind": "holiday"},
        {"city": "Lyon", "kind": "home"},
    ]  # fmt: skip
