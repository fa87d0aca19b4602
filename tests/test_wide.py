"""A definition of 500 properties over 10 sources: how long its plan takes, and how big it is."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import shop

from spark_profiles.definition import loader
from spark_profiles.planning import pipeline

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


def planned(spark: SparkSession, given: dict[str, DataFrame], properties: int) -> pipeline.Plan:
    """The plan, looked at by the engine down to its lines."""
    definition = loader.parse_definition(wide(properties))
    assert sum(1 for _ in definition.properties()) == properties
    plan = pipeline.plan(spark, definition, as_of=shop.AS_OF, tables=given)
    _ = plan.lines.schema
    return plan


def test_a_plan_of_500_properties_is_quickly_made(
    spark: SparkSession, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine takes its time; how often the engine is asked is always the same."""
    given = tables(spark)
    planned(spark, given, 60)
    asked = messages(spark, monkeypatch)
    begin, cpu = time.perf_counter(), time.process_time()
    planned(spark, given, 500)
    used = time.process_time() - cpu
    record_property("seconds to plan 500 properties", round(time.perf_counter() - begin, 2))
    record_property("messages to the engine", len(asked))
    if ".connect." in type(spark).__module__:
        # Of each source a few narrow questions, of the whole plan one; here the engine's own work
        # counts as well, since Sail is in this process.
        assert len(asked) <= 7 * len(given)
        assert sum(size > max(asked) / 3 for size in asked) == 1
        assert used < 30
    else:
        assert len(asked) <= 15_000  # objects of the JVM, made or called; 46,000 by single columns
        assert used < 10


def messages(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each message to the engine from now on, its size (of calls of objects, 0)."""
    if ".connect." in type(spark).__module__:
        from pyspark.sql.connect.client.core import SparkConnectClient as Client

        name = "_analyze"
    else:
        from py4j.clientserver import ClientServerConnection as Client

        name = "send_command"
    asked: list[int] = []
    send = getattr(Client, name)

    def counted(self: Any, *args: Any, **named: Any) -> Any:
        asked.append(named["plan"].ByteSize() if "plan" in named else 0)
        return send(self, *args, **named)

    monkeypatch.setattr(Client, name, counted)
    return asked


@pytest.mark.jvm
def test_a_plan_of_500_properties_is_as_big_as_its_sources(spark: SparkSession) -> None:
    given = tables(spark)
    # One source more is some operators more; properties are columns, they add next to none.
    small, whole = (planned(spark, given, properties) for properties in (60, 500))
    operators = nodes(whole)
    assert len(operators) <= 40 * len(given)
    assert len(operators) - len(nodes(small)) <= 5
    scans = [line for line in operators if re.search(r"Logical(RDD|Relation)|LocalRelation", line)]
    assert len(scans) == len(given)
    assert sum("Window " in line for line in operators) == len(given)
