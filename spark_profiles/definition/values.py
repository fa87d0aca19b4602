"""A definition, laid flat: which value of the profile lies in which column, under what name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.definition import sql
from spark_profiles.definition.model import CONSENTS
from spark_profiles.definition.operations import Aggregate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spark_profiles.definition.model import Definition, Property

LIFETIME = "lifetime"


@dataclass(frozen=True)
class Value:
    """One column to compute: a property over one window, of one category if it has categories."""

    column: str
    path: tuple[str, ...]
    """Where it stands in the profile."""
    place: str
    """The property in the definition, for messages."""
    aggregate: Aggregate
    window: str
    category: str | None = None


def aggregated_values(definition: Definition) -> dict[str, list[Value]]:
    """What has to be computed over each source: a `Value` for each property, window, category."""
    wanted: dict[str, list[Value]] = {}
    for number, (path, prop) in enumerate(definition.properties()):
        if isinstance(prop, Aggregate):
            wanted.setdefault(prop.source, []).extend(of_property(number, path, prop))
    return wanted


def of_property(number: int, path: tuple[str, ...], prop: Aggregate) -> list[Value]:
    """The values of one property: windows outside, categories inside, as they are written."""
    names = [
        (window, category)
        for window in prop.windows or (None,)
        for category in prop.categories or (None,)
    ]
    return [
        Value(
            column=column(number, member if any(name) else None),
            path=(*path, *[part for part in name if part is not None]),
            place=place(path),
            aggregate=prop,
            window=name[0] or prop.max_age or LIFETIME,
            category=name[1],
        )
        for member, name in enumerate(names)
    ]


def columns_by_path(definition: Definition) -> dict[tuple[str, ...], str]:
    """Path -> column, for each single value of the profile, in the definition's order."""
    found: dict[tuple[str, ...], str] = {}
    for number, (path, prop) in enumerate(definition.properties()):
        if isinstance(prop, Aggregate):
            found |= {value.path: value.column for value in of_property(number, path, prop)}
        else:
            found[path] = column(number)
    return found


def properties_by_column(definition: Definition) -> dict[str, Property]:
    """Column -> the property whose value, or one of whose values, it holds."""
    found: dict[str, Property] = {}
    for number, (path, prop) in enumerate(definition.properties()):
        if isinstance(prop, Aggregate):
            found |= {value.column: prop for value in of_property(number, path, prop)}
        else:
            found[column(number)] = prop
    return found


def paths(definition: Definition) -> dict[str, str]:
    """Dotted path -> column, for all that a derived value may name."""
    found = columns_by_path(definition)
    return {".".join(path): column for path, column in found.items() if path[0] != CONSENTS}


def named(formula: str, known: Iterable[str]) -> list[str]:
    """The dotted paths of `known` that a derived value names."""
    return sql.references(formula, known)


def column(number: int, member: int | None = None) -> str:
    """The column of the property with this number, or of one of its windows and categories."""
    return f"p{number}" if member is None else f"p{number}_{member}"


def place(path: tuple[str, ...]) -> str:
    """Where a property stands in the definition, for messages."""
    return ".".join(path)[1:] if path[0] == CONSENTS else f"profile.{'.'.join(path)}"
