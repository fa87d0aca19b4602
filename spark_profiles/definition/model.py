"""What a profile is made of: YAML or Python -> frozen models, checked before any data is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from spark_profiles.definition.delivery import Delivery
from spark_profiles.definition.language import (
    FORM,
    Expression,
    Formula,
    Model,
    Name,
    Origin,
    Own,
    nearest,
    normal,
)
from spark_profiles.definition.operations import Aggregate, PropertyBase
from spark_profiles.definition.source import Source

CONSENTS = "$consents"
"""Heads the paths of consents among those of properties; no property can have this name."""
SYSTEM_NAMES = ("$compartment_id", "$user_account_id", "$last_modified_ts", "$creation_ts")


_KINDS = ("user_account_id", "email_hash", "user_agent_id")


class Identifier(Model):
    """How a line names its user point: exactly one of account, e-mail hash or user agent."""

    compartment_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    """Goes with user_account_id; without, the platform's default compartment is meant."""
    user_account_id: Own | None = None
    """The account, as text."""
    email_hash: Own | None = None
    """The e-mail address, which is normalised and hashed (or, with `hash: none`, its hash)."""
    user_agent_id: Own | None = None
    """The user agent as the platform writes it, such as vec:89998434."""
    hash: Literal["sha256", "sha384", "sha512", "sha1", "md5", "none"] = "sha256"
    """With email_hash: the hash function, the same in the whole datamart. Lower-case hex."""
    normalise: tuple[Literal["trim", "lower"], ...] = ("trim", "lower")
    """With email_hash: what is done to the address before it is hashed."""

    @model_validator(mode="after")
    def _one_identifier(self) -> Identifier:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            names = [name for name in _KINDS if getattr(self, name) is not None]
            message = (
                f"{' and '.join(names) or 'no identifier'}; give exactly one of"
                f" {', '.join(_KINDS)}; to choose for each user write a list:"
                " [{user_account_id: id}, {email_hash: email}]"
            )
            raise ValueError(message)
        if self.compartment_id is not None and self.user_account_id is None:
            message = "compartment_id goes with user_account_id only"
            raise ValueError(message)
        if self.email_hash is None and {"hash", "normalise"} & self.chosen:
            message = "hash and normalise go with email_hash only"
            raise ValueError(message)
        return self

    @property
    def kind(self) -> str:
        """user_account_id, email_hash or user_agent_id."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def claim(self) -> Own:
        """The expression, or the expression of each source, that gives it."""
        found: Own = getattr(self, self.kind)
        return found


class ProfileKeys(Model):
    """The `$` keys inside the profile object; a separate choice from the line's identifier."""

    compartment_id: int | None = None
    """$compartment_id; without, the platform's default compartment is meant."""
    user_account_id: Own | None = None
    """$user_account_id; a profile without is anonymous."""
    last_modified_ts: Own | None = None
    """$last_modified_ts, which the platform sets by itself: an instant, or epoch milliseconds. Not
    written unless given."""
    creation_ts: Own | None = None
    """$creation_ts, in the same way."""

    @property
    def instants(self) -> dict[str, Own]:
        """The system's timestamps that are to be written, by their names without `$`."""
        given = {"last_modified_ts": self.last_modified_ts, "creation_ts": self.creation_ts}
        return {name: own for name, own in given.items() if own is not None}


class OwnValue(PropertyBase):
    """A value of the user's own row in the sources named by `users`."""

    value: Expression
    """Over several sources: the first known value, in the order of `users`."""


class Survivor(PropertyBase):
    """A value that several sources may know, each in its one row a user: which of them survives."""

    survivor: dict[str, Expression]
    """Source -> expression over the user's row in it, in order of trust."""
    by: Literal["order", "newest"] = "order"
    """order: the first known value. newest: the known value of the newest row, then by order."""


class Derived(PropertyBase):
    """A value over other values of the profile, named by their dotted path."""

    derive: Formula


def kind(node: object) -> str | None:
    """Which model a node of the profile tree is; a property has one of four telling members."""
    if isinstance(node, BaseModel):
        return next((tag for tag, model in MODELS.items() if isinstance(node, model)), None)
    if not isinstance(node, Mapping):
        return None
    for key, tag in _TELLING.items():
        # A mapping under such a key is a section or property that bears the name.
        if key in node and not isinstance(node[key], Mapping):
            return tag
    among = node.get("survivor")
    is_survivor = isinstance(among, Mapping) and any(isinstance(e, str) for e in among.values())
    return "<survivor>" if is_survivor else "<section>"


_TELLING = {
    "value": "<own>",
    "from": "<aggregate>",
    "source": "<aggregate>",
    "derive": "<derived>",
}
MODELS: dict[str, type[BaseModel]] = {
    "<own>": OwnValue,
    "<survivor>": Survivor,
    "<aggregate>": Aggregate,
    "<derived>": Derived,
}
Property = OwnValue | Survivor | Aggregate | Derived
# A named alias, so that pydantic can follow the recursion: a section holds sections.
Section = TypeAliasType("Section", "dict[str, Node]")
Node = Annotated[
    Annotated[OwnValue, Tag("<own>")]
    | Annotated[Survivor, Tag("<survivor>")]
    | Annotated[Aggregate, Tag("<aggregate>")]
    | Annotated[Derived, Tag("<derived>")]
    | Annotated[Section, Tag("<section>")],
    Discriminator(
        kind,
        custom_error_type="profile_node",
        custom_error_message=(
            "a property has value, survivor, from or derive; a section has properties"
        ),
    ),
]
Consent = Annotated[
    Annotated[OwnValue, Tag("<own>")]
    | Annotated[Survivor, Tag("<survivor>")]
    | Annotated[Aggregate, Tag("<aggregate>")]
    | Annotated[Derived, Tag("<derived>")],
    Discriminator(
        kind,
        custom_error_type="consent",
        custom_error_message="a consent has value, survivor, from or derive",
    ),
]


class Definition(Model):
    """One kind of profile: its sources, its users, its shape."""

    name: Name
    """Names the runs and the folder of import files."""
    time_zone: str
    """Days, months and years of windows begin here, such as Europe/Paris."""
    week_starts: Literal[
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
    ] = "monday"
    """The first day of a week, for windows and for values that count weeks."""
    nulls: Literal["omit", "write"] = "omit"
    """What becomes of missing values, where a property does not say it."""
    empty_sections: Literal["omit", "write"] = "omit"
    """What becomes of a section without any value: left out, or written as {}."""
    identifier: Annotated[
        Annotated[Identifier, Tag("<mapping>")]
        | Annotated[tuple[Identifier, ...], Field(min_length=1), Tag("<list>")],
        FORM,
    ]
    """How a line names its user point; of a list, for each user the first that has a value."""
    profile_keys: ProfileKeys = ProfileKeys()
    delivery: Delivery = Delivery()
    """How the platform is to take a profile."""
    sources: dict[Name, Source]
    """The raw tables by the names that they have here."""
    users: Annotated[
        Annotated[str, Tag("<text>")]
        | Annotated[tuple[str, ...], Field(min_length=1), Tag("<list>")],
        FORM,
    ]
    """The source, or sources, whose users get a profile: one for each key in any of them."""
    consents: dict[Name, Consent] = {}
    """Purpose -> whether the user consented to it, said as a property is: true or false. What is
    unknown is no consent. Properties and sections name their `purpose`."""
    profile: Section
    """The shape: names of properties and sections, in the order in which they are written."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @field_validator("profile", mode="before")
    @classmethod
    def _handed_down(cls, profile: object) -> object:
        return handed_down(profile, ()) if isinstance(profile, Mapping) else profile

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            near = nearest(name, available_timezones()) or "write one such as Europe/Paris or UTC"
            message = f"{name!r} is no time zone; {near}"
            raise ValueError(message) from error
        return name

    @property
    def spine(self) -> tuple[str, ...]:
        """The sources of `users`, in their order."""
        return (self.users,) if isinstance(self.users, str) else self.users

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """The identifiers, in the order in which they are tried."""
        return (self.identifier,) if isinstance(self.identifier, Identifier) else self.identifier

    def properties(self) -> Iterator[tuple[tuple[str, ...], Property]]:
        """Each property with its path, in the order in which they are written; then the consents.

        Consents are computed as properties are, under paths that begin with `CONSENTS`.
        """
        yield from walk(self.profile)
        for purpose, consent in self.consents.items():
            yield (CONSENTS, purpose), consent

    def located(self, place: str) -> str:
        """The dotted place, with the file and line in which it is written where that is known."""
        return self._origin.located(place)

    def written_at(self, origin: Origin) -> Definition:
        """The same definition, which knows where its parts are written."""
        copy = self.model_copy()
        copy._origin = origin  # noqa: SLF001  its own
        return copy

    @property
    def definition_hash(self) -> str:
        """SHA-256 over all that decides the output, see docs/definition.md."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        content["users"] = self.spine
        content["identifier"] = normal(self.identifiers)
        content["profile_keys"] = normal(self.profile_keys)
        content["profile"] = normal(self.profile)
        if self.consents:
            content["consents"] = {p: normal(c) for p, c in sorted(self.consents.items())}
        content["sources"] = {name: source.content for name, source in sorted(self.sources.items())}
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def handed_down(section: Mapping[str, Any], purposes: tuple[str, ...]) -> dict[str, Any]:
    """The section as written, the purposes of sections handed down to all properties in them."""
    here = (*purposes, *named_purposes(section))
    found: dict[str, Any] = {}
    for name, node in section.items():
        if name == "purpose" and named_purposes(section):
            continue
        if not here and isinstance(node, BaseModel):
            found[name] = node
        elif isinstance(node, PropertyBase):
            found[name] = node.model_copy(update={"purpose": _both(node.purposes, here)})
        elif not isinstance(node, Mapping):
            found[name] = node
        elif kind(node) == "<section>":
            found[name] = handed_down(node, here)
        else:
            own = named_purposes(node)
            is_readable = own or "purpose" not in node
            found[name] = {**node, "purpose": _both(own, here)} if here and is_readable else node
    return found


def named_purposes(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The purposes that a node names; a member of that name may also be a section or property."""
    told = node.get("purpose")
    names = [told] if isinstance(told, str) else told
    is_named = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return tuple(names) if names and is_named else ()


def _both(own: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*own, *more}))


def walk(
    section: Section, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Property]]:
    """Each property under `section` with its path."""
    for name, node in section.items():
        if isinstance(node, dict):
            yield from walk(node, (*path, name))
        else:
            yield (*path, name), node
