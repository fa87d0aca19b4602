"""EDGE. Audit tables written by an older version of this library -> the tables of this one.

Columns are only ever added, at any depth, and are null in older rows. So older rows are read as
they are, and a table that was migrated half-way is migrated again. Addresses alone are filled in:
older rows have all that they are made of.

    1    the first tables
    2    what limits, retention and rejected lines need, by name: kind and age of runs, erasures
    3    the place of a line and the ranges of a file, instead of buckets
    4    refused users, warnings and consents of a run; constraints
    5    patches of lines, and what they save
    6    the address of a line and of a delivered profile; phases. Profiles that former versions
         left at addresses that their users no longer have, and those that they both deleted and
         wrote in one run, are marked as in doubt, so that the next run deletes or sends them
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.audit import history, schemas, statements
from spark_profiles.core import addresses
from spark_profiles.engine import frames, side_by_side
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit

VERSION = 6
"""Of the tables as `schemas` describes them; raised with every column that is added."""
_FIRST = 1
_CONSTRAINED = 4
"""The first version whose tables are made with constraints."""
_ADDRESSED = 6


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
    if found < _ADDRESSED:
        _address(audit)
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


def _address(audit: Audit) -> None:
    """Give each row of lines and profiles its address, and find the profiles that were left."""
    runs = audit.runs()
    if not runs:
        return
    address = F.expr(addresses.json_sql("identifier", "payload")).alias("address")
    of_lines = audit.read("lines").select("run_id", "profile_key", address)
    _fill(audit, "lines", of_lines, on=("run_id", "profile_key"))
    of_lines = audit.read("lines").select("run_id", "profile_key", "address", "operation")
    _fill(audit, "rejected_lines", of_lines, on=("run_id", "profile_key"))
    of_profiles = audit.read("delivered").select("name", "profile_key", address)
    _fill(audit, "delivered", of_profiles, on=("name", "profile_key"))
    _doubt_conflicts(audit)
    for name in sorted({run.name for run in runs}):
        of_name = [run for run in runs if run.name == name]
        _one_an_address(audit, of_name, name)
        last = history.last_arrivals(audit, of_name).where("is_last")
        condition = f"d.name = '{name}' AND d.address = c.address"
        may_be = last.where(~((F.col("operation") == schemas.DELETE) & F.col("is_confirmed")))
        audit.merge("delivered", may_be.select(*_OF_LINE), condition, statements.FOUND)
        doubt = "c.operation = 'DELETE' OR c.profile_key <> d.profile_key"
        clause = f"WHEN MATCHED AND ({doubt}) THEN {_IN_DOUBT}"
        audit.merge("delivered", last.select(*_OF_LINE), condition, clause)


_OF_LINE = ("name", "operation", "run_id", *history.PAYLOAD)
_IN_DOUBT = f"UPDATE SET payload_hash = '{schemas.IN_DOUBT}'"


def _one_an_address(audit: Audit, runs: Sequence[Run], name: str) -> None:
    """Of several users at one address keep the last, in doubt: the platform holds one profile."""
    numbers = [(run.run_id, number) for number, run in enumerate(runs)]
    named = frames.of(audit.spark, numbers, "run_id string, run_number int")
    here = Window.partitionBy("address").orderBy(
        F.desc_nulls_last("run_number"), F.desc("profile_key")
    )
    ranked = (
        audit.delivered(name)
        .where(F.col("address").isNotNull())
        .join(F.broadcast(named), on="run_id", how="left")
        .withColumn("n", F.count("*").over(Window.partitionBy("address")))
        .withColumn("rank", F.row_number().over(here))
    )
    audit.merge(
        "delivered",
        ranked.where("n > 1").select("name", "profile_key", "address", "rank"),
        f"d.name = '{name}' AND d.address = c.address AND d.profile_key = c.profile_key",
        f"WHEN MATCHED AND c.rank > 1 THEN DELETE WHEN MATCHED THEN {_IN_DOUBT}",
    )


def _doubt_conflicts(audit: Audit) -> None:
    """Mark as in doubt what a run both deleted and wrote: the platform took them in any order."""
    sent = audit.read("lines").where(F.col("operation").isNotNull() & F.col("address").isNotNull())
    twice = sent.groupBy("name", "run_id", "address").agg(F.count("*").alias("n")).where("n > 1")
    audit.merge(
        "delivered",
        twice.select("name", "address").distinct(),
        "d.name = c.name AND d.address = c.address",
        f"WHEN MATCHED THEN {_IN_DOUBT}",
    )
    audit.merge(
        "lines",
        twice.select("run_id", "address"),
        "d.run_id = c.run_id AND d.address = c.address",
        "WHEN MATCHED AND d.operation = 'DELETE' THEN"
        f" UPDATE SET change = '{schemas.REPLACED}'"
        f" WHEN MATCHED THEN {_IN_DOUBT}",
    )


def _fill(audit: Audit, table: str, rows: DataFrame, *, on: Sequence[str]) -> None:
    """Set the other columns in the rows that agree with one of `rows` in the columns `on`."""
    condition = " AND ".join(f"d.{column} = c.{column}" for column in on)
    known = rows.where(F.col("address").isNotNull()).distinct()
    settings = ", ".join(f"{name} = c.{name}" for name in rows.columns if name not in on)
    audit.merge(table, known, condition, f"WHEN MATCHED THEN UPDATE SET {settings}")


def _widen(audit: Audit, table: str) -> None:
    """Add the columns that a table lacks: an append of nothing, which merges the schemas.

    Sail does not do that where a table has CHECKs, so there delta-rs adds columns first; columns
    inside others were only added before there were CHECKs.
    """
    wanted = audit.spark.createDataFrame([], schemas.TABLES[table]).schema
    if audit.add_columns(table, wanted) and _has(audit.schema(table), wanted):
        return
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
