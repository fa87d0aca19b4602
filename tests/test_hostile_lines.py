"""Profiles with everything that breaks lines: each line is one, fits the contract, round-trips."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from pyspark.sql import functions as F

from spark_profiles import commands, contract, schemas
from spark_profiles.delivery import MEMBERS, Delivery

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = (Path(contract.__file__).parent / "json_schemas" / "command.schema.json").read_text()
DEPTH = 20  # Spark Connect reads no plan that is much deeper
TEXTS = [
    'quote " backslash \\ slash / apostrophe \'',
    "emoji 😀👩‍👩‍👧 flags 🇫🇷 combining e\u0301",
    "lines \n \r \r\n \u0085 \u2028 \u2029 \v \f",
    "controls " + "".join(map(chr, range(0x20))) + "\x7f",
    "nul \x00 end", "bidi \u202e\u2066 zero\u200bwidth \ufeff",
    "}{][,:\":\"user_profile\":{", "\\u0000 \\n \\", "$compartment_id", "", " ", "null",
    "x" * 1_000_000, "😀" * 250_000,
]  # fmt: skip


def deep(depth: int) -> str:
    """The type of a struct in a struct in a struct, …"""
    return f"struct<d: {deep(depth - 1)}>" if depth else "string"


def nested(depth: int, text: str) -> Any:
    return (nested(depth - 1, text),) if depth else text


NUMBERS = [2**63 - 1, -(2**63), 0, 1, -1]
BIG = [Decimal(2**63), Decimal(10) ** 37, Decimal(-(2**64))]
SMALL = [Decimal("1E-18"), Decimal("0E-18"), Decimal("-1234567.000000000000000001")]
PROFILE = (
    f"t string, n bigint, big decimal(38,0), small decimal(38,18), flags array<boolean>,"
    f" nothing array<string>, texts array<string>, objects array<struct<a: bigint, b: string>>,"
    f" `a.b c'd` string, deep {deep(DEPTH)}"
)


@pytest.fixture(scope="module")
def wanted() -> dict[str, dict[str, Any]]:
    """Key -> the profile, as plain Python values."""
    found = {}
    for n, text in enumerate(TEXTS):
        found[f"k{n} {text[:20]}"] = {
            "t": text,
            "n": NUMBERS[n % len(NUMBERS)],
            "big": BIG[n % len(BIG)],
            "small": SMALL[n % len(SMALL)],
            "flags": [True, False][: n % 3],
            "nothing": [],
            "texts": [text[:100], "", text[:1]],
            "objects": [{"a": n, "b": text[:50]}],
            "a.b c'd": text[:10],
            "deep": text[:5],
        }
    return found


def profiles(spark: SparkSession, wanted: dict[str, dict[str, Any]]) -> DataFrame:
    rows = []
    for key, value in wanted.items():
        members = [*value.values()]
        members[7] = [(item["a"], item["b"]) for item in value["objects"]]
        members[9] = nested(DEPTH, value["deep"])
        rows.append((key, ("6", key), (7, key, *members)))
    return spark.createDataFrame(
        rows,
        "sp_key string, identifier struct<compartment_id: string, user_account_id: string>,"
        f" user_profile struct<`$compartment_id`: bigint, `$user_account_id`: string, {PROFILE}>",
    )


def expected(key: str, value: dict[str, Any]) -> dict[str, Any]:
    innermost: Any = value["deep"]
    for _ in range(DEPTH):
        innermost = {"d": innermost}
    return {"$compartment_id": 7, "$user_account_id": key, **value, "deep": innermost}


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA))


@pytest.mark.jvm  # Sail 0.7.2 writes long decimals as doubles
def test_hostile_profiles_round_trip(
    spark: SparkSession, wanted: dict[str, dict[str, Any]], validator: Any
) -> None:
    made = profiles(spark, wanted).withColumn("payload", F.to_json("user_profile"))
    texts = commands.payloads(made)
    as_lines = texts.select(
        F.col("profile_key"),
        F.lit("UPSERT").alias("operation"),
        F.lit("FORCE_REPLACE").alias("strategy"),
        "identifier",
        "payload",
    )
    lines = {
        row["profile_key"]: row["line"]
        for row in as_lines.select("profile_key", commands.text().alias("line")).collect()
    }
    assert lines.keys() == wanted.keys()
    for key, text in lines.items():
        assert "\n" not in text
        parsed = contract.command(text.encode())
        exact = json.loads(text, parse_float=Decimal)
        assert validator.is_valid(json.loads(text))
        assert parsed["compartment_id"] == "6"  # outside text, inside a number, and another one
        assert exact["user_profile"] == expected(key, wanted[key])
        assert exact["user_account_id"] == key


def test_every_strategy_and_a_delete_fit_the_contract(spark: SparkSession, validator: Any) -> None:
    for name, members in MEMBERS.items():
        text = '{"operation":"UPSERT","email_hash":"e",' + members + ',"user_profile":{"a":1}}'
        contract.command(text.encode())
        assert validator.is_valid(json.loads(text)), name
    payload = '{"$compartment_id":7,"$user_account_id":"u","a":[]}'
    gone = spark.createDataFrame(
        [("k", "gone", '{"email_hash":"e"}', payload)],
        "profile_key string, change string, identifier string, payload string",
    ).withColumns({"payload_hash": F.lit("h"), "delivered_hash": F.lit("h"),
                   "properties": F.lit(None), "since": F.lit(None)})  # fmt: skip
    (row,) = commands.lines(gone).select(commands.text().alias("line"), "bytes").collect()
    assert contract.command(row["line"].encode()) == {
        "operation": "DELETE",
        "email_hash": "e",
        "user_profile": {"$compartment_id": 7, "$user_account_id": "u"},
    }
    assert row["bytes"] == len(row["line"]) + 1
    new = gone.withColumn("change", F.lit(schemas.NEW))
    (row,) = (
        commands.lines(new, Delivery(strategy="legacy_merge")).select(commands.text()).collect()
    )
    assert row[0].startswith('{"operation":"UPSERT","email_hash":"e","force_replace":false,')
