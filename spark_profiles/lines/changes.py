"""Wanted profiles x delivered profiles -> new, changed, moved, gone or the same.

The platform stores a profile at its address (see `core.addresses`), so a delivered profile is the
wanted one only where its user has the same address still. A user whose address changed has moved:
the profile is brought to the new address, and removed at the one that the user left.

Only confirmed deliveries are compared with, so what was sent without success is sent again. What
differs but is not sent is recorded too, with the reason:

    held   the platform rejected this very payload too often, or the user is to be removed
    kept   the user left the spine, but not for long enough to be deleted
    unusable   the user is in the spine, but with no row that may be used, or without an identifier
               of its own: refused is not gone, and the profile stays as delivered
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit.schemas import (
    CHANGED,
    DELETE,
    GONE,
    HELD,
    IN_DOUBT,
    KEPT,
    LEFT,
    MOVED,
    NEW,
    SAME,
    UNUSABLE,
    UPSERT,
)
from spark_profiles.lines import differences
from spark_profiles.rows import columns, keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Policy:
    """What becomes of profiles that differ from their delivery."""

    keep_gone_days: int | None = 0
    """Days for which a user must have been gone before the profile is deleted; None: never."""
    most_rejections: int = 3
    """Runs after which a payload that the platform rejects is not sent again."""
    resend_all: bool = False
    """Send every wanted profile, whether it changed or not."""
    quiet: tuple[str, ...] = ()
    """Dotted paths of properties that alone are no reason to send a profile."""
    tolerance: Mapping[str, Decimal] = field(default_factory=dict)
    """Dotted path of a number -> by how much it may differ from what was delivered."""


@dataclass(frozen=True)
class Known:
    """What the audit tables know of profiles; None where they know nothing.

    delivered: profile_key, identifier, address, payload, payload_hash; one row a user: the profile
        at their last address.
    strays: the same columns; profiles at addresses that their users left before, of which the
        platform did not take the delete.
    is_first: nothing was delivered yet, so that `delivered` is empty.
    rejected: address, operation, payload_hash, times; one row a line that the platform rejected.
    kept: profile_key, since; one row a profile of a user who was gone in the last run.
    resend, remove: profile_key; profiles to be sent or deleted whatever they look like.
    inexact: runs that left the platform with more than what they sent (see `definition.delivery`).
    """

    delivered: DataFrame | None = None
    strays: DataFrame | None = None
    is_first: bool = False
    rejected: DataFrame | None = None
    kept: DataFrame | None = None
    resend: DataFrame | None = None
    remove: DataFrame | None = None
    inexact: tuple[str, ...] = ()


_BEFORE = {
    "old_identifier": "string",
    "old_address": "string",
    "delivered_payload": "string",
    "delivered_hash": "string",
    "is_exact": "boolean",
    "since": "timestamp",
}
"""What a delivery says of a profile, by type. `is_exact`: the platform holds that, and no more."""


def between(
    delivered: DataFrame | None,
    wanted: DataFrame,
    *,
    as_of: datetime,
    policy: Policy = Policy(),
    known: Known = Known(),
    with_base: bool = False,
    with_unusable: bool = False,
    whole_keys: bool = False,
) -> DataFrame:
    """How each profile differs from its last confirmed delivery.

    One row is a user, wanted or delivered; a stray (see `Known`) has a row of its own.

    Args:
        delivered: profile_key, identifier, address, payload, payload_hash; one row per
            profile_key. None: nothing was ever delivered, and nothing is compared.
        wanted: the same columns; one row per profile_key.
        as_of: the instant from which a user that is not wanted counts as gone.
        policy: what is sent of that which differs.
        known: what else decides; its `delivered` is not looked at.
        with_base: also give `base`; then, and with inexact runs, `delivered` has run_id as well.
        with_unusable: `wanted` has is_unusable as well; of the rows for which that is true nothing
            but the key is looked at: such users are there.
        whole_keys: the keys are whole numbers, and `wanted` has them as such, too: sp_key.

    Returns:
        profile_key, change (see `audit.schemas`), since (from when on a profile is not wanted at
        its address), identifier, address, payload and payload_hash as wanted (of a profile that is
        not wanted: as delivered), delivered_hash (of what was delivered at that address), and of a
        changed profile the properties that differ (top-level names, sorted). `base` is the payload
        of a changed profile that the platform holds for certain; null where it is in doubt, or was
        asked to be sent whole. Of the profile that a user left at a former address: left_change
        (left or held), left_since, left_identifier, left_address, left_payload and left_hash; null
        where there is none.
    """
    if delivered is None:
        both = _new(wanted, with_unusable=with_unusable)
    else:
        before = _before(delivered, known)
        both = _together(wanted, before, with_unusable=with_unusable, whole_keys=whole_keys)
    both = _marked(both, known)
    is_asked = F.lit(True) if policy.resend_all else F.col("is_asked")
    decided = both.withColumns(
        {"change": _change(policy, as_of, is_asked), "left_change": _left_change(policy, is_asked)}
    )
    base = [_base(is_asked)] if with_base else []
    told = _told(decided, base, as_of)
    return told if known.strays is None else _with_strays(told, known, policy, as_of)


def _told(decided: DataFrame, base: Sequence[Column], as_of: datetime) -> DataFrame:
    """The columns that `between` returns."""
    # What is not wanted is told as it was delivered: a delete goes to the address that was left.
    is_of_old = ~F.col("is_wanted") | F.col("is_removed") | F.col("is_unusable")
    named = {
        name: F.when(is_of_old, F.coalesce(old, name)).otherwise(F.coalesce(name, old))
        for name, old in OLD.items()
    }
    has_left = F.col("left_change").isNotNull()
    properties = differences.changed_properties(F.col("delivered_payload"), F.col("payload"))
    is_missed = ~F.col("is_wanted") | F.col("is_unusable")
    return decided.select(
        "profile_key",
        "change",
        F.when(is_missed, F.coalesce("since", columns.at(as_of))).alias("since"),
        *[value.alias(name) for name, value in named.items()],
        F.when(~has_left, F.col("delivered_hash")).alias("delivered_hash"),
        F.when(F.col("change") == CHANGED, properties).alias("properties"),
        *base,
        "left_change",
        F.when(has_left, columns.at(as_of)).alias("left_since"),
        *[F.when(has_left, F.col(old)).alias(left_name(name)) for name, old in OLD.items()],
    )


OLD = {
    "identifier": "old_identifier",
    "address": "old_address",
    "payload": "delivered_payload",
    "payload_hash": "delivered_hash",
}
"""Column as wanted -> the same as delivered."""


def left_name(name: str) -> str:
    """The column that says the same of the profile that a moved user left."""
    return f"left_{name.removeprefix('payload_')}"


def _is_home() -> Column:
    """Whether the profile is wanted where it was delivered."""
    return F.coalesce(F.col("address") == F.col("old_address"), F.lit(False))


def _change(policy: Policy, as_of: datetime, is_asked: Column) -> Column:
    """What became of a profile, and whether that is sent."""
    is_gone = ~F.col("is_wanted")
    is_same = (F.col("payload_hash") == F.col("delivered_hash")) & _is_home()
    change = (
        F.when(F.col("is_removed"), F.when(F.col("delivered_hash").isNull(), HELD).otherwise(GONE))
        .when(F.col("is_unusable"), UNUSABLE)
        .when(is_same & ~is_asked, SAME)
        .when((F.col("times") >= policy.most_rejections) & ~is_asked, HELD)
        .when(is_gone & _is_kept(policy, as_of), KEPT)
        .when(is_gone, GONE)
        .when(F.col("delivered_hash").isNull(), NEW)
        .when(_is_home(), CHANGED)
        .otherwise(MOVED)
    )
    if policy.quiet or policy.tolerance:
        texts = F.col("delivered_payload"), F.col("payload")
        is_certain = F.col("delivered_hash") != IN_DOUBT
        is_like = (
            is_certain
            & _is_home()
            & ~differences.differ(*texts, differences.tree(policy.quiet, policy.tolerance))
        )
        is_quiet = F.coalesce(is_like & ~is_asked & ~F.col("is_removed"), F.lit(False))
        change = F.when(is_quiet, SAME).otherwise(change)
    return change


def _left_change(policy: Policy, is_asked: Column) -> Column:
    """What becomes of the profile at the address that a wanted user left; null: they left none."""
    is_there = F.col("is_wanted") & ~F.col("is_unusable") & ~F.col("is_removed")
    has_left = is_there & F.col("delivered_hash").isNotNull() & ~_is_home()
    is_held = (F.col("left_times") >= policy.most_rejections) & ~is_asked
    return F.when(has_left, F.when(is_held, HELD).otherwise(LEFT))


def _with_strays(changed: DataFrame, known: Known, policy: Policy, as_of: datetime) -> DataFrame:
    """The rows, and one for each profile at an address that its user left before: deleted."""
    assert known.strays is not None  # noqa: S101  the caller looked
    strays = known.strays.withColumn("times", F.lit(0))
    if known.rejected is not None:
        deletes = known.strays.withColumn("sp_does", F.lit(DELETE))
        names = ["address", "payload_hash", "sp_does"]
        strays = _counted_at(deletes, known.rejected, names, "times")
    strays = _flagged(strays, known.resend, "is_asked")
    is_asked = F.lit(True) if policy.resend_all else F.col("is_asked")
    is_held = (F.col("times") >= policy.most_rejections) & ~is_asked
    rows = strays.select(
        "profile_key",
        F.when(is_held, HELD).otherwise(LEFT).alias("change"),
        columns.at(as_of).alias("since"),
        *OLD,
        F.col("payload_hash").alias("delivered_hash"),
    )
    return changed.unionByName(rows, allowMissingColumns=True)


def _new(wanted: DataFrame, *, with_unusable: bool) -> DataFrame:
    """The rows of `_together` where nothing was delivered, without a join and what it moves."""
    if with_unusable:
        wanted = wanted.where(~F.col("is_unusable"))
    nothing = {name: F.lit(None).cast(kind) for name, kind in _BEFORE.items()}
    flags = {"is_unusable": F.lit(False), "is_wanted": F.lit(True)}
    return wanted.withColumns({**nothing, **flags})


def _before(delivered: DataFrame, known: Known) -> DataFrame:
    """What was delivered: profile_key and the columns of `_BEFORE`."""
    is_certain = F.col("payload_hash") != IN_DOUBT
    if known.inexact:
        is_certain &= ~F.col("run_id").isin(*known.inexact)
    before = delivered.select(
        "profile_key",
        F.col("identifier").alias("old_identifier"),
        F.col("address").alias("old_address"),
        F.col("payload").alias("delivered_payload"),
        F.col("payload_hash").alias("delivered_hash"),
        is_certain.alias("is_exact"),
    )
    if known.kept is None:
        return before.withColumn("since", F.lit(None).cast("timestamp"))
    # Who is kept is among those delivered.
    return before.join(known.kept, on="profile_key", how="left")


def _together(
    wanted: DataFrame, before: DataFrame, *, with_unusable: bool, whole_keys: bool
) -> DataFrame:
    """Each profile as wanted and as delivered; a user who is neither is not there."""
    # A mark of its own: an engine that asks the hash who is there may compute all payloads for it.
    wanted = wanted.withColumn("is_wanted", F.lit(True))
    # The plan of `wanted` may be huge: it is not asked which columns it has.
    if whole_keys:
        # By the numbers, by which the wanted ones lie together already. An old key that is none
        # meets nobody.
        number = F.expr(keys.whole("profile_key"))
        before = before.withColumn("sp_key", number).withColumnRenamed("profile_key", "old_key")
        both = wanted.join(before, on="sp_key", how="full")
        both = both.withColumn("profile_key", F.coalesce("profile_key", "old_key"))
    else:
        both = wanted.join(before, on="profile_key", how="full")
    both = both.withColumn("is_wanted", F.coalesce("is_wanted", F.lit(False)))
    if not with_unusable:
        return both.withColumn("is_unusable", F.lit(False))
    both = both.withColumn("is_unusable", F.coalesce("is_unusable", F.lit(False)))
    return both.where(~F.col("is_unusable") | F.col("delivered_hash").isNotNull())


def _base(is_asked: Column) -> Column:
    """What the platform holds for certain of a changed profile."""
    is_base = (F.col("change") == CHANGED) & ~is_asked & F.col("is_exact")
    return F.when(is_base, F.col("delivered_payload")).alias("base")


def _marked(both: DataFrame, known: Known) -> DataFrame:
    """The profiles with how often what is to be sent was rejected, and whether it was asked for.

    `times` counts for the line at the wanted address (or the delete of a user who is gone),
    `left_times` for the delete at an address that was left.
    """
    if known.rejected is None:
        both = both.withColumns({"times": F.lit(0), "left_times": F.lit(0)})
    else:
        # A delete carries the hash of what was delivered.
        named = {
            "sp_at": F.coalesce("address", "old_address"),
            "sp_hash": F.coalesce("payload_hash", "delivered_hash"),
            "sp_does": F.when(F.col("is_wanted"), UPSERT).otherwise(DELETE),
        }
        at_wanted = _counted_at(both.withColumns(named), known.rejected, list(named), "times")
        left = {"sp_at": F.col("old_address"), "sp_hash": F.col("delivered_hash")}
        at_left = at_wanted.withColumns({**left, "sp_does": F.lit(DELETE)})
        both = _counted_at(at_left, known.rejected, list(named), "left_times").drop(*named)
    return _flagged(_flagged(both, known.resend, "is_asked"), known.remove, "is_removed")


def _counted_at(rows: DataFrame, rejected: DataFrame, named: Sequence[str], name: str) -> DataFrame:
    """The rows with how many runs had such a line rejected.

    Args:
        rows: what is to be counted.
        rejected: see `Known`.
        named: the columns of `rows` that say address, hash and operation.
        name: of the count.
    """
    of_line = {"address": "sp_r0", "payload_hash": "sp_r1", "operation": "sp_r2"}
    counts = rejected.select(
        *[F.col(column).alias(renamed) for column, renamed in of_line.items()],
        F.col("times").alias(name),
    )
    is_it = F.lit(True)
    for column, renamed in zip(named, of_line.values(), strict=True):
        is_it = is_it & (F.col(column) == F.col(renamed))
    counted = rows.join(F.broadcast(counts), on=is_it, how="left").drop(*of_line.values())
    return counted.withColumn(name, F.coalesce(name, F.lit(0)))


def _flagged(both: DataFrame, keys: DataFrame | None, flag: str) -> DataFrame:
    """The profiles, each with whether its key is one of `keys`."""
    if keys is None:
        return both.withColumn(flag, F.lit(False))
    named = keys.select("profile_key", F.lit(True).alias(flag)).distinct()
    found = both.join(F.broadcast(named), on="profile_key", how="left")
    return found.withColumn(flag, F.coalesce(flag, F.lit(False)))


def _is_kept(policy: Policy, as_of: datetime) -> Column:
    """Whether a gone profile stays on the platform for now."""
    if policy.keep_gone_days == 0:
        return F.lit(False)
    if policy.keep_gone_days is None:
        return F.lit(True)
    moment = columns.at(as_of)
    age = F.unix_micros(moment) - F.unix_micros(F.coalesce("since", moment))
    return age < F.lit(policy.keep_gone_days * 86_400_000_000)
