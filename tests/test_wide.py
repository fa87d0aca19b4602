"""A definition of 500 properties over 10 sources: how long its plan takes, and how big it is."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
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


def nodes(planned: pipeline.Plan) -> list[str]:
    """The operators of the analysed plan, one a line."""
    return planned.wanted._jdf.queryExecution().analyzed().toString().splitlines()


@pytest.mark.jvm
def test_a_plan_of_500_properties_is_as_big_as_its_sources_and_quickly_made(
    spark: SparkSession, record_property: Any
) -> None:
    given = tables(spark)
    # One source more is some operators more; properties are columns, they add next to none.
    small = pipeline.plan(spark, loader.parse_definition(wide(60)), as_of=shop.AS_OF, tables=given)
    begin, cpu = time.perf_counter(), time.process_time()
    definition = loader.parse_definition(wide())
    whole = pipeline.plan(spark, definition, as_of=shop.AS_OF, tables=given)
    _ = whole.lines.schema
    record_property("seconds to plan 500 properties", round(time.perf_counter() - begin, 2))
    assert time.process_time() - cpu < 5  # of this process alone; 1.5 s when it was written
    assert sum(1 for _ in definition.properties()) == 500
    operators = nodes(whole)
    assert len(operators) <= 40 * len(definition.sources)
    assert len(operators) - len(nodes(small)) <= 5
    scans = [line for line in operators if re.search(r"Logical(RDD|Relation)|LocalRelation", line)]
    assert len(scans) == len(definition.sources)
    assert sum("Window " in line for line in operators) == len(definition.sources)
