"""PySpark as people write it: a groupBy per source, joins, write.text.

Usage: with_pyspark.py DATA OUTPUT HEAP [HOW]. HOW is `laid-out`: every source is laid out once by its
key and sorted, so that aggregates stream and joins move nothing; or `sail`: as written, on Sail.
"""

from __future__ import annotations

import sys

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

WINDOWS = {
    "30d": "1998-07-04",
    "90d": "1998-05-05",
    "365d": "1997-08-03",
    "730d": "1996-08-03",
    "lifetime": "0001-01-01",
}
PRIORITIES = {
    "urgent": "1-URGENT",
    "high": "2-HIGH",
    "medium": "3-MEDIUM",
    "unspecified": "4-NOT SPECIFIED",
    "low": "5-LOW",
}
AS_OF = "1998-08-03"

PARTS = 8
"""Of a layout; at scale factor 5, 4 took as long and 32 a tenth longer."""

data, output, heap = sys.argv[1:4]
how = sys.argv[4] if sys.argv[4:] else "as-written"
if how not in ("as-written", "laid-out", "sail"):
    raise SystemExit(__doc__)

if how == "sail":
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(port=0)
    server.start(background=True)
    address = f"sc://localhost:{server.listening_address[1]}"
    spark = SparkSession.builder.remote(address).getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
else:
    spark = (
        SparkSession.builder.appName("profiles")
        .master("local[*]")
        .config("spark.driver.memory", heap)
        .config("spark.driver.extraJavaOptions", "-XX:+UseParallelGC")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.log.level", "ERROR")
        # Without it aggregates make nothing of a layout.
        .config("spark.sql.execution.replaceHashWithSortAgg", str(how == "laid-out").lower())
        .getOrCreate()
    )


def source(name: str, key: str) -> DataFrame:
    """The rows of a source, its key as `c_custkey`."""
    rows = spark.read.parquet(f"{data}/{name}").withColumnRenamed(key, "c_custkey")
    if how == "laid-out":
        rows = rows.repartition(PARTS, "c_custkey").sortWithinPartitions("c_custkey")
    return rows


def inside(value: Column, start: str) -> Column:
    """The value where the order lies in the window."""
    return F.when(F.col("o_orderdate") >= F.lit(start).cast("date"), value)


def newest(keys: list[str], k: int, **fields: str) -> Column:
    """The last k rows as records: sorted descending by the keys, which are then dropped."""
    row = F.struct(*keys, *[F.expr(sql).alias(f"f_{name}") for name, sql in fields.items()])
    rows = F.slice(F.sort_array(F.collect_list(row), asc=False), 1, k)
    return F.transform(rows, lambda r: F.struct(*[r[f"f_{n}"].alias(n) for n in fields]))


price = F.col("o_totalprice")
orders = (
    source("orders", "o_custkey")
    .where(F.col("o_orderdate") < AS_OF)
    .groupBy("c_custkey")
    .agg(
        *[F.count(inside(F.lit(1), start)).alias(f"count_{w}") for w, start in WINDOWS.items()],
        *[F.sum(inside(price, start)).alias(f"amount_{w}") for w, start in WINDOWS.items()],
        *[F.max(inside(price, start)).alias(f"largest_{w}") for w, start in WINDOWS.items()],
        *[
            F.count(F.when(F.col("o_orderpriority") == text, 1)).alias(name)
            for name, text in PRIORITIES.items()
        ],
        newest(
            ["o_orderdate", "o_orderkey"],
            3,
            id="o_orderkey",
            date="o_orderdate",
            amount="o_totalprice",
            status="o_orderstatus",
            clerk="o_clerk",
        ).alias("last"),
    )
)
scores = (
    source("scores", "c_custkey")
    .where(F.col("scored_at") < AS_OF)
    .groupBy("c_custkey")
    .agg(
        newest(
            ["scored_at", "model"], 4, model="model", score="score", at="unix_millis(scored_at)"
        ).alias("scores")
    )
)
newsletters = (
    source("newsletters", "c_custkey")
    .where(F.col("updated_at") < AS_OF)
    .groupBy("c_custkey")
    .agg(
        newest(
            ["updated_at", "newsletter"],
            2,
            name="newsletter",
            subscribed="subscribed",
            frequency="frequency",
            at="unix_millis(updated_at)",
        ).alias("newsletters")
    )
)
customers = source("customer", "c_custkey")
rows = (
    customers.join(orders, "c_custkey", "left")
    .join(scores, "c_custkey", "left")
    .join(newsletters, "c_custkey", "left")
)


def windowed(measure: str) -> Column:
    """The measure over each window, as an object."""
    return F.struct(*[F.col(f"{measure}_{w}").alias(w) for w in WINDOWS])


account = F.col("c_custkey").cast("string")
# Sail's JSON drops the minus of decimals between -1 and 0; no other value here is negative.
balance = F.col("c_acctbal").cast("double" if how == "sail" else "decimal(15,2)")
zero = [f"count_{w}" for w in WINDOWS] + list(PRIORITIES)
profile = F.struct(
    F.lit(1606).alias("$compartment_id"),
    account.alias("$user_account_id"),
    F.col("c_name").alias("name"),
    F.col("c_address").alias("address"),
    F.col("c_phone").alias("phone"),
    F.col("c_nationkey").alias("nation"),
    F.col("c_mktsegment").alias("segment"),
    balance.alias("balance"),
    F.col("c_comment").alias("about"),
    F.struct(
        windowed("count").alias("count"),
        windowed("amount").alias("amount"),
        windowed("largest").alias("largest"),
        F.col("last"),
        F.struct(*PRIORITIES).alias("by_priority"),
    ).alias("orders"),
    F.col("scores"),
    F.col("newsletters"),
)
line = F.struct(
    F.lit("UPSERT").alias("operation"),
    F.lit("1606").alias("compartment_id"),
    account.alias("user_account_id"),
    F.lit("FORCE_REPLACE").alias("update_strategy"),
    profile.alias("user_profile"),
)
rows.fillna(0, zero).select(F.to_json(line)).write.text(output)
spark.stop()
