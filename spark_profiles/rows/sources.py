"""EDGE. Names, paths or DataFrames -> the raw tables, pinned to a version where there are any."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from spark_profiles.definition.language import nearest
from spark_profiles.engine import side_by_side
from spark_profiles.errors import Problem, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.definition.model import Definition
    from spark_profiles.definition.source import Source


@dataclass(frozen=True)
class RawTable:
    """A source as it is read in this run; `version` is None where the format has none."""

    name: str
    location: str
    version: int | None
    rows: DataFrame


def read(
    spark: SparkSession,
    definition: Definition,
    *,
    data: str,
    tables: Mapping[str, DataFrame] | None = None,
) -> dict[str, RawTable]:
    """The raw table of each source.

    Args:
        spark: the session.
        definition: names the sources.
        data: the folder in which relative paths lie.
        tables: DataFrames to use instead of what the definition names.

    Raises:
        SourceError: tables are missing or cannot be read; names all of them.
    """
    found, problems = look(spark, definition, data=data, tables=tables)
    if problems:
        raise unreadable(problems)
    return found


def unreadable(problems: Sequence[Problem]) -> SourceError:
    """The error of sources that cannot be read."""
    message = "Sources are missing or cannot be read; nothing was written"
    return SourceError(message, *problems)


def look(
    spark: SparkSession,
    definition: Definition,
    *,
    data: str,
    tables: Mapping[str, DataFrame] | None = None,
) -> tuple[dict[str, RawTable], list[Problem]]:
    """The raw tables that there are, and why the others are not; arguments as of `read`."""
    given = tables or {}
    problems: list[Problem] = []
    for name in sorted(given.keys() - definition.sources.keys()):
        known = ", ".join(definition.sources)
        near = nearest(name, definition.sources)
        problems.append(Problem(f"tables[{name!r}]", "no such source", f"one of {known}", near))

    def attempt(item: tuple[str, Source]) -> RawTable | Problem:
        name, source = item
        try:
            table = _read(spark, name, source, data, given.get(name))
            # Connect looks for a table only when asked for its schema.
            if not table.rows.schema.fields:
                return _empty(name, table.location)
        except PySparkException as error:
            return _missing(name, source, data, error)
        except SourceError as error:
            return error.problems[0].at(f"sources.{name}.secrets")
        return table

    # Side by side: with many sources, looking at their files is what takes the time.
    looks = [partial(attempt, item) for item in definition.sources.items()]
    outcomes = side_by_side.done(spark, *looks)
    problems += [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    return {table.name: table for table in outcomes if isinstance(table, RawTable)}, problems


def _read(
    spark: SparkSession, name: str, source: Source, data: str, given: DataFrame | None
) -> RawTable:
    if given is not None:
        return RawTable(name, "DataFrame", None, given)
    location = _location(source, data)
    reader = spark.read.options(**source.options, **_secrets(source))
    is_delta = source.format == "delta"
    if not (source.table or is_delta):
        reader = reader.format(str(source.format))
        return RawTable(name, location, None, reader.load(location if source.path else None))
    # The newest version, read once, so that all passes of the run see the same rows.
    version = _version(spark, f"delta.`{location}`" if is_delta else location, source.options)
    if version is not None:
        reader = reader.option("versionAsOf", version)
    if is_delta:
        return RawTable(name, location, version, reader.format("delta").load(location))
    return RawTable(name, location, version, reader.table(location))


def _version(spark: SparkSession, table: str, options: Mapping[str, str]) -> int | None:
    """The version to read: as chosen by an option, else the newest.

    None: a time was chosen, or the table, view or engine does not tell its versions.
    """
    if "versionAsOf" in options or "timestampAsOf" in options:
        chosen = options.get("versionAsOf", "")
        return int(chosen) if chosen.isdigit() else None
    try:
        history = spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").select("version").collect()
    except PySparkException:
        return None
    return int(history[0][0]) if history else None


def _secrets(source: Source) -> dict[str, str]:
    """The options that nobody may see, read from where the definition says they are."""
    found = {}
    for option, reference in source.secrets.items():
        kind, _, place = reference.partition(":")
        try:
            text = os.environ[place] if kind == "env" else Path(place).read_text(encoding="utf-8")
        except (KeyError, OSError, UnicodeDecodeError):
            text = ""
        if not text.strip():
            problem = Problem("", f"{option} at {reference}: missing or empty", "the secret")
            message = "A secret of a source cannot be read"
            raise SourceError(message, problem)
        found[option] = text.strip()
    return found


def _location(source: Source, data: str) -> str:
    if source.table is None and source.path is None:
        return f"{source.format} ({', '.join(sorted(source.options))})"
    path = source.table or str(source.path)
    if source.table or path.startswith("/") or ":/" in path:
        return path
    return f"{data.rstrip('/')}/{path}"


def _empty(name: str, location: str) -> Problem:
    """Sail reads a folder that is not there as a table without columns."""
    return Problem(
        f"sources.{name}",
        f"{location}: a table without columns",
        "a table",
        "check the name and the folder given as data: is there anything?",
    )


def _missing(name: str, source: Source, data: str, error: PySparkException) -> Problem:
    kind = source.format or "catalog"
    condition = getattr(error, "getCondition", error.getErrorClass)  # renamed in Spark 4
    reason = condition() or str(error).strip().splitlines()[0]
    return Problem(
        f"sources.{name}",
        f"{_location(source, data)}: {reason}",
        f"a readable {kind} table",
        "check the name, the folder given as data, and the rights of this session",
    )
