"""The profile as a tree of values -> one struct, or its JSON text where nulls are written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import dumps
from typing import TYPE_CHECKING, TypeAlias

from pyspark.sql import functions as F

from spark_profiles import sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column


@dataclass(frozen=True)
class Leaf:
    """One value; null is left out, or written as null."""

    value: str
    """The column that holds it, as it is to be written."""
    writes_null: bool = False
    gate: str = ""
    """The column that says whether the value may be written at all; empty: it always may."""


@dataclass(frozen=True)
class Object:
    """Named members; without any value it is left out, or written as {}."""

    members: Mapping[str, Node]
    keeps_empty: bool = False


Node: TypeAlias = "Leaf | Object"


def struct(shape: Object) -> Column:
    """The object as a struct; null where it is left out."""
    return F.expr(_struct(shape))


def _struct(shape: Object) -> str:
    """As text: one call for hundreds of members, where each call of a function costs."""
    members = {
        name: sql.quoted(node.value) if isinstance(node, Leaf) else _struct(node)
        for name, node in shape.members.items()
    }
    named = ", ".join(f"{value} as {sql.quoted(name)}" for name, value in members.items())
    if shape.keeps_empty:
        return f"struct({named})"
    return f"case when {_is_known(shape)} then struct({named}) end"


def _is_known(shape: Object) -> str:
    """The condition under which an object has a value, or an object in it is kept empty."""
    return " or ".join(
        f"{sql.quoted(node.value)} is not null"
        if isinstance(node, Leaf)
        else "true"
        if node.keeps_empty
        else f"({_is_known(node)})"
        for node in shape.members.values()
    )


def writes_nulls(shape: Object) -> bool:
    """Whether any null is to be written, which `to_json` of a struct cannot do by member."""
    return any(
        node.writes_null if isinstance(node, Leaf) else writes_nulls(node)
        for node in shape.members.values()
    )


def renamed(shape: Object, names: Mapping[str, str]) -> Object:
    """The shape over other columns."""
    members: dict[str, Node] = {
        name: replace(node, value=names.get(node.value, node.value))
        if isinstance(node, Leaf)
        else renamed(node, names)
        for name, node in shape.members.items()
    }
    return replace(shape, members=members)


def json(shape: Object) -> Column:
    """The object as JSON, in the way that is cheapest for it."""
    return text(shape) if writes_nulls(shape) else F.to_json(struct(shape))


def text(shape: Object) -> Column:
    """The object as JSON; null where it is left out."""
    parts: list[Column] = []
    plain: dict[str, Node] = {}
    for name, node in shape.members.items():
        if isinstance(node, Leaf) and not node.writes_null:
            plain[name] = node
            continue
        if plain:
            parts.append(_members(plain))
            plain = {}
        key = dumps(name, ensure_ascii=False) + ":"
        if isinstance(node, Leaf):
            member = F.coalesce(_members({name: node}), F.lit(key + "null"))
            parts.append(F.when(F.col(node.gate), member) if node.gate else member)
        else:
            parts.append(F.concat(F.lit(key), text(node)))
    if plain:
        parts.append(_members(plain))
    inside = F.concat_ws(",", *parts)
    whole = F.concat(F.lit("{"), inside, F.lit("}"))
    return whole if shape.keeps_empty else F.when(F.length(inside) > 0, whole)


def _members(members: Mapping[str, Node]) -> Column:
    """The known members as JSON without braces; null where none is known."""
    whole = F.to_json(struct(Object(members, keeps_empty=True)))
    return F.nullif(F.substring(whole, F.lit(2), F.length(whole) - 2), F.lit(""))
