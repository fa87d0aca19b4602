"""The order of a plan: raw tables -> profiles -> changes -> lines. Lazy: nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles import (
    aggregates,
    changes,
    commands,
    conform,
    profiles,
    schemas,
    sources,
    values,
    windows,
)
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.definition import Definition, Source
    from spark_profiles.sources import RawTable


@dataclass(frozen=True)
class Plan:
    """What a run would do. The DataFrames are lazy; nothing is computed until one is asked."""

    definition: Definition
    as_of: datetime
    """The instant (UTC) at which all windows end."""
    tables: Mapping[str, RawTable]
    profiles: DataFrame
    """One row a user: profile_key, identifier (struct), user_profile (nested struct)."""
    wanted: DataFrame
    """One row a user, as it would be delivered: profile_key, identifier, payload, payload_hash."""
    changes: DataFrame
    """One row a profile, wanted or delivered: profile_key, change, …"""
    lines: DataFrame
    """One row a line of the import files, in no order."""
    refused: DataFrame
    """One row a refused source row: source, key, reasons, row."""
    counts: DataFrame
    """One row a source: rows = used + refused + duplicate + orphan + after_as_of."""


def plan(
    spark: SparkSession,
    definition: Definition,
    *,
    as_of: str,
    tables: Mapping[str, DataFrame] | None = None,
    data: str = ".",
    known: changes.Known = changes.Known(),  # noqa: B008  frozen
    policy: changes.Policy = changes.Policy(),  # noqa: B008  frozen
) -> Plan:
    """The plan of one run. Starts no job but those with which Spark looks at its files.

    Args:
        spark: any session, classic or Connect, whose time zone is UTC.
        definition: what a profile is made of.
        as_of: ISO date or time; a date means the midnight that begins it in the definition's zone.
        tables: DataFrames to use for some sources instead of what the definition names.
        data: the folder in which relative paths of sources lie.
        known: profiles as last confirmed (see the audit tables); without, every one is new.
        policy: what is sent of profiles that differ from their delivery.

    Raises:
        DefinitionError: the definition, as_of or session does not fit; lists all problems.
        SourceError: source tables are missing; lists all.
    """
    _check_time_zone(spark)
    instant = _instant(as_of, definition)
    raw = sources.read(spark, definition, data=data, tables=tables)
    judged = _judged(raw, definition, instant)
    users = judged[definition.users].accepted
    assembled = profiles.assemble(definition, users, _aggregated(judged, definition, instant))
    wanted = commands.payloads(assembled)
    delivered = known.delivered
    if delivered is None:
        delivered = spark.createDataFrame([], schemas.DELIVERED)
    changed = changes.between(delivered, wanted, as_of=instant, policy=policy, known=known)
    return Plan(
        definition=definition,
        as_of=instant,
        tables=raw,
        profiles=assembled.withColumnRenamed("sp_key", "profile_key").drop("payload"),
        wanted=wanted,
        changes=changed,
        lines=commands.lines(changed),
        refused=conform.union([source.refused for source in judged.values()]),
        counts=conform.counts(list(judged.values()), users),
    )


def _judged(
    raw: Mapping[str, RawTable], definition: Definition, as_of: datetime
) -> dict[str, conform.Judged]:
    return {
        name: conform.judged(
            raw[name].rows,
            _with_identifier_rules(name, source, definition),
            name=name,
            is_spine=name == definition.users,
            as_of=as_of,
            time_zone=definition.time_zone,
        )
        for name, source in definition.sources.items()
    }


def _aggregated(
    judged: Mapping[str, conform.Judged], definition: Definition, as_of: datetime
) -> list[DataFrame]:
    return [
        aggregates.compute(
            judged[name].accepted,
            definition.sources[name],
            wanted,
            as_of=as_of,
            days=windows.Calendar(definition.time_zone, definition.week_starts),
        )
        for name, wanted in values.aggregated_values(definition).items()
    ]


def _with_identifier_rules(name: str, source: Source, definition: Definition) -> Source:
    """A user without identifier cannot be named to the platform: the row is refused, by reason."""
    identifier = definition.identifier
    if name != definition.users or identifier.user_account_id == source.key:
        return source
    rules = {
        f"{member}_missing": f"({text}) is not null"
        for member, text in values.identifier_columns(definition)
        if member != "compartment_id"
    }
    return source.model_copy(update={"accept": {**source.accept, **rules}})


def _check_time_zone(spark: SparkSession) -> None:
    zone = spark.conf.get("spark.sql.session.timeZone")
    if zone not in ("UTC", "Etc/UTC", "Z", "GMT", "+00:00"):
        problem = Problem(
            "spark.sql.session.timeZone",
            str(zone),
            "UTC",
            'spark.conf.set("spark.sql.session.timeZone", "UTC"); the time zone of windows is the '
            "definition's own",
        )
        message = "The session's time zone would change the values; nothing was read"
        raise DefinitionError(message, problem)


def _instant(as_of: str, definition: Definition) -> datetime:
    try:
        return windows.as_of_instant(as_of, definition.time_zone)
    except ValueError as error:
        problem = Problem("as_of", repr(as_of), "an ISO date or time such as 2026-11-24")
        message = "The as-of cannot be read; nothing was read"
        raise DefinitionError(message, problem) from error
