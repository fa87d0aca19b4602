"""Profiles with everything that breaks lines: each line is one, fits the contract, round-trips."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile
import jsonschema
import pytest
from pyspark.sql import functions as F

from spark_profiles.audit import schemas
from spark_profiles.definition import loader
from spark_profiles.definition.delivery import MEMBERS, Delivery
from spark_profiles.demo import tables
from spark_profiles.files import contract
from spark_profiles.lines import commands
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EXAMPLE = Path(__file__).parents[1] / "examples" / "cdnow" / "profiles.yaml"
SCHEMA = (Path(contract.__file__).parent / "json_schemas" / "command.schema.json").read_text()


@pytest.fixture(scope="module")
def wanted() -> dict[str, dict[str, Any]]:
    """Key -> the profile, as plain Python values."""
    return hostile.wanted()


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA))


@pytest.mark.jvm  # Sail 0.7.2 writes long decimals as doubles
def test_hostile_profiles_round_trip(
    spark: SparkSession, wanted: dict[str, dict[str, Any]], validator: Any
) -> None:
    made = hostile.profiles(spark, wanted).withColumn("payload", F.to_json("user_profile"))
    texts = commands.payloads(made)
    as_lines = texts.select(
        F.col("profile_key"),
        F.lit("UPSERT").alias("operation"),
        F.lit("FORCE_REPLACE").alias("strategy"),
        "identifier",
        "payload",
        F.lit(None).cast("string").alias("patch"),
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
        assert exact["user_profile"] == hostile.expected(key, wanted[key])
        assert exact["user_account_id"] == key


def test_every_strategy_and_a_delete_fit_the_contract(spark: SparkSession, validator: Any) -> None:
    for name, members in MEMBERS.items():
        text = '{"operation":"UPSERT","email_hash":"e",' + members + ',"user_profile":{"a":1}}'
        contract.command(text.encode())
        assert validator.is_valid(json.loads(text)), name
    payload = '{"$compartment_id":7,"$user_account_id":"u","a":[]}'
    gone = spark.createDataFrame(
        [("k", "gone", '{"email_hash":"e"}', payload, "e|email_hash||7|u")],
        "profile_key string, change string, identifier string, payload string, address string",
    ).withColumns({"payload_hash": F.lit("h"), "delivered_hash": F.lit("h"),
                   "properties": F.lit(None), "since": F.lit(None)})  # fmt: skip
    lines = commands.lines(gone, is_first=True)
    (row,) = lines.select(commands.text().alias("line"), "bytes").collect()
    assert contract.command(row["line"].encode()) == {
        "operation": "DELETE",
        "email_hash": "e",
        "user_profile": {"$compartment_id": 7, "$user_account_id": "u"},
    }
    assert row["bytes"] == len(row["line"]) + 1
    new = gone.withColumn("change", F.lit(schemas.NEW))
    (row,) = (
        commands.lines(new, Delivery(strategy="legacy_merge"), is_first=True)
        .select(commands.text())
        .collect()
    )
    assert row[0].startswith('{"operation":"UPSERT","email_hash":"e","force_replace":false,')


@pytest.mark.large
def test_every_line_of_the_example_fits_the_contract_and_round_trips(
    spark: SparkSession, tmp_path: Path, validator: Any
) -> None:
    """24,000 lines, against the values of the profiles as Spark's rows hold them."""
    tables.write_tables(tmp_path, as_of=date(1998, 4, 1))
    definition = loader.load_definition(EXAMPLE)
    plan = pipeline.plan(spark, definition, as_of="1998-04-01", data=str(tmp_path))
    wanted = {
        row["profile_key"]: known(row["user_profile"].asDict(recursive=True))
        for row in plan.profiles.select("profile_key", "user_profile").collect()
    }
    lines = plan.lines.select("profile_key", commands.text().alias("line")).collect()
    assert len(lines) == len(wanted) > 20_000
    for row in lines:
        contract.command(row["line"].encode())
        assert validator.is_valid(json.loads(row["line"]))
        exact = json.loads(row["line"], parse_float=Decimal)
        assert exact["user_profile"] == wanted[row["profile_key"]]


def known(value: Any) -> Any:
    """The value without members that are null, at any depth."""
    if isinstance(value, dict):
        return {name: known(member) for name, member in value.items() if member is not None}
    return [known(item) for item in value] if isinstance(value, list) else value
