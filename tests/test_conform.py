"""Nothing is lost: every row of every source goes somewhere, once, for any pattern of nulls."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import json
from typing import TYPE_CHECKING, Any

import shop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from spark_profiles.definition import loader
from spark_profiles.planning import pipeline
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = "id string, at timestamp, no int, amount string, good boolean"
TEXT = """
name: law
time_zone: UTC
identifier: {email_hash: {people: amount}}
sources:
  people: {table: people, key: id, time: at, latest_by: [at desc], accept: {good: good}}
  events:
    {table: events, key: id, time: at, row_id: [no], types: {amount: "decimal(4,2)"},
     accept: {good: good, rich: {condition: amount > 5, severity: warn}}}
users: people
profile: {n: {from: events, count: true}}
"""
AS_OF = shop.at(shop.AS_OF)

rows = st.tuples(
    st.sampled_from([None, "", " ", "a", " a", "b\t", "c", "d", "e", "f"]),
    st.sampled_from([None, -48, -24, -1, 0, 1]),  # hours after as-of
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([None, "", "1.00", "9.99", "100.00", "x"]),
    st.sampled_from([None, True, True, True, False]),
)
tables = st.lists(rows, min_size=100, max_size=150)


def timed(row: tuple[Any, ...], *, seconds: int) -> tuple[Any, ...]:
    """The row with an instant in place of its hours."""
    if row[1] is None:
        return row
    return (row[0], AS_OF + dt.timedelta(hours=row[1], seconds=-seconds), *row[2:])


def refusals(name: str, row: tuple[Any, ...]) -> list[str]:
    """Plain Python: all that is wrong with a row."""
    key, at, no, amount, good = row
    found = []
    if not (key or "").strip():
        found.append("key_missing")
    if at is None:
        found.append("time_missing_or_unreadable")
    if not good:
        found.append("good")
    if name == "events" and no is None:
        found.append("row_id_missing")
    if name == "events" and amount in ("", "100.00", "x"):
        found.append("amount_not_decimal(4,2)")
    return sorted(found)


def twin(people: list[tuple[Any, ...]], events: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Plain Python: where every row goes."""
    went: dict[str, collections.Counter[str]] = {}
    refused: collections.Counter[Any] = collections.Counter()
    kept: dict[str, dict[Any, Any]] = {"people": {}, "events": {}}
    for name, table in (("people", people), ("events", events)):
        went[name] = collections.Counter(rows=len(table))
        for row in table:
            key, reasons = (row[0] or "").strip() or None, refusals(name, row)
            if reasons:
                went[name]["refused"] += 1
                refused[name, key, tuple(reasons), row[0], row[3]] += 1
            elif row[1] >= AS_OF:
                went[name]["after_as_of"] += 1
            else:
                place = key if name == "people" else (key, row[2])
                former = kept[name].get(place)
                went[name]["duplicate"] += former is not None
                # The newest, then the greatest by row_id and the other columns, nulls last.
                amount = decimal.Decimal(row[3]) if name == "events" and row[3] else row[3]
                order = [(v is not None, v) for v in (row[1], row[2], row[0], amount, row[4])]
                if former is None or order > former[0]:
                    kept[name][place] = (order, row)
    return {"went": went, "refused": refused, "kept": kept}


@given(people=tables, events=tables)
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def check_law(
    spark: SparkSession, people: list[tuple[Any, ...]], events: list[tuple[Any, ...]]
) -> None:
    # No two people rows have one time: without row_id ties follow another order of columns.
    people = [timed(row, seconds=n) for n, row in enumerate(people)]
    events = [timed(row, seconds=0) for row in events]
    expected = twin(people, events)
    planned = pipeline.plan(
        spark,
        loader.parse_yaml(TEXT),
        as_of=shop.AS_OF,
        tables={
            "people": spark.createDataFrame(people, SCHEMA),
            "events": spark.createDataFrame(events, SCHEMA),
        },
    )
    own = {key: row for key, (_, row) in expected["kept"]["people"].items()}
    address = {key: (row[3] or "").strip() for key, row in own.items()}
    claims = collections.Counter(address.values())
    users = {key for key, text in address.items() if text and claims[text] == 1}
    told = planned.counts.withColumn("newest", F.unix_micros("newest"))
    counts = {row["source"]: row.asDict() for row in told.collect()}
    for name, went in expected["went"].items():
        places = expected["kept"][name]
        used = [p for p in places if (p if name == "people" else p[0]) in users]
        lost = len(places) - len(used)
        newest = counts[name].pop("newest")
        # The newest row that may be used, be it used or the duplicate of another.
        given_rows = people if name == "people" else events
        usable = [row[1] for row in given_rows if not refusals(name, row) and row[1] < AS_OF]
        assert newest == (columns.micros(max(usable)) if usable else None)
        assert counts[name] == {
            "source": name, "rows": went["rows"], "used": len(used),
            "refused": went["refused"] + (lost if name == "people" else 0),
            "duplicate": went["duplicate"], "orphan": 0 if name == "people" else lost,
            "after_as_of": went["after_as_of"], "users": len(users) if name == "people" else 0,
        }  # fmt: skip
    refused = expected["refused"]
    for key, row in own.items():
        if key not in users:
            reason = "identifier_contested" if address[key] else "identifier_missing"
            refused["people", key, (reason,), row[0], row[3]] += 1
    found = collections.Counter(
        (r["source"], r["key"], tuple(r["reasons"]), raw.get("id"), raw.get("amount"))
        for r in planned.refused.collect()
        for raw in [json.loads(r["row"])]
    )
    assert found == refused
    assert {row["profile_key"] for row in planned.profiles.collect()} == users
    assert planned.warnings is not None
    warned = {(r["source"], r["rule"]): r["rows"] for r in planned.warnings.collect()}
    poor = sum(row[3] in (None, "1.00") for _, row in expected["kept"]["events"].values())
    assert warned == ({("events", "rich"): poor} if poor else {})


def test_every_row_goes_somewhere_for_any_pattern_of_nulls(spark: SparkSession) -> None:
    check_law(spark)


def test_a_refused_row_keeps_the_sign_of_its_amounts(spark: SparkSession) -> None:
    text = """
name: signs
time_zone: UTC
identifier: {compartment_id: "1606", user_account_id: id}
sources: {people: {table: people, key: id, accept: {positive: balance > 0}}}
users: people
profile: {id: {value: id}}
"""
    values = "('a', -0.56), ('b', -1.50), ('c', 0.25)"
    people = spark.sql(f"select id, cast(b as decimal(12,2)) balance from values {values} t(id, b)")
    plan = pipeline.plan(
        spark, loader.parse_yaml(text), as_of=shop.AS_OF, tables={"people": people}
    )
    found = {
        row["key"]: decimal.Decimal(json.loads(row["row"], parse_float=str)["balance"])
        for row in plan.refused.collect()
    }
    assert found == {"a": decimal.Decimal("-0.56"), "b": decimal.Decimal("-1.50")}
