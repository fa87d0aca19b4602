"""The datamart's schema: what of it concerns profiles, and what does not fit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import shop
from pyspark.sql import types as T
from test_run import PEOPLE, Shop
from test_run import a_shop as a_shop  # noqa: PLC0414  a fixture

from spark_profiles import cli
from spark_profiles.audit.guard import Acceptance
from spark_profiles.audit.states import RunStatus
from spark_profiles.definition.loader import Draft
from spark_profiles.errors import DefinitionError, GuardError, PlatformError, SparkProfilesError
from spark_profiles.planning import pipeline, sdl, sdl_fit
from spark_profiles.running import recording

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

SCHEMA = """
###### as the platform shows it
type UserPoint @TreeIndexRoot(index:"USER_INDEX") { id: ID! profiles: [Profile!]! }
type Profile {
  id: ID!
  compartment_id: String! @ReferenceTable(type:"CORE_OBJECT", model_type:"COMPARTMENTS")
  user_account_id: String
  creation_ts: Timestamp!
  last_modified_ts: Timestamp!
  creation_date: Date! @Function(name:"ISODate", params:["creation_ts"])
  name: String @Property(path:"firstname") @TreeIndex(index:"USER_INDEX")
  visits: Int
  score: Float
  seen: Timestamp
  born: Date
  is_vip: Boolean
  level: Level
  city: String! @Property(path:"contact.address.city")
  email: String! @Property(paths:["mail", "contact.email"])
  orders: [Order!]!
  unknown_scalar: Something
  best: Order
}
type Order { amount: Float! tags: [String] item: String @Property(path:"$item") count: Int }
enum Level { GOLD SILVER }
"""
ORDER = {"amount": "decimal(10,2)", "tags": ["string"], "$item": "string", "count": "long"}
FITS: dict[str, Any] = {
    "$compartment_id": "long", "$user_account_id": "string", "$creation_ts": "long",
    "firstname": "string", "visits": "long", "score": "decimal(9,2)", "seen": "long",
    "born": "string", "is_vip": "boolean", "level": "string",
    "contact": {"address": {"city": "string"}, "email": "string"}, "mail": "string",
    "orders": [ORDER], "unknown_scalar": "boolean", "best": ORDER,
}  # fmt: skip


def typed(shape: Any) -> Any:
    """A type of Spark: a mapping is a struct, a list an array."""
    if isinstance(shape, dict):
        return T.StructType([T.StructField(name, typed(to)) for name, to in shape.items()])
    if isinstance(shape, list):
        return T.ArrayType(typed(shape[0]))
    return T._parse_datatype_json_value(shape)


def problems(shape: dict[str, Any]) -> dict[str, str]:
    """Place -> what is wrong with it."""
    try:
        sdl_fit.check(sdl.parse(SCHEMA), typed(shape))
    except DefinitionError as error:
        return {problem.where: problem.found for problem in error.problems}
    return {}


def test_a_profile_that_fits_and_what_only_data_can_tell() -> None:
    asked = sdl_fit.check(sdl.parse(SCHEMA), typed(FITS))
    assert {(one.place, one.limit) for one in asked} == {
        ("contact.address.city", "String!"), ("mail", "String!"), ("visits", "Int"),
        ("orders", "[Order!]!"), ("orders[]", "Order!"), ("orders[].amount", "Float!"),
        ("orders[].count", "Int"), ("best.amount", "Float!"), ("best.count", "Int"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "where", "found"),
    [
        ("visits", "decimal(9,2)", "visits", "type decimal(9,2)"),
        ("visits", "string", "visits", "type string"),
        ("score", "string", "score", "type string"),
        ("seen", "string", "seen", "type string"),
        ("born", "long", "born", "type bigint"),
        ("is_vip", "long", "is_vip", "type bigint"),
        ("level", "long", "level", "type bigint"),
        ("first_name", "string", "first_name", "not in the datamart"),
        ("name", "string", "name", "not in the datamart"),  # it is found under another path
        ("contact", {"address": {"city": "string"}, "mail": "string"}, "contact.mail", "not in"),
        ("contact", {"address": {"town": "string"}}, "contact.address.city", "missing"),
        ("orders", "string", "orders", "type string"),
        ("orders", ["string"], "orders[]", "type string"),
        ("orders", [{"count": "integer"}], "orders[].amount", "missing"),
        ("best", {"amount": "string"}, "best.amount", "type string"),
    ],
)
def test_what_does_not_fit(name: str, shape: Any, where: str, found: str) -> None:
    assert found in problems({**FITS, name: shape})[f"profile.{where}"]


def test_all_is_told_at_once_with_the_nearest_name() -> None:
    with pytest.raises(DefinitionError) as told:
        sdl_fit.check(
            sdl.parse(SCHEMA), typed({"vists": "long", "level": "long", "mail": "string"})
        )
    text = str(told.value)
    for part in (
        "did you mean visits?", "profile.level", "profile.orders: missing",
        "profile.contact.address.city: missing", "leaves the whole object out",
    ):  # fmt: skip
        assert part in text


def test_a_schema_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DefinitionError, match=r"schema:2: .*Expected Name"):
        sdl.parse("type A {\n }")
    with pytest.raises(DefinitionError, match="no profiles"):
        sdl.parse("type A { a: Int }")
    assert sdl.parse("type UserProfile { a: Int }").profile == "UserProfile"
    with pytest.raises(DefinitionError, match="cannot be read"):
        sdl.read(tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "graphql", None)
    with pytest.raises(PlatformError, match=r"spark-profiles\[schema\]"):
        sdl.parse(SCHEMA)


def test_counts_over_lines(spark: SparkSession) -> None:
    """One profile that fits, and one for each way not to."""
    good = (
        '{"visits":2147483647,"contact":{"address":{"city":"x"},"email":"e"},"orders":[],'
        '"best":{"amount":1.00}}'
    )
    order = '"orders":[{"amount":1.00},'
    cases = {
        "visits": [good.replace("2147483647", "2147483648"), good.replace(":2", ":-9")],
        "contact.address.city": [good.replace('"city":"x"', ""), good.replace("contact", "c")],
        "mail": [good.replace('"email"', '"other"'), good.replace("contact", "c")],
        "orders": [good.replace("orders", "o")],
        "orders[]": [good.replace('"orders":[', f"{order}null").replace("null]", "null]")],
        "orders[].amount": [good.replace('"orders":[', order + '{"tags":[]}')],
        "orders[].count": [good.replace('"orders":[', order + '{"amount":1,"count":99999999999}')],
        "best.amount": [good.replace('{"amount":1.00}', "{}")],
    }
    texts = {text for several in cases.values() for text in several}
    rows = [("UPSERT", text) for text in sorted(texts)]
    rows += [("UPSERT", good), ("UPSERT", good.replace(',"best":{"amount":1.00}', "")),
             ("DELETE", "{}"), (None, "{}")]  # fmt: skip
    lines = spark.createDataFrame(rows, "operation string, payload string")
    shape = typed(FITS)
    trips = recording.unfit(lines, shape, sdl_fit.check(sdl.parse(SCHEMA), shape))
    found = {trip.name.removeprefix("schema:"): trip.found.split(" ")[0] for trip in trips}
    assert found == {place: str(len(several)) for place, several in cases.items()}
    assert all(f"of {len(texts) + 2} profiles" in trip.found for trip in trips)


SHOP = """
type UserProfile {
  firstname: String!
  contact: Contact
  purchases: Purchases
}
type Contact { email: String! }
type Purchases {
  count: Windows @Property(path:"count") amount: Windows average: Float ratio: Float smallest: Float
  categories: Int favourites: [String!] first: String last: [Order!]
}
type Windows { d30: Float @Property(path:"30d") lifetime: Float }
type Order { id: Int amount: Float! }
"""


@pytest.mark.sail
def test_a_run_stops_before_anything_is_sent(a_shop: Shop) -> None:
    from dataclasses import replace

    people = [{**PEOPLE[0], "first_name": None}, *PEOPLE[1:]]
    a_shop.job = replace(a_shop.job, schema=sdl.parse(SHOP))
    with pytest.raises(GuardError, match="schema:firstname: 1 of 8 profiles lack it"):
        a_shop.run(people)
    assert a_shop.emulator.store.executions() == []
    assert [row["status"] for row in a_shop.table("runs")] == ["tripped"]
    done = a_shop.run(people, accepted=Acceptance(("schema:firstname",), why="no index needed"))
    assert (done.status, done.lines) == (RunStatus.CONFIRMED, 8)
    a_shop.job = replace(a_shop.job, schema=sdl.parse(SHOP.replace("categories: Int", "")))
    with pytest.raises(DefinitionError, match=r"profile.purchases.categories: not in the datamart"):
        a_shop.run(people)
    assert len(a_shop.table("runs")) == 2


def test_validate_looks_at_the_schema(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables: dict[str, Any] = {
        "customers": shop.customers(spark, {}), "purchases": shop.purchases(spark, {}),
    }  # fmt: skip
    draft = Draft(shop.definition(), ())
    good, wrong = sdl.parse(SHOP), sdl.parse(SHOP.replace("first: String", "first: Int"))
    assert pipeline.validate(spark, draft, tables=tables, schema=good).name == "shop"
    with pytest.raises(SparkProfilesError, match=r"purchases\.first: a value of type string"):
        pipeline.validate(spark, draft, tables=tables, schema=wrong)
    (tmp_path / "shop.yaml").write_text(shop.DEFINITION)
    asked = ["validate", str(tmp_path / "shop.yaml"), "--schema", str(tmp_path / "s.graphql")]
    assert cli.guarded(cli.app, asked) == 3
    assert "no --data" in capsys.readouterr().err
