"""Who gets a profile, under which identifier, and which of several known values survives."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import shop

from spark_profiles.definition import loader
from spark_profiles.errors import DefinitionError
from spark_profiles.lines import commands
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_profiles.definition.model import Definition
    from spark_profiles.planning.pipeline import Plan

CRM = "id bigint, email string, city string, at timestamp"
WEB = "id string, mail string, city string, device string, at timestamp"

DEFINITION = """
name: people
time_zone: UTC
identifier:
  - {compartment_id: "9", user_account_id: {crm: id}}
  - {email_hash: {crm: email, web: mail}}
  - {user_agent_id: {web: device}}
profile_keys: {user_account_id: {crm: id}}
sources:
  crm: {table: crm, key: id, time: at, latest_by: [at desc]}
  web: {table: web, key: id, time: at, latest_by: [at desc]}
users: [crm, web]
profile:
  city: {value: city}
  newest_city: {survivor: {crm: city, web: city}, by: newest}
  mail: {survivor: {web: lower(mail), crm: lower(email)}}
"""


def plan(spark: SparkSession, crm: list[Any], web: list[Any], definition: Definition) -> Plan:
    tables = {
        "crm": spark.createDataFrame(crm, CRM),
        "web": spark.createDataFrame(web, WEB),
    }
    return pipeline.plan(spark, definition, as_of=shop.AS_OF, tables=tables)


def lines_of(planned: Plan) -> dict[str, dict[str, Any]]:
    rows = planned.lines.select("profile_key", commands.text().alias("line")).collect()
    return {row["profile_key"]: json.loads(row["line"]) for row in rows}


def refused_of(planned: Plan) -> list[tuple[str, str, list[str]]]:
    return sorted((r["source"], r["key"], r["reasons"]) for r in planned.refused.collect())


def counts_of(planned: Plan) -> dict[str, dict[str, int]]:
    rows = [row.asDict() for row in planned.counts.collect()]
    for row in rows:
        parts = ("used", "refused", "duplicate", "orphan", "after_as_of")
        assert row["rows"] == sum(row[part] for part in parts)
    return {row.pop("source"): row for row in rows}


def test_users_of_two_sources_each_under_the_first_identifier_that_has_a_value(
    spark: SparkSession,
) -> None:
    early, late = shop.at("2026-01-01"), shop.at("2026-02-01")
    planned = plan(
        spark,
        [
            (1, " Ada@Example.org ", "Lyon", early),
            (2, None, None, late),
        ],
        [
            ("1 ", "ada@web.org", "Paris", "vec:1", late),  # the bigint 1 and the text meet
            ("2", None, "Nice", None, early),
            ("w3", " Eve@Example.org", None, "vec:3", late),
            ("w4", " ", "Metz", "vec:4", late),
            ("w5", None, "Brest", " ", late),
        ],
        loader.parse_yaml(DEFINITION),
    )
    lines = lines_of(planned)
    eve = hashlib.sha256(b"eve@example.org").hexdigest()
    names = ("compartment_id", "user_account_id", "email_hash", "user_agent_id")
    assert {
        key: {name: line[name] for name in names if name in line} for key, line in lines.items()
    } == {
        "1": {"compartment_id": "9", "user_account_id": "1"},
        "2": {"compartment_id": "9", "user_account_id": "2"},
        "w3": {"email_hash": eve},
        "w4": {"user_agent_id": "vec:4"},
    }
    assert {key: line["user_profile"] for key, line in lines.items()} == {
        "1": {"$user_account_id": "1", "city": "Lyon", "newest_city": "Paris",
              "mail": "ada@web.org"},
        "2": {"$user_account_id": "2", "city": "Nice", "newest_city": "Nice"},
        "w3": {"mail": " eve@example.org"},
        "w4": {"city": "Metz", "newest_city": "Metz", "mail": " "},
    }  # fmt: skip
    assert refused_of(planned) == [("web", "w5", ["identifier_missing"])]
    counts = counts_of(planned)
    assert (counts["crm"]["used"], counts["crm"]["users"]) == (2, 2)
    assert (counts["web"]["used"], counts["web"]["users"], counts["web"]["refused"]) == (4, 2, 1)


def test_an_identifier_that_two_users_claim_is_given_to_neither(spark: SparkSession) -> None:
    text = DEFINITION.replace('  - {compartment_id: "9", user_account_id: {crm: id}}\n', "")
    at = shop.at("2026-01-01")
    planned = plan(
        spark,
        [(1, "same@x.org", "Lyon", at), (2, "other@x.org", None, at)],
        [("w1", "SAME@x.org", None, "vec:1", at), ("w2", None, None, "vec:2", at),
         ("w3", None, None, "vec:2", at), ("w4", None, None, None, at)],
        loader.parse_yaml(text),
    )  # fmt: skip
    assert set(lines_of(planned)) == {"2"}
    contested, missing = ["identifier_contested"], ["identifier_missing"]
    assert refused_of(planned) == [
        ("crm", "1", contested), ("web", "w1", contested), ("web", "w2", contested),
        ("web", "w3", contested), ("web", "w4", missing),
    ]  # fmt: skip
    counts = counts_of(planned)
    assert (counts["crm"]["refused"], counts["web"]["refused"]) == (1, 4)
    assert sum(count["users"] for count in counts.values()) == 1


def test_the_same_text_in_two_compartments_is_two_identifiers(spark: SparkSession) -> None:
    text = DEFINITION.replace("{email_hash: {crm: email, web: mail}}",
                              '{compartment_id: "8", user_account_id: {web: mail}}')  # fmt: skip
    at = shop.at("2026-01-01")
    planned = plan(spark, [(7, None, None, at)], [("w", "7", None, None, at)],
                   loader.parse_yaml(text))  # fmt: skip
    lines = lines_of(planned)
    assert {key: lines[key]["compartment_id"] for key in lines} == {"7": "9", "w": "8"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("hash: sha256", hashlib.sha256(b"ada@x.org").hexdigest()),
        ("hash: sha384", hashlib.sha384(b"ada@x.org").hexdigest()),
        ("hash: sha512", hashlib.sha512(b"ada@x.org").hexdigest()),
        ("hash: sha1", hashlib.sha1(b"ada@x.org").hexdigest()),
        ("hash: md5, normalise: [trim]", hashlib.md5(b"Ada@x.org").hexdigest()),
        ("hash: sha1, normalise: []", hashlib.sha1(b"\tAda@x.org ").hexdigest()),
        ("hash: none", "ada@x.org"),
    ],
)
def test_how_an_address_is_normalised_and_hashed_is_a_choice(
    spark: SparkSession, choice: str, expected: str
) -> None:
    from pyspark.sql import functions as F

    from spark_profiles.definition.model import Identifier
    from spark_profiles.rows import users

    given = loader.parse_yaml(
        DEFINITION.replace(
            "{email_hash: {crm: email, web: mail}}", f"{{email_hash: mail, {choice}}}"
        )
    ).identifiers[1]
    assert isinstance(given, Identifier)
    hashed = F.expr(users._identifier(given, "mail"))
    rows = spark.createDataFrame([("\tAda@x.org ",), ("  ",), (None,)], "mail string")
    assert [row[0] for row in rows.select(hashed).collect()] == [expected, None, None]


def test_keys_of_all_types_meet(spark: SparkSession) -> None:

    from spark_profiles.rows import keys

    for to, raw, expected in [
        ("string", [" 7\u00a0", "007", "\t", None, "7.0"], ["7", "007", None, None, "7.0"]),
        ("bigint", [7, -1, None], ["7", "-1", None]),
        ("double", [7.0, 7.5, 1e300, float("nan"), float("inf"), None], ["7"] + [None] * 5),
        ("decimal(38,2)", ["7.00", "7.50", "123456789012345678901234567890.00", None],
         ["7", None, "123456789012345678901234567890", None]),
    ]:  # fmt: skip
        rows = spark.createDataFrame(
            [(str(v) if v is not None else None,) for v in raw], "v string"
        )
        value = f"try_cast(v as {to})" if to != "string" else "v"
        found = rows.selectExpr(keys.text(value, rows.selectExpr(value).schema[0].dataType))
        found = found.collect()
        assert [row[0] for row in found] == expected, to


def test_users_may_come_from_events_whose_newest_row_is_their_own(spark: SparkSession) -> None:
    text = DEFINITION.replace("latest_by: [at desc]}\nusers: [crm, web]",
                              "row_id: [device, at]}\nusers: [crm, web]")  # fmt: skip
    text += "  visits: {from: web, count: true}\n"
    at = [shop.at(f"2026-01-0{n}") for n in range(1, 5)]
    planned = plan(
        spark,
        [(1, "a@x.org", None, at[0])],
        [("1", None, "Lyon", "d", at[1]), ("1", None, "Metz", "d", at[2]),
         ("w", "w@x.org", "Nice", "d", at[3]), ("w", "v@x.org", "Albi", "e", at[3]),
         ("w", "v@x.org", "Albi", "e", at[3])],
        loader.parse_yaml(text),
    )  # fmt: skip
    profiles = {key: line["user_profile"] for key, line in lines_of(planned).items()}
    assert profiles["1"]["city"] == "Metz"
    assert profiles["1"]["visits"] == 2
    assert profiles["w"]["city"] == "Albi"  # of equally new rows the greater row_id
    counts = counts_of(planned)["web"]
    assert (counts["rows"], counts["used"], counts["duplicate"], counts["users"]) == (5, 4, 1, 1)


def test_the_systems_timestamps_are_written_only_where_asked_for(spark: SparkSession) -> None:
    asked = DEFINITION.replace(
        "profile_keys: {user_account_id: {crm: id}}",
        "profile_keys: {user_account_id: {crm: id},\n"
        "  last_modified_ts: \"if(id = '2', null, at)\",\n"
        "  creation_ts: {crm: cast(id * 1000 as int), web: at}}",
    )
    early, late = shop.at("2026-01-01"), shop.at("2026-02-01")
    rows = [
        [(1, "a@x.org", None, early), (2, None, "Lyon", late)],
        [("w", None, None, "v:1", late)],
    ]
    lines = lines_of(plan(spark, *rows, loader.parse_yaml(asked)))
    january, february = 1_767_225_600_000, 1_769_904_000_000  # epoch milliseconds, midnight UTC
    assert [line["user_profile"] for line in lines.values() if "user_agent_id" in line] == [
        {"$last_modified_ts": february, "$creation_ts": february}
    ]
    assert [*lines["1"]["user_profile"].items()] == [
        ("$user_account_id", "1"), ("$last_modified_ts", january), ("$creation_ts", 1000),
        ("mail", "a@x.org"),
    ]  # fmt: skip
    assert lines["2"]["user_profile"] == {
        "$user_account_id": "2", "$creation_ts": 2000, "city": "Lyon", "newest_city": "Lyon",
    }  # fmt: skip
    plain = lines_of(plan(spark, *rows, loader.parse_yaml(DEFINITION)))
    assert all("_ts" not in json.dumps(line) for line in plain.values())


def test_a_timestamp_is_an_instant_of_the_users_own_row(spark: SparkSession) -> None:
    wrong = DEFINITION.replace(
        "{user_account_id: {crm: id}}\nsources",
        "{last_modified_ts: city, creation_ts: now()}\nsources",
    )
    with pytest.raises(DefinitionError, match=r"profile_keys.creation_ts: `now\(\)`"):
        loader.parse_yaml(wrong)
    with pytest.raises(DefinitionError, match=r"last_modified_ts: `city` is a string"):
        plan(spark, [], [], loader.parse_yaml(wrong.replace("now()", "at")))


def test_users_named_by_their_keys_are_counted_under_their_first_source(
    spark: SparkSession,
) -> None:
    definition = loader.parse_yaml("""
name: certain
time_zone: UTC
identifier: {user_account_id: {b: id, a: id}}
sources:
  a: {table: a, key: id, accept: {ok: ok}}
  b: {table: b, key: id, accept: {ok: ok}}
  events: {table: events, key: id}
users: [b, a]
profile: {visits: {from: events, count: true}}
""")
    rows = {
        "a": [("both", True), ("both", True), ("only a", True), ("refused in a", False)],
        "b": [("both", True), ("only b", True), ("refused in b", False), ("refused in a", True)],
        "events": [("both", True), ("only a", True), ("refused in b", True), ("nobody", True)],
    }
    tables = {n: spark.createDataFrame(r, "id string, ok boolean") for n, r in rows.items()}
    planned = pipeline.plan(spark, definition, as_of="2026-01-01", tables=tables)
    counts = counts_of(planned)
    names = ("used", "refused", "duplicate", "orphan", "users")
    assert {name: tuple(row[n] for n in names) for name, row in counts.items()} == {
        "a": (2, 1, 1, 0, 1),
        "b": (3, 1, 0, 0, 3),
        "events": (2, 0, 0, 2, 0),
    }
    keys = {row["profile_key"] for row in planned.profiles.collect()}
    assert keys == {"both", "only a", "only b", "refused in a"}
