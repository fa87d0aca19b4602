"""Users + aggregated values -> one nested profile a user, in the shape of the definition."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.definition import sql, values
from spark_profiles.definition.model import CONSENTS, Definition, Derived, Section
from spark_profiles.definition.operations import COUNTS, Aggregate
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.profiles import consents, population, shapes
from spark_profiles.rows import columns, expressions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

    from spark_profiles.definition.model import Property


def assemble(
    definition: Definition,
    users: DataFrame,
    aggregated: Sequence[DataFrame],
    *,
    spells_json: bool = False,
) -> DataFrame:
    """One row is a user, with the nested profile and its JSON text.

    Columns: sp_key, sp_refusal, sp_address, identifier and user_profile (structs), and payload.

    Args:
        definition: gives the shape.
        users: one row per sp_key: sp_refusal, identifier, sp_account, a column for each own value.
        aggregated: for each source, sp_key and a column for each of its `aggregated_values`;
            at most one row per sp_key.
        spells_json: make the JSON text here instead of by the engine, see `columns.json`.

    A property without value, and a section without any, is null, hence left out of payload, the
    JSON text; where the definition writes nulls, it has them.
    """
    # What is asked of wide rows is asked of their narrow parts: an engine looks at a whole plan
    # again for each step and each question, which costs seconds where there are 500 columns.
    rows, types = _with_consents(definition, users, aggregated)
    rows = consents.with_gates(definition, rows)
    if rankings := _rankings(definition):
        population.refuse_unranked(rankings, types)
        rows = population.ranked(_to_be_ranked(definition, rows), rankings)
        types |= {ranking.column: T.IntegerType() for ranking in rankings}
    rows, derived = _with_derived(definition, rows, types, of_consents=False)
    types |= derived
    _refuse_unwritable(definition, types)
    written = _written(definition, types)
    flat = rows.selectExpr(*written)
    names = ["sp_key", "sp_refusal", "sp_address", "identifier"]
    shape = _shape(definition)
    profile = shapes.struct(shape).alias("user_profile")
    if spells_json:
        gates = dict.fromkeys(consents.gates(definition).values(), T.BooleanType())
        typed = _typed({**types, **gates}, rows.sparkSession)
        of_values = {f.name: f.dataType for f in typed.selectExpr(*written).schema.fields}
        payload = F.expr(shapes.spelt(shape, of_values))
    elif shapes.writes_nulls(shape):
        payload = shapes.text(shape)
    else:
        made = flat.select(*names, profile)
        return made.select("*", F.to_json("user_profile").alias("payload"))
    return flat.select(*names, profile, payload.alias("payload"))


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
    rows, _ = _with_consents(definition, users.where("sp_refusal is null"), frames)
    of_purposes = [F.col(c).alias(p) for p, c in consents.columns(definition).items()]
    return rows.select(F.col("sp_key").cast("string").alias("profile_key"), *of_purposes)


def _with_consents(
    definition: Definition, users: DataFrame, aggregated: Sequence[DataFrame]
) -> tuple[DataFrame, dict[str, DataType]]:
    """The users with their aggregated values and all their consents, and the types of all.

    Raises:
        DefinitionError: a consent is no yes and no.
    """
    types = {f.name: f.dataType for frame in (users, *aggregated) for f in frame.schema.fields}
    rows, derived = _with_derived(definition, _joined(users, aggregated), types, of_consents=True)
    types |= derived
    if problems := list(consents.no_conditions(definition, types)):
        message = "The definition has consents that are no yes and no"
        raise DefinitionError(message, *problems)
    return rows, types


def shape(assembled: DataFrame) -> T.StructType:
    """The type of `user_profile`."""
    found = assembled.schema["user_profile"].dataType
    assert isinstance(found, T.StructType)  # noqa: S101  `assemble` makes it
    return found


def _joined(users: DataFrame, aggregated: Sequence[DataFrame]) -> DataFrame:
    rows = users
    for number, frame in enumerate(aggregated):
        # A key of its own name: a join that merges two columns is some steps more to an engine.
        key = f"sp_key{number}"
        keyed = frame.withColumnRenamed("sp_key", key)
        rows = rows.join(keyed, on=F.col("sp_key") == F.col(key), how="left")
    return rows


def _counted(definition: Definition) -> dict[str, str]:
    """Column -> SQL, of each aggregated value; a count of a user without rows is 0."""
    return {
        value.column: f"coalesce({value.column}, 0)"
        if value.aggregate.operation in COUNTS and value.aggregate.trend != "growth"
        else value.column
        for wanted in values.aggregated_values(definition).values()
        for value in wanted
    }


def _rankings(definition: Definition) -> list[population.Ranking]:
    return [
        population.Ranking(value.column, value.aggregate.tiles, value.aggregate.best, value.place)
        for wanted in values.aggregated_values(definition).values()
        for value in wanted
        if value.aggregate.tiles
    ]


def _to_be_ranked(definition: Definition, rows: DataFrame) -> DataFrame:
    """The rows without the numbers to be ranked of those who get no profile, or did not consent.

    Whoever did not consent to the use of a number is no measure for the others either.
    """
    counted, gate_of = _counted(definition), consents.gated_columns(definition)
    masked = {}
    for ranking in _rankings(definition):
        gate = gate_of.get(ranking.column, "true")
        number = counted[ranking.column]
        masked[ranking.column] = F.expr(
            f"case when sp_refusal is null and {gate} then {number} end"
        )
    return rows.withColumns(masked)


def _with_derived(
    definition: Definition,
    rows: DataFrame,
    types: Mapping[str, DataType],
    *,
    of_consents: bool,
) -> tuple[DataFrame, dict[str, DataType]]:
    """The rows with the derived values, each after those it names, and the types of these.

    Of those, only the consents, or only the others.

    Raises:
        DefinitionError: a derived value names no property, or itself through others.
    """
    counted = _counted(definition)
    paths = {path: counted.get(name, name) for path, name in values.paths(definition).items()}
    waiting = {
        ".".join(path): (values.column(number), prop.derive)
        for number, (path, prop) in enumerate(definition.properties())
        if isinstance(prop, Derived) and (path[0] == CONSENTS) == of_consents
    }
    found: dict[str, DataType] = {}
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
        places = {path: f"{values.place(tuple(path.split('.')))}.derive" for path in ready}
        known = expressions.types_of(
            _typed({**types, **found}, rows.sparkSession),
            {places[path]: text for path, text in resolved.items()},
        )
        found |= {waiting[path][0]: known[places[path]] for path in ready}
        made = [f"({text}\n) as {waiting[path][0]}" for path, text in resolved.items()]
        rows = rows.selectExpr("*", *made)
        for path in ready:
            del waiting[path]
    return rows, found


def _typed(types: Mapping[str, DataType], spark: SparkSession) -> DataFrame:
    """A table without rows, with columns of these types."""
    return spark.createDataFrame([], T.StructType([T.StructField(n, t) for n, t in types.items()]))


def _written(definition: Definition, types: Mapping[str, DataType]) -> list[str]:
    """The user's names, and each value as it is to be written under the name of its column."""
    columns_of = values.columns_by_path(definition)
    counted, gate_of = _counted(definition), consents.gated_columns(definition)
    keys = definition.profile_keys
    known = "null" if keys.compartment_id is None else str(keys.compartment_id)
    found = ["sp_key", "sp_refusal", "sp_address", "identifier", "sp_account"]
    found += [f"cast({known} as bigint) as sp_compartment", *[f"sp_{n}" for n in keys.instants]]
    found += consents.gates(definition).values()
    for path, prop in definition.properties():
        for name in [columns_of[path]] if path in columns_of else _below(path, columns_of):
            value = _leaf(counted.get(name, name), prop, types[name])
            gate = gate_of.get(name)
            found.append(f"{f'case when {gate} then {value} end' if gate else value} as {name}")
    return found


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
        gate = consents.gates(definition)[prop.purposes] if prop.purposes else ""
        return shapes.Leaf(column, writes_null=writes_null, gate=gate)
    inner = dict.fromkeys(p[len(path)] for p in columns_of if p[: len(path)] == path)
    return shapes.Object(
        {name: _property(definition, prop, (*path, name), columns_of) for name in inner},
        keeps_empty=definition.empty_sections == "write",
    )


def _leaf(value: str, prop: Property, data_type: DataType) -> str:
    """The value to be written: normalised, rounded, as its band, with its default."""
    scale = prop.digits if isinstance(prop, Aggregate) else prop.scale
    if scale is None and isinstance(prop, Derived):
        scale = columns.DEFAULT_SCALE
    if not columns.is_as_written(data_type, scale):
        value = columns.written(value, data_type, scale)
    if prop.bands:
        value = _band(value, prop.bands)
    return value if prop.default is None else f"coalesce({value}, {_literal(prop.default)})"


def _band(value: str, bands: Mapping[str, Decimal]) -> str:
    """The name of the last band whose lower bound the value reaches; below the first, null."""
    reached = " ".join(
        f"when {value} >= cast('{bound:f}' as decimal(38,9)) then {sql.literal(band)}"
        for band, bound in reversed(list(bands.items()))
    )
    return f"case {reached} end"


def _literal(value: str | float) -> str:
    """The SQL literal of a default."""
    if isinstance(value, str):
        return sql.literal(value)
    # A number that is not whole is a decimal: beside a double, decimals would not stay exact.
    return f"{Decimal(repr(value)):f}BD" if isinstance(value, float) else str(value).lower()


def _refuse_unwritable(definition: Definition, types: Mapping[str, DataType]) -> None:
    paths = {column: path for path, column in values.paths(definition).items()}
    problems = [*_unbanded(definition, types), *_unfit_defaults(definition, types)]
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
    """Bands over what is no number."""
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


def _unfit_defaults(definition: Definition, types: Mapping[str, DataType]) -> Iterator[Problem]:
    """Defaults of another kind than the value they stand for, which engines would cast or not."""
    columns_of = values.columns_by_path(definition)
    for path, prop in definition.properties():
        if prop.default is None:
            continue
        names = [columns_of[path]] if path in columns_of else _below(path, columns_of)
        expected = "text" if prop.bands else _kind(types[names[0]])
        if expected not in ("nothing", _kind_of(prop.default)):
            found = f"{prop.default!r} instead of {types[names[0]].simpleString()}"
            yield Problem(f"profile.{'.'.join(path)}.default", found, expected,
                          "give a default of the kind of the value")  # fmt: skip


def _kind(data_type: DataType) -> str:
    """What a value of this type is in JSON."""
    if isinstance(data_type, (T.NumericType, T.TimestampType)):
        return "a number"
    if isinstance(data_type, (T.StringType, T.DateType, T.TimestampNTZType)):
        return "text"
    if isinstance(data_type, T.BooleanType):
        return "true or false"
    return "nothing" if isinstance(data_type, T.NullType) else "no default: it is no plain value"


def _kind_of(default: str | float) -> str:
    if isinstance(default, bool):
        return "true or false"
    return "text" if isinstance(default, str) else "a number"
