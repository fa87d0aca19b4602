"""A small shop for tests: base rows plus what a test is about, and a definition over them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from spark_profiles.definition import loader

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.definition.model import Definition

AS_OF = "2026-03-31"

CUSTOMERS = "customer_id string, updated_at timestamp, row_id int, first_name string, email string"
PURCHASES = (
    "purchase_id int, customer_id string, purchased_at timestamp, category string, amount string"
)

DEFINITION = """
name: shop
time_zone: UTC
identifier: {compartment_id: "1606", user_account_id: customer_id}
profile_keys: {compartment_id: 1606, user_account_id: customer_id}
sources:
  customers:
    table: customers
    key: customer_id
    time: updated_at
    latest_by: [updated_at desc, row_id desc]
  purchases:
    table: purchases
    key: customer_id
    time: purchased_at
    row_id: [purchase_id]
    types: {amount: "decimal(10,2)"}
users: customers
profile:
  firstname: {value: first_name}
  contact: {email: {value: "nullif(email, '')"}}
  purchases:
    count: {from: purchases, count: true, windows: [30d, lifetime]}
    amount: {from: purchases, sum: amount, windows: [30d, lifetime]}
    average: {from: purchases, average: amount, scale: 2}
    ratio: {derive: purchases.amount.lifetime / purchases.count.lifetime, scale: 2}
    smallest: {from: purchases, min: amount}
    categories: {from: purchases, count_distinct: category}
    favourites: {from: purchases, top: category, k: 2, by: sum(amount)}
    first: {from: purchases, first: category}
    last: {from: purchases, latest: 2, fields: {id: purchase_id, amount: amount}}
"""


def definition(**replaced: str) -> Definition:
    """The definition, with pieces of its text replaced: `definition(**{"30d": "60d"})`."""
    text = DEFINITION
    for old, new in replaced.items():
        if old not in text:
            message = f"{old!r} is not in the definition"
            raise ValueError(message)
        text = text.replace(old, new, 1)
    return loader.parse_yaml(text)


def at(text: str) -> dt.datetime:
    """An instant in UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.timezone.utc)


def customers(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """Customers: each row is the base row with these members changed."""
    base = {
        "customer_id": "c1",
        "updated_at": at("2026-01-01"),
        "row_id": 1,
        "first_name": "Ada",
        "email": "ada@example.org",
    }
    return spark.createDataFrame([tuple({**base, **row}.values()) for row in rows], CUSTOMERS)


def purchases(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """Purchases: each row is the base row with these members changed."""
    base = {
        "purchase_id": 1,
        "customer_id": "c1",
        "purchased_at": at("2026-03-15"),
        "category": "book",
        "amount": "10.00",
    }
    return spark.createDataFrame([tuple({**base, **row}.values()) for row in rows], PURCHASES)
