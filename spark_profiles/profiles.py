"""Users + aggregated values -> one nested profile a user, in the shape of the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles import columns, consents, expressions, population, shapes, values
from spark_profiles.definition import CONSENTS, Definition, Derived, Section
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.operations import COUNTS, Aggregate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition import Property


def assemble(
    definition: Definition,
    users: DataFrame,
    aggregated: Sequence[DataFrame],
    *,
    marks_decimals: bool = False,
) -> DataFrame:
    """One row is a user: sp_key, sp_refusal, identifier (struct), user_profile (nested struct).

    Args:
        definition: gives the shape.
        users: one row per sp_key: sp_refusal, identifier, sp_account, a column for each own value.
        aggregated: for each source, sp_key and a column for each of its `aggregated_values`;
            at most one row per sp_key.
        marks_decimals: make the JSON text here too, with decimals that the engine cannot write.

    A property without value, and a section without any, is null, hence left out of the JSON.
    Where the definition writes nulls, the column payload has the JSON text.
    """
    rows = consents.with_gates(definition, _with_consents(definition, users, aggregated))
    rows = population.ranked(_to_be_ranked(definition, rows), _rankings(definition))
    flat = _derived_values(definition, rows, of_consents=False)
    types = {field.name: field.dataType for field in flat.schema.fields}
    _refuse_unwritable(definition, types)
    flat = _written(definition, flat, types)
    shape = _shape(definition)
    profile = [shapes.struct(shape).alias("user_profile")]
    if marks_decimals:
        decimals = {f.name: f.dataType for f in flat.schema if columns.has_decimals(f.dataType)}
        marks = {name: f"{name}_marked" for name in decimals}
        flat = flat.select(
            "*",
            *[
                columns.marked(F.col(f"`{name}`"), decimals[name]).alias(mark)
                for name, mark in marks.items()
            ],
        )
        payload = columns.unmarked(shapes.json(shapes.renamed(shape, marks)))
        profile.append(payload.alias("payload"))
    elif shapes.writes_nulls(shape):
        profile.append(shapes.text(shape).alias("payload"))
    return flat.select("sp_key", "sp_refusal", "identifier", *profile)


def consented(
    definition: Definition, users: DataFrame, aggregated: Sequence[DataFrame]
) -> DataFrame | None:
    """One row is a user who gets a profile: profile_key, and for each purpose true, false or null.

    None: nothing asks for a consent. Arguments as of `assemble`; only what is needed is joined.
    """
    if not definition.consents:
        return None
    needed = consents.needed(definition)
    frames = [frame for frame in aggregated if needed & set(frame.columns)]
    rows = _with_consents(definition, users.where(F.col("sp_refusal").isNull()), frames)
    of_purposes = [F.col(c).alias(p) for p, c in consents.columns(definition).items()]
    return rows.select(F.col("sp_key").alias("profile_key"), *of_purposes)


def _with_consents(
    definition: Definition, users: DataFrame, aggregated: Sequence[DataFrame]
) -> DataFrame:
    """The users with their aggregated values and all their consents.

    Raises:
        DefinitionError: a consent is no yes and no.
    """
    rows = users
    for frame in aggregated:
        rows = rows.join(frame, on="sp_key", how="left")
    rows = _absent_counts_are_zero(definition, rows)
    rows = _derived_values(definition, rows, of_consents=True)
    if problems := list(consents.no_conditions(definition, rows)):
        message = "The definition has consents that are no yes and no"
        raise DefinitionError(message, *problems)
    return rows


def shape(assembled: DataFrame) -> T.StructType:
    """The type of `user_profile`."""
    found = assembled.schema["user_profile"].dataType
    assert isinstance(found, T.StructType)  # noqa: S101  `assemble` makes it
    return found


def _absent_counts_are_zero(definition: Definition, rows: DataFrame) -> DataFrame:
    there = set(rows.columns)
    counts = [
        value.column
        for wanted in values.aggregated_values(definition).values()
        for value in wanted
        if value.aggregate.operation in COUNTS and value.aggregate.trend != "growth"
        if value.column in there
    ]
    if not counts:
        return rows
    return rows.withColumns({name: F.expr(f"coalesce({name}, 0)") for name in counts})


def _rankings(definition: Definition) -> list[population.Ranking]:
    return [
        population.Ranking(value.column, value.aggregate.tiles, value.aggregate.best)
        for wanted in values.aggregated_values(definition).values()
        for value in wanted
        if value.aggregate.tiles
    ]


def _to_be_ranked(definition: Definition, rows: DataFrame) -> DataFrame:
    """The rows without the numbers to be ranked of those who get no profile, or did not consent.

    Whoever did not consent to the use of a number is no measure for the others either.
    """
    gate_of = consents.gated_columns(definition)
    masked = {}
    for ranking in _rankings(definition):
        is_ranked = F.col("sp_refusal").isNull()
        if ranking.column in gate_of:
            is_ranked = is_ranked & F.col(gate_of[ranking.column])
        masked[ranking.column] = F.when(is_ranked, F.col(ranking.column))
    return rows.withColumns(masked) if masked else rows


def _derived_values(definition: Definition, rows: DataFrame, *, of_consents: bool) -> DataFrame:
    """Adds the derived values, each after those it names; or those of them that are consents.

    Raises:
        DefinitionError: a derived value names no property, or itself through others.
    """
    properties = list(enumerate(definition.properties()))
    paths = values.paths(definition)
    waiting = {
        ".".join(path): (values.column(number), prop.derive)
        for number, (path, prop) in properties
        if isinstance(prop, Derived) and (path[0] == CONSENTS) == of_consents
    }
    while waiting:
        ready = [
            path
            for path, (_, text) in waiting.items()
            if not set(expressions.references(text, paths)) & set(waiting)
        ]
        if not ready:
            problems = [Problem(f"profile.{path}.derive", "depends on itself") for path in waiting]
            message = "Derived values name each other in a circle"
            raise DefinitionError(message, *problems)
        resolved = {path: expressions.derived(waiting[path][1], paths) for path in ready}
        places = {path: values.place(tuple(path.split("."))) for path in ready}
        expressions.types_of(rows, {f"{places[p]}.derive": s for p, s in resolved.items()})
        rows = rows.withColumns({waiting[p][0]: F.expr(sql) for p, sql in resolved.items()})
        for path in ready:
            del waiting[path]
    return rows


def _written(definition: Definition, flat: DataFrame, types: Mapping[str, DataType]) -> DataFrame:
    """Each value in the form in which it is to be written, under the name of its column."""
    columns_of = values.columns_by_path(definition)
    gate_of = consents.gated_columns(definition)
    changed = {"sp_compartment": F.lit(definition.profile_keys.compartment_id).cast("bigint")}
    for path, prop in definition.properties():
        names = [columns_of[path]] if path in columns_of else _below(path, columns_of)
        for name in names:
            value = _leaf(name, prop, types)
            if name in gate_of:
                value = F.when(F.col(gate_of[name]), F.col(name) if value is None else value)
            if value is not None:
                changed[name] = value
    return flat.withColumns(changed)


def _below(path: tuple[str, ...], columns_of: Mapping[tuple[str, ...], str]) -> list[str]:
    return [name for place, name in columns_of.items() if place[: len(path)] == path]


def _shape(definition: Definition) -> shapes.Object:
    """The profile as an object of objects and values."""
    keys = definition.profile_keys
    members: dict[str, shapes.Node] = {}
    if keys.compartment_id is not None:
        members["$compartment_id"] = shapes.Leaf("sp_compartment")
    if keys.user_account_id is not None:
        members["$user_account_id"] = shapes.Leaf("sp_account")
    members |= {f"${name}": shapes.Leaf(f"sp_{name}") for name in keys.instants}
    columns_of = values.columns_by_path(definition)
    members |= _object(definition, definition.profile, (), columns_of).members
    return shapes.Object(members, keeps_empty=True)


def _object(
    definition: Definition,
    section: Section,
    path: tuple[str, ...],
    columns_of: Mapping[tuple[str, ...], str],
) -> shapes.Object:
    members: dict[str, shapes.Node] = {}
    for name, node in section.items():
        place = (*path, name)
        if isinstance(node, dict):
            members[name] = _object(definition, node, place, columns_of)
        else:
            members[name] = _property(definition, node, place, columns_of)
    return shapes.Object(members, keeps_empty=definition.empty_sections == "write")


def _property(
    definition: Definition,
    prop: Property,
    path: tuple[str, ...],
    columns_of: Mapping[tuple[str, ...], str],
) -> shapes.Node:
    """The value, or an object of values: windows outside, categories inside."""
    if path in columns_of:
        column = columns_of[path]
        writes_null = (prop.nulls or definition.nulls) == "write"
        gate = consents.gates(definition).get(prop.purposes, "")
        return shapes.Leaf(column, writes_null=writes_null, gate=gate)
    inner = dict.fromkeys(p[len(path)] for p in columns_of if p[: len(path)] == path)
    return shapes.Object(
        {name: _property(definition, prop, (*path, name), columns_of) for name in inner},
        keeps_empty=definition.empty_sections == "write",
    )


def _leaf(name: str, prop: Property, types: Mapping[str, DataType]) -> Column | None:
    """The column to be written: normalised, rounded, as its band, with its default.

    None: it is written as it is.
    """
    scale = prop.digits if isinstance(prop, Aggregate) else prop.scale
    if scale is None and isinstance(prop, Derived):
        scale = columns.DEFAULT_SCALE
    if columns.is_as_written(types[name], scale) and not prop.bands and prop.default is None:
        return None
    value = columns.written(F.col(f"`{name}`"), types[name], scale)
    if prop.bands:
        value = _band(value, prop.bands)
    return value if prop.default is None else F.coalesce(value, F.lit(prop.default))


def _band(value: Column, bands: Mapping[str, Decimal]) -> Column:
    """The name of the last band whose lower bound the value reaches; below the first, null."""
    name = F.lit(None).cast("string")
    for band, bound in bands.items():
        name = F.when(value >= F.expr(f"cast('{bound}' as decimal(38,9))"), F.lit(band)).otherwise(
            name
        )
    return name


def _refuse_unwritable(definition: Definition, types: Mapping[str, DataType]) -> None:
    paths = {column: path for path, column in values.paths(definition).items()}
    problems = _unbanded(definition, types)
    problems += [
        Problem(
            f"profile.{paths[name]}",
            f"a value of type {data_type.simpleString()}",
            "text, number, boolean, date, timestamp, or arrays and structs of them",
            "cast it in the expression",
        )
        for name, data_type in types.items()
        if name in paths and not columns.is_writable(data_type)
    ]
    if problems:
        message = "The definition has values that have no JSON form"
        raise DefinitionError(message, *problems)


def _unbanded(definition: Definition, types: Mapping[str, DataType]) -> list[Problem]:
    """Bands and tiles over what is no number."""
    columns_of = values.columns_by_path(definition)
    return [
        Problem(
            f"profile.{'.'.join(path)}.bands",
            f"a value of type {types[column].simpleString()}",
            "a number",
            "cast it in the expression",
        )
        for place, prop in definition.properties()
        if prop.bands
        for path, column in columns_of.items()
        if path[: len(place)] == place and not isinstance(types[column], T.NumericType)
    ]
