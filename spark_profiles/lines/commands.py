"""Changes -> import commands: the lines of the files, one JSON object each, UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit import places
from spark_profiles.audit.schemas import (
    DELETE,
    DELETED,
    FORCE_REPLACE,
    REPLACED,
    RESENT,
    SAME,
    SECOND_PHASE,
    UPSERT,
    UPSERTED,
)
from spark_profiles.definition.delivery import MEMBERS, MINIMAL, Delivery, replacing_strategy
from spark_profiles.lines import phases

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def payloads(profiles: DataFrame) -> DataFrame:
    """Profiles as they would be delivered; one row is a user.

    Args:
        profiles: sp_key, sp_refusal, sp_address, identifier (struct) and payload, the profile as
            JSON text.

    Returns:
        sp_key, profile_key (its text), is_unusable (whether the user was refused: then all that
        follows is null), identifier as JSON text, address (see `core.addresses`), payload,
        payload_hash (SHA-256 of the payload).
    """
    is_usable = F.col("sp_refusal").isNull()
    texts = profiles.select(
        "sp_key",
        F.col("sp_key").cast("string").alias("profile_key"),
        (~is_usable).alias("is_unusable"),
        F.when(is_usable, F.to_json("identifier")).alias("identifier"),
        F.when(is_usable, F.col("sp_address")).alias("address"),
        F.when(is_usable, F.col("payload")).alias("payload"),
    )
    return texts.withColumn("payload_hash", F.sha2("payload", 256))


def lines(
    changed: DataFrame,
    delivery: Delivery = Delivery(),  # noqa: B008  frozen
    *,
    is_patched: bool = False,
    is_first: bool = False,
) -> DataFrame:
    """What to do about each profile that differs from its delivery; one row is a line.

    A moved profile gives two: one for its new address, one for the address that was left.

    Args:
        changed: the rows of `changes.between`.
        delivery: the strategy of the lines that carry a profile.
        is_patched: whether the rows have the patches of `patches.planned`.
        is_first: whether nothing was ever delivered.

    Returns:
        profile_key, change, operation, strategy, identifier, address, payload, payload_hash,
        bytes (of the line with its end), place, delivered_hash, properties (top-level names in
        which a changed profile differs), since, phase (see `phases`), and where the line is a
        patch the patch, which is sent instead of the payload, and the bytes saved by it. A delete
        names its profile by the two `$` keys only. Where nothing is sent (held, kept, unusable,
        replaced) operation, strategy, phase and bytes are null.
    """
    whole = FORCE_REPLACE if delivery.strategy == MINIMAL else delivery.strategy
    strategy, patch = F.lit(whole), F.lit(None).cast("string")
    if is_patched:
        strategy, patch = F.coalesce("patch_strategy", strategy), F.col("patch")
    differing = changed.where(F.col("change") != SAME)
    is_upsert, is_delete = F.col("change").isin(*UPSERTED), F.col("change").isin(*DELETED)
    columns = (differing if is_first else _by_address(differing)).select(
        "profile_key",
        "change",
        F.when(is_delete, DELETE).when(is_upsert, UPSERT).alias("operation"),
        F.when(is_upsert, strategy).alias("strategy"),
        "identifier",
        "address",
        F.when(is_delete, _profile_keys()).otherwise(F.col("payload")).alias("payload"),
        "payload_hash",
        places.of(F.col("address")).alias("place"),
        "delivered_hash",
        "properties",
        "since",
        F.when(is_upsert, patch).alias("patch"),
    )
    replacing = replacing_strategy(delivery)
    sent = phases.unordered(columns) if is_first else phases.ordered(columns, replacing=replacing)
    size = F.octet_length(text()) + 1
    saved = F.octet_length("payload") + len(whole) - F.octet_length("patch") - F.length("strategy")
    return sent.withColumns({"bytes": size, "saved": saved})


def _by_address(changed: DataFrame) -> DataFrame:
    """One row an address: that of each row, and the one that a moved user left."""
    halves = F.when(F.col("left_change").isNotNull(), F.array(F.lit(False), F.lit(True)))
    both = changed.withColumn("is_left", F.explode(F.coalesce(halves, F.array(F.lit(False)))))
    is_left = F.col("is_left")
    of_left = {
        "change": "left_change", "since": "left_since", "identifier": "left_identifier",
        "address": "left_address", "payload": "left_payload", "payload_hash": "left_hash",
        "delivered_hash": "left_hash",
    }  # fmt: skip
    named = {
        name: F.when(is_left, F.col(left)).otherwise(F.col(name)) for name, left in of_left.items()
    }
    return both.withColumns(named)


def resent(lines: DataFrame, delivered: DataFrame, delivery: Delivery) -> DataFrame:
    """Lines for profiles that stay as delivered, but that a DELETE of the run may remove.

    Such a profile has the identifier, account or user of a deleted one; see `phases`. That is rare:
    where an address passes on while the former user's profile is kept for some time, and where the
    platform did not take a delete before.

    Args:
        lines: those of the run, as recorded.
        delivered: profile_key, identifier, address, payload, payload_hash; one row an address.
        delivery: the strategy of the definition.
    """
    deletes = lines.where(F.col("operation") == DELETE)
    touched = deletes.select(F.explode(phases.keys()).alias("sp_key")).distinct()
    # A profile of which the run sends nothing stays as delivered, and a DELETE may remove it too.
    is_decided = F.col("operation").isNotNull() | (F.col("change") == REPLACED)
    decided = lines.where(is_decided).select("address")
    same = delivered.join(decided, on="address", how="left_anti")
    keyed = same.select("address", F.explode(phases.keys()).alias("sp_key"))
    found = keyed.join(touched, on="sp_key", how="left_semi").select("address").distinct()
    columns = same.join(found, on="address", how="left_semi").select(
        "profile_key",
        F.lit(RESENT).alias("change"),
        F.lit(UPSERT).alias("operation"),
        F.lit(replacing_strategy(delivery)).alias("strategy"),
        "identifier",
        "address",
        "payload",
        "payload_hash",
        places.of(F.col("address")).alias("place"),
        F.col("payload_hash").alias("delivered_hash"),
        F.lit(None).cast("string").alias("patch"),
        F.lit(SECOND_PHASE).alias("phase"),
    )
    return columns.withColumn("bytes", F.octet_length(text()) + 1)


def text() -> Column:
    """The line itself, of the columns of `lines`; without its end.

    The identifier comes first, as in the documented examples; both JSON texts are copied as
    they were recorded, so that the line is a pure function of the recorded row.
    """
    # Its braces, of which a flat object has no others at its ends; counting its letters costs more.
    identifier = F.expr("trim(BOTH '{}' FROM identifier)")
    strategy = F.lit("")
    for name, members in MEMBERS.items():
        strategy = F.when(F.col("strategy") == name, f",{members}").otherwise(strategy)
    return F.concat(
        F.lit('{"operation":"'),
        F.col("operation"),
        F.lit('",'),
        identifier,
        strategy,
        F.lit(',"user_profile":'),
        F.coalesce("patch", "payload"),
        F.lit("}"),
    )


def _profile_keys() -> Column:
    keys = F.from_json("payload", "`$compartment_id` bigint, `$user_account_id` string")
    return F.to_json(keys)
