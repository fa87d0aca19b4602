"""A definition of 500 properties over 10 sources: how long its plan takes, and how big it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import shop

from spark_profiles import loader, pipeline

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EVENTS = "id int, customer_id string, at timestamp, kind string, amount decimal(10,2), n int"
OPERATIONS = [
    {"count": True},
    {"sum": "amount"},
    {"max": "amount"},
    {"last": "kind"},
    {"count_distinct": "kind"},
    {"average": "n"},
]


def wide(properties: int = 500, sources: int = 10) -> dict[str, Any]:
    """A tenth of the properties are own values, a tenth derived, the others over nine sources."""
    events = [f"events{n}" for n in range(1, sources)]
    profile: dict[str, Any] = {"own": {}, "derived": {}, **{name: {} for name in events}}
    for n in range(properties):
        if n % 10 == 0:
            profile["own"][f"v{n}"] = {"value": f"concat(first_name, '{n}')"}
        elif n % 10 == 1 and n > 10:
            of = events[n % len(events)]
            profile["derived"][f"v{n}"] = {"derive": f"{of}.first / 2 + {n}"}
        else:
            source = events[n % len(events)]
            name = "first" if not profile[source] else f"v{n}"
            operation = OPERATIONS[0] if name == "first" else OPERATIONS[n % len(OPERATIONS)]
            profile[source][name] = {"from": source, **operation, "where": f"n > {n % 7}"}
    event = {"key": "customer_id", "time": "at", "row_id": ["id"]}
    return {
        "name": "wide",
        "time_zone": "Europe/Paris",
        "identifier": {"user_account_id": "customer_id"},
        "sources": {
            "customers": {"table": "customers", "key": "customer_id", "time": "updated_at",
                          "latest_by": ["updated_at desc"]},
            **{name: {"table": name, **event} for name in events},
        },
        "users": "customers",
        "profile": profile,
    }  # fmt: skip


def tables(spark: SparkSession, sources: int = 10) -> dict[str, DataFrame]:
    events = spark.createDataFrame([], EVENTS)
    return {
        "customers": spark.createDataFrame([], shop.CUSTOMERS),
        **{f"events{n}": events.select("*") for n in range(1, sources)},
    }


def test_500_properties_over_10_sources_make_a_plan_of_bounded_size(
    spark: SparkSession, record_property: Any
) -> None:
    definition = loader.parse_definition(wide())
    assert sum(1 for _ in definition.properties()) == 500
    given = tables(spark)
    pipeline.plan(spark, loader.parse_definition(wide(20)), as_of=shop.AS_OF, tables=given)  # warm
    begin = time.perf_counter()
    planned = pipeline.plan(spark, definition, as_of=shop.AS_OF, tables=given)
    _ = planned.lines.schema
    seconds = time.perf_counter() - begin
    record_property("seconds to plan 500 properties", round(seconds, 2))
    print(f"planned in {seconds:.2f} s")
    tree = planned.wanted._jdf.queryExecution().analyzed().toString()
    print(len(tree.splitlines()), len(tree))
