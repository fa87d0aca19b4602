"""Consents -> which values of a profile a user gets: those for all of whose purposes there is one.

A consent is said as a property is, but is not written. What is not known to be given is not given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition import values
from spark_profiles.definition.model import CONSENTS, Derived
from spark_profiles.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition.model import Definition


def columns(definition: Definition) -> dict[str, str]:
    """Purpose -> the column that holds the user's consent to it: true, false or null."""
    found = values.columns_by_path(definition)
    return {purpose: found[CONSENTS, purpose] for purpose in definition.consents}


def needed(definition: Definition) -> set[str]:
    """The columns that consents are made of, beside the user's own values."""
    paths = values.paths(definition)
    found = set(columns(definition).values())
    for consent in definition.consents.values():
        if isinstance(consent, Derived):
            found |= {paths[path] for path in values.named(consent.derive, paths)}
    return found


def gates(definition: Definition) -> dict[tuple[str, ...], str]:
    """The purposes of a property -> the column that says whether the user consented to all."""
    found = dict.fromkeys(prop.purposes for _, prop in definition.properties() if prop.purposes)
    return {purposes: f"sp_gate{number}" for number, purposes in enumerate(found)}


def with_gates(definition: Definition, users: DataFrame) -> DataFrame:
    """The users, who have the columns of consents, with the columns of `gates`."""
    known = columns(definition)
    all_given: dict[str, Column] = {}
    for purposes, name in gates(definition).items():
        given = [f"coalesce({known[purpose]}, false)" for purpose in purposes]
        all_given[name] = F.expr(" and ".join(given))
    return users.withColumns(all_given) if all_given else users


def gated_columns(definition: Definition) -> dict[str, str]:
    """Column of a value -> the gate that it lies behind; of values with a purpose only."""
    by_purposes = gates(definition)
    return {
        column: by_purposes[prop.purposes]
        for column, prop in values.properties_by_column(definition).items()
        if prop.purposes
    }


def no_conditions(definition: Definition, types: Mapping[str, DataType]) -> Iterator[Problem]:
    """Consents that are no yes and no, by the types of their columns."""
    for purpose, column in columns(definition).items():
        if not isinstance(types[column], T.BooleanType):
            found = f"a value of type {types[column].simpleString()}"
            yield Problem(
                f"{CONSENTS[1:]}.{purpose}",
                found,
                "true or false",
                "compare it: last: status = 'in'",
            )
