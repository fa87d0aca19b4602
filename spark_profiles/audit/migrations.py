"""EDGE. Audit tables written by an older version of this library -> the tables of this one.

Columns are only ever added, at any depth, and are null in older rows. So older rows are read as
they are, and a table that was migrated half-way is migrated again.

    1    the first tables
    2    what limits, retention and rejected lines need, by name: kind and age of runs, erasures
    3    the place of a line and the ranges of a file, instead of buckets
    4    refused users, warnings and consents of a run; constraints
    5    patches of lines, and what they save
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import types as T

from spark_profiles.audit import schemas
from spark_profiles.engine import side_by_side
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from spark_profiles.audit.tables import Audit

VERSION = 5
"""Of the tables as `schemas` describes them; raised with every column that is added."""
_FIRST = 1
_CONSTRAINED = 4
"""The first version whose tables are made with constraints."""


def migrate(audit: Audit, *, library_version: str) -> list[str]:
    """Bring the tables to this version, and record it; returns the tables that were changed.

    Tables that are already of this version cost one look at `versions`.

    Raises:
        DefinitionError: a newer version of this library wrote the tables.
    """
    found = recorded(audit)
    if found > VERSION:
        problem = Problem(
            audit.location,
            f"tables of schema version {found}",
            f"at most {VERSION}",
            "use the version of this library that wrote them, or a newer one",
        )
        message = "The audit tables are newer than this library; nothing was done"
        raise DefinitionError(message, problem)
    if found == VERSION:
        return []
    lacking = [table for table in schemas.TABLES if _lacks_columns(audit, table)]
    for table in lacking:
        _widen(audit, table)
    if lacking or _FIRST < found < _CONSTRAINED:  # new tables have their constraints
        constrain = [partial(audit.constrain, table) for table in schemas.TABLES]
        side_by_side.done(audit.spark, *constrain)
    made = {"schema_version": VERSION, "library_version": library_version}
    audit.append("versions", [{**made, "migrated_at": audit.now()}])
    return lacking


def recorded(audit: Audit) -> int:
    """The version on record; tables without any are of the first."""
    rows = audit.rows("versions")
    return max((row["schema_version"] for row in rows), default=_FIRST)


def _widen(audit: Audit, table: str) -> None:
    """Add the columns that a table lacks: an append of nothing, which merges the schemas."""
    nothing = audit.spark.createDataFrame([], schemas.TABLES[table]).write.format("delta")
    audit.save(nothing.mode("append").option("mergeSchema", "true"), table)


def _lacks_columns(audit: Audit, table: str) -> bool:
    wanted = audit.spark.createDataFrame([], schemas.TABLES[table]).schema
    return not _has(audit.schema(table), wanted)


def _has(found: T.DataType, wanted: T.DataType) -> bool:
    if isinstance(wanted, T.ArrayType) and isinstance(found, T.ArrayType):
        return _has(found.elementType, wanted.elementType)
    if isinstance(wanted, T.StructType) and isinstance(found, T.StructType):
        names = found.fieldNames()
        return all(f.name in names and _has(found[f.name].dataType, f.dataType) for f in wanted)
    return True
