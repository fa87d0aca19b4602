"""EDGE. One value of one user -> the rule, the windows and the source rows behind it.

The sources are read again, at the version that the run pinned where they have versions, for this
user only; then the ordinary plan computes the profile. If it is not what was recorded, a source
has changed since.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles.aftercare import explain, rollback
from spark_profiles.definition import values, windows
from spark_profiles.definition.operations import Aggregate
from spark_profiles.engine import session
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.planning import fit, pipeline
from spark_profiles.rows import columns, conform, keys, sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.definition.model import Definition, Property

MOST_ROWS = 50


@dataclass(frozen=True)
class Reason:
    """Why a value is what it is; `rows` are at most `MOST_ROWS`, newest first."""

    rule: dict[str, Any]
    """The property, as the definition has it."""
    windows: dict[str, tuple[str | None, str]]
    """Window -> its start (None: since ever) and end."""
    computed: str | None
    """The payload as computed again; None: the user is not in the sources."""
    consents: dict[str, str]
    """Purpose of the property -> granted, refused or unknown, as computed again."""
    rows: tuple[dict[str, Any], ...]
    """source, version, status, at, is_meant (by `where`), windows, reasons and row (JSON)."""


def why(
    spark: SparkSession,
    made: Run,
    profile_key: str,
    path: str,
    *,
    data: str,
    tables: Mapping[str, DataFrame] | None = None,
) -> Reason:
    """The rows, windows and rule behind one property of one user in one run.

    Args:
        spark: the session.
        made: the run whose value is asked about.
        profile_key: of the user.
        path: of the property in the definition, dotted; its windows are told all together.
        data: the folder of relative source paths.
        tables: DataFrames to use for some sources.

    Raises:
        DefinitionError: there is no such property.
        SourceError: sources cannot be read any more.
    """
    definition = _pinned(rollback.recorded_definition(made), made)
    number, prop = _property(definition, path)
    raw = sources.read(spark, definition, data=data, tables=tables)
    types = fit.check(definition, {name: table.rows for name, table in raw.items()}).raw_types
    mine = {
        name: _of_user(table.rows, definition.sources[name].key, types[name], profile_key)
        for name, table in raw.items()
    }
    plan = pipeline.plan(spark, definition, as_of=made.as_of.isoformat(), tables=mine)
    computed = plan.wanted.select("payload").collect()
    is_sail = session.is_sail(spark)
    judged = {
        name: conform.judged(
            mine[name],
            definition.sources[name],
            types[name],
            name=name,
            is_spine=name in definition.spine,
            as_of=made.as_of,
            time_zone=definition.time_zone,
            spells_decimals=is_sail,
        )
        for name in _sources(definition, prop)
    }
    bounds = _bounds(definition, made, number, path, prop)
    rows = [
        {"version": raw[name].version, **row}
        for name, source in judged.items()
        for row in _rows(source, bounds, prop)
    ]
    told = {
        name: (bound.start.isoformat() if bound.start else None, bound.end.isoformat())
        for name, bound in bounds.items()
    }
    rule = json.loads(prop.model_dump_json(by_alias=True, exclude_defaults=True))
    payload = computed[0]["payload"] if computed else None
    return Reason(rule, told, payload, _consents(plan, prop), tuple(rows))


def _consents(plan: pipeline.Plan, prop: Property) -> dict[str, str]:
    found = plan.consents.collect() if plan.consents is not None and prop.purposes else []
    words = {True: "granted", False: "refused", None: "unknown"}
    return {purpose: words[row[purpose]] for row in found for purpose in prop.purposes}


def _pinned(definition: Definition, made: Run) -> Definition:
    """The definition, its sources at the versions that the run read."""
    versions = {name: version for name, _, version in made.sources if version is not None}
    pinned = {
        name: source.model_copy(
            update={"options": {**source.options, "versionAsOf": str(versions[name])}}
        )
        if name in versions
        else source
        for name, source in definition.sources.items()
    }
    return definition.model_copy(update={"sources": pinned})


def _property(definition: Definition, path: str) -> tuple[int, Property]:
    known = {".".join(place): (n, prop) for n, (place, prop) in enumerate(definition.properties())}
    if path not in known:
        problem = Problem(path, "no such property", ", ".join(known))
        message = "The definition of that run has no such property"
        raise DefinitionError(message, problem)
    return known[path]


def _sources(definition: Definition, prop: Property) -> list[str]:
    if isinstance(prop, Aggregate):
        return [prop.source]
    named = getattr(prop, "survivor", None)
    return list(named) if named else list(definition.spine)


def _of_user(rows: DataFrame, key: str, types: Mapping[str, Any], profile_key: str) -> DataFrame:
    return rows.where(F.expr(keys.text(f"({key}\n)", types[key])) == profile_key)


def _bounds(
    definition: Definition, made: Run, number: int, path: str, prop: Property
) -> dict[str, windows.Bounds]:
    if not isinstance(prop, Aggregate):
        return {}
    found = values.of_property(number, tuple(path.split(".")), prop)
    return {
        value.window: windows.bounds(
            value.window,
            as_of=made.as_of,
            time_zone=definition.time_zone,
            week_starts=definition.week_starts,
        )
        for value in found
    }


def _is_inside(moment: datetime | None, bound: windows.Bounds) -> bool:
    if moment is None:
        return True
    return (bound.start is None or bound.start <= moment) and moment < bound.end


def _rows(
    judged: conform.Judged, bounds: Mapping[str, windows.Bounds], prop: Property
) -> list[dict[str, Any]]:
    where = getattr(prop, "where", None)
    is_meant = F.coalesce(F.expr(where), F.lit(False)) if where else F.lit(True)
    micros = F.unix_micros("sp_at").alias("micros")
    found = judged.rows.select(
        "sp_status", micros, is_meant.alias("is_meant"), "sp_reasons", conform.as_json()
    ).orderBy(F.desc_nulls_last("micros"), "row")
    rows = []
    for one in found.limit(MOST_ROWS).collect():
        moment = None if one["micros"] is None else columns.instant_of(one["micros"])
        inside = [name for name, bound in bounds.items() if _is_inside(moment, bound)]
        rows.append(
            {
                "source": judged.name,
                "status": one["sp_status"],
                "at": moment.isoformat() if moment else None,
                "is_meant": one["is_meant"],
                "windows": inside,
                "reasons": list(one["sp_reasons"] or ()),
                "row": one["row"],
            }
        )
    return rows


def told(reason: Reason, *, show_values: bool = False) -> dict[str, Any]:
    """The reason as JSON types, rows and values hidden unless they are asked for."""

    def shown(text: str | None) -> Any:
        content = json.loads(text) if text else None
        return content if show_values else explain.hidden(content)

    return {
        "rule": reason.rule,
        "windows": {
            name: {"start": start, "end": end} for name, (start, end) in reason.windows.items()
        },
        "computed": shown(reason.computed),
        "consents": reason.consents,
        "rows": [{**row, "row": shown(row["row"])} for row in reason.rows],
    }
