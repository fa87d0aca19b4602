"""The profile as a tree of values -> one struct, or its JSON text where nulls are written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column


@dataclass(frozen=True)
class Leaf:
    """One value; null is left out, or written as null."""

    value: Column
    writes_null: bool = False


@dataclass(frozen=True)
class Object:
    """Named members; without any value it is left out, or written as {}."""

    members: Mapping[str, Node]
    keeps_empty: bool = False


Node: TypeAlias = "Leaf | Object"


def struct(shape: Object) -> Column:
    """The object as a struct; null where it is left out."""
    members = {
        name: node.value if isinstance(node, Leaf) else struct(node)
        for name, node in shape.members.items()
    }
    whole = F.struct(*[value.alias(name) for name, value in members.items()])
    if shape.keeps_empty:
        return whole
    known = [F.when(value.isNotNull(), 1) for value in members.values()]
    return F.when(F.coalesce(*known).isNotNull(), whole)


def writes_nulls(shape: Object) -> bool:
    """Whether any null is to be written, which `to_json` of a struct cannot do by member."""
    return any(
        node.writes_null if isinstance(node, Leaf) else writes_nulls(node)
        for node in shape.members.values()
    )


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
        key = json.dumps(name, ensure_ascii=False) + ":"
        if isinstance(node, Leaf):
            parts.append(F.coalesce(_members({name: node}), F.lit(key + "null")))
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
