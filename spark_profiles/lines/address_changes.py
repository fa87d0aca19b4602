"""Former profiles x delivered profiles, of the audit tables -> what differs at each address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit.schemas import CHANGED, GONE, NEW, SAME
from spark_profiles.lines import differences
from spark_profiles.lines.changes import OLD, left_name
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame


def at_addresses(delivered: DataFrame, wanted: DataFrame, *, as_of: datetime) -> DataFrame:
    """How the profile at each address differs, whosever it is; one row is an address.

    Arguments and columns as of `between`, for profiles that come from the audit tables: there a
    user may have profiles at several addresses.
    """
    old = {new: name for name, new in OLD.items()} | {"old_key": "profile_key"}
    before = delivered.select(*[F.col(name).alias(new) for new, name in old.items()])
    after = wanted.withColumn("is_wanted", F.lit(True))
    both = after.join(before, on=F.col("address") == F.col("old_address"), how="full")
    is_same = (F.col("payload_hash") == F.col("delivered_hash")) & (
        F.col("profile_key") == F.col("old_key")
    )
    change = (
        F.when(F.col("is_wanted").isNull(), GONE)
        .when(F.col("delivered_hash").isNull(), NEW)
        .when(is_same, SAME)
        .otherwise(CHANGED)
    )
    properties = differences.changed_properties(F.col("delivered_payload"), F.col("payload"))
    return both.select(
        F.coalesce("profile_key", "old_key").alias("profile_key"),
        change.alias("change"),
        F.when(change == GONE, columns.at(as_of)).alias("since"),
        *[F.coalesce(name, old).alias(name) for name, old in OLD.items()],
        "delivered_hash",
        F.when(change == CHANGED, properties).alias("properties"),
        F.lit(None).cast("timestamp").alias("left_since"),
        *[F.lit(None).cast("string").alias(n) for n in ("left_change", *map(left_name, OLD))],
    )
