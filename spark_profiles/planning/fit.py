"""A definition and the columns of its tables -> all that does not fit; starts no job.

Each source is asked for the types of all its expressions at once; only where that fails is each
expression looked at by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition import consistency, sql
from spark_profiles.definition.language import expressions as expressions_of
from spark_profiles.definition.operations import Aggregate
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.profiles import operands
from spark_profiles.rows import columns, expressions, keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition.model import Definition
    from spark_profiles.definition.source import Source


Types: TypeAlias = "Mapping[str, Mapping[str, DataType]]"
"""Source -> the text of an expression over its rows -> its type."""


@dataclass(frozen=True)
class Fit:
    """What is known of the expressions of a definition over its tables."""

    types: Types
    """Of all that is asked of the rows, which have the types that their source declares."""
    raw_types: Types
    """Of key and time, which are read before that."""
    problems: tuple[Problem, ...]
    """What does not fit; where it is, is the dotted place."""


def check(
    definition: Definition, raw: Mapping[str, DataFrame], *, skip: Collection[str] = ()
) -> Fit:
    """All that does not fit, over the tables that there are.

    Args:
        definition: is consistent in itself.
        raw: the raw rows of sources; what is over others is not looked at.
        skip: places of expressions that are wrong already.
    """
    found: dict[str, dict[str, DataType]] = {}
    read: dict[str, dict[str, DataType]] = {}
    problems: list[Problem] = []
    for name, rows in raw.items():
        source = definition.sources[name]
        read[name], wrong = _raw(name, source, rows, skip)
        problems += wrong
        casts = _casts(source, rows)
        typed = rows.withColumns(casts) if casts else rows
        over_rows, wrong = _over_rows(definition, name)
        asked = {place: text for place, text in over_rows.items() if place not in skip}
        types, unfit = expressions.checked(typed, asked)
        problems += [problem for problem in wrong if problem.where not in skip]
        problems += [*unfit, *_no_conditions(asked, types)]
        for path, aggregate in _aggregates(definition, name):
            problems += operands.mistyped(aggregate, path, types)
        found[name] = {asked[place]: to for place, to in types.items()}
    problems += _survivors(definition, found)
    return Fit(found, read, tuple(dict.fromkeys(problems)))


def _raw(
    name: str, source: Source, rows: DataFrame, skip: Collection[str]
) -> tuple[dict[str, DataType], list[Problem]]:
    """Types of the key and the time, and what is wrong with the columns that a source names."""
    place = f"sources.{name}"
    problems = list(_unusable_columns(place, rows))
    named = {f"{place}.row_id.{n}": column for n, column in enumerate(source.row_id)}
    named |= {f"{place}.latest_by.{n}": column for n, (column, _) in enumerate(source.orders)}
    named |= {f"{place}.types.{column}": column for column in source.types}
    if source.time:
        named[f"{place}.time"] = source.time
    fields = {field.name.lower(): field.dataType for field in rows.schema.fields}
    problems += [
        expressions.no_column(where, column, rows.columns)
        for where, column in named.items()
        if column.lower() not in fields and where not in skip
    ]
    where = f"{place}.key"
    types, wrong = expressions.checked(rows, {} if where in skip else {where: source.key})
    problems += wrong
    if where in types and not keys.is_key(types[where]):
        found = f"`{source.key}` is a {types[where].simpleString()}"
        problems.append(
            Problem(where, found, "text or a number", f"write cast({source.key} as string)")
        )
    known = {source.key: types[where]} if where in types else {}
    if source.time and source.time.lower() in fields:
        to = fields[source.time.lower()]
        known[source.time] = to
        if not isinstance(to, (T.StringType, T.DateType, T.TimestampType, T.TimestampNTZType)):
            found = f"{source.time} is a {to.simpleString()}"
            remedy = f"cast it in a view: cast({source.time} as timestamp)"
            problems.append(Problem(f"{place}.time", found, "a timestamp, a date or text", remedy))
    return known, problems


def _unusable_columns(place: str, rows: DataFrame) -> Iterator[Problem]:
    seen: set[str] = set()
    for column in rows.columns:
        if column.lower() in seen:
            found = f"the column {column} twice, in whatever case"
            yield Problem(place, found, "columns that differ", "rename one in a view")
        elif column.lower().startswith("sp_"):
            found = f"the column {column}; names that begin with sp_ are ours"
            yield Problem(place, found, "other names", "rename it in a view")
        seen.add(column.lower())


def _casts(source: Source, rows: DataFrame) -> dict[str, Column]:
    there = {column.lower() for column in rows.columns}
    return {
        column: F.expr(f"try_cast({sql.quoted(column)} as {to})")
        for column, to in source.types.items()
        if column.lower() in there
    }


def _over_rows(definition: Definition, name: str) -> tuple[dict[str, str], list[Problem]]:
    """Place -> expression, for all over single rows of the source, with their types applied."""
    asked = {
        ".".join(map(str, place)): text
        for place, text, _ in expressions_of(definition.sources[name], ("sources", name))
        if place[2:] != ("key",)
    }
    asked |= {p: text for p, source, text in consistency.own_places(definition) if source == name}
    problems: list[Problem] = []
    for path, aggregate in _aggregates(definition, name):
        asked |= operands.expressions(aggregate, path)
        try:
            asked |= operands.measured(aggregate, path)
        except DefinitionError as error:
            problems += error.problems
    return asked, problems


def _aggregates(definition: Definition, name: str) -> Iterator[tuple[tuple[str, ...], Aggregate]]:
    for path, prop in definition.properties():
        if isinstance(prop, Aggregate) and prop.source == name:
            yield path, prop


def _no_conditions(asked: Mapping[str, str], types: Mapping[str, DataType]) -> Iterator[Problem]:
    for place, to in types.items():
        is_rule = place.startswith("sources.") and ".accept." in place
        is_filter = place.startswith(("profile.", "consents.")) and place.endswith(".where")
        if (is_rule or is_filter) and not isinstance(to, T.BooleanType):
            found = f"`{asked[place]}` is a {to.simpleString()}"
            yield Problem(
                place,
                found,
                "a condition, true or false",
                f"compare it with something: {asked[place]} is not null",
            )


def _survivors(
    definition: Definition, types: Mapping[str, Mapping[str, DataType]]
) -> Iterator[Problem]:
    """Values that several sources know, of types that a merge would have to guess between."""
    among: dict[str, dict[str, str]] = {}
    for place, source, text in consistency.own_places(definition):
        to = types.get(source, {}).get(text)
        if to is not None:
            whole = place.removesuffix(f".{source}")
            among.setdefault(whole, {})[source] = to.simpleString()
        if to is not None:
            yield from _names(place, text, to)
    for place, found_types in among.items():
        if len(set(found_types.values())) > 1 and place.startswith(("profile.", "consents.")):
            told = ", ".join(f"{source}: {to}" for source, to in found_types.items())
            remedy = "cast them to one type: cast(… as string)"
            yield Problem(place, f"types that differ ({told})", "the same type", remedy)


def _names(place: str, text: str, to: DataType) -> Iterator[Problem]:
    """What names a profile, or when it was made, of a type that cannot."""
    found = f"`{text}` is a {to.simpleString()}"
    if place.startswith(("profile_keys.last_modified_ts", "profile_keys.creation_ts")):
        if not columns.is_instant(to):
            expected = "a timestamp, or epoch milliseconds as a whole number"
            yield Problem(place, found, expected, f"write cast({text} as timestamp)")
    elif place.startswith(("identifier", "profile_keys")) and not keys.is_key(to):
        yield Problem(place, found, "text or a number", f"write cast({text} as string)")
