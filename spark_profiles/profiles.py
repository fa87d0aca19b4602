"""Users + aggregated values -> one nested profile a user, in the shape of the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles import columns, expressions, values
from spark_profiles.definition import Definition, Derived, Section
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.operations import Aggregate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from spark_profiles.definition import Property


def assemble(
    definition: Definition, users: DataFrame, aggregated: Sequence[DataFrame]
) -> DataFrame:
    """One row is a user: sp_key, identifier (struct) and user_profile (nested struct).

    Args:
        definition: gives the shape.
        users: one row per sp_key: identifier, sp_account, a column for each own value.
        aggregated: for each source, sp_key and a column for each of its `aggregated_values`;
            at most one row per sp_key.

    A property without value, and a section without any, is null, hence left out of the JSON.
    """
    rows = users
    for frame in aggregated:
        rows = rows.join(frame, on="sp_key", how="left")
    flat = _derived_values(definition, _absent_counts_are_zero(definition, rows))
    types = {field.name: field.dataType for field in flat.schema.fields}
    _refuse_unwritable(definition, types)
    leaves = _leaves(definition, types)
    keys = definition.profile_keys
    inner = [F.lit(keys.compartment_id).cast("bigint").alias("$compartment_id")]
    inner += [F.col("sp_account").alias("$user_account_id")]
    given = [keys.compartment_id, keys.user_account_id]
    system = [column for column, value in zip(inner, given, strict=True) if value is not None]
    profile = F.struct(*system, *_members(definition.profile, (), leaves))
    return flat.select("sp_key", "identifier", profile.alias("user_profile"))


def _absent_counts_are_zero(definition: Definition, rows: DataFrame) -> DataFrame:
    counts = [
        value.column
        for values in values.aggregated_values(definition).values()
        for value in values
        if value.aggregate.operation in ("count", "count_distinct")
    ]
    if not counts:
        return rows
    zero = F.lit(0).cast("bigint")
    return rows.withColumns(
        {name: F.coalesce(F.col(f"`{name}`").cast("bigint"), zero) for name in counts}
    )


def _derived_values(definition: Definition, rows: DataFrame) -> DataFrame:
    """Adds the derived values, each after those it names.

    Raises:
        DefinitionError: a derived value names no property, or itself through others.
    """
    properties = list(enumerate(definition.properties()))
    paths = values.paths(definition)
    waiting = {
        ".".join(path): (values.column(number), prop.derive)
        for number, (path, prop) in properties
        if isinstance(prop, Derived)
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
        expressions.types_of(rows, {f"profile.{path}.derive": s for path, s in resolved.items()})
        rows = rows.withColumns({waiting[p][0]: F.expr(sql) for p, sql in resolved.items()})
        for path in ready:
            del waiting[path]
    return rows


def _leaves(definition: Definition, types: Mapping[str, DataType]) -> dict[tuple[str, ...], Column]:
    """Path -> the column to be written: normalised, rounded, with its default."""
    leaves = {}
    for number, (path, prop) in enumerate(definition.properties()):
        if isinstance(prop, Aggregate) and prop.windows:
            members = [
                _leaf(values.column(number, window), prop, types).alias(window)
                for window in prop.windows
            ]
            leaves[path] = _null_if_empty(members, F.struct(*members))
        else:
            leaves[path] = _leaf(values.column(number), prop, types)
    return leaves


def _leaf(name: str, prop: Property, types: Mapping[str, DataType]) -> Column:
    scale = prop.scale
    is_quotient = isinstance(prop, Derived) or (
        isinstance(prop, Aggregate) and prop.operation == "average"
    )
    if scale is None and is_quotient:
        scale = columns.DEFAULT_SCALE
    value = columns.written(F.col(f"`{name}`"), types[name], scale)
    return value if prop.default is None else F.coalesce(value, F.lit(prop.default))


def _members(
    section: Section, path: tuple[str, ...], leaves: Mapping[tuple[str, ...], Column]
) -> list[Column]:
    members = []
    for name, node in section.items():
        if isinstance(node, dict):
            inner = _members(node, (*path, name), leaves)
            members.append(_null_if_empty(inner, F.struct(*inner)).alias(name))
        else:
            members.append(leaves[(*path, name)].alias(name))
    return members


def _null_if_empty(members: Sequence[Column], struct: Column) -> Column:
    return F.when(F.coalesce(*[F.when(m.isNotNull(), 1) for m in members]).isNotNull(), struct)


def _refuse_unwritable(definition: Definition, types: Mapping[str, DataType]) -> None:
    paths = {column: path for path, column in values.paths(definition).items()}
    problems = [
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
