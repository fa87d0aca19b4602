"""A definition, laid flat: which value of the profile lies in which column, under what name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.operations import Aggregate

if TYPE_CHECKING:
    from spark_profiles.definition import Definition

LIFETIME = "lifetime"


@dataclass(frozen=True)
class Value:
    """One column to compute: a property over one window; `place` names it in messages."""

    column: str
    place: str
    aggregate: Aggregate
    window: str


def aggregated_values(definition: Definition) -> dict[str, list[Value]]:
    """What has to be computed over each source: one `Value` for each property and window."""
    wanted: dict[str, list[Value]] = {}
    for number, (path, prop) in enumerate(definition.properties()):
        if isinstance(prop, Aggregate):
            for window in prop.windows or (prop.max_age or LIFETIME,):
                name = column(number, window if prop.windows else None)
                value = Value(name, place(path), prop, window)
                wanted.setdefault(prop.source, []).append(value)
    return wanted


def paths(definition: Definition) -> dict[str, str]:
    """Dotted path -> column, for all that a derived value may name."""
    found = {}
    for number, (path, prop) in enumerate(definition.properties()):
        if isinstance(prop, Aggregate) and prop.windows:
            for window in prop.windows:
                found[".".join((*path, window))] = column(number, window)
        else:
            found[".".join(path)] = column(number)
    return found


def column(number: int, window: str | None = None) -> str:
    """The column of the property with this number in the definition's order."""
    return f"p{number}_{window}" if window else f"p{number}"


def place(path: tuple[str, ...]) -> str:
    """Where a property stands in the definition, for messages."""
    return f"profile.{'.'.join(path)}"
