"""Spark SQL text of a definition -> types of the columns; a wrong one is named by its place."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException, ParseException
from sqlglot import exp

from spark_profiles.definition import sql
from spark_profiles.definition.language import listed, nearest
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType


def types_of(rows: DataFrame, expressions: Mapping[str, str]) -> dict[str, DataType]:
    """The type of each expression over `rows`, by the place it is written at; starts no job.

    Raises:
        DefinitionError: one or more expressions do not fit the table; names each.
    """
    types, problems = checked(rows, expressions)
    if problems:
        message = "The definition does not fit the tables; nothing was written"
        raise DefinitionError(message, *problems)
    return types


def checked(
    rows: DataFrame, expressions: Mapping[str, str]
) -> tuple[dict[str, DataType], list[Problem]]:
    """The type of each expression that fits the table, and what is wrong with the others."""
    if not expressions:
        return {}, []
    types: dict[str, DataType] = {}
    problems: list[Problem] = []
    with _unlogged():
        try:
            return _types(rows, expressions), []
        except (AnalysisException, ParseException):
            pass
        for place, text in expressions.items():
            if missing := _missing(rows, place, text):
                problems += missing
                continue
            try:
                types |= _types(rows, {place: text})
            except (AnalysisException, ParseException) as error:
                # Spark's own message has the whole plan behind its first line.
                reason = str(error).strip().splitlines()[0].split(" SQLSTATE")[0]
                found = f"`{text}`: {reason}"
                problems.append(
                    Problem(place, found, "an expression that Spark can compute", "mend it")
                )
    return types, problems


def _types(rows: DataFrame, expressions: Mapping[str, str]) -> dict[str, DataType]:
    plain = (field for field in rows.schema.fields if _PLAIN.fullmatch(field.name))
    columns = {field.name: field.dataType for field in plain}
    asked = list(dict.fromkeys(text for text in expressions.values() if text not in columns))
    if asked:
        # As text in one call, since each call of a function costs; the line end closes a comment.
        texts = [f"({text}\n) as e{n}" for n, text in enumerate(asked)]
        fields = rows.selectExpr(*texts).schema.fields
        columns |= {text: field.dataType for text, field in zip(asked, fields, strict=True)}
    return {place: columns[text] for place, text in expressions.items()}


_PLAIN = re.compile(r"(?!(?i:true|false|null)\Z)[A-Za-z_][A-Za-z0-9_]*")
"""A column's name that as an expression is that column, and nothing else."""


def _missing(rows: DataFrame, place: str, text: str) -> list[Problem]:
    there = {column.lower() for column in rows.columns} | sql.UNITS
    missing = [name for name in sql.columns(text) if name.lower() not in there]
    return [no_column(place, name, rows.columns) for name in missing]


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Spark logs a wrong expression as an error of the program; it is told once, by us."""
    log = logging.getLogger("SQLQueryContextLogger")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


def no_column(place: str, name: str, columns: Sequence[str]) -> Problem:
    """The problem of a column that the table does not have."""
    known = [column for column in columns if not column.startswith("sp_")]
    return Problem(place, f"no column {name!r}", f"one of {listed(known)}", nearest(name, known))


def references(text: str, paths: Mapping[str, str]) -> list[str]:
    """The dotted paths of `paths` that the derived expression `text` names, in order of paths."""
    return sql.references(text, paths)


def derived(text: str, paths: Mapping[str, str]) -> str:
    """`text` with each dotted path replaced by its column, and `/` that is null on zero.

    A plain division by zero stops a Spark 4 job and is null on Spark 3; null on both is meant.
    """
    return sql.transformed(sql.replaced(text, paths), _divide_safely)


def _divide_safely(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Div) and not isinstance(node.expression, exp.Nullif):
        known = exp.Nullif(this=node.expression, expression=exp.Literal.number(0))
        return exp.Div(this=node.this, expression=known)
    return node
