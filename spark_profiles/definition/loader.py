"""A definition as written -> a checked `Definition`, or one error with all problems."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from spark_profiles.definition import consistency, documents
from spark_profiles.definition.delivery import Delivery
from spark_profiles.definition.language import Place, nearest, nearest_name
from spark_profiles.definition.model import (
    MODELS,
    Definition,
    Identifier,
    ProfileKeys,
    kind,
    named_purposes,
)
from spark_profiles.definition.source import Rule, Source
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from spark_profiles.definition.documents import Document, Scalar

# Stand-ins for what is wrong, so that the rest can be looked at; they give no problems themselves.
_NOTHING = "cast(null as string)"
_STAND_INS: dict[str, Any] = {
    "name": "x",
    "time_zone": "UTC",
    "identifier": {"user_account_id": _NOTHING},
    "profile_keys": {},
    "sources": {},
    "users": "x",
    "profile": {},
}


@dataclass(frozen=True)
class Draft:
    """A definition that may be wrong: all problems found without tables, and what is left."""

    definition: Definition
    """The definition; if there are problems, without the parts that are wrong."""
    problems: tuple[Problem, ...]

    def whole(self, *more: Problem) -> Definition:
        """The definition, which has no problems.

        Raises:
            DefinitionError: it has, or there are `more`; lists all, in the order of their lines.
        """
        found = dict.fromkeys([*self.problems, *more])
        if found:
            count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
            message = f"The definition has {count}; nothing was read from the sources"
            raise DefinitionError(message, *sorted(found, key=lambda p: _file_and_line(p.where)))
        return self.definition


def load_definition(
    path: str | Path, *, variables: Mapping[str, Scalar] | None = None
) -> Definition:
    """The definition in the YAML file `path`, with what it includes.

    Args:
        path: the file.
        variables: values of variables; they win over those in the files.

    Raises:
        DefinitionError: a file cannot be read, or anything in it is wrong; lists all problems.
    """
    return draft(path, variables=variables).whole()


def draft(path: str | Path, *, variables: Mapping[str, Scalar] | None = None) -> Draft:
    """What is in the YAML file `path`, right or wrong.

    Raises:
        DefinitionError: a file cannot be read or is no YAML mapping.
    """
    return _draft(documents.from_file(Path(path), variables or {}))


def parse_yaml(text: str, *, name: str = "definition") -> Definition:
    """The definition written in the YAML `text`; `name` stands for the file in messages."""
    return _draft(documents.from_text(text, name, {})).whole()


def parse_definition(data: Mapping[str, Any]) -> Definition:
    """The definition in the mapping `data`, of the same shape as the YAML."""
    return _draft(documents.from_mapping(data, {})).whole()


def checked(definition: Definition) -> Draft:
    """A definition written in Python, with what is inconsistent in it."""
    found = consistency.problems(definition)
    return Draft(definition, tuple(p.at(definition.located(p.where)) for p in found))


def _draft(document: Document) -> Draft:
    problems = list(document.problems)
    data = copy.deepcopy(document.data)
    definition = None
    aside: set[str] = set()
    # Each round sets aside what is wrong. What is wrong again where something was set aside may
    # only follow from that: it goes as a whole, unsaid.
    while definition is None:
        try:
            definition = Definition.model_validate(data)
        except ValidationError as error:
            faults = [_from_pydantic(document, fault) for fault in error.errors()]
            again = {place: _unit(document.data, place) in aside for _, place in faults}
            problems += [problem for problem, place in faults if not again[place]]
            for _, place in faults:
                _set_aside(data, place, whole=again[place])
                aside.add(_unit(document.data, place))
    definition = definition.written_at(document.origin)
    for problem in consistency.problems(definition, _known(document.data)):
        if not _follows(problem.where, aside):
            problems.append(problem.at(definition.located(problem.where)))
    likely = definition.model_copy(update={"users": _likely(definition)})
    return Draft(likely, tuple(dict.fromkeys(problems)))


def _likely(definition: Definition) -> str | tuple[str, ...]:
    """The sources of users, with what was meant by a name that is none."""
    known = list(definition.sources)
    meant = tuple(nearest_name(name, known) or name for name in definition.spine)
    return meant[0] if isinstance(definition.users, str) else meant


def _follows(place: str, aside: Iterable[str]) -> bool:
    """Whether a problem there may only follow from something that was set aside."""
    heads = [unit for unit in aside if unit in _STAND_INS]
    return any(place == head or place.startswith(f"{head}.") for head in heads)


def _known(data: Mapping[str, Any]) -> consistency.Known:
    sources, profile, consents = (data.get(name) for name in ("sources", "profile", "consents"))
    return consistency.Known(
        tuple(map(str, sources)) if isinstance(sources, Mapping) else (),
        tuple(_paths(profile, ())) if isinstance(profile, Mapping) else (),
        tuple(map(str, consents)) if isinstance(consents, Mapping) else (),
    )


def _paths(section: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """Dotted paths of all values, of wrong ones too."""
    found: list[str] = []
    for name, node in section.items():
        here = (*path, name)
        if name == "purpose" and named_purposes(section):
            continue
        if kind(node) == "<section>" and isinstance(node, Mapping):
            found += _paths(node, here)
            continue
        found.append(".".join(here))
        windows = node.get("windows") if isinstance(node, Mapping) else None
        found += [".".join((*here, str(w))) for w in (windows if isinstance(windows, list) else [])]
    return found


def _from_pydantic(document: Document, fault: Any) -> tuple[Problem, Place]:
    """The fault as a problem, and the keys that lead to what is wrong."""
    location, error = fault["loc"], fault["type"]
    place = tuple(part for part in location if not _is_form(part))
    if place and place[-1] == "[key]":
        place = place[:-1]
    where = document.origin.located(".".join(map(str, place)))
    if error == "extra_forbidden":
        known = _members(location)
        near = nearest(str(place[-1]), known)
        return Problem(where, "unknown key", f"one of {', '.join(known)}", near), place
    if error == "missing":
        example = _EXAMPLES.get(str(place[-1]), "…")
        found = Problem(where, "missing", "", f"add {place[-1]}: {example}")
        return found, place
    if error == "value_error":
        found, _, remedy = fault["msg"].removeprefix("Value error, ").partition("; ")
        return Problem(where, found, "", remedy), place
    return Problem(where, _found(fault["input"]), *_expected(fault)), place


_EXAMPLES = {
    "name": "shop",
    "time_zone": "Europe/Paris",
    "identifier": '{compartment_id: "1606", user_account_id: customer_id}',
    "sources": "{customers: {table: crm.customers, key: customer_id}}",
    "users": "customers",
    "key": "customer_id",
}


def _found(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "nothing" if value in (None, "") else f"{value!r}"


def _expected(fault: Any) -> tuple[str, str]:
    """What was expected, and a remedy."""
    error, value = fault["type"], fault["input"]
    if error == "consent":
        return "value, survivor, from or derive", ""
    if error == "profile_node":
        near = nearest(str(fault["loc"][-1]), ["value", "survivor", "from", "derive"])
        return "a property (value, survivor, from or derive) or a section of them", near
    if error == "string_pattern_mismatch":
        near = re.sub(r"[^a-z0-9_]+", "_", str(value).lower()).strip("_")
        return "a name of lower-case letters, digits and _", f"write {near}" if near else ""
    if error == "string_type":
        return "text", f'write "{value}" in quotes' if isinstance(value, (int, float)) else ""
    if error == "literal_error":
        options = re.findall(r"'([^']+)'", str(fault["ctx"]["expected"]))
        return f"one of {', '.join(options)}" if options else "true", nearest(str(value), options)
    expected = str(fault["msg"]).removeprefix("Input should be ").split(", ")[0]
    expected = expected.replace("valid integer", "whole number")
    return expected, f"write {expected}"


def _is_form(part: Any) -> bool:
    """Members that pydantic adds to a location to say which model it tried."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _members(location: tuple[Any, ...]) -> list[str]:
    """The members of the model in which the last of the location was found."""
    model: type[BaseModel] = Definition
    heads: dict[str, type[BaseModel]] = {
        "identifier": Identifier,
        "profile_keys": ProfileKeys,
        "delivery": Delivery,
        "sources": Source,
    }
    if len(location) > 1:
        model = heads.get(str(location[0]), model)
    if "accept" in location[:-1] and location[0] == "sources":
        model = Rule
    for part in location[:-1]:
        model = MODELS.get(str(part), model)
    return [field.alias or key for key, field in model.model_fields.items()]


def _unit(data: Mapping[str, Any], place: Place) -> str:
    """The smallest part that is wrong or right as a whole: a property, a source, a head."""
    depth = {"profile": 2, "sources": 2, "consents": 2}.get(str(place[0]) if place else "", 1)
    if depth == 2 and place[0] == "profile":  # noqa: PLR2004
        node: Any = data.get("profile")
        for depth, name in enumerate(place[1:], start=2):  # noqa: B007
            node = node.get(name) if isinstance(node, Mapping) else None
            if kind(node) != "<section>":
                break
    return ".".join(map(str, place[:depth]))


def _set_aside(data: dict[str, Any], place: Place, *, whole: bool) -> None:
    """Take what is wrong out of the data; what must be there gets a stand-in."""
    if not place:
        data.update(copy.deepcopy(_STAND_INS))
    elif place[0] == "profile" and len(place) > 1:
        _without_property(data["profile"], place[1:], whole=whole)
    elif place[0] in ("sources", "consents") and len(place) > 1:
        _without_member(data[str(place[0])], place[1:], whole=whole)
    elif place[0] in _STAND_INS:
        data[str(place[0])] = copy.deepcopy(_STAND_INS[str(place[0])])
    else:
        data.pop(str(place[0]), None)


def _without_property(section: Any, path: Place, *, whole: bool) -> None:
    name, rest = str(path[0]), path[1:]
    if not isinstance(section, dict) or name not in section:
        return
    if rest and kind(section[name]) == "<section>":
        _without_property(section[name], rest, whole=whole)
    elif rest and not whole and isinstance(section[name], dict):
        _without(section[name], rest)
    else:
        section[name] = {"value": _NOTHING}


def _without_member(sources: dict[str, Any], path: Place, *, whole: bool) -> None:
    name, rest = str(path[0]), path[1:]
    if rest and not whole and isinstance(sources.get(name), dict):
        _without(sources[name], rest)
    else:
        sources.pop(name, None)


def _without(data: Any, path: Place) -> None:
    """Remove the member at the path; of a list, the whole list."""
    head, *rest = path
    if rest and isinstance(data.get(head), dict):
        _without(data[head], tuple(rest))
    else:
        data.pop(head, None)


def _file_and_line(where: str) -> tuple[str, int]:
    file, _, line = where.split(" ", 1)[0].rpartition(":")
    return (file, int(line)) if line.isdigit() else ("", 0)
