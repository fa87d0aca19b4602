"""Wanted profiles x delivered profiles -> what became new, changed, gone or stayed the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.schemas import CHANGED, GONE, NEW, SAME

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def between(delivered: DataFrame, wanted: DataFrame) -> DataFrame:
    """How each profile differs from its last confirmed delivery; one row is a profile.

    Args:
        delivered: profile_key, identifier, payload, payload_hash; one row per profile_key.
        wanted: the same columns; one row per profile_key.

    Returns:
        profile_key, change (new, changed, gone or same), identifier, payload and payload_hash as
        wanted (of a gone profile: as delivered). A profile whose identifier changed is changed.
    """
    before = delivered.select(
        "profile_key",
        F.col("identifier").alias("old_identifier"),
        F.col("payload").alias("old_payload"),
        F.col("payload_hash").alias("old_hash"),
    )
    both = wanted.join(before, on="profile_key", how="full")
    is_same = (F.col("payload_hash") == F.col("old_hash")) & (
        F.col("identifier") == F.col("old_identifier")
    )
    change = (
        F.when(F.col("payload_hash").isNull(), GONE)
        .when(F.col("old_hash").isNull(), NEW)
        .when(is_same, SAME)
        .otherwise(CHANGED)
    )
    return both.select(
        "profile_key",
        change.alias("change"),
        F.coalesce("identifier", "old_identifier").alias("identifier"),
        F.coalesce("payload", "old_payload").alias("payload"),
        F.coalesce("payload_hash", "old_hash").alias("payload_hash"),
    )
