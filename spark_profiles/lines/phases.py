"""Lines as decided for each user -> one line an address, in an order that cannot do harm.

The platform takes the files of a run in any order. So no two lines of a run name one address, and
where the order of two lines matters the second waits, in the second phase, until the first is
confirmed:

- An address that one user left and another has now gets the UPSERT of the new one only.
- A DELETE may remove more than its own profile where the platform holds two addresses for one:
  those of one user, of one user point, or of one account. An UPSERT at such an address waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_profiles.audit.schemas import (
    DELETE,
    FIRST_PHASE,
    REPLACED,
    SECOND_PHASE,
    UPSERT,
)
from spark_profiles.core import addresses

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def ordered(lines: DataFrame, *, replacing: str) -> DataFrame:
    """The lines with `phase`, and at most one at each address.

    Args:
        lines: profile_key, address, change, operation, strategy, patch and delivered_hash; one row
            is a profile that differs from its delivery.
        replacing: the strategy that leaves nothing of a former profile. An UPSERT that takes an
            address over has it: what is there is another user's.

    Returns:
        The same rows. At an address that another user has now, the row of the former one is
        `replaced`: nothing is sent, and the UPSERT has the delivered_hash of what was there.
    """
    keyed = lines.withColumns(_keys())
    # Laid out once for both questions about the identifier: an address is one of its addresses.
    alone = _one_an_address(keyed.repartition("sp_identifier"), replacing)
    for key in _keys():
        alone = alone.withColumn("sp_waits", F.col("sp_waits") | _has_delete(F.col(key)))
    waits = (F.col("operation") == UPSERT) & F.col("sp_waits")
    phase = F.when(waits, SECOND_PHASE).when(F.col("operation").isNotNull(), FIRST_PHASE)
    return alone.withColumn("phase", phase).drop(*_keys(), "sp_waits")


def keys() -> Column:
    """Array of the keys by which the platform may hold an address and another one for one."""
    return F.array(*_keys().values())


def _keys() -> dict[str, Column]:
    """The same, by name: each says what it is the key of, so that no two kinds are alike.

    An account is the same outside and inside a profile. Without any the key is the address, so
    that such rows do not meet in one task.
    """
    inside = F.concat(F.lit("account "), F.expr(addresses.account_sql("address")))
    outside = F.concat(F.lit("account "), F.expr(addresses.identifying_account_sql("address")))
    point = F.concat(F.lit("point "), F.expr(addresses.identifier_sql("address")))
    return {
        "sp_identifier": F.coalesce(outside, point),
        "sp_account": F.coalesce(inside, outside, F.concat(F.lit("address "), F.col("address"))),
        "sp_user": F.concat(F.lit("user "), F.col("profile_key")),
    }


def _one_an_address(lines: DataFrame, replacing: str) -> DataFrame:
    here = Window.partitionBy("sp_identifier", "address")
    is_upsert = F.coalesce(F.col("operation") == UPSERT, F.lit(False))
    is_replaced = ~is_upsert & F.max(is_upsert).over(here)
    others = F.max(F.when(~is_upsert, F.col("delivered_hash"))).over(here)
    takes_over = is_upsert & others.isNotNull()
    return lines.select(
        *[name for name in lines.columns if name not in _DECIDED],
        F.when(is_replaced, REPLACED).otherwise(F.col("change")).alias("change"),
        F.when(~is_replaced, F.col("operation")).alias("operation"),
        F.when(takes_over, replacing).otherwise(F.col("strategy")).alias("strategy"),
        F.when(~takes_over, F.col("patch")).alias("patch"),
        F.when(takes_over, others)
        .when(~is_replaced, F.col("delivered_hash"))
        .alias("delivered_hash"),
        F.lit(False).alias("sp_waits"),
    )


_DECIDED = ("change", "operation", "strategy", "patch", "delivered_hash")


def _has_delete(key: Column) -> Column:
    """Whether a DELETE of the run has the same key."""
    is_delete = F.coalesce(F.col("operation") == DELETE, F.lit(False))
    return F.max(is_delete).over(Window.partitionBy(key))


def unordered(lines: DataFrame) -> DataFrame:
    """The lines of a run before which nothing was delivered: nothing is deleted, none waits."""
    return lines.withColumn("phase", F.when(F.col("operation").isNotNull(), FIRST_PHASE))
