"""Wanted profiles x delivered profiles -> what became new, changed, gone or stayed the same.

Only confirmed deliveries are compared with, so what was sent without success is sent again. What
differs but is not sent is still told, with the reason:

    held   the platform rejected this very payload too often, or the user is to be removed
    kept   the user left the spine, but not for long enough to be deleted
    unusable   the user is in the spine, but with no row that may be used, or without an identifier
               of its own: refused is not gone, and the profile stays as delivered
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit.schemas import CHANGED, GONE, HELD, IN_DOUBT, KEPT, NEW, SAME, UNUSABLE
from spark_profiles.rows import columns, keys

if TYPE_CHECKING:
    from collections.abc import Mapping
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

    delivered: profile_key, identifier, payload, payload_hash; one row a profile.
    rejected: profile_key, payload_hash, times; one row a payload that the platform rejected.
    kept: profile_key, since; one row a profile of a user who was gone in the last run.
    resend, remove: profile_key; profiles to be sent or deleted whatever they look like.
    inexact: runs that left the platform with more than what they sent (see `definition.delivery`).
    """

    delivered: DataFrame | None = None
    rejected: DataFrame | None = None
    kept: DataFrame | None = None
    resend: DataFrame | None = None
    remove: DataFrame | None = None
    inexact: tuple[str, ...] = ()


_BEFORE = {
    "old_identifier": "string",
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
    """How each profile differs from its last confirmed delivery; one row is a profile.

    Args:
        delivered: profile_key, identifier, payload, payload_hash; one row per profile_key. None:
            nothing was ever delivered, and nothing is compared.
        wanted: the same columns; one row per profile_key.
        as_of: the instant from which a user that is not wanted counts as gone.
        policy: what is sent of that which differs.
        known: what else decides; its `delivered` is not looked at.
        with_base: also give `base`; then, and with inexact runs, `delivered` has run_id as well.
        with_unusable: `wanted` has is_unusable as well; of the rows for which that is true nothing
            but the key is looked at: such users are there.
        whole_keys: the keys are whole numbers, and `wanted` has them as such, too: sp_key.

    Returns:
        profile_key, change (new, changed, gone, same, held, kept or unusable), since (when a gone
        user was first missed), identifier, payload and payload_hash as wanted (of a gone or
        unusable profile: as delivered), delivered_hash, and of a changed profile the properties
        that differ (top-level names, sorted). A profile whose identifier changed is changed. `base`
        is the payload of a changed profile that the platform holds for certain, under the same
        identifier; null where it is in doubt, or was asked to be sent whole.
    """
    if delivered is None:
        both = _new(wanted, with_unusable=with_unusable)
    else:
        before = _before(delivered, known)
        both = _together(wanted, before, with_unusable=with_unusable, whole_keys=whole_keys)
    both = _marked(both, known)
    is_missed = ~F.col("is_wanted") | (F.col("is_unusable") & F.col("is_removed"))
    is_asked = F.lit(True) if policy.resend_all else F.col("is_asked")
    decided = both.withColumn("change", _change(policy, as_of, is_asked))
    properties = _changed_properties(F.col("delivered_payload"), F.col("payload"))
    return decided.select(
        "profile_key",
        "change",
        F.when(is_missed, F.coalesce("since", columns.at(as_of))).alias("since"),
        F.coalesce("identifier", "old_identifier").alias("identifier"),
        F.coalesce("payload", "delivered_payload").alias("payload"),
        F.coalesce("payload_hash", "delivered_hash").alias("payload_hash"),
        "delivered_hash",
        F.when(F.col("change") == CHANGED, properties).alias("properties"),
        *([_base(is_asked)] if with_base else []),
    )


def _change(policy: Policy, as_of: datetime, is_asked: Column) -> Column:
    """What became of a profile, and whether that is sent."""
    is_gone = ~F.col("is_wanted")
    is_named_so = F.col("identifier") == F.col("old_identifier")
    is_same = (F.col("payload_hash") == F.col("delivered_hash")) & is_named_so
    change = (
        F.when(F.col("is_removed"), F.when(F.col("delivered_hash").isNull(), HELD).otherwise(GONE))
        .when(F.col("is_unusable"), UNUSABLE)
        .when(is_same & ~is_asked, SAME)
        .when((F.col("times") >= policy.most_rejections) & ~is_asked, HELD)
        .when(is_gone & _is_kept(policy, as_of), KEPT)
        .when(is_gone, GONE)
        .when(F.col("delivered_hash").isNull(), NEW)
        .otherwise(CHANGED)
    )
    if policy.quiet or policy.tolerance:
        texts = F.col("delivered_payload"), F.col("payload")
        is_like = is_named_so & ~_differ(*texts, _tree(policy))
        is_quiet = F.coalesce(is_like & ~is_asked & ~F.col("is_removed"), F.lit(False))
        change = F.when(is_quiet, SAME).otherwise(change)
    return change


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
    """What the platform holds for certain of a changed profile that has kept its identifier."""
    is_named_so = F.col("identifier") == F.col("old_identifier")
    is_base = (F.col("change") == CHANGED) & is_named_so & ~is_asked & F.col("is_exact")
    return F.when(is_base, F.col("delivered_payload")).alias("base")


def _marked(both: DataFrame, known: Known) -> DataFrame:
    """The profiles with `times` rejected, and whether they were asked for."""
    if known.rejected is None:
        both = both.withColumn("times", F.lit(0))
    else:
        # One row per payload on the right; a delete carries the hash of what was delivered.
        rejected = known.rejected.withColumnRenamed("payload_hash", "sp_hash")
        both = (
            both.withColumn("sp_hash", F.coalesce("payload_hash", "delivered_hash"))
            .join(F.broadcast(rejected), on=["profile_key", "sp_hash"], how="left")
            .withColumn("times", F.coalesce("times", F.lit(0)))
        )
    return _flagged(_flagged(both, known.resend, "is_asked"), known.remove, "is_removed")


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


def _changed_properties(before: Column, after: Column) -> Column:
    """Names of the top-level properties in which two payloads differ, sorted."""
    old, new = (F.from_json(text, "map<string,string>") for text in (before, after))
    names = F.array_sort(F.array_union(F.map_keys(old), F.map_keys(new)))
    return F.filter(
        names, lambda name: ~F.element_at(old, name).eqNullSafe(F.element_at(new, name))
    )


_Tree = dict[str, "_Tree | Decimal | None"]
"""Names to what may differ below them: anything (None), or a number by so much."""


def _tree(policy: Policy) -> _Tree:
    tree: _Tree = {}
    marks = [(path, None) for path in policy.quiet] + list(policy.tolerance.items())
    for path, mark in marks:
        *sections, name = path.split(".")
        node = tree
        for section in sections:
            below = node.setdefault(section, {})
            if not isinstance(below, dict):
                break  # all of the section may differ
            node = below
        else:
            node[name] = mark
    return tree


def _differ(before: Column, after: Column, tree: _Tree) -> Column:
    """Whether two JSON objects differ in more than the tree allows; null where one is null."""
    old, new = (F.from_json(text, "map<string,string>") for text in (before, after))
    names = F.array_union(F.map_keys(old), F.map_keys(new))
    others = F.filter(names, lambda name: ~name.isin(*tree))
    differs = F.exists(
        others, lambda name: ~F.element_at(old, name).eqNullSafe(F.element_at(new, name))
    )
    for name, allowed in tree.items():
        values = F.element_at(old, name), F.element_at(new, name)
        if isinstance(allowed, dict):
            # A section that is there on one side only differs.
            below = F.coalesce(_differ(*values, allowed), ~values[0].eqNullSafe(values[1]))
            differs = differs | below
        elif allowed is not None:
            differs = differs | ~_is_near(*values, allowed)
    return differs


def _is_near(old: Column, new: Column, allowed: Decimal) -> Column:
    """Whether two JSON numbers differ by so much at most; both may be missing."""
    numbers = [value.cast("double").cast("decimal(38,9)") for value in (old, new)]
    distance = F.abs(numbers[0] - numbers[1])
    near = distance <= F.lit(allowed).cast("decimal(38,9)")
    return F.coalesce(near, old.eqNullSafe(new))
