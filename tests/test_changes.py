"""What counts as changed: cases as a table, one job for all of them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import shop
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.audit import schemas, stats
from spark_profiles.lines import changes
from spark_profiles.lines.changes import Known, Policy

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

BASE = {"a": 1, "s": {"score": 0.50, "band": "x"}, "c": {"city": "Lyon"}}


def profiles(spark: SparkSession, payloads: dict[str, Any]) -> DataFrame:
    """Wanted or delivered profiles: the key is the case, the hash is the text itself."""
    rows = [
        ("n", key, f'{{"user_account_id":"{key}"}}', json.dumps(value), json.dumps(value), "r",
         address(key))
        for key, value in payloads.items()
        if value is not None
    ]  # fmt: skip
    return spark.createDataFrame(rows, schemas.DELIVERED)


def address(key: str) -> str:
    return f"{key}|user_account_id|||"


def found(
    spark: SparkSession,
    cases: dict[str, tuple[Any, Any]],
    policy: Policy = Policy(),  # noqa: B008
    **known: DataFrame,
) -> dict[str, str]:
    """Case -> what became of it, from what was delivered and what is wanted."""
    number = {key: str(place) for place, key in enumerate(cases)}
    told = []
    for whole_keys in (False, True):  # under its name, and under a number
        before, after = (
            profiles(spark, {key: pair[side] for key, pair in cases.items()}) for side in (0, 1)
        )
        frames = {"before": before, "after": after, **known}
        if whole_keys:
            frames = {name: numbered(frame, number) for name, frame in frames.items()}
            frames["after"] = frames["after"].withColumn(
                "sp_key", F.col("profile_key").cast("bigint")
            )
        between = changes.between(
            frames.pop("before"),
            frames.pop("after"),
            as_of=shop.at("2026-03-31"),
            policy=policy,
            known=Known(**frames),
            whole_keys=whole_keys,
        )
        rows = between.select("profile_key", "change").collect()
        told.append({row["profile_key"]: row["change"] for row in rows})
    of_names, of_numbers = told
    assert of_numbers == {number[key]: change for key, change in of_names.items()}
    return of_names


def numbered(frame: DataFrame, number: dict[str, str]) -> DataFrame:
    """The rows under the numbers of their keys, where they have any."""
    if "profile_key" not in frame.columns:
        return frame
    cases = " ".join(f"when '{key}' then '{to}'" for key, to in number.items())
    return frame.withColumn("profile_key", F.expr(f"case profile_key {cases} end"))


def but(**changed: Any) -> dict[str, Any]:
    return {**BASE, **changed}


def test_changed_properties_are_named(spark: SparkSession) -> None:
    cases = {
        "one": (BASE, but(a=2)),
        "two": (BASE, but(a=2, c={"city": "Köln"})),
        "vanished": (BASE, {"a": 1, "s": BASE["s"]}),
        "appeared": ({"a": 1}, BASE),
        "to null": (BASE, but(a=None)),
    }
    between = changes.between(
        profiles(spark, {key: before for key, (before, _) in cases.items()}),
        profiles(spark, {key: after for key, (_, after) in cases.items()}),
        as_of=shop.at("2026-03-31"),
    )
    assert {row["profile_key"]: row["properties"] for row in between.collect()} == {
        "one": ["a"], "two": ["a", "c"], "vanished": ["c"], "appeared": ["c", "s"],
        "to null": ["a"],
    }  # fmt: skip


def test_quiet_and_tolerated_properties_alone_send_nothing(spark: SparkSession) -> None:
    policy = Policy(quiet=("c.city",), tolerance={"s.score": Decimal("0.05")})
    cases = {
        "equal": (BASE, BASE),
        "quiet": (BASE, but(c={"city": "Köln"})),
        "quiet vanished": (BASE, but(c={})),
        "quiet with its section": (BASE, {"a": 1, "s": BASE["s"]}),
        "near": (BASE, but(s={"score": 0.55, "band": "x"})),
        "far": (BASE, but(s={"score": 0.551, "band": "x"})),
        "near, and another of the section": (BASE, but(s={"score": 0.51, "band": "y"})),
        "number vanished": (BASE, but(s={"band": "x"})),
        "number was missing": (but(s={"band": "x"}), BASE),
        "quiet and another": (BASE, but(a=2, c={"city": "Köln"})),
        "a removed property": (but(b=1), BASE),
        "new": (None, BASE),
        "gone": (BASE, None),
    }
    assert found(spark, cases, policy) == {
        "equal": "same",
        "quiet": "same",
        "quiet vanished": "same",
        "quiet with its section": "changed",
        "near": "same",
        "far": "changed",
        "near, and another of the section": "changed",
        "number vanished": "changed",
        "number was missing": "changed",
        "quiet and another": "changed",
        "a removed property": "changed",
        "new": "new",
        "gone": "gone",
    }


def test_what_was_rejected_asked_for_or_removed(spark: SparkSession) -> None:
    after = but(a=2)
    cases = dict.fromkeys(("twice", "thrice", "thrice, asked", "removed"), (BASE, after))
    cases |= {"same, asked": (BASE, BASE), "removed, never there": (None, BASE)}
    text = json.dumps(after)
    rejected = spark.createDataFrame(
        [
            (address(key), text, times, "UPSERT")
            for key, times in {"twice": 2, "thrice": 3, "thrice, asked": 3}.items()
        ],
        "address string, payload_hash string, times int, operation string",
    )

    def keys(*names: str) -> DataFrame:
        return spark.createDataFrame([(name,) for name in names], "profile_key string")

    # Neither is asked for less because a difference would be a quiet one.
    quiet = found(spark, {"removed": (BASE, BASE)}, Policy(quiet=("a",)), remove=keys("removed"))
    assert quiet == {"removed": "gone"}
    assert found(
        spark, cases, rejected=rejected, resend=keys("thrice, asked", "same, asked"),
        remove=keys("removed", "removed, never there"),
    ) == {
        "twice": "changed",
        "thrice": "held",
        "thrice, asked": "changed",
        "removed": "gone",
        "same, asked": "changed",
        "removed, never there": "held",
    }  # fmt: skip


def test_whole_numbers_meet_the_text_of_their_digits_and_no_other(spark: SparkSession) -> None:
    delivered = dict.fromkeys(["1", "007", "+8", " 9", "2.0", "", "-3", "x", str(2**63)], BASE)
    wanted = dict.fromkeys(["1", "7", "8", "9", "2", "-3", str(2**63 - 1)], BASE)
    rows = profiles(spark, wanted).withColumn("sp_key", F.col("profile_key").cast("bigint"))
    between = changes.between(
        profiles(spark, delivered), rows, as_of=shop.at("2026-03-31"), whole_keys=True
    )
    assert {row["profile_key"]: row["change"] for row in between.collect()} == {
        **dict.fromkeys(["1", "-3"], "same"),
        **dict.fromkeys(["7", "8", "9", "2", str(2**63 - 1)], "new"),
        **dict.fromkeys(["007", "+8", " 9", "2.0", "", "x", str(2**63)], "gone"),
    }


@pytest.mark.parametrize("whole_keys", [False, True])
def test_nothing_was_ever_delivered_is_the_same_as_an_empty_table(
    spark: SparkSession, *, whole_keys: bool
) -> None:
    keys = [str(number) for number in range(8)]
    rows = (
        profiles(spark, dict.fromkeys(keys, BASE))
        .withColumn("sp_key", F.col("profile_key").cast("bigint"))
        .withColumn("is_unusable", F.col("profile_key").isin("6", "7"))
    )
    for name in ("payload", "payload_hash", "identifier", "address"):
        rows = rows.withColumn(name, F.when(~F.col("is_unusable"), F.col(name)))
    rejected = [(address(key), json.dumps(BASE), 3, "UPSERT") for key in ("1", "2", "6")]
    known = Known(
        rejected=spark.createDataFrame(
            rejected, "address string, payload_hash string, times int, operation string"
        ),
        resend=spark.createDataFrame([("2",), ("3",)], "profile_key string"),
        remove=spark.createDataFrame([("4",), ("7",)], "profile_key string"),
    )

    def told(delivered: DataFrame | None, policy: Policy) -> list[dict[str, Any]]:
        between = changes.between(
            delivered, rows, as_of=shop.at("2026-03-31"), policy=policy, known=known,
            with_base=True, with_unusable=True, whole_keys=whole_keys,
        )  # fmt: skip
        return [row.asDict() for row in between.orderBy("profile_key").collect()]

    empty = spark.createDataFrame([], schemas.DELIVERED)
    quiet = Policy(quiet=("c",), tolerance={"a": Decimal(1)})
    for policy in (Policy(), Policy(resend_all=True), quiet):
        assert told(None, policy) == told(empty, policy)
    assert {row["profile_key"]: row["change"] for row in told(None, Policy())} == {
        "0": "new", "1": "held", "2": "new", "3": "new", "4": "held", "5": "new",
    }  # fmt: skip


@pytest.mark.jvm
def test_comparing_scans_each_side_once_and_moves_only_what_was_delivered(
    spark: SparkSession, tmp_path: Path
) -> None:
    for name in ("delivered", "wanted"):
        profiles(spark, {"a": BASE, "b": BASE}).write.parquet(str(tmp_path / name))
    delivered, wanted = (
        spark.read.parquet(str(tmp_path / name)) for name in ("delivered", "wanted")
    )
    laid_out = wanted.repartition(2, "profile_key")  # as aggregation leaves it
    between = changes.between(delivered, laid_out, as_of=shop.at("2026-03-31"))
    plan = between._jdf.queryExecution().executedPlan().toString()
    assert plan.count("FileScan") == 2
    assert plan.count("ENSURE_REQUIREMENTS") == 1
    assert plan.count("Exchange ") == 2


@pytest.mark.parametrize("is_first", [True, False])
def test_of_many_profiles_a_part_is_measured_the_same_every_day(
    spark: SparkSession, *, is_first: bool
) -> None:
    rows = [(f"c{n}", "UPSERT", '{"a": 1}') for n in range(400)]
    lines = spark.createDataFrame(rows, "address string, operation string, payload string")
    none = None if is_first else spark.createDataFrame([], schemas.DELIVERED)
    shape = T.StructType([T.StructField("a", T.IntegerType())])

    def looked_at(total: int) -> int:
        return stats.measured(lines, none, shape, total=total).collect()[0]["n"]

    assert looked_at(19_999) == 400
    assert 150 < looked_at(20_000) < 250
    assert 10 < looked_at(160_000) == looked_at(10**9) < 45
