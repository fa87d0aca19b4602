"""CDNOW: what a definition says of real purchases is what was published about them."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from spark_profiles.definition import loader
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CDNOW = Path(__file__).parents[1] / "examples" / "cdnow"
# Frequency: days of repeat purchases. Recency: weeks from the first to the last purchase. Age:
# weeks since the first. Mean value: of the days of repeat purchases, 0 without any.
DEFINITION = """
name: cdnow_summary
time_zone: UTC
identifier: {user_account_id: customer_id}
sources:
  customers: {table: customers, key: customer_id}
  purchases:
    table: purchases
    key: customer_id
    time: purchased_on
    row_id: [purchase_id]
    types: {amount: "decimal(10,2)", purchase_id: int}
users: customers
profile:
  days: {from: purchases, frequency: days}
  frequency: {derive: days - 1, scale: 0}
  recency: {from: purchases, span: weeks, scale: 2}
  age: {from: purchases, tenure: weeks, scale: 2}
  mean_value: {from: purchases, average: amount, merge: days, skip: 1, scale: 2, default: 0}
"""
COLUMNS = ("frequency", "recency", "age", "mean_value")


def test_the_published_summary_is_met_for_every_customer(spark: SparkSession) -> None:
    published = {
        row["customer_id"]: tuple(Decimal(row[name]) for name in COLUMNS)
        for row in _read("customers_summary")
    }
    bought = [tuple(r.values()) for r in _read("purchases") if r["customer_id"] in published]
    tables = {
        "customers": spark.createDataFrame([(c,) for c in published], "customer_id string"),
        "purchases": spark.createDataFrame(
            bought,
            "purchase_id string, customer_id string, purchased_on string, quantity string,"
            " amount string",
        ),
    }

    def summary(as_of: str) -> dict[str, tuple[Decimal, ...]]:
        definition = loader.parse_yaml(DEFINITION)
        rows = pipeline.plan(spark, definition, as_of=as_of, tables=tables).profiles.collect()
        return {
            r["profile_key"]: tuple(Decimal(r["user_profile"][name]) for name in COLUMNS)
            for r in rows
        }

    def differing(as_of: str) -> dict[str, set[str]]:
        found = summary(as_of)
        assert len(found) == len(published) == 2357
        return {
            name: {c for c in found if found[c][i] != published[c][i]}
            for i, name in enumerate(COLUMNS)
        }

    def buyers(day: str) -> set[str]:
        return {row[1] for row in bought if row[2] == day}

    # The summary counts purchases of 30 September and ages up to that day: it is as of its evening.
    assert differing("1997-09-30T23:59:59") == {name: set() for name in COLUMNS}
    # At its first instant, the purchases of that day are still to come.
    that_day = buyers("1997-09-30")
    assert len(that_day) == 13
    midnight = differing("1997-09-30")
    assert midnight == {
        "frequency": that_day, "recency": that_day, "age": set(), "mean_value": that_day,
    }  # fmt: skip
    # A day later everybody is a day older, and those who bought then have bought once more.
    later = differing("1997-10-01T23:59:59")
    next_day = buyers("1997-10-01")
    assert later["age"] == published.keys()
    assert next_day
    assert later["frequency"] == later["recency"] == next_day
    assert later["mean_value"] <= next_day


def _read(name: str) -> list[dict[str, str]]:
    with gzip.open(CDNOW / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
