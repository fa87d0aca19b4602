"""What engines differ in, and that the values do not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import shop

from spark_profiles import pipeline

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_decimals_keep_their_sign(spark: SparkSession) -> None:
    """Sail's own `to_json` writes a decimal of -0.72 as 0.72."""
    plan = pipeline.plan(
        spark,
        shop.definition(),
        as_of=shop.AS_OF,
        tables={
            "customers": shop.customers(spark, {}),
            "purchases": shop.purchases(
                spark, {"amount": "-0.72"}, {"purchase_id": 2, "amount": "0.01"}
            ),
        },
    )
    found = json.loads(plan.wanted.collect()[0]["payload"])["purchases"]
    assert found["amount"] == {"30d": -0.71, "lifetime": -0.71}
    assert found["smallest"] == -0.72
    assert [record["amount"] for record in found["last"]] == [0.01, -0.72]
