"""EDGE. Rows of an audit table that agree with others: deleted, or blanked.

By a merge and never by DELETE WHERE: the text of a condition is kept in the table's log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from spark_profiles.audit.tables import Audit


def delete(audit: Audit, table: str, rows: DataFrame, *, on: Sequence[str]) -> None:
    """Delete the rows of the table that agree with one of `rows` in the columns `on`."""
    _merge(audit, table, rows, on, "DELETE")


def blank(
    audit: Audit, table: str, rows: DataFrame, *, on: Sequence[str], columns: Sequence[str]
) -> None:
    """Set `columns` to null where the table agrees with one of `rows` in the columns `on`."""
    settings = ", ".join(f"{column} = NULL" for column in columns)
    _merge(audit, table, rows, on, f"UPDATE SET {settings}")


def _merge(audit: Audit, table: str, rows: DataFrame, on: Sequence[str], action: str) -> None:
    condition = " AND ".join(f"d.{column} = c.{column}" for column in on)
    audit.merge(table, rows.select(*on).distinct(), condition, f"WHEN MATCHED THEN {action}")
