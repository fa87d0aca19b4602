"""YAML files -> one mapping: includes merged, variables filled in, each member with its line.

    include: base.yaml            # or a list; read first, in order, beside the including file
    variables: {brand: ada}       # text, numbers, booleans; ${brand} stands for it in any value
    sources:
      customers: {path: "${brand}/customers"}

What a file says wins over what it includes, and a later include over an earlier one. Sections,
`sources`, each source and `consents` are merged member by member; everything else, a property too,
is replaced whole. A member set to null removes what was included. `$${` writes `${`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from spark_profiles.definition.language import Origin, nearest
from spark_profiles.definition.model import kind
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from pathlib import Path

Scalar = str | int | float | bool
_MERGED = ("variables", "sources", "profile")
_VARIABLE = re.compile(r"(?P<escaped>\$\$\{)|\$\{(?P<name>[^{}]*)\}")


@dataclass(frozen=True)
class Document:
    """The definition as written: plain data, where each part stands, what is wrong so far."""

    data: dict[str, Any]
    origin: Origin
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Spot:
    """A value as written (a mapping and a list of spots, or a scalar), and its `file:line`."""

    value: Any
    where: str

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: spot.plain() for key, spot in self.value.items()}
        if isinstance(self.value, list):
            return [spot.plain() for spot in self.value]
        return self.value


class _Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: `on`, `no` and `y` are names like others."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML reads it from the class
        first: [(tag, match) for tag, match in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"\A(true|false)\Z"), list("tf"))


def from_file(path: Path, variables: Mapping[str, Scalar]) -> Document:
    """The document in the file, with all that it includes.

    Raises:
        DefinitionError: a file cannot be read or is no YAML mapping.
    """
    problems: list[Problem] = []
    return _document(_read(path, (), problems), variables, problems)


def from_text(text: str, name: str, variables: Mapping[str, Scalar]) -> Document:
    """The document in the text, which can include nothing; `name` stands for the file."""
    problems: list[Problem] = []
    return _document(_parse(text, name, problems), variables, problems)


def from_mapping(data: Mapping[str, Any], variables: Mapping[str, Scalar]) -> Document:
    """The document in plain data of the same shape."""
    return _document(_spot(data), variables, [])


def _read(path: Path, above: tuple[Path, ...], problems: list[Problem]) -> _Spot:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        problem = Problem(str(path), reason, "a YAML file", "check the path of the definition")
        message = "The definition cannot be read"
        raise DefinitionError(message, problem) from error
    own = _parse(text, str(path), problems)
    above = (*above, path.resolve())
    whole = _Spot({}, own.where)
    for included in _includes(own.value.pop("include", None), problems):
        target = path.parent / included.value
        if target.resolve() in above:
            where = f"{included.where} include"
            found = f"{included.value} includes itself through others"
            problems.append(Problem(where, found, "files that do not include each other"))
        elif not target.is_file():
            problems.append(_no_file(included, path))
        else:
            whole = _merged(whole, _read(target, above, problems), ())
    return _merged(whole, own, ())


def _no_file(included: _Spot, path: Path) -> Problem:
    near = nearest(included.value, [file.name for file in path.parent.glob("*.y*ml")])
    return Problem(
        f"{included.where} include",
        f"no file {included.value!r}",
        "a YAML file; the path is relative to the file that includes it",
        near,
    )


def _includes(given: _Spot | None, problems: list[Problem]) -> Iterator[_Spot]:
    if given is None:
        return
    for spot in given.value if isinstance(given.value, list) else [given]:
        if isinstance(spot.value, str) and "${" not in spot.value:
            yield spot
        else:
            expected = "the path of a YAML file, or a list of such, without variables"
            problems.append(Problem(f"{spot.where} include", f"{spot.plain()!r}", expected))


def _parse(text: str, name: str, problems: list[Problem]) -> _Spot:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            problem = Problem(f"{name}:1", "no mapping", "name, time_zone, identifier, sources, …")
            message = "The definition is empty or not a mapping"
            raise DefinitionError(message, problem)
        return _Reader(loader, name, problems).spot(node, (), f"{name}:1")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = Problem(f"{name}:{line}", error.problem or "no YAML", "valid YAML")
        message = "The definition is not valid YAML"
        raise DefinitionError(message, problem) from error
    finally:
        loader.dispose()


@dataclass(frozen=True)
class _Reader:
    """Turns the nodes of one file into spots."""

    loader: _Loader
    name: str
    problems: list[Problem]

    def spot(self, node: yaml.Node, above: tuple[int, ...], where: str, place: str = "") -> _Spot:
        """The node as a spot; keys are text as written, keys written twice are problems."""
        if id(node) in above:
            self.problems.append(Problem(f"{where} {place}", "the value contains itself"))
            return _Spot(None, where)
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return _Spot(self._members(node, above, place), where)
        if isinstance(node, yaml.SequenceNode):
            return _Spot(
                [
                    self.spot(item, above, self._where(item), f"{place}.{position}")
                    for position, item in enumerate(node.value)
                ],
                where,
            )
        return _Spot(self.loader.construct_object(node), where)

    def _members(
        self, node: yaml.MappingNode, above: tuple[int, ...], place: str
    ) -> dict[str, _Spot]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self.loader.flatten_mapping(node)  # `<<: *other` is other's members
        members: dict[str, _Spot] = {}
        for key, value in node.value:
            inner = f"{place}.{key.value}".lstrip(".")
            where = self._where(key)
            if key.value in members and written.count(key.value) > 1:
                former = members[key.value].where.rpartition(":")[2]
                self.problems.append(
                    Problem(
                        f"{where} {inner}",
                        f"the key is written twice, first in line {former}",
                        "each key once",
                        "remove or rename one",
                    )
                )
            members[str(key.value)] = self.spot(value, above, where, inner)
        return members

    def _where(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"


def _spot(value: Any) -> _Spot:
    if isinstance(value, Mapping):
        return _Spot({str(key): _spot(member) for key, member in value.items()}, "")
    if isinstance(value, (list, tuple)):
        return _Spot([_spot(member) for member in value], "")
    return _Spot(value, "")


def _merged(base: _Spot, over: _Spot, path: tuple[str, ...]) -> _Spot:
    """`over` laid over `base`; keys keep the place at which they first came."""
    if not _is_merged(base, over, path):
        return over
    members = dict(base.value)
    for key, spot in over.value.items():
        if spot.value is None:
            members.pop(key, None)
        elif key in members:
            members[key] = _merged(members[key], spot, (*path, key))
        else:
            members[key] = spot
    return _Spot(members, over.where)


def _is_merged(base: _Spot, over: _Spot, path: tuple[str, ...]) -> bool:
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return False
    if path and path[0] == "profile":
        return {kind(base.plain()), kind(over.plain())} == {"<section>"}
    return not path or path[0] in _MERGED or path == ("consents",)


def _document(root: _Spot, given: Mapping[str, Scalar], problems: list[Problem]) -> Document:
    written = root.value.pop("variables", _Spot({}, ""))
    if "include" in root.value:
        where = root.value.pop("include").where
        problems.append(Problem(f"{where} include".strip(), "no file to start from", "a file"))
    known: dict[str, _Spot] = {}
    if isinstance(written.value, dict):
        known = dict(written.value)
    else:
        problems.append(Problem(f"{written.where} variables", "no mapping", "name: value"))
    known |= {name: _Spot(value, "") for name, value in given.items()}
    filler = _Filler(known, problems)
    for name in known:
        filler.variable(name, ())
    data = filler.filled(root, "")
    origin = Origin()
    _index(root, "", origin)
    return Document(data, origin, tuple(dict.fromkeys(problems)))


@dataclass(frozen=True)
class _Filler:
    """Puts variables into values."""

    known: Mapping[str, _Spot]
    problems: list[Problem]

    def filled(self, spot: _Spot, place: str) -> Any:
        """The spot as plain data, without variables."""
        if isinstance(spot.value, dict):
            return {
                key: self.filled(member, f"{place}.{key}".lstrip("."))
                for key, member in spot.value.items()
            }
        if isinstance(spot.value, list):
            return [self.filled(item, f"{place}.{n}") for n, item in enumerate(spot.value)]
        if isinstance(spot.value, str):
            return self._text(spot.value, f"{spot.where} {place}".strip(), ())
        return spot.value

    def variable(self, name: str, above: tuple[str, ...]) -> Any:
        """The value of a variable that there is, itself without variables."""
        spot = self.known[name]
        where = f"{spot.where} variables.{name}".strip()
        if name in above:
            circle = " -> ".join([*above[above.index(name) :], name])
            self.problems.append(Problem(where, f"stands for itself: {circle}", "a value"))
            return ""
        if isinstance(spot.value, str):
            return self._text(spot.value, where, (*above, name))
        if not isinstance(spot.value, Scalar):
            self.problems.append(Problem(where, "no plain value", "text, a number, true or false"))
            return ""
        return spot.value

    def _text(self, text: str, where: str, above: tuple[str, ...]) -> Any:
        alone = _VARIABLE.fullmatch(text)
        if alone and not alone["escaped"]:
            return self._value(alone["name"], where, above)

        def replaced(match: re.Match[str]) -> str:
            if match["escaped"]:
                return "${"
            value = self._value(match["name"], where, above)
            return str(value).lower() if isinstance(value, bool) else str(value)

        return _VARIABLE.sub(replaced, text)

    def _value(self, name: str, where: str, above: tuple[str, ...]) -> Any:
        if name in self.known:
            return self.variable(name, above)
        expected = f"one of {', '.join(self.known)}" if self.known else "variables: {name: value}"
        remedy = nearest(name, self.known) or f"add {name} to variables, or write $${{ for ${{"
        self.problems.append(Problem(where, f"no variable {name!r}", expected, remedy))
        return ""


def _index(spot: _Spot, place: str, origin: Origin) -> None:
    if spot.where:
        origin[place] = spot.where
    members: Mapping[Any, _Spot] = {}
    if isinstance(spot.value, dict):
        members = spot.value
    elif isinstance(spot.value, list):
        members = dict(enumerate(spot.value))
    for key, member in members.items():
        _index(member, f"{place}.{key}".lstrip("."), origin)
