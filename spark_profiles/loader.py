"""YAML text or a mapping -> a checked `Definition`, or one error with all problems."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from spark_profiles.definition import (
    Definition,
    Derived,
    Identifier,
    OwnValue,
    ProfileKeys,
    Source,
)
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.operations import Aggregate

Location = tuple[str | int, ...]
Lines = Mapping[Location, int]

# Members that pydantic adds to a location to say which model it tried; no place in the file.
_MODEL_TAGS = {"own", "aggregate", "derived", "section"}
_SYSTEM_NAMES = ("$compartment_id", "$user_account_id", "$last_modified_ts", "$creation_ts")


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `on`, `no` and `y` are names like others."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML reads it from the class
        first: [(tag, match) for tag, match in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"\A(true|false)\Z"), list("tf"))


def load_definition(path: str | Path) -> Definition:
    """The definition in the YAML file `path`.

    Raises:
        DefinitionError: the file cannot be read, or anything in it is wrong; lists all problems.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problem = Problem(str(path), reason, "a YAML file", "check the path of the definition")
        message = "The definition cannot be read"
        raise DefinitionError(message, problem) from error
    return parse_yaml(text, name=str(path))


def parse_yaml(text: str, *, name: str = "definition") -> Definition:
    """The definition written in the YAML `text`; `name` stands for the file in messages."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = Problem(f"{name}:{line}", error.problem or "no YAML", "valid YAML")
        message = "The definition is not valid YAML"
        raise DefinitionError(message, problem) from error
    if not isinstance(node, yaml.MappingNode):
        problem = Problem(f"{name}:1", "no mapping", "name, time_zone, identifier, sources, …")
        message = "The definition is empty or not a mapping"
        raise DefinitionError(message, problem)
    lines: dict[Location, int] = {}
    repeated = list(_index(node, (), lines))
    data = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader
    return _parse(data, name=name, lines=lines, also=[_repeated(name, lines, r) for r in repeated])


def parse_definition(data: Mapping[str, Any]) -> Definition:
    """The definition in the mapping `data`, of the same shape as the YAML."""
    return _parse(data, name="definition", lines={}, also=[])


def _parse(data: Any, *, name: str, lines: Lines, also: list[Problem]) -> Definition:
    problems = list(also)
    definition = None
    try:
        definition = Definition.model_validate(data)
    except ValidationError as error:
        problems += [_from_pydantic(name, lines, fault) for fault in error.errors()]
    problems += _cross_problems(data, name, lines)
    if definition is not None:
        problems += _time_problems(definition, name, lines)
    if definition is None or problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        message = f"The definition has {count}; nothing was read"
        raise DefinitionError(message, *sorted(problems, key=lambda p: _line_of(p.where)))
    return definition


def _index(node: yaml.Node, path: Location, lines: dict[Location, int]) -> Iterator[Location]:
    """Fill `lines` with the line of every place; yields the places of repeated keys."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            place = (*path, key.value)
            if key.value in seen:
                lines[(*place, "again")] = key.start_mark.line + 1
                yield place
            seen.add(key.value)
            lines[place] = key.start_mark.line + 1
            yield from _index(value, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield from _index(value, (*path, position), lines)


def _repeated(name: str, lines: Lines, place: Location) -> Problem:
    where = f"{name}:{lines[(*place, 'again')]} {_dotted(place)}"
    return Problem(where, "the key is written twice", "each key once", "remove or rename one")


def _from_pydantic(name: str, lines: Lines, fault: Any) -> Problem:
    place = tuple(part for part in fault["loc"] if part not in _MODEL_TAGS)
    where = _where(name, lines, place)
    if fault["type"] == "extra_forbidden":
        known = _known_members(fault["loc"])
        near = nearest(str(place[-1]), known)
        return Problem(where, "unknown key", f"one of {', '.join(known)}", near)
    if fault["type"] == "missing":
        return Problem(_where(name, lines, place), "missing", "", f"add {place[-1]}: …")
    return Problem(where, fault["msg"].removeprefix("Value error, "))


def _known_members(location: Location) -> list[str]:
    model: type[BaseModel] = Definition
    tags: dict[str, type[BaseModel]] = {"own": OwnValue, "aggregate": Aggregate, "derived": Derived}
    places: dict[str, type[BaseModel]] = {
        "identifier": Identifier,
        "profile_keys": ProfileKeys,
        "sources": Source,
    }
    if location[0] in places:
        model = places[str(location[0])]
    for part in location[:-1]:
        model = tags.get(str(part), model)
    return [field.alias or key for key, field in model.model_fields.items()]


def _cross_problems(data: Any, name: str, lines: Lines) -> list[Problem]:
    """What no single member can know: names that refer to each other, and clashing names."""
    if not isinstance(data, Mapping):
        return []
    given = data.get("sources")
    sources = [str(key) for key in given] if isinstance(given, Mapping) else []
    problems = []
    if isinstance(data.get("users"), str) and data["users"] not in sources:
        problems.append(_unknown_source(name, lines, ("users",), data["users"], sources))
    profile = data.get("profile")
    if isinstance(profile, Mapping):
        problems += _profile_problems(profile, ("profile",), sources, name, lines)
    return problems


def _profile_problems(
    section: Mapping[Any, Any], path: Location, sources: list[str], name: str, lines: Lines
) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for key, node in section.items():
        place = (*path, key)
        yield from _name_problems(str(key), seen, _where(name, lines, place))
        seen[str(key).lower()] = str(key)
        if not isinstance(node, Mapping):
            continue
        if isinstance(node.get("from"), str):
            if node["from"] not in sources:
                yield _unknown_source(name, lines, (*place, "from"), node["from"], sources)
        elif not any(isinstance(node.get(telling), str) for telling in ("value", "derive")):
            if not node:
                yield Problem(_where(name, lines, place), "empty section", "properties")
            yield from _profile_problems(node, place, sources, name, lines)


def _time_problems(definition: Definition, name: str, lines: Lines) -> Iterator[Problem]:
    """Values that need to know when a row happened, over a source that does not say it."""
    for path, prop in definition.properties():
        source = definition.sources.get(prop.source) if isinstance(prop, Aggregate) else None
        if not isinstance(prop, Aggregate) or source is None or source.time:
            continue
        asked = "windows" if prop.windows else "max_age" if prop.max_age else prop.operation
        if asked in ("windows", "max_age", "first", "last", "latest"):
            yield Problem(
                _where(name, lines, ("profile", *path)),
                f"{asked} over {prop.source}, which has no time",
                "a source with time: <column>",
                f"add time: to sources.{prop.source}",
            )


def _name_problems(key: str, seen: Mapping[str, str], where: str) -> Iterator[Problem]:
    if key in _SYSTEM_NAMES:
        yield Problem(where, f"{key} is set by the platform or by profile_keys", "another name")
    elif key.startswith("$") or not key.strip() or "`" in key:
        yield Problem(where, f"{key!r} is no name for a property", "a name without $ and `")
    elif seen.get(key.lower(), key) != key:
        yield Problem(where, f"{key} and {seen[key.lower()]} differ only in case", "one of them")


def _unknown_source(
    name: str, lines: Lines, place: Location, found: str, sources: list[str]
) -> Problem:
    expected = f"one of {', '.join(sources)}" if sources else "a source under sources"
    return Problem(
        _where(name, lines, place), f"no source {found!r}", expected, nearest(found, sources)
    )


def nearest(found: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known name, or nothing when none is near."""
    close = difflib.get_close_matches(found, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _where(name: str, lines: Lines, place: Location) -> str:
    line = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), None)
    return f"{name}:{line} {_dotted(place)}" if line else _dotted(place)


def _dotted(place: Location) -> str:
    return ".".join(str(part) for part in place)


def _line_of(where: str) -> int:
    head = where.split(" ", 1)[0].rpartition(":")[2]
    return int(head) if head.isdigit() else 0
