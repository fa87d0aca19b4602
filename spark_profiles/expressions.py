"""Spark SQL text of a definition -> checked columns; a wrong one is named by its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlglot
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import functions as F
from sqlglot import exp

from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

_NO_STRINGS = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"")


def types_of(rows: DataFrame, expressions: Mapping[str, str]) -> dict[str, DataType]:
    """The type of each expression over `rows`, by the place it is written at; starts no job.

    Raises:
        DefinitionError: one or more expressions do not fit the table; names each.
    """
    if not expressions:
        return {}
    try:
        return _types(rows, expressions)
    except (AnalysisException, ParseException):
        problems = [_problem(rows, place, text) for place, text in expressions.items()]
    message = "The definition does not fit the tables; nothing was written"
    raise DefinitionError(message, *[problem for problem in problems if problem])


def _types(rows: DataFrame, expressions: Mapping[str, str]) -> dict[str, DataType]:
    columns = [F.expr(text).alias(f"e{n}") for n, text in enumerate(expressions.values())]
    fields = rows.select(*columns).schema.fields
    return {place: field.dataType for place, field in zip(expressions, fields, strict=True)}


def _problem(rows: DataFrame, place: str, text: str) -> Problem | None:
    try:
        _types(rows, {place: text})
    except (AnalysisException, ParseException) as error:
        # Spark's own message has the whole plan behind its first line.
        reason = str(error).strip().splitlines()[0].split(" SQLSTATE")[0]
        known = ", ".join(column for column in rows.columns if not column.startswith("sp_"))
        return Problem(place, f"`{text}`: {reason}", f"an expression over {known}")
    return None


def references(text: str, paths: Mapping[str, str]) -> list[str]:
    """The dotted paths of `paths` that the derived expression `text` names, in order of paths."""
    bare = _NO_STRINGS.sub("''", text)
    return [path for path in paths if _path_pattern(path).search(bare)]


def derived(place: str, text: str, paths: Mapping[str, str]) -> str:
    """`text` with each dotted path replaced by its column, and `/` that is null on zero.

    A plain division by zero stops a Spark 4 job and is null on Spark 3; null on both is meant.

    Raises:
        DefinitionError: `text` is no expression, or names something that is no property.
    """
    for path in sorted(paths, key=len, reverse=True):
        text = _path_pattern(path).sub(paths[path], text)
    try:
        tree = sqlglot.parse_one(text, dialect="spark")
    except sqlglot.errors.SqlglotError as error:
        problem = Problem(place, f"`{text}` is no Spark SQL expression")
        message = "A derived value cannot be read; nothing was read from the sources"
        raise DefinitionError(message, problem) from error
    unknown = {column.sql() for column in tree.find_all(exp.Column)} - set(paths.values())
    if unknown:
        known = ", ".join(paths)
        problems = [Problem(place, f"no property {name}", f"one of {known}") for name in unknown]
        message = "A derived value names no property; nothing was read from the sources"
        raise DefinitionError(message, *sorted(problems, key=str))
    return tree.transform(_divide_safely).sql(dialect="spark")


def _path_pattern(path: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(path)}(?![\w.])")


def _divide_safely(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.Div) and not isinstance(node.expression, exp.Nullif):
        known = exp.Nullif(this=node.expression, expression=exp.Literal.number(0))
        return exp.Div(this=node.this, expression=known)
    return node
