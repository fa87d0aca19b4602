"""A definition -> the part of it that is not wrong, so that this too can be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_profiles.definition import consistency, values
from spark_profiles.definition.model import CONSENTS, Derived
from spark_profiles.definition.operations import Aggregate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from spark_profiles.definition.model import Definition, Section
    from spark_profiles.errors import Problem

_HARMLESS = ("name", "time_zone")
"""What may be wrong without a consequence for what else is wrong."""


def without(definition: Definition, problems: Iterable[Problem]) -> Definition | None:
    """The definition without what has these problems, and without what is made of that.

    None: what is wrong is no property and no source of properties, or nothing else is left.
    """
    places = [problem.place for problem in problems]
    wrong = [place for place in places if place not in _HARMLESS]
    if not wrong:
        return definition
    sources = {place.split(".")[1] for place in wrong if place.startswith("sources.")}
    if not all(place.startswith(("profile.", "sources.")) for place in wrong):
        return None
    gone = _without_sources(definition, sources) | {
        path
        for path, _ in definition.properties()
        if any(f"{place}.".startswith(f"{values.place(path)}.") for place in wrong)
    }
    gone = _with_derived(definition, gone)
    is_named = any(path[0] == CONSENTS for path in gone) or sources & _of_names(definition)
    profile = _rest(definition.profile, (), gone)
    if is_named or not profile:
        return None
    left = {name: source for name, source in definition.sources.items() if name not in sources}
    return definition.model_copy(update={"profile": profile, "sources": left})


def _without_sources(definition: Definition, sources: Collection[str]) -> set[tuple[str, ...]]:
    """The properties over these sources."""
    own = {place for place, source, _ in consistency.own_places(definition) if source in sources}
    return {
        path
        for path, prop in definition.properties()
        if (isinstance(prop, Aggregate) and prop.source in sources)
        or any(place.startswith(f"{values.place(path)}.") for place in own)
    }


def _of_names(definition: Definition) -> set[str]:
    """The sources of users, and those of what names them."""
    places = consistency.own_places(definition)
    named = {source for place, source, _ in places if not place.startswith("profile.")}
    return {*named, *definition.spine}


def _with_derived(
    definition: Definition, gone: Collection[tuple[str, ...]]
) -> set[tuple[str, ...]]:
    """These properties, and those derived from them, and so on."""
    paths = values.paths(definition)
    derived = {
        path: values.named(prop.derive, paths)
        for path, prop in definition.properties()
        if isinstance(prop, Derived)
    }
    found = set(gone)
    while more := {
        path
        for path, names in derived.items()
        if path not in found
        and any(f"{name}.".startswith(f"{'.'.join(p)}.") for name in names for p in found)
    }:
        found |= more
    return found


def _rest(
    section: Section, path: tuple[str, ...], gone: Collection[tuple[str, ...]]
) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, node in section.items():
        here = (*path, name)
        left = _rest(node, here, gone) if isinstance(node, dict) else node
        if left and here not in gone:
            found[name] = left
    return found
