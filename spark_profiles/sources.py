"""EDGE. Names, paths or DataFrames -> the raw tables, pinned to a version where there are any."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from spark_profiles.errors import Problem, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.definition import Definition, Source


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
    given = tables or {}
    problems: list[Problem] = []
    for name in given.keys() - definition.sources.keys():
        known = ", ".join(definition.sources)
        problems.append(Problem(f"tables[{name!r}]", "no such source", f"one of {known}"))

    def attempt(item: tuple[str, Source]) -> RawTable | Problem:
        name, source = item
        try:
            table = _read(spark, name, source, data, given.get(name))
            _ = table.rows.schema  # Connect looks for a table only when asked for its schema
        except PySparkException as error:
            return _missing(name, source, data, error)
        return table

    # Side by side: with many sources, looking at their files is what takes the time.
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(attempt, definition.sources.items()))
    problems += [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    if problems:
        message = "Sources are missing or cannot be read; nothing was written"
        raise SourceError(message, *problems)
    return {table.name: table for table in outcomes if isinstance(table, RawTable)}


def _read(
    spark: SparkSession, name: str, source: Source, data: str, given: DataFrame | None
) -> RawTable:
    if given is not None:
        return RawTable(name, "DataFrame", None, given)
    location = _location(source, data)
    reader = spark.read.options(**source.options)
    if source.table:
        return RawTable(name, location, None, reader.table(source.table))
    reader = reader.format(str(source.format))
    if source.format != "delta":
        return RawTable(name, location, None, reader.load(location))
    # The newest version, read once, so that all passes of the run see the same rows.
    history = spark.sql(f"DESCRIBE HISTORY delta.`{location}` LIMIT 1")
    version = int(history.select("version").collect()[0][0])
    return RawTable(name, location, version, reader.option("versionAsOf", version).load(location))


def _location(source: Source, data: str) -> str:
    path = source.table or str(source.path)
    if source.table or path.startswith("/") or ":/" in path:
        return path
    return f"{data.rstrip('/')}/{path}"


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
