"""What a profile is made of: YAML or Python -> frozen models, checked before any data is read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from spark_profiles.operations import Aggregate, Expression, PropertyBase

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Identifier(_Model):
    """How a line names its user point: exactly one of account, e-mail hash or user agent."""

    compartment_id: str | None = None
    user_account_id: Expression | None = None
    email_hash: Expression | None = None
    """The e-mail address; it is trimmed, lower-cased and hashed with SHA-256 (lower-case hex)."""
    user_agent_id: Expression | None = None

    @model_validator(mode="after")
    def _one_identifier(self) -> Identifier:
        given = [self.user_account_id, self.email_hash, self.user_agent_id]
        if sum(value is not None for value in given) != 1:
            message = "give exactly one of user_account_id, email_hash, user_agent_id"
            raise ValueError(message)
        if self.compartment_id is not None and self.user_account_id is None:
            message = "compartment_id goes with user_account_id only"
            raise ValueError(message)
        return self


class ProfileKeys(_Model):
    """The `$` keys inside the profile object; a separate choice from the line's identifier."""

    compartment_id: int | None = None
    user_account_id: Expression | None = None


class Source(_Model):
    """One raw table, and how its rows become ours. Columns are named, expressions are Spark SQL."""

    table: str | None = None
    path: str | None = None
    format: Literal["delta", "parquet", "csv", "json", "orc"] | None = None
    options: dict[str, str] = {}
    key: Expression
    """The user's key; trimmed and read as text. A null or blank key refuses the row."""
    time: str | None = None
    """Column with the instant of the row. Rows at or after as-of are counted, not used."""
    row_id: tuple[str, ...] = ()
    """Columns that identify a row of one user; of rows that agree in them one is used."""
    latest_by: tuple[str, ...] = ()
    """For one row per user: `column desc` or `column asc`, the first of that order is used."""
    types: dict[str, str] = {}
    """Column -> type. A value that cannot be read as that type refuses the row."""
    accept: dict[Name, Expression] = {}
    """Rule name -> condition. A row for which it is false or null is refused by that name."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.table is None) == (self.path is None):
            message = "give either table or path"
            raise ValueError(message)
        if (self.path is None) != (self.format is None):
            message = "format goes with path: delta, parquet, csv, json or orc"
            raise ValueError(message)
        if self.row_id and self.latest_by:
            message = "row_id (many rows a user) and latest_by (one row a user) exclude each other"
            raise ValueError(message)
        return self

    @field_validator("latest_by")
    @classmethod
    def _orders(cls, orders: tuple[str, ...]) -> tuple[str, ...]:
        for order in orders:
            if not re.fullmatch(r"\S+( (asc|desc))?", order.strip(), re.IGNORECASE):
                message = f"{order!r} is no order; write 'column desc' or 'column asc'"
                raise ValueError(message)
        return orders


class OwnValue(PropertyBase):
    """A value of the user's own row in the source named by `users`."""

    value: Expression


class Derived(PropertyBase):
    """A value over other values of the profile, named by their dotted path."""

    derive: Expression


def _kind(node: object) -> str | None:
    """Which model a node of the profile tree is; a property has one of three telling members."""
    if isinstance(node, BaseModel):
        return {OwnValue: "own", Aggregate: "aggregate", Derived: "derived"}.get(type(node))
    if not isinstance(node, Mapping):
        return None
    telling = {"value": "own", "from": "aggregate", "derive": "derived"}
    return next(
        (kind for key, kind in telling.items() if isinstance(node.get(key), str)), "section"
    )


Property = OwnValue | Aggregate | Derived
# A named alias, so that pydantic can follow the recursion: a section holds sections.
Section = TypeAliasType("Section", "dict[str, Node]")
Node = Annotated[
    Annotated[OwnValue, Tag("own")]
    | Annotated[Aggregate, Tag("aggregate")]
    | Annotated[Derived, Tag("derived")]
    | Annotated[Section, Tag("section")],
    Discriminator(
        _kind,
        custom_error_type="profile_node",
        custom_error_message="a property has value, from or derive; a section has properties",
    ),
]


class Definition(_Model):
    """One kind of profile: its sources, its users, its shape."""

    name: Name
    time_zone: str
    identifier: Identifier
    profile_keys: ProfileKeys = ProfileKeys()
    sources: dict[Name, Source]
    users: str
    profile: Section

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            message = f"{name!r} is no time zone; write one such as Europe/Paris or UTC"
            raise ValueError(message) from error
        return name

    def properties(self) -> Iterator[tuple[tuple[str, ...], Property]]:
        """Each property with its path, in the order in which they are written."""
        return walk(self.profile)

    @property
    def definition_hash(self) -> str:
        """SHA-256 over all that decides the output; white space and comments do not count."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        content["sources"] = dict(sorted(content["sources"].items()))
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def walk(
    section: Section, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Property]]:
    """Each property under `section` with its path."""
    for name, node in section.items():
        if isinstance(node, dict):
            yield from walk(node, (*path, name))
        else:
            yield (*path, name), node
