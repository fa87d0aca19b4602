"""A definition with more than twenty mistakes: one error that lists them all, shown in the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spark_profiles.definition import loader
from spark_profiles.errors import DefinitionError
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WRONG = Path(__file__).with_name("wrong.yaml")
DOCUMENT = Path(__file__).parent.parent / "docs" / "definition.md"
CUSTOMERS = (
    "customer_id string, updated_at timestamp, first_name string, last_name string, email string,"
    " birth_date date, city string, points int"
)
PURCHASES = "purchase_id int, customer_id string, purchased_at timestamp, amount string"


def told(spark: SparkSession) -> str:
    """The error as a person reads it, in the folder of the definition."""
    tables = {
        "customers": spark.createDataFrame([], CUSTOMERS),
        "purchases": spark.createDataFrame([], PURCHASES),
    }
    with pytest.raises(DefinitionError) as caught:
        pipeline.validate(spark, loader.draft(WRONG), tables=tables)
    return str(caught.value).replace(str(WRONG), WRONG.name)


def rewrite(text: str) -> None:
    """Put the message into the document, as the last of its blocks."""
    document = DOCUMENT.read_text("utf-8")
    before, _, _ = document.rpartition("```text\n")
    DOCUMENT.write_text(f"{before}```text\n{text}\n```\n", "utf-8")


def test_all_mistakes_come_in_one_error_with_line_and_remedy_as_documented(
    spark: SparkSession, request: pytest.FixtureRequest
) -> None:
    text = told(spark)
    problems = text.split("\n  - ")[1:]
    assert len(problems) >= 20
    lines = [int(match[1]) for p in problems if (match := re.match(r"wrong\.yaml:(\d+) ", p))]
    assert len(lines) == len(problems)  # each with its line, in the order of the file
    assert lines == sorted(lines)
    assert [p for p in problems if "\n      -> " not in p] == []  # and each with what to do
    # Each line of the file that is marked as wrong is named, and no other.
    marked = [n for n, line in enumerate(WRONG.read_text().splitlines(), 1) if "# !" in line]
    assert sorted(set(lines)) == marked
    if request.config.getoption("--write-docs"):
        rewrite(text)
    blocks = re.findall(r"```(?:yaml|text)\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert WRONG.read_text("utf-8") in blocks
    assert f"{text}\n" in blocks, f"docs/definition.md is old; it should show\n{text}"


def test_a_right_definition_passes_and_is_the_one_that_is_loaded(spark: SparkSession) -> None:
    import shop

    draft = loader.checked(shop.definition())
    tables = {"customers": shop.customers(spark, {}), "purchases": shop.purchases(spark, {})}
    assert pipeline.validate(spark, draft, tables=tables) == shop.definition()


LATE = """
name: late
time_zone: UTC
identifier: {user_account_id: customer_id}
sources:
  customers: {table: customers, key: customer_id, latest_by: [updated_at desc]}
  purchases: {table: purchases, key: customer_id, row_id: [purchase_id], time: purchased_at}
  visits: {table: visits, key: customer_id}
users: customers
profile:
  right: {value: points}
  wrong_column: {value: nothing}
  wrong_sum: {from: purchases, sum: amount}
  wrong_measure: {from: purchases, top: amount, by: sum(amount)}
  follows: {derive: wrong_sum + 1}
  follows_too: {derive: follows + 1}
  wrong_ranks: {from: purchases, last: amount, tiles: 5}
  wrong_derived: {derive: right and true}
  wrong_band: {value: first_name, bands: {low: 0}}
  within: {wrong_default: {value: points, default: none}}
"""


def test_what_only_later_stages_find_is_told_with_the_rest(spark: SparkSession) -> None:
    """And nothing that only follows from it; a source that is missing as well."""
    draft = loader.Draft(loader.parse_yaml(LATE), ())
    tables = {
        "customers": spark.createDataFrame([], CUSTOMERS),
        "purchases": spark.createDataFrame([], PURCHASES),
    }
    with pytest.raises(DefinitionError) as caught:
        pipeline.validate(spark, draft, tables=tables)
    wheres = [problem.where.split(" ")[1] for problem in caught.value.problems]
    assert wheres == [
        "sources.visits",
        "profile.wrong_column.value",
        "profile.wrong_sum.sum",
        "profile.wrong_measure.by",
        "profile.wrong_ranks.tiles",
        "profile.wrong_derived.derive",
        "profile.wrong_band.bands",
        "profile.within.wrong_default.default",
    ]


def test_a_column_whose_name_is_an_expression_is_asked_for_as_one(spark: SparkSession) -> None:
    text = LATE[: LATE.index("  right")].replace(
        "  visits: {table: visits, key: customer_id}\n", ""
    )
    draft = loader.Draft(loader.parse_yaml(text + "  mail: {value: e-mail}\n"), ())
    tables = {
        "customers": spark.createDataFrame([], f"{CUSTOMERS}, `e-mail` string"),
        "purchases": spark.createDataFrame([], PURCHASES),
    }
    with pytest.raises(DefinitionError, match="no column 'e'"):
        pipeline.validate(spark, draft, tables=tables)
