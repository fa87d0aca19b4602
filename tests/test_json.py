"""JSON that is spelt value by value means what is in the values."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.profiles import shapes
from spark_profiles.profiles.shapes import Leaf, Object
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TEXTS = [
    "", "plain", '"', "\\", "a\"b\\c", "/", "\n", "\t", "\r\n", "\b\f", "\x01\x1f", "\x7f", "é",
    "\u2028",
    "😀", "{}", "null", "$1", "'", "it's", "\\u0041", "\ufeff", "%s", "\x00",
]  # fmt: skip
ITEM = T.StructType(
    [
        T.StructField("text", T.StringType()),
        T.StructField('na"me é', T.DecimalType(9, 2)),
        T.StructField("inner", T.StructType([T.StructField("x", T.BooleanType())])),
    ]
)
VALUE = T.StructType(
    [
        T.StructField("n", T.LongType()),
        T.StructField("items", T.ArrayType(ITEM)),
        T.StructField("words", T.ArrayType(T.StringType())),
    ]
)


def known(value: Any) -> Any:
    """The value without unknown members; in a list they stay."""
    if isinstance(value, dict):
        return {name: known(member) for name, member in value.items() if member is not None}
    return [known(item) for item in value] if isinstance(value, list) else value


def items(text: str) -> list[dict[str, Any] | None]:
    return [
        {"text": text, 'na"me é': Decimal("-0.10"), "inner": {"x": True}},
        {"text": None, 'na"me é': None, "inner": None},
        None,
        {"text": text, 'na"me é': Decimal("0.00"), "inner": {"x": None}},
    ]


def test_values_are_read_back(spark: SparkSession) -> None:
    wanted: list[dict[str, Any] | None] = [
        {"n": -(2**63), "items": items(text), "words": [text, None, text]} for text in TEXTS
    ]
    wanted += [{"n": None, "items": [], "words": None}, None]
    frame = spark.createDataFrame(
        [(number, value) for number, value in enumerate(wanted)],
        T.StructType([T.StructField("id", T.LongType()), T.StructField("v", VALUE)]),
    )
    rows = frame.select("id", F.expr(columns.json("v", VALUE)).alias("json")).collect()
    found = {row["id"]: row["json"] for row in rows}
    for number, value in enumerate(wanted):
        text = found[number]
        read = None if text is None else json.loads(text, parse_float=Decimal)
        assert read == known(value), text


def test_an_object_leaves_out_what_is_unknown_and_keeps_what_it_is_told_to(
    spark: SparkSession,
) -> None:
    shape = Object(
        {
            "a": Leaf("a"),
            "b": Leaf("b", writes_null=True, gate="may"),
            "none": Object({"c": Leaf("c")}),
            "empty": Object({"c": Leaf("c")}, keeps_empty=True),
        }
    )
    types = {"a": T.StringType(), "b": T.IntegerType(), "c": T.NullType()}
    rows = spark.createDataFrame(
        [(1, "x", 7, True), (2, None, None, True), (3, None, 7, False)],
        "id int, a string, b int, may boolean",
    ).withColumn("c", F.lit(None))
    found = rows.select("id", F.expr(shapes.spelt(shape, types)).alias("json")).collect()
    assert {row["id"]: row["json"] for row in found} == {
        1: '{"a":"x","b":7,"empty":{}}',
        2: '{"b":null,"empty":{}}',
        3: '{"empty":{}}',
    }
    whole = F.expr(shapes.spelt(Object({"a": Leaf("a")}), types)).alias("json")
    assert [row["json"] for row in rows.orderBy("id").select(whole).collect()] == [
        '{"a":"x"}', None, None,
    ]  # fmt: skip
