"""What a value over rows asks of them: its expressions, and the types its operation takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import types as T

from spark_profiles.definition import language, values
from spark_profiles.definition.language import Over
from spark_profiles.errors import Problem
from spark_profiles.profiles import histories, sheets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyspark.sql.types import DataType

    from spark_profiles.definition.operations import Aggregate

_NUMERIC = ("sum", "average", "stddev", "median", "percentile")
_CONDITIONS = ("any", "all", "ratio")
_FITS: dict[str, Callable[[DataType], bool]] = {
    "a number": sheets.is_number,
    "true or false": sheets.is_condition,
    "a number, a date or a timestamp": lambda data_type: (
        sheets.is_number(data_type) or isinstance(data_type, (T.DateType, T.TimestampType))
    ),
}


def expressions(aggregate: Aggregate, path: tuple[str, ...]) -> dict[str, str]:
    """Place -> text, of each expression over single rows that the value at `path` has."""
    place = values.place(path)
    found = {
        ".".join(map(str, where)): text
        for where, text, over in language.expressions(aggregate, (place,))
        if over is Over.ROW
    }
    ordered = histories.orders(aggregate)
    return found | {f"{place}.order.{number}": text for number, (text, _) in enumerate(ordered)}


def measured(aggregate: Aggregate, path: tuple[str, ...]) -> dict[str, str]:
    """The same of what a measure is over.

    Raises:
        DefinitionError: the measure is not understood.
    """
    place = values.place(path)
    is_top = aggregate.operation == "top"
    operand = histories.measure(place, aggregate.by).operand if is_top else None
    return {f"{place}.by": operand} if operand else {}


def mistyped(
    aggregate: Aggregate, path: tuple[str, ...], types: Mapping[str, DataType]
) -> Iterator[Problem]:
    """Expressions of types that the operation does not take; `types` are by the places."""
    place = values.place(path)
    wanted = {f"{place}.{name}": "true or false" for name in _CONDITIONS}
    numeric = [aggregate.operation] if aggregate.operation in _NUMERIC or aggregate.merge else []
    wanted |= {f"{place}.{name}": "a number" for name in (*numeric, "of")}
    if f"{place}.by" in types:
        function = histories.measure(place, aggregate.by).function
        is_added = function in ("sum", "avg") or "share" in aggregate.members
        if function != "count":
            wanted[f"{place}.by"] = "a number" if is_added else "a number, a date or a timestamp"
    for where, expected in wanted.items():
        if where in types and not _FITS[expected](types[where]):
            texts = measured if where == f"{place}.by" else expressions
            found = f"`{texts(aggregate, path)[where]}` is {types[where].simpleString()}"
            yield Problem(where, found, expected, "name its type under types: of the source")
