"""What the models of a definition are made of: kinds of expressions, and how they are found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, StringConstraints, Tag

from spark_profiles.definition import sql

Place = tuple[str | int, ...]
"""Where something stands in a definition: the keys and positions that lead to it."""


class Over(Enum):
    """What an expression is over."""

    ROW = "one row of a source"
    ROWS = "many rows of a source"
    VALUES = "other values of the profile"


_Text = StringConstraints(strip_whitespace=True, min_length=1)
Expression = Annotated[str, _Text, Over.ROW]
"""A Spark SQL expression over one row of a source."""
Measure = Annotated[str, _Text, Over.ROWS]
"""A Spark SQL aggregate over rows of a source."""
Formula = Annotated[str, _Text, Over.VALUES]
"""A Spark SQL expression over other values, named by their dotted path in the profile."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Model(BaseModel):
    """Frozen; an unknown member is refused; docstrings of members are their descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True
    )

    beside_output: ClassVar[frozenset[str]] = frozenset()
    """Members that change nothing of what is sent, and so do not count for the hash."""

    @property
    def chosen(self) -> set[str]:
        """The members that are not as they would be if they were left out."""
        fields = type(self).model_fields
        given = self.model_fields_set & fields.keys()
        return {
            n for n in given if getattr(self, n) != fields[n].get_default(call_default_factory=True)
        }


def form(value: object) -> str:
    """Which of the forms of a member is meant: text, a list, or a mapping."""
    if isinstance(value, str):
        return "<text>"
    return "<list>" if isinstance(value, (list, tuple)) else "<mapping>"


FORM = Discriminator(form)
Own = Annotated[
    Annotated[Expression, Tag("<text>")] | Annotated[dict[str, Expression], Tag("<mapping>")], FORM
]
"""A value of the user's own row. Text: an expression over the rows of the sources in `users`, the
first known value in that order. A mapping of source to expression: the same, of these sources."""


class Origin(dict[str, str]):  # noqa: PLW1641  a dict has no hash
    """Where each part of a definition was written: its dotted place -> `file:line`.

    Not part of what a definition says: all origins are equal.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def located(self, place: str) -> str:
        """The place with its file and line in front; of a part not written, where it belongs."""
        whole = place
        while place and place not in self:
            place = place.rpartition(".")[0]
        return f"{self[place]} {whole}".strip() if place in self else whole


def expressions(value: Any, place: Place = ()) -> Iterator[tuple[Place, str, Over]]:
    """Each expression in a model, with its place and what it is over.

    Found by the types of the members, so that a new member is checked without being listed.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        chosen = value.chosen if isinstance(value, Model) else fields.keys()
        for name, field in fields.items():
            if name not in chosen:
                continue
            over = _over(field.annotation, *field.metadata)
            for inner, member in _texts(getattr(value, name), (*place, field.alias or name)):
                if isinstance(member, str) and over is not None:
                    yield inner, member, over
                elif isinstance(member, BaseModel):
                    yield from expressions(member, inner)
    else:
        for inner, member in _texts(value, place):
            yield from expressions(member, inner) if isinstance(member, BaseModel) else ()


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """The value, or what lies in it if it is a mapping or a list, however deep."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _texts(member, (*place, key))
    elif isinstance(value, (tuple, list)):
        for position, member in enumerate(value):
            yield from _texts(member, (*place, position))
    else:
        yield place, value


def _over(*annotations: Any) -> Over | None:
    for annotation in annotations:
        if isinstance(annotation, Over):
            return annotation
        if found := _over(*get_args(annotation)):
            return found
    return None


def normal(value: Any) -> Any:
    """The value as plain data, defaults left out, expressions without what says nothing."""
    if isinstance(value, BaseModel):
        beside: frozenset[str] = getattr(value, "beside_output", frozenset())
        content = value.model_dump(
            mode="json", by_alias=True, exclude_defaults=True, exclude=set(beside)
        )
        for place, text, _ in expressions(value):
            inner: Any = content
            for key in place[:-1]:
                inner = inner.get(key, {}) if isinstance(inner, dict) else inner[int(key)]
            if not isinstance(inner, dict):
                inner[int(place[-1])] = sql.normal(text)
            elif place[-1] in inner:
                inner[place[-1]] = sql.normal(text)
        return content
    if isinstance(value, Mapping):
        # A list of pairs: the order of a profile's members is part of its bytes.
        return [[name, normal(member)] for name, member in value.items()]
    if isinstance(value, (tuple, list)):
        return [normal(member) for member in value]
    return value


def nearest(found: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known name, or nothing when none is near."""
    name = nearest_name(found, known)
    return f"did you mean {name}?" if name else ""


def listed(names: Iterable[str], most: int = 20) -> str:
    """The names, of very many the first ones."""
    whole = list(names)
    more = f", … ({len(whole) - most:,} more)" if len(whole) > most else ""
    return ", ".join(whole[:most]) + more


def nearest_name(found: str, known: Iterable[str]) -> str | None:
    """The known name that is most like the one found; None: none is near."""
    by_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(found.lower(), list(by_case), n=1)
    return by_case[close[0]] if close else None
