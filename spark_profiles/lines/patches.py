"""Delivered and wanted payload of a profile -> the shortest line that makes the one the other.

A patch says only what the platform has to change. It is sent where it is proven: the delivered
payload, read by the shape of the profile and written again, is the same text, and the patch, read
again and applied to it, gives the very text of the wanted one, under every reading that the
documentation of the platform leaves open (see `definition.delivery`). Else the profile is replaced
as a whole. Applied twice a patch does what it does once: it says what members hold afterwards, or
that they are not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition.sql import quoted
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import Column, DataFrame

    from spark_profiles.definition.delivery import Delivery

UPDATE, DELETE = "PARTIAL_UPDATE", "PARTIAL_DELETE"
_KEYS = ("$compartment_id", "$user_account_id")
"""They name the profile, so every patch has them."""
_OLD, _NEW, _PATCH = "sp_old", "sp_new", "sp_patch"


def planned(
    changed: DataFrame, shape: T.StructType, delivery: Delivery, *, spells_json: bool
) -> DataFrame:
    """The rows with `patch` (JSON text) and `patch_strategy`; null where nothing is proven.

    Args:
        changed: the rows of `changes.between`, with `base`.
        shape: the type of the profile.
        delivery: what may be relied on.
        spells_json: whether the profiles were written by `columns.json`.
    """

    def written(value: str) -> Column:
        return F.expr(columns.json(value, shape)) if spells_json else F.to_json(value)

    assumed = frozenset(delivery.assume)
    payload = F.when(F.col("base").isNotNull(), F.col("payload"))
    both = changed.withColumns(
        {_OLD: F.from_json("base", shape), _NEW: F.from_json(payload, shape)}
    )
    chosen = both.withColumn(
        "sp_strategy", F.expr(_strategy(shape, "members_deleted" in assumed))
    ).withColumn(_PATCH, F.expr(_patch(shape, deep="objects_merged" in assumed)))
    # From here on the text decides: what it says is read again and applied.
    told = chosen.withColumn("sp_text", written(_PATCH)).drop(_PATCH, _NEW)
    read = told.withColumn(_PATCH, F.from_json("sp_text", shape))
    applied = read.withColumns(
        {name: F.expr(text) for name, text in _readings(shape, assumed).items()}
    )
    proofs = [written(_OLD) == F.col("base")]
    proofs += [written(name) == F.col("payload") for name in _readings(shape, assumed)]
    if "arrays_replaced" not in assumed:
        proofs.append(~F.expr(_any(f"{path} is not null" for path in _arrays(shape, _PATCH))))
    is_proven = F.lit(True)
    for proof in proofs:
        is_proven = is_proven & proof
    is_shorter = F.octet_length("sp_text") + 1 < F.octet_length("payload")
    sent = F.struct(F.col("sp_text").alias("patch"), F.col("sp_strategy").alias("patch_strategy"))
    proven = F.when(is_proven & is_shorter, sent).alias("sp_sent")
    return applied.select(*changed.columns, proven).select(*changed.columns, "sp_sent.*")


def _strategy(shape: T.StructType, may_delete: bool) -> str:  # noqa: FBT001  a plain choice
    """Which kind of patch may do it; null where none can."""
    gone = _any(_vanished(shape, _OLD, _NEW))
    keys = _all(
        f"{_OLD}.{quoted(f.name)} <=> {_NEW}.{quoted(f.name)}" for f in shape if f.name in _KEYS
    )
    update = f"when {_OLD} is not null and ({keys}) and not ({gone}) then '{UPDATE}'"
    if not may_delete:
        return f"case {update} end"
    rest = []
    for field in shape:
        old, new = f"{_OLD}.{quoted(field.name)}", f"{_NEW}.{quoted(field.name)}"
        same = _same(field.dataType, old, new)
        rest.append(f"({same} or {new} is null)" if _is_plain(field.dataType) else same)
    delete = f"when {_OLD} is not null and ({keys}) and {_all(rest)} then '{DELETE}'"
    return f"case {update} {delete} end"


def _patch(shape: T.StructType, *, deep: bool) -> str:
    """What the payload of the patch holds: of an update what is new, of a delete what was there."""
    members = []
    for field in shape:
        old, new = f"{_OLD}.{quoted(field.name)}", f"{_NEW}.{quoted(field.name)}"
        value = new if field.name in _KEYS else _difference(field.dataType, old, new, deep=deep)
        if field.name not in _KEYS and _is_plain(field.dataType):
            value = (
                f"case when sp_strategy = '{UPDATE}' then {value} when {new} is null then {old} end"
            )
        members.append(f"{value} as {quoted(field.name)}")
    return f"case when sp_strategy is not null then struct({', '.join(members)}) end"


def _difference(to: T.DataType, old: str, new: str, *, deep: bool) -> str:
    """What of the new value is to be sent; null where both are the same."""
    same = _same(to, old, new)
    if not (deep and isinstance(to, T.StructType)):
        return f"case when not ({same}) then {new} end"
    inner = ", ".join(
        f"{_difference(f.dataType, f'{old}.{q}', f'{new}.{q}', deep=True)} as {q}"
        for f in to
        for q in [quoted(f.name)]
    )
    return f"case when {same} then null when {old} is null then {new} else struct({inner}) end"


def _readings(shape: T.StructType, assumed: frozenset[str]) -> dict[str, str]:
    """Column -> the delivered profile after the patch, for each way to understand the platform."""
    whole = {"sp_merged": _after(shape, _merged)}
    if "objects_merged" not in assumed:
        whole["sp_replaced"] = _after(shape, _replaced)
    return whole


def _after(shape: T.StructType, update: Callable[[T.DataType, str, str], str]) -> str:
    members = []
    for field in shape:
        old, sent = f"{_OLD}.{quoted(field.name)}", f"{_PATCH}.{quoted(field.name)}"
        value = update(field.dataType, old, sent)
        if field.name not in _KEYS:
            removed = f"case when {sent} is null then {old} end"
            value = f"case when sp_strategy = '{UPDATE}' then {value} else {removed} end"
        members.append(f"{value} as {quoted(field.name)}")
    return f"case when {_PATCH} is not null then struct({', '.join(members)}) end"


def _replaced(_: T.DataType, old: str, sent: str) -> str:
    return f"coalesce({sent}, {old})"


def _merged(to: T.DataType, old: str, sent: str) -> str:
    if not isinstance(to, T.StructType):
        return f"coalesce({sent}, {old})"
    inner = ", ".join(
        f"{_merged(f.dataType, f'{old}.{q}', f'{sent}.{q}')} as {q}"
        for f in to
        for q in [quoted(f.name)]
    )
    alone = f"when {sent} is null then {old} when {old} is null then {sent}"
    return f"case {alone} else struct({inner}) end"


def _same(to: T.DataType, old: str, new: str) -> str:
    if not isinstance(to, T.StructType):
        return f"{old} <=> {new}"
    inner = [_same(f.dataType, f"{old}.{quoted(f.name)}", f"{new}.{quoted(f.name)}") for f in to]
    return _all([f"({old} is null) = ({new} is null)", *inner])


def _vanished(to: T.StructType, old: str, new: str) -> Iterator[str]:
    """Conditions: a member at any depth was there and is not any more."""
    for field in to:
        before, after = f"{old}.{quoted(field.name)}", f"{new}.{quoted(field.name)}"
        yield f"({before} is not null and {after} is null)"
        if isinstance(field.dataType, T.StructType):
            yield from _vanished(field.dataType, before, after)


def _arrays(to: T.StructType, value: str) -> Iterator[str]:
    for field in to:
        path = f"{value}.{quoted(field.name)}"
        if isinstance(field.dataType, T.ArrayType):
            yield path
        elif isinstance(field.dataType, T.StructType):
            yield from _arrays(field.dataType, path)


def _is_plain(to: T.DataType) -> bool:
    return not isinstance(to, (T.StructType, T.ArrayType))


def _any(conditions: Iterator[str] | list[str]) -> str:
    return " or ".join(conditions) or "false"


def _all(conditions: Iterator[str] | list[str]) -> str:
    found = list(conditions)
    return "(" + " and ".join(found) + ")" if found else "true"
