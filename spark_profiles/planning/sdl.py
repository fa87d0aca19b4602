"""The datamart's own schema, GraphQL text -> what it says of profiles. No Spark.

The directives are the platform's: `@Property` says under which path of the stored object a field
lies, `@Function` that it is computed by the platform; all others are about its index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spark_profiles.errors import DefinitionError, PlatformError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Way = tuple[str, ...]
"""Names that lead to a value in an object."""

_ROOT, _PROFILES, _PROFILE = "UserPoint", "profiles", "UserProfile"
_OF_THE_PLATFORM = ("id", "compartment_id", "creation_ts", "last_modified_ts")
"""Fields of a profile that the platform fills where they are not sent."""
_SYSTEM = (*_OF_THE_PLATFORM, "user_account_id")


@dataclass(frozen=True)
class Type:
    """The type of a field: a named one, or a list of others."""

    name: str
    """Of the type, or of the items of the list."""
    is_required: bool = False
    """Written with `!`: an object without it is not indexed at all."""
    item: Type | None = None

    def __str__(self) -> str:
        return (f"[{self.item}]" if self.item else self.name) + "!" * self.is_required


@dataclass(frozen=True)
class Field:
    """A field of an object, and the ways to where its value may lie."""

    name: str
    type: Type
    ways: tuple[Way, ...]
    is_computed: bool = False
    """The platform computes it, from what lies under the ways."""
    is_filled: bool = False
    """The platform fills it where it is not sent."""


@dataclass(frozen=True)
class Schema:
    """What a datamart knows of profiles."""

    profile: str
    """The name of the type of a profile."""
    objects: Mapping[str, tuple[Field, ...]]
    enums: frozenset[str]


def read(path: Path) -> Schema:
    """The schema in a file.

    Raises:
        DefinitionError: it cannot be read, or has no profiles.
        PlatformError: the package graphql-core is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), "cannot be read") from error
    return parse(text, name=str(path))


def parse(text: str, *, name: str = "schema") -> Schema:
    """The schema in a text. Raises as `read`."""
    try:
        from graphql import GraphQLSyntaxError  # noqa: PLC0415  an extra
        from graphql import parse as parsed  # noqa: PLC0415
    except ImportError as error:
        problem = Problem(
            "graphql-core", "not installed", "", "pip install 'spark-profiles[schema]'"
        )
        message = "A datamart's schema cannot be read without it"
        raise PlatformError(message, problem) from error
    try:
        nodes: Any = parsed(text).definitions
    except GraphQLSyntaxError as error:
        line = error.locations[0].line if error.locations else 1
        raise _unreadable(f"{name}:{line}", error.message) from error
    found = {node.name.value: node for node in nodes if node.kind == "object_type_definition"}
    profile = _profile(found)
    if profile not in found:
        raise _unreadable(name, "no profiles", f"a type {_PROFILE}, or {_PROFILES} of {_ROOT}")
    return Schema(
        profile=profile,
        objects={n: tuple(_fields(node, n == profile)) for n, node in found.items()},
        enums=frozenset(n.name.value for n in nodes if n.kind == "enum_type_definition"),
    )


def _unreadable(where: str, found: str, expected: str = "a schema in GraphQL") -> DefinitionError:
    message = "The datamart's schema cannot be used; nothing was read from the sources"
    return DefinitionError(message, Problem(where, found, expected))


def _profile(found: Mapping[str, Any]) -> str:
    """The type of the profiles of a user point."""
    fields = found[_ROOT].fields or () if _ROOT in found else ()
    named = [_type(field.type) for field in fields if field.name.value == _PROFILES]
    return named[0].name if named else _PROFILE


def _fields(node: Any, is_profile: bool) -> Iterator[Field]:  # noqa: FBT001  a plain fact
    for field in node.fields or ():
        name = field.name.value
        is_system = is_profile and name in _SYSTEM
        told = {
            d.name.value: {a.name.value: a.value for a in d.arguments or ()}
            for d in field.directives or ()
        }
        property_ = told.get("Property", {})
        ways = _texts(property_.get("path")) + _texts(property_.get("paths"))
        ways += _texts(told.get("Function", {}).get("params"))
        yield Field(
            name=name,
            type=_type(field.type),
            ways=tuple(tuple(way.split(".")) for way in ways)
            or ((f"${name}" if is_system else name,),),
            is_computed="Function" in told,
            is_filled=is_profile and name in _OF_THE_PLATFORM,
        )


def _type(node: Any, *, is_required: bool = False) -> Type:
    if node.kind == "non_null_type":
        return _type(node.type, is_required=True)
    if node.kind == "list_type":
        item = _type(node.type)
        return Type(item.name, is_required, item)
    return Type(node.name.value, is_required)


def _texts(value: Any) -> list[str]:
    """A text, or the texts in a list."""
    if value is None:
        return []
    items = value.values if value.kind == "list_value" else [value]
    return [item.value for item in items if item.kind == "string_value"]
