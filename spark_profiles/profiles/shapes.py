"""The profile as a tree of values -> one struct, or its JSON text."""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps
from typing import TYPE_CHECKING, TypeAlias

from pyspark.sql import functions as F

from spark_profiles.definition import sql
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column
    from pyspark.sql.types import DataType


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


def spelt(shape: Object, types: Mapping[str, DataType]) -> str:
    """SQL of the object as JSON, value by value; null where it is left out.

    Args:
        shape: the object.
        types: column -> its type.
    """
    members: dict[str, str] = {}
    for name, node in shape.members.items():
        if isinstance(node, Object):
            members[name] = spelt(node, types)
            continue
        member = columns.json(sql.quoted(node.value), types[node.value])
        if node.writes_null:
            member = f"coalesce({member}, 'null')"
        members[name] = f"case when {node.gate} then {member} end" if node.gate else member
    whole = columns.json_object(members)
    return whole if shape.keeps_empty else f"nullif({whole}, '{{}}')"


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
