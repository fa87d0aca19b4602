"""Two JSON texts of one profile -> in which properties they differ, and whether that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from pyspark.sql import Column


def changed_properties(before: Column, after: Column) -> Column:
    """Names of the top-level properties in which two payloads differ, sorted."""
    old, new = (F.from_json(text, "map<string,string>") for text in (before, after))
    names = F.array_sort(F.array_union(F.map_keys(old), F.map_keys(new)))
    return F.filter(
        names, lambda name: ~F.element_at(old, name).eqNullSafe(F.element_at(new, name))
    )


Tree = dict[str, "Tree | Decimal | None"]
"""Names to what may differ below them: anything (None), or a number by so much."""


def tree(quiet: Iterable[str], tolerance: Mapping[str, Decimal]) -> Tree:
    """The differences that do not count, by dotted path."""
    whole: Tree = {}
    marks = [(path, None) for path in quiet] + list(tolerance.items())
    for path, mark in marks:
        *sections, name = path.split(".")
        node = whole
        for section in sections:
            below = node.setdefault(section, {})
            if not isinstance(below, dict):
                break  # all of the section may differ
            node = below
        else:
            node[name] = mark
    return whole


def differ(before: Column, after: Column, tree: Tree) -> Column:
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
            below = F.coalesce(differ(*values, allowed), ~values[0].eqNullSafe(values[1]))
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
