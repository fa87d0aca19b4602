"""A source: where a raw table lies, and how its rows become ours."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Tag, field_validator, model_validator

from spark_profiles.definition import sql
from spark_profiles.definition.language import FORM, Expression, Model, Name, normal

FILE_FORMATS = ("delta", "parquet", "csv", "json", "orc", "avro")


class Rule(Model):
    """A named condition on the rows of a source."""

    condition: Expression
    """A row is good if it is true; false and null are not."""
    severity: Literal["refuse", "exclude", "warn"] = "refuse"
    """refuse: the row is wrong and kept as refused; its user, if it is one, is not taken for gone.
    exclude: the same, but the row is not meant to be here: it says nothing of its user.
    warn: it is used, and counted by the rule's name."""

    @property
    def refuses(self) -> bool:
        """Whether a row that breaks it is not used."""
        return self.severity != "warn"


class Source(Model):
    """One raw table, and how its rows become ours. Columns are named, expressions are Spark SQL."""

    table: str | None = None
    """A table or view of the catalog."""
    path: str | None = None
    """A file or folder; a relative one lies in the folder given as data."""
    format: str | None = None
    """With path: delta, parquet, csv, json, orc, avro. Without: any reader of Spark (jdbc, …)."""
    options: dict[str, str] = {}
    """Options of Spark's reader."""
    secrets: dict[str, str] = {}
    """Options of Spark's reader that nobody may see: env:NAME or file:PATH, read at run time."""
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
    accept: dict[
        Name,
        Annotated[Annotated[Expression, Tag("<text>")] | Annotated[Rule, Tag("<mapping>")], FORM],
    ] = {}
    """Rule name -> condition. A row for which it is false or null is refused by that name."""

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if self.table and (self.path or self.format):
            message = "give either table or path, not both; format goes with path"
            raise ValueError(message)
        if not (self.table or self.path or self.format):
            message = "give table: catalog.schema.name, or path: and format:"
            raise ValueError(message)
        if self.path and self.format not in FILE_FORMATS:
            found = f"a path and format {self.format or 'none'}"
            message = f"{found}; write format: one of {', '.join(FILE_FORMATS)}"
            raise ValueError(message)
        if self.format in FILE_FORMATS and not self.path:
            message = f"a path goes with format {self.format}"
            raise ValueError(message)
        if self.row_id and self.latest_by:
            message = "row_id (many rows a user) and latest_by (one row a user) exclude each other"
            raise ValueError(message)
        return self

    @field_validator("latest_by")
    @classmethod
    def _orders(cls, orders: tuple[str, ...]) -> tuple[str, ...]:
        for order in orders:
            words = order.split()
            if not words or (len(words) > 1 and words[-1].lower() not in ("asc", "desc")):
                message = f"{order!r} is no order; write 'column desc' or 'column asc'"
                raise ValueError(message)
        return orders

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, options: dict[str, str]) -> dict[str, str]:
        for name in options:
            if re.search(r"password|secret|token|credential", name, re.IGNORECASE):
                message = f"{name} may be a secret; write secrets: {{{name}: env:NAME}}"
                raise ValueError(message)
        return options

    @field_validator("secrets")
    @classmethod
    def _references(cls, secrets: dict[str, str]) -> dict[str, str]:
        for name, reference in secrets.items():
            if not re.match(r"(env|file):.", reference):
                message = f"{name} is given by reference (not shown): env:NAME or file:PATH"
                raise ValueError(message)
        return secrets

    @field_validator("types")
    @classmethod
    def _known_types(cls, types: dict[str, str]) -> dict[str, str]:
        for column, to in types.items():
            if not sql.is_type(to):
                message = f"{to!r} of {column} is no type of Spark SQL; write int, decimal(10,2), …"
                raise ValueError(message)
        return types

    @property
    def orders(self) -> tuple[tuple[str, bool], ...]:
        """Column and whether it is descending, for each of `latest_by`."""
        words = [order.strip().rsplit(maxsplit=1) for order in self.latest_by]
        return tuple((w[0], len(w) > 1 and w[1].lower() == "desc") for w in words)

    @property
    def rules(self) -> dict[str, Rule]:
        """The rules of `accept` by their names."""
        return {
            name: rule if isinstance(rule, Rule) else Rule(condition=rule)
            for name, rule in self.accept.items()
        }

    @property
    def content(self) -> dict[str, Any]:
        """What of a source decides the output: not where it lies, nor rules that only warn."""
        refusing = {
            n: r.condition if r.severity == "refuse" else r
            for n, r in self.rules.items()
            if r.refuses
        }
        content: dict[str, Any] = normal(self.model_copy(update={"accept": refusing}))
        kept = {key: content[key] for key in content if key not in _LOCATION}
        for key in ("options", "types", "accept"):
            if key in kept:
                kept[key] = dict(sorted(kept[key].items()))
        return kept


_LOCATION = ("table", "path", "format", "secrets")
