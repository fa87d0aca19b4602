"""Who gets which values: every mix of answers, against a twin in plain Python."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import shop
import yaml

from spark_profiles.definition import json_schema, loader
from spark_profiles.errors import DefinitionError
from spark_profiles.lines import changes
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DEFINITION = """
name: shop
time_zone: UTC
identifier: {user_account_id: customer_id}
sources:
  customers: {table: customers, key: customer_id}
  consents: {table: consents, key: customer_id, time: at, row_id: [n]}
  visits: {table: visits, key: customer_id, time: at, row_id: [n]}
users: customers
consents:
  newsletter: {value: opt_in}
  ads: {from: consents, last: granted, where: "purpose = 'ads'", max_age: 90d}
  study: {derive: "consented.study and visits.count > 1"}
profile:
  name: {value: name}
  consented: {study: {from: consents, any: granted, where: "purpose = 'study'"}}
  contact:
    purpose: newsletter
    email: {value: email, nulls: write}
    points: {from: visits, sum: points, default: 0}
  visits:
    count: {from: visits, count: true}
    segment: {from: visits, sum: points, tiles: 2, purpose: ads}
    shared: {from: visits, max: points, windows: [30d, lifetime], purpose: [newsletter, ads]}
    studied: {from: visits, min: points, purpose: study}
  twice: {derive: contact.points * 2, purpose: newsletter}
"""
ANSWERS = (True, False, None)
Row = dict[str, Any]


def people() -> list[Row]:
    """Every mix of the three answers, with and without an address, with 0 to 3 visits."""
    mixes = enumerate(product(ANSWERS, ANSWERS, ANSWERS))
    return [
        {
            "id": f"c{n:02d}",
            "newsletter": newsletter,
            "ads": ads,
            "study": study,
            "email": None if n % 4 == 1 else f"c{n}@example.org",
            # Who does not consent to ads has more, so that ranks show whether they took part.
            "points": [10 * n + k + (0 if ads else 500) for k in range(n % 4)],
        }
        for n, (newsletter, ads, study) in mixes
    ]


def tables(spark: SparkSession, persons: list[Row]) -> dict[str, Any]:
    """The sources: of `ads` also an older answer, the opposite; and one too old to count."""
    answers = []
    for n, person in enumerate(persons):
        if person["ads"] is not None:
            answers.append((3 * n, person["id"], "ads", person["ads"], shop.at("2026-03-20")))
            answers.append(
                (3 * n + 1, person["id"], "ads", not person["ads"], shop.at("2026-02-20"))
            )
        else:
            answers.append((3 * n, person["id"], "ads", True, shop.at("2025-02-20")))
        if person["study"] is not None:
            answers.append(
                (3 * n + 2, person["id"], "study", person["study"], shop.at("2025-01-01"))
            )
    visits = [
        (10 * n + k, person["id"], points, shop.at("2026-03-15" if k else "2026-01-15"))
        for n, person in enumerate(persons)
        for k, points in enumerate(person["points"])
    ]
    customers = [(p["id"], f"Name {p['id']}", p["email"], p["newsletter"]) for p in persons]
    return {
        "customers": spark.createDataFrame(
            customers, "customer_id string, name string, email string, opt_in boolean"
        ),
        "consents": spark.createDataFrame(
            answers, "n int, customer_id string, purpose string, granted boolean, at timestamp"
        ),
        "visits": spark.createDataFrame(
            visits, "n int, customer_id string, points int, at timestamp"
        ),
    }


def answers(person: Row) -> Row:
    """The twin: what each purpose is told."""
    study = person["study"] and len(person["points"]) > 1
    if person["study"] is None and len(person["points"]) <= 1:
        study = False  # unknown and false is false
    return {"newsletter": person["newsletter"], "ads": person["ads"], "study": study}


def profile(person: Row, steps: dict[str, int]) -> Row:
    """The twin: what the person gets."""
    told, points = answers(person), person["points"]
    newsletter, ads, study = (told[purpose] is True for purpose in ("newsletter", "ads", "study"))
    made: Row = {"name": f"Name {person['id']}"}
    if person["study"] is not None:
        made["consented"] = {"study": person["study"]}
    if newsletter:
        made["contact"] = {"email": person["email"], "points": sum(points)}
    made["visits"] = {"count": len(points)}
    if ads and points:
        made["visits"]["segment"] = steps[person["id"]]
    if newsletter and ads and points:
        recent = {"30d": max(points[1:])} if points[1:] else {}
        made["visits"]["shared"] = {**recent, "lifetime": max(points)}
    if study and points:
        made["visits"]["studied"] = min(points)
    if newsletter and points:
        made["twice"] = 2 * sum(points)
    return made


def steps(persons: list[Row]) -> dict[str, int]:
    """The twin: halves of those who have points and consented to ads, and of nobody else."""
    ranked = {p["id"]: sum(p["points"]) for p in persons if p["ads"] is True and p["points"]}
    return {
        key: 2 * sum(other < total for other in ranked.values()) // len(ranked) + 1
        for key, total in ranked.items()
    }


def test_only_who_consented_gets_a_value(spark: SparkSession) -> None:
    definition, persons = loader.parse_yaml(DEFINITION), people()
    planned = pipeline.plan(spark, definition, as_of=shop.AS_OF, tables=tables(spark, persons))
    payloads = {r["profile_key"]: json.loads(r["payload"]) for r in planned.wanted.collect()}
    of_everybody = steps(persons)
    assert payloads == {person["id"]: profile(person, of_everybody) for person in persons}
    assert planned.consents is not None
    told = {row["profile_key"]: row.asDict() for row in planned.consents.collect()}
    assert told == {p["id"]: {"profile_key": p["id"], **answers(p)} for p in persons}


WRONG = {
    "a purpose that nobody can consent to": (
        "purpose: study}", "purpose: studies}", "profile.visits.studied.purpose"
    ),
    "a derived value without the purpose of what it names": (
        "contact.points * 2, purpose: newsletter", "contact.points * 2", "profile.twice.derive"
    ),
    "a default, which makes yes of unknown": (
        "{value: opt_in}", "{value: opt_in, default: true}", "consents.newsletter.default"
    ),
    "a consent that waits for a rank": (
        "visits.count > 1", "visits.segment > 1", "consents.study.derive"
    ),
    "a strategy that leaves on the platform what was there": (
        "users: customers", "users: customers\ndelivery: {strategy: PARTIAL_UPDATE}",
        "delivery.strategy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_ways_round_a_consent_are_refused(what: str) -> None:
    old, new, place = WRONG[what]
    assert old in DEFINITION
    with pytest.raises(DefinitionError) as caught:
        loader.parse_yaml(DEFINITION.replace(old, new))
    assert [problem.where.split(" ")[1] for problem in caught.value.problems] == [place]


def test_what_is_no_yes_and_no_is_refused(spark: SparkSession) -> None:
    definition = loader.parse_yaml(DEFINITION.replace("{value: opt_in}", "{value: email}"))
    with pytest.raises(DefinitionError, match=r"consents\.newsletter: a value of type string"):
        pipeline.plan(spark, definition, as_of=shop.AS_OF, tables=tables(spark, people()[:1]))


def test_nobody_is_quiet_about_a_withdrawn_consent(spark: SparkSession) -> None:
    for quiet in ("contact", "contact.email", "visits"):
        with pytest.raises(DefinitionError, match=f"quiet {quiet}: "):
            pipeline.plan(
                spark, loader.parse_yaml(DEFINITION), as_of=shop.AS_OF,
                policy=changes.Policy(quiet=(quiet,)),
            )  # fmt: skip


def test_editors_know_consents_and_purposes() -> None:
    validator = jsonschema.Draft202012Validator(json_schema.schema())
    validator.validate(yaml.safe_load(DEFINITION))
    for old, new in (("purpose: newsletter\n", "purpose: {a: b}\n"), ("{value: opt_in}", "yes")):
        assert not validator.is_valid(yaml.safe_load(DEFINITION.replace(old, new)))


def test_a_section_hands_its_purpose_down() -> None:
    on_each = (
        DEFINITION.replace("    purpose: newsletter\n", "")
        .replace("nulls: write}", "nulls: write, purpose: newsletter}")
        .replace("default: 0}", "default: 0, purpose: [newsletter]}")
    )
    one, other = loader.parse_yaml(DEFINITION), loader.parse_yaml(on_each)
    assert one.definition_hash == other.definition_hash
    without = loader.parse_yaml(DEFINITION.replace("    purpose: newsletter\n", "").replace(
        ", purpose: newsletter}", "}"))  # fmt: skip
    assert one.definition_hash != without.definition_hash
