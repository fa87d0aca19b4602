"""From raw rows to lines: what a row becomes, where it goes, and that nothing is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import shop
from pyspark.sql import functions as F

from spark_profiles.errors import DefinitionError, SourceError
from spark_profiles.lines import changes, commands
from spark_profiles.planning import pipeline

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.planning.pipeline import Plan


def plan(spark: SparkSession, customers: DataFrame, purchases: DataFrame, **options: Any) -> Plan:
    tables = {"customers": customers, "purchases": purchases}
    return pipeline.plan(
        spark, options.pop("definition", shop.definition()), as_of=shop.AS_OF, tables=tables,
        **options,
    )  # fmt: skip


def lines_of(planned: Plan) -> dict[str, dict[str, Any]]:
    rows = planned.lines.select("profile_key", commands.text().alias("line")).collect()
    return {row["profile_key"]: json.loads(row["line"]) for row in rows}


def counts_of(planned: Plan) -> dict[str, dict[str, int]]:
    rows = [row.asDict() for row in planned.counts.drop("newest").collect()]
    return {row.pop("source"): row for row in rows}


def test_a_source_without_rows_is_counted(spark: SparkSession) -> None:
    planned = plan(spark, shop.customers(spark), shop.purchases(spark))
    parts = ["rows", "used", "refused", "duplicate", "orphan", "after_as_of", "users"]
    nothing = dict.fromkeys(parts, 0)
    assert counts_of(planned) == {"customers": nothing, "purchases": nothing}


def test_a_line_has_the_shape_of_the_definition(spark: SparkSession) -> None:
    planned = plan(
        spark,
        shop.customers(spark, {}, {"customer_id": " c2 ", "email": "", "first_name": None}),
        shop.purchases(
            spark,
            {"purchase_id": 1, "amount": "10.00"},
            {"purchase_id": 2, "amount": "0.05", "purchased_at": shop.at("2026-01-15")},
            {"purchase_id": 3, "amount": "20.00", "category": "film"},
        ),
    )
    assert lines_of(planned) == {
        "c1": {
            "operation": "UPSERT",
            "compartment_id": "1606",
            "user_account_id": "c1",
            "update_strategy": "FORCE_REPLACE",
            "user_profile": {
                "$compartment_id": 1606,
                "$user_account_id": "c1",
                "firstname": "Ada",
                "contact": {"email": "ada@example.org"},
                "purchases": {
                    "count": {"30d": 2, "lifetime": 3},
                    "amount": {"30d": 30.00, "lifetime": 30.05},
                    "average": 10.02,  # 30.05 / 3 = 10.016…
                    "ratio": 10.02,
                    "smallest": 0.05,
                    "categories": 2,
                    "favourites": ["film", "book"],
                    "first": "book",
                    "last": [{"id": 3, "amount": 20.00}, {"id": 1, "amount": 10.00}],
                },
            },
        },
        "c2": {
            "operation": "UPSERT",
            "compartment_id": "1606",
            "user_account_id": "c2",
            "update_strategy": "FORCE_REPLACE",
            "user_profile": {
                "$compartment_id": 1606,
                "$user_account_id": "c2",
                "purchases": {"count": {"30d": 0, "lifetime": 0}, "categories": 0},
            },
        },
    }


def test_without_row_id_the_fields_decide_between_rows_of_one_time(spark: SparkSession) -> None:
    """The larger first, what is not known last, whatever order the rows come in."""
    rows = [
        {"purchase_id": n, "category": category, "amount": amount}
        for n, (category, amount) in enumerate(
            [("film", None), (None, "9.00"), ("film", "2.00"), ("book", "8.00"), (None, None)]
        )
    ]
    newer = {"purchase_id": 9, "category": None, "amount": "1.00",
             "purchased_at": shop.at("2026-03-30")}  # fmt: skip
    changed = {
        "    row_id: [purchase_id]\n": "",
        "latest: 2, fields: {id: purchase_id, amount: amount}": (
            "latest: 5, fields: {category: category, amount: amount, id: purchase_id}"
        ),
    }
    definition = shop.definition(**changed)
    bought = shop.purchases(spark, *rows[::2], newer, *rows[1::2])
    lines = lines_of(plan(spark, shop.customers(spark, {}), bought, definition=definition))
    records = lines["c1"]["user_profile"]["purchases"]["last"]
    assert [record["id"] for record in records] == [9, 2, 0, 3, 1]


def test_every_row_goes_somewhere_and_is_counted_there(spark: SparkSession) -> None:
    planned = plan(
        spark,
        shop.customers(
            spark,
            {},
            {"updated_at": shop.at("2025-12-01")},  # an older state of c1
            {"customer_id": None},
            {"customer_id": "  "},
            {"customer_id": "c3", "updated_at": shop.at("2026-03-31")},  # as-of itself is late
            {"customer_id": "c4", "updated_at": None},
        ),
        shop.purchases(
            spark,
            {},
            {},  # delivered twice
            {"purchase_id": 2, "customer_id": "unknown"},
            {"purchase_id": 3, "amount": "n/a"},
            {"purchase_id": 4, "amount": None},  # unknown is not unreadable
            {"purchase_id": 5, "purchased_at": shop.at("2026-04-01")},
            {"purchase_id": 6, "customer_id": None, "amount": "n/a"},
        ),
    )
    assert counts_of(planned) == {
        "customers": {
            "rows": 6, "used": 1, "refused": 3, "duplicate": 1, "orphan": 0, "after_as_of": 1,
            "users": 1,
        },
        "purchases": {
            "rows": 7, "used": 2, "refused": 2, "duplicate": 1, "orphan": 1, "after_as_of": 1,
            "users": 0,
        },
    }  # fmt: skip
    refused = [(r["source"], r["key"], r["reasons"]) for r in planned.refused.collect()]
    assert sorted(refused, key=str) == [
        ("customers", "c4", ["time_missing_or_unreadable"]),
        ("customers", None, ["key_missing"]),
        ("customers", None, ["key_missing"]),
        ("purchases", "c1", ["amount_not_decimal(10,2)"]),
        ("purchases", None, ["amount_not_decimal(10,2)", "key_missing"]),
    ]
    rows = [json.loads(r["row"]) for r in planned.refused.where("key = 'c1'").collect()]
    assert rows[0]["amount"] == "n/a"  # the row as it came, not as it was read


def test_a_key_is_read_as_it_came_whatever_type_its_column_is_declared_with(
    spark: SparkSession,
) -> None:
    """Although the identifier, the same words, is asked of the declared type."""
    customers = shop.customers(
        spark, {"customer_id": "007"}, {"customer_id": "8"}, {"customer_id": "abc"}
    )
    purchases = shop.purchases(spark, {"customer_id": "7"}, {"customer_id": "8", "purchase_id": 2})
    planned = plan(
        spark,
        customers,
        purchases.withColumn("customer_id", F.col("customer_id").cast("bigint")),
        definition=shop.definition(
            **{"table: customers": "table: customers\n    types: {customer_id: bigint}"}
        ),
    )
    assert {row["profile_key"] for row in planned.wanted.collect()} == {"007", "8"}
    refused = [(row["key"], row["reasons"]) for row in planned.refused.collect()]
    assert refused == [("abc", ["customer_id_not_bigint"])]
    used = {name: counts["used"] for name, counts in counts_of(planned).items()}
    assert used == {"customers": 2, "purchases": 1}


@pytest.mark.parametrize("to", ["tinyint", "int", "bigint", "string"])
def test_whole_numbers_as_keys_change_nothing(spark: SparkSession, to: str) -> None:
    customers = shop.customers(
        spark, *[{"customer_id": key} for key in ("7", "-8", None)], {"customer_id": "9"}
    )
    rows = [
        {"purchase_id": n, "customer_id": key}
        for n, key in enumerate(["7", "7", "-8", "127", None])
    ]
    typed = [
        frame.withColumn("customer_id", F.col("customer_id").cast(to))
        for frame in (customers, shop.purchases(spark, *rows))
    ]
    whole = plan(spark, *typed)
    lines = lines_of(whole)
    assert set(lines) == {"7", "-8", "9"}
    found = {key: lines[key]["user_profile"].get("purchases", {}).get("count") for key in lines}
    assert found["7"] == {"30d": 2, "lifetime": 2}
    assert found["-8"] == {"30d": 1, "lifetime": 1}
    assert {name: counts["orphan"] for name, counts in counts_of(whole).items()} == {
        "customers": 0, "purchases": 1,
    }  # fmt: skip
    refused = [(r["source"], r["key"], r["reasons"]) for r in whole.refused.collect()]
    assert sorted(refused) == [
        ("customers", None, ["key_missing"]),
        ("purchases", None, ["key_missing"]),
    ]


def test_an_accept_rule_refuses_by_its_name_and_null_is_not_accepted(spark: SparkSession) -> None:
    rule = (
        "latest_by: [updated_at desc, row_id desc]\n    accept: {has_email: \"email like '%@%'\"}"
    )
    planned = plan(
        spark,
        shop.customers(
            spark, {}, {"customer_id": "c2", "email": None}, {"customer_id": "c3", "email": "x"}
        ),
        shop.purchases(spark, {}),
        definition=shop.definition(**{"latest_by: [updated_at desc, row_id desc]": rule}),
    )
    assert set(lines_of(planned)) == {"c1"}
    refused = {r["key"]: r["reasons"] for r in planned.refused.collect()}
    assert refused == {"c2": ["has_email"], "c3": ["has_email"]}


@pytest.mark.parametrize("partitions", [1, 3, 7])
def test_lines_do_not_depend_on_order_or_partitions(spark: SparkSession, partitions: int) -> None:
    rows = [
        {"purchase_id": n % 40, "customer_id": f"c{n % 7}", "amount": f"{n % 11}.{n % 10}0",
         "category": "abc"[n % 3], "purchased_at": shop.at(f"2026-03-{1 + n % 28:02d}")}
        for n in range(120)
    ]  # fmt: skip
    people = [
        {"customer_id": f"c{n % 7}", "first_name": f"name {n}", "row_id": n % 2} for n in range(21)
    ]

    def lines(step: int) -> list[str]:
        planned = plan(
            spark,
            shop.customers(spark, *people[::step]).repartition(partitions),
            shop.purchases(spark, *rows[::step]).repartition(partitions),
        )
        return sorted(
            r["line"] for r in planned.lines.select(commands.text().alias("line")).collect()
        )

    assert lines(1) == lines(-1)
    assert len(lines(1)) == 7


def test_a_deliverable_user_needs_an_identifier(spark: SparkSession) -> None:
    by_email = shop.definition(
        **{'{compartment_id: "1606", user_account_id: customer_id}': "{email_hash: email}"}
    )
    planned = plan(
        spark,
        shop.customers(spark, {"email": " Ada@Example.org "}, {"customer_id": "c2", "email": " "}),
        shop.purchases(spark, {}),
        definition=by_email,
    )
    # printf 'ada@example.org' | sha256sum
    assert lines_of(planned)["c1"]["email_hash"] == (
        "cfe00dde46ef942601ffafb9e2825e802858b460e586b8305b344c1eb826357d"
    )
    assert counts_of(planned)["customers"]["refused"] == 1


def test_what_was_delivered_is_not_sent_again_and_what_is_gone_is_deleted(
    spark: SparkSession,
) -> None:
    people = [{"customer_id": f"c{n}"} for n in range(3)]
    first = plan(spark, shop.customers(spark, *people), shop.purchases(spark, {}))
    delivered = spark.createDataFrame(first.wanted.collect(), first.wanted.schema)
    second = plan(
        spark,
        shop.customers(spark, {"customer_id": "c0", "first_name": "Eve"}, *people[1:2],
                       {"customer_id": "c9"}),
        shop.purchases(spark, {}),
        known=changes.Known(delivered=delivered),
    )  # fmt: skip
    became = {r["profile_key"]: r["change"] for r in second.changes.collect()}
    assert became == {"c0": "changed", "c1": "same", "c2": "gone", "c9": "new"}
    sent = lines_of(second)
    assert set(sent) == {"c0", "c2", "c9"}
    assert sent["c2"] == {
        "operation": "DELETE",
        "compartment_id": "1606",
        "user_account_id": "c2",
        "user_profile": {"$compartment_id": 1606, "$user_account_id": "c2"},
    }


RULES = (
    "latest_by: [updated_at desc, row_id desc]\n"
    "    accept:\n"
    "      has_name: first_name is not null\n"
    "      is_ours: {condition: row_id > 0, severity: exclude}"
)
OURS, NOT_OURS, NAMELESS = {"first_name": "Eve"}, {"row_id": 0}, {"first_name": None}
LATE = {"updated_at": shop.at("2026-04-01")}
STANDING: dict[str, tuple[list[dict[str, Any]], str]] = {
    "accepted": ([OURS], "changed"),
    "gone": ([], "gone"),
    "refused": ([NAMELESS], "unusable"),
    "late": ([LATE], "unusable"),
    "excluded": ([NOT_OURS], "gone"),
    "excluded, and refused": ([{**NOT_OURS, **NAMELESS}], "unusable"),
    "excluded, and late": ([{**NOT_OURS, **LATE}], "gone"),
    "a newer one refused": ([OURS, {**NAMELESS, "updated_at": shop.at("2026-02-01")}], "changed"),
    "one excluded, one refused": ([NOT_OURS, NAMELESS], "unusable"),
    "no key": ([{"customer_id": None}], "gone"),
}
"""A delivered user -> the rows of today, and what becomes of the profile."""


@pytest.mark.parametrize("row_id", [False, True], ids=["one row a user", "many rows a user"])
def test_refused_is_not_gone(spark: SparkSession, row_id: bool) -> None:
    rules = RULES.replace("latest_by: [updated_at desc, row_id desc]", "row_id: [updated_at]")
    definition = shop.definition(
        **{"latest_by: [updated_at desc, row_id desc]": rules if row_id else RULES}
    )
    nobody = shop.purchases(spark, {})
    first = plan(spark, shop.customers(spark, *[{"customer_id": key} for key in STANDING]), nobody)
    delivered = spark.createDataFrame(first.wanted.collect(), first.wanted.schema)
    today = [{"customer_id": k, **row} for k, (rows, _) in STANDING.items() for row in rows]
    today.append({"customer_id": "never delivered", **NAMELESS})
    second = plan(
        spark, shop.customers(spark, *today), nobody, definition=definition,
        known=changes.Known(delivered=delivered),
    )  # fmt: skip
    rows = {row["profile_key"]: row for row in second.changes.collect()}
    assert {key: row["change"] for key, row in rows.items()} == {
        key: change for key, (_, change) in STANDING.items()
    }
    before = {row["profile_key"]: row["payload"] for row in delivered.collect()}
    for key, row in rows.items():
        if row["change"] == "unusable":
            assert (row["payload"], row["delivered_hash"] is None) == (before[key], False)
    assert {row["profile_key"] for row in second.wanted.collect()} == {
        key for key, (_, change) in STANDING.items() if change == "changed"
    }
    sent = {row["profile_key"]: row["operation"] for row in second.lines.collect()}
    assert {key for key, operation in sent.items() if operation == "DELETE"} == {
        key for key, (_, change) in STANDING.items() if change == "gone"
    }


def test_who_shares_an_identifier_stays_as_delivered(spark: SparkSession) -> None:
    by_email = shop.definition(
        **{'{compartment_id: "1606", user_account_id: customer_id}': "{email_hash: email}"}
    )
    people = [{"customer_id": f"c{n}", "email": f"{n}@x"} for n in range(4)]
    nobody = shop.purchases(spark, {})
    first = plan(spark, shop.customers(spark, *people), nobody, definition=by_email)
    delivered = spark.createDataFrame(first.wanted.collect(), first.wanted.schema)
    today = [
        people[0],
        {"customer_id": "c1", "email": "0@x"},  # contested, with c0
        {"customer_id": "c2", "email": ""},  # without identifier
        {"customer_id": "c3", "email": "3@x", "updated_at": None},  # refused: claims nothing
        {"customer_id": "c4", "email": "3@x"},
    ]
    second = plan(
        spark, shop.customers(spark, *today), nobody, definition=by_email,
        known=changes.Known(delivered=delivered),
    )  # fmt: skip
    assert {row["profile_key"]: row["change"] for row in second.changes.collect()} == {
        "c0": "unusable", "c1": "unusable", "c2": "unusable", "c3": "unusable", "c4": "new",
    }  # fmt: skip
    refused = {row["key"]: row["reasons"] for row in second.refused.collect()}
    assert refused == {
        "c0": ["identifier_contested"], "c1": ["identifier_contested"],
        "c2": ["identifier_missing"], "c3": ["time_missing_or_unreadable"],
    }  # fmt: skip
    assert counts_of(second)["customers"]["users"] == 1


def test_wrong_expressions_are_all_named_with_their_place(spark: SparkSession) -> None:
    wrong = shop.definition(**{
        "value: first_name": "value: frist_name", "sum: amount": "sum: amuont",
    })  # fmt: skip
    with pytest.raises(DefinitionError) as caught:
        plan(spark, shop.customers(spark, {}), shop.purchases(spark, {}), definition=wrong)
    assert "profile.purchases.amount.sum" in str(caught.value)


def test_missing_tables_are_all_named(spark: SparkSession) -> None:
    with pytest.raises(SourceError) as caught:
        pipeline.plan(spark, shop.definition(), as_of=shop.AS_OF)
    assert [problem.where for problem in caught.value.problems] == [
        "sources.customers",
        "sources.purchases",
    ]
    assert caught.value.exit_code == 4


@pytest.mark.jvm
def test_the_plan_has_one_scan_and_one_exchange_a_source_whatever_the_windows(
    spark: SparkSession, tmp_path: Any
) -> None:
    shop.customers(spark, {}).write.parquet(str(tmp_path / "customers"))
    shop.purchases(spark, {}).write.parquet(str(tmp_path / "purchases"))
    tables = [spark.read.parquet(str(tmp_path / name)) for name in ("customers", "purchases")]
    many = ", ".join(f"{days}d" for days in range(1, 20))
    for windows in ("lifetime", f"lifetime, {many}"):
        planned = plan(spark, *tables, definition=shop.definition(**{"30d, lifetime": windows}))
        text = planned.wanted._jdf.queryExecution().executedPlan().toString()
        assert (text.count("FileScan"), text.count("Exchange hashpartitioning")) == (2, 2)


def test_decimals_keep_their_sign_and_their_digits(spark: SparkSession) -> None:
    amounts = ("-0.37", "0.00", "-1.50")
    rows = [{"purchase_id": n, "amount": amount} for n, amount in enumerate(amounts)]
    planned = plan(spark, shop.customers(spark, {}), shop.purchases(spark, *rows))
    payload = planned.wanted.collect()[0]["payload"]
    assert '"smallest":-1.50' in payload
    assert '"last":[{"id":2,"amount":-1.50},{"id":1,"amount":0.00}]' in payload
    assert '"average":-0.62' in payload


def test_defaults_of_another_kind_than_their_values_are_all_named(spark: SparkSession) -> None:
    wrong = shop.definition(**{
        "sum: amount": "sum: amount, default: none",
        "first: category": "first: category, default: 0",
        "value: first_name": "value: first_name, default: true",
    })  # fmt: skip
    with pytest.raises(DefinitionError) as caught:
        plan(spark, shop.customers(spark, {}), shop.purchases(spark, {}), definition=wrong)
    assert [(p.where.split(" ")[-1], p.expected) for p in caught.value.problems] == [
        ("profile.firstname.default", "text"),
        ("profile.purchases.amount.default", "a number"),
        ("profile.purchases.first.default", "text"),
    ]
