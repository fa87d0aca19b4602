"""Changes -> import commands: the lines of the files, one JSON object each, UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit import places
from spark_profiles.audit.schemas import DELETE, FORCE_REPLACE, GONE, NOT_SENT, SAME, UPSERT
from spark_profiles.definition.delivery import MEMBERS, MINIMAL, Delivery

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def payloads(profiles: DataFrame) -> DataFrame:
    """Profiles as they would be delivered; one row is a user.

    Args:
        profiles: sp_key, sp_refusal, identifier (struct) and payload, the profile as JSON text.

    Returns:
        sp_key, profile_key (its text), is_unusable (whether the user was refused: then all that
        follows is null), identifier as JSON text, payload, payload_hash (SHA-256 of the payload).
    """
    is_usable = F.col("sp_refusal").isNull()
    texts = profiles.select(
        "sp_key",
        F.col("sp_key").cast("string").alias("profile_key"),
        (~is_usable).alias("is_unusable"),
        F.when(is_usable, F.to_json("identifier")).alias("identifier"),
        F.when(is_usable, F.col("payload")).alias("payload"),
    )
    return texts.withColumn("payload_hash", F.sha2("payload", 256))


def lines(
    changed: DataFrame,
    delivery: Delivery = Delivery(),  # noqa: B008  frozen
    *,
    is_patched: bool = False,
) -> DataFrame:
    """What to do about each profile that differs from its delivery; one row is a line.

    Args:
        changed: the rows of `changes.between`.
        delivery: the strategy of the lines that carry a profile.
        is_patched: whether the rows have the patches of `patches.planned`.

    Returns:
        profile_key, change, operation, strategy, identifier, payload, payload_hash, bytes (of
        the line with its end), place, delivered_hash, properties (top-level names in which a
        changed profile differs), since, and where the line is a patch the patch, which is sent
        instead of the payload, and the bytes saved by it. A delete names its profile by the two
        `$` keys only. Where nothing is sent (held, kept) operation, strategy and bytes are null.
    """
    is_gone = F.col("change") == GONE
    is_sent = ~F.col("change").isin(*NOT_SENT)
    whole = FORCE_REPLACE if delivery.strategy == MINIMAL else delivery.strategy
    strategy, patch = F.lit(whole), F.lit(None).cast("string")
    if is_patched:
        strategy, patch = F.coalesce("patch_strategy", strategy), F.col("patch")
    columns = changed.where(F.col("change") != SAME).select(
        "profile_key",
        "change",
        F.when(is_gone, DELETE).when(is_sent, UPSERT).alias("operation"),
        F.when(~is_gone & is_sent, strategy).alias("strategy"),
        "identifier",
        F.when(is_gone, _profile_keys()).otherwise(F.col("payload")).alias("payload"),
        "payload_hash",
        places.of(F.col("profile_key")).alias("place"),
        "delivered_hash",
        "properties",
        "since",
        F.when(is_sent, patch).alias("patch"),
    )
    size = F.octet_length(text()) + 1
    saved = F.octet_length("payload") + len(whole) - F.octet_length("patch") - F.length("strategy")
    return columns.withColumns({"bytes": size, "saved": saved})


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
