"""The order of a plan: raw tables -> profiles -> changes -> lines. Lazy: nothing is written."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.definition import loader, salvage, values, windows
from spark_profiles.definition.delivery import MINIMAL
from spark_profiles.engine import session
from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.lines import changes, commands, patches
from spark_profiles.planning import fit, sdl_fit
from spark_profiles.profiles import aggregates, nesting
from spark_profiles.rows import accounting, conform, keys, sources, users

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.definition.loader import Draft
    from spark_profiles.definition.model import Definition
    from spark_profiles.planning import sdl
    from spark_profiles.rows.sources import RawTable


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
    """One row a user, as it would be delivered: profile_key, identifier, address, payload,
    payload_hash."""
    changes: DataFrame
    """One row a profile, wanted or delivered: profile_key, change, …"""
    lines: DataFrame
    """One row a line of the import files, in no order."""
    accounts: accounting.Accounts | accounting.Given
    """Where the rows of the sources went."""
    consents: DataFrame | None = None
    """One row a user: profile_key, and for each purpose whether they consented; None: no purpose
    is named."""
    kind: str | None = None
    """None: from the sources; else what it is instead, such as a rollback."""

    @property
    def refused(self) -> DataFrame:
        """One row a refused source row: source, key, reasons, row."""
        return self.accounts.refused

    @property
    def warnings(self) -> DataFrame | None:
        """One row a source and rule that only warns: how many rows break it; None: no such rule."""
        return self.accounts.warnings

    @property
    def counts(self) -> DataFrame:
        """One row a source: rows = used + refused + duplicate + orphan + after_as_of; users."""
        return self.accounts.counts


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
    _check_quiet(definition, policy)
    instant = _instant(as_of, definition)
    raw = sources.read(spark, definition, data=data, tables=tables)
    stages = _Stages(spark, raw, instant, known, policy)
    return _whole(loader.checked(definition), stages)


def validate(
    spark: SparkSession,
    draft: Draft,
    *,
    tables: Mapping[str, DataFrame] | None = None,
    data: str = ".",
    schema: sdl.Schema | None = None,
) -> Definition:
    """The definition of the draft, which has no problems by itself and fits its tables.

    Args:
        spark: any session; no job is started but those with which Spark looks at its files.
        draft: a definition as it was written, right or wrong.
        tables: DataFrames to use for some sources instead of what the definition names.
        data: the folder in which relative paths of sources lie.
        schema: of the datamart, which the profile has to fit as well.

    Raises:
        DefinitionError: there are problems; lists all, those of the tables too.
        SourceError: the definition is right, but source tables are missing; lists all.
    """
    _check_time_zone(spark)
    definition = draft.definition
    raw, missing = sources.look(spark, definition, data=data, tables=tables)
    stages = _Stages(spark, raw, _instant("2000-01-01", definition))
    located = [problem.at(definition.located(problem.where)) for problem in missing]
    try:
        planned = _whole(draft, stages, *located)
    except DefinitionError as error:
        if len(error.problems) == len(missing):  # a table that is missing is no wrong definition
            raise sources.unreadable(missing) from None
        raise
    if schema:
        asked(planned, schema)
    return definition


def asked(planned: Plan, schema: sdl.Schema) -> list[sdl_fit.Asked]:
    """What a schema of a datamart asks of the data of a plan that fits it.

    Raises:
        DefinitionError: names or types of the profile do not fit; lists all.
    """
    with _located(planned.definition):
        return sdl_fit.check(schema, nesting.shape(planned.profiles))


@dataclass(frozen=True)
class _Stages:
    """What a definition is planned with, once it is known to fit its tables."""

    spark: SparkSession
    raw: Mapping[str, RawTable]
    as_of: datetime
    known: changes.Known = changes.Known()  # noqa: RUF009  frozen
    policy: changes.Policy = changes.Policy()  # noqa: RUF009  frozen

    @property
    def _is_first(self) -> bool:
        """Whether nothing was ever delivered: on Sail there is an empty table all the same."""
        return self.known.is_first or self.known.delivered is None

    def plan(self, definition: Definition, checked: fit.Fit) -> Plan:
        """The plan; `checked` has the types of the expressions.

        Raises:
            DefinitionError: what is computed of the tables does not fit what is made of it.
        """
        is_sail, types = session.is_sail(self.spark), checked.types
        raw_types = checked.raw_types
        key_types = [raw_types[n][s.key] for n, s in definition.sources.items()]
        # Sail calls an unsigned number of 64 bits, which may be larger, the same.
        whole_keys = not is_sail and keys.are_whole(key_types)
        judged = _judged(
            self.raw,
            definition,
            raw_types,
            self.as_of,
            whole_keys=whole_keys,
            spells_decimals=is_sail,
        )
        own_rows = {name: _own(judged[name], definition) for name in users.sources(definition)}
        spine = users.spine(definition, own_rows, types)
        aggregated = _aggregated(judged, definition, types, self.as_of, by_sorting=not is_sail)
        with _located(definition):
            assembled = nesting.assemble(definition, spine, aggregated, spells_json=is_sail)
            consented = nesting.consented(definition, spine, aggregated)
        everyone = commands.payloads(assembled)
        changed = changes.between(
            self.known.delivered, everyone, as_of=self.as_of, policy=self.policy,
            known=self.known, with_base=definition.delivery.strategy == MINIMAL, with_unusable=True,
            whole_keys=whole_keys,
        )  # fmt: skip
        return Plan(
            definition=definition,
            as_of=self.as_of,
            tables=self.raw,
            profiles=assembled.where(F.col("sp_refusal").isNull())
            .withColumn("sp_key", F.col("sp_key").cast("string"))
            .withColumnRenamed("sp_key", "profile_key")
            .drop("payload", "sp_refusal", "sp_address"),
            wanted=everyone.where(~F.col("is_unusable")).drop("sp_key", "is_unusable"),
            changes=changed,
            lines=_lines(changed, assembled, definition, is_sail=is_sail, is_first=self._is_first),
            accounts=accounting.Accounts(definition, judged, spine),
            consents=consented,
        )


def _whole(draft: Draft, stages: _Stages, *missing: Problem) -> Plan:
    """The plan of the draft, which has no problems.

    What is wrong is set aside, and what is left is planned as well: it may have problems too.

    Raises:
        DefinitionError: the definition is inconsistent, or does not fit its tables; lists all.
    """
    skip = {problem.place for problem in draft.problems}
    rows = {name: table.rows for name, table in stages.raw.items()}
    checked = fit.check(draft.definition, rows, skip=skip)
    located = draft.definition.located
    problems = [*missing, *(problem.at(located(problem.where)) for problem in checked.problems)]
    rest = salvage.without(draft.definition, [*draft.problems, *problems])
    planned = None
    while rest and not planned:
        try:
            planned = stages.plan(rest, checked)
        except DefinitionError as error:
            problems += error.problems
            left = salvage.without(rest, error.problems)
            rest = left if left != rest else None
    draft.whole(*problems)
    assert planned is not None  # noqa: S101  without problems there is a plan
    return planned


def _lines(
    changed: DataFrame,
    assembled: DataFrame,
    definition: Definition,
    *,
    is_sail: bool,
    is_first: bool,
) -> DataFrame:
    """The lines; with the strategy `minimal` patches where these are proven."""
    delivery = definition.delivery
    if delivery.strategy != MINIMAL:
        return commands.lines(changed, delivery, is_first=is_first)
    shape = nesting.shape(assembled)
    patched = patches.planned(changed, shape, delivery, spells_json=is_sail)
    return commands.lines(patched, delivery, is_patched=True, is_first=is_first)


def _own(judged: conform.Judged, definition: Definition) -> DataFrame:
    """One row a user; of the sources of users also of those with no row to be used."""
    return judged.present if judged.name in definition.spine else judged.own


def _judged(
    raw: Mapping[str, RawTable],
    definition: Definition,
    raw_types: fit.Types,
    as_of: datetime,
    *,
    whole_keys: bool,
    spells_decimals: bool,
) -> dict[str, conform.Judged]:
    return {
        name: conform.judged(
            raw[name].rows,
            source,
            raw_types[name],
            name=name,
            is_spine=name in definition.spine,
            as_of=as_of,
            time_zone=definition.time_zone,
            whole_keys=whole_keys,
            spells_decimals=spells_decimals,
        )
        for name, source in definition.sources.items()
    }


def _aggregated(
    judged: Mapping[str, conform.Judged],
    definition: Definition,
    types: fit.Types,
    as_of: datetime,
    *,
    by_sorting: bool,
) -> list[DataFrame]:
    """One row a user, for each source over which something is computed."""
    days = windows.Calendar(definition.time_zone, definition.week_starts)
    return [
        aggregates.compute(
            judged[name].accepted,
            definition.sources[name],
            wanted,
            types[name],
            as_of=as_of,
            days=days,
            is_laid_out=judged[name].is_laid_out,
            by_sorting=by_sorting,
        )
        for name, wanted in values.aggregated_values(definition).items()
    ]


@contextlib.contextmanager
def _located(definition: Definition) -> Iterator[None]:
    """Errors of the stages, which know places only, get file and line."""
    try:
        yield
    except DefinitionError as error:
        found = [problem.at(definition.located(problem.where)) for problem in error.problems]
        raise DefinitionError(error.message, *found) from error


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


def _check_quiet(definition: Definition, policy: changes.Policy) -> None:
    """Refuse to be quiet about properties that vanish when a consent is withdrawn."""
    gated = [".".join(path) for path, prop in definition.properties() if prop.purposes]
    problems = [
        Problem(
            f"quiet {quiet}",
            f"{path} needs a consent",
            "that its withdrawal is sent",
            "give another property, or a tolerance",
        )
        for quiet in policy.quiet
        for path in gated
        if f"{path}.".startswith(f"{quiet}.") or f"{quiet}.".startswith(f"{path}.")
    ]
    if problems:
        message = "A withdrawn consent would not be sent; nothing was read"
        raise DefinitionError(message, *problems)


def _instant(as_of: str, definition: Definition) -> datetime:
    try:
        return windows.as_of_instant(as_of, definition.time_zone)
    except ValueError as error:
        problem = Problem("as_of", repr(as_of), "an ISO date or time such as 2026-11-24")
        message = "The as-of cannot be read; nothing was read"
        raise DefinitionError(message, problem) from error
