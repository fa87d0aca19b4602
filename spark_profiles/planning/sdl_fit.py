"""Profiles and the schema of their datamart -> what does not fit, and what data has to tell.

Names and types are compared before anything runs. Whether a value that must not be null is there,
and whether a number fits 32 bits, is counted over the recorded lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import types as T

from spark_profiles.definition.language import nearest
from spark_profiles.definition.sql import quoted
from spark_profiles.errors import DefinitionError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spark_profiles.planning.sdl import Field, Schema, Type, Way

_INT = 2**31


@dataclass(frozen=True)
class Asked:
    """What is to be counted: profiles that the platform would not index, or not as they are."""

    place: str
    """The dotted path of the property."""
    condition: str
    """SQL over the profile `p`, true where it does not fit."""
    found: str
    limit: str


def check(schema: Schema, shape: T.StructType) -> list[Asked]:
    """What data has to be asked for, if nothing else is wrong.

    Args:
        schema: of the datamart.
        shape: the type of the profile, as it is written.

    Raises:
        DefinitionError: names or types do not fit; lists all.
    """
    seen = _Comparison(schema)
    seen.object(schema.objects[schema.profile], shape, "profile", "p", "true")
    if seen.problems:
        message = "The profile does not fit the datamart's schema; nothing was read"
        raise DefinitionError(message, *seen.problems)
    return seen.asked


class _Comparison:
    """A walk through the type of a profile along that of the schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.problems: list[Problem] = []
        self.asked: list[Asked] = []
        self._depth = 0

    def object(
        self, fields: tuple[Field, ...], shape: T.StructType, place: str, value: str, there: str
    ) -> None:
        """An object of the schema, and a struct that is `value` where `there` is true."""
        self._members([(field, way) for field in fields for way in field.ways], shape, place, value)
        for field in fields:
            if field.type.is_required and not (field.is_filled or field.is_computed):
                self._required(field, shape, place, value, there)

    def _members(
        self, ways: list[tuple[Field, Way]], shape: T.StructType, place: str, value: str
    ) -> None:
        for member in shape:
            here = [field for field, way in ways if way == (member.name,)]
            below = [(f, way[1:]) for f, way in ways if way[0] == member.name and way[1:]]
            where, inner = f"{place}.{member.name}", f"{value}.{quoted(member.name)}"
            if not (here or below) and not member.name.startswith("$"):
                known = sorted({way[0] for _, way in ways} - {f"${f.name}" for f, _ in ways})
                self._wrong(where, "not in the datamart's schema", "a property of it",
                            nearest(member.name, known))  # fmt: skip
            for field in here:
                if not (field.is_computed or field.is_filled):
                    self._value(field.type, member.dataType, where, inner)
            if below and not here and isinstance(member.dataType, T.StructType):
                self._members(below, member.dataType, where, inner)

    def _required(
        self, field: Field, shape: T.StructType, place: str, value: str, there: str
    ) -> None:
        found = [way for way in field.ways if _leads(shape, way)]
        where = f"{place}.{'.'.join(field.ways[0])}"
        if not found:
            text = f"missing, and {field.name} is {field.type} in the datamart's schema"
            remedy = "without it the platform leaves the whole object out of its index"
            self._wrong(where, text, "a property", remedy)
            return
        paths = [".".join([value, *map(quoted, way)]) for way in found]
        missing = " and ".join(f"{path} is null" for path in paths)
        told = "lack it: the platform would leave these objects out of its index"
        self._ask(where, f"{there} and {missing}", told, str(field.type))

    def _value(self, wanted: Type, found: T.DataType, place: str, value: str) -> None:
        if wanted.item:
            if isinstance(found, T.ArrayType):
                self._items(wanted.item, found.elementType, f"{place}[]", value)
            else:
                self._mismatch(place, wanted, found, "a list")
        elif wanted.name in self._schema.objects:
            if isinstance(found, T.StructType):
                fields = self._schema.objects[wanted.name]
                self.object(fields, found, place, value, f"{value} is not null")
            else:
                self._mismatch(place, wanted, found, "an object")
        else:
            self._scalar(wanted, found, place, value)

    def _items(self, wanted: Type, found: T.DataType, place: str, value: str) -> None:
        """The items of an array: what is asked of one is asked of any."""
        before, self.asked = self.asked, []
        self._depth += 1
        item = f"x{self._depth}"
        self._value(wanted, found, place, item)
        if wanted.is_required:
            self._ask(place, f"{item} is null", "have an item that is null", str(wanted))
        inner = [
            Asked(a.place, f"exists({value}, {item} -> {a.condition})", a.found, a.limit)
            for a in self.asked
        ]
        self._depth -= 1
        self.asked = before + inner

    def _scalar(self, wanted: Type, found: T.DataType, place: str, value: str) -> None:
        name = "String" if wanted.name in self._schema.enums else wanted.name
        if name not in _FITTING:
            return  # a scalar that we know nothing of
        types, what = _FITTING[name]
        is_whole = isinstance(found, T.DecimalType) and found.scale == 0
        if not isinstance(found, types) and not (is_whole and name == "Int"):
            self._mismatch(place, wanted, found, what)
        elif name == "Int" and not isinstance(found, _SMALL):
            outside = f"not ({value} between {-_INT} and {_INT - 1})"
            self._ask(place, outside, "have a number of more than 32 bits here", str(wanted))

    def _ask(self, place: str, condition: str, found: str, limit: str) -> None:
        self.asked.append(Asked(place.removeprefix("profile."), condition, found, limit))

    def _mismatch(self, place: str, wanted: Type, found: T.DataType, what: str) -> None:
        text = f"a value of type {found.simpleString()}; the datamart's schema has {wanted}"
        self._wrong(place, text, what, "cast it in the expression, or change the schema")

    def _wrong(self, *parts: str) -> None:
        self.problems.append(Problem(*parts))


_SMALL = (T.ByteType, T.ShortType, T.IntegerType)
_FITTING: Mapping[str, tuple[tuple[type[T.DataType], ...], str]] = {
    "String": ((T.StringType,), "text"),
    "ID": ((T.StringType,), "text"),
    "Int": ((T.IntegralType,), "a whole number"),
    "Float": ((T.NumericType,), "a number"),
    "Boolean": ((T.BooleanType,), "true or false"),
    # As values are written: instants are epoch milliseconds, dates are text.
    "Timestamp": ((T.IntegralType,), "a timestamp, or epoch milliseconds"),
    "Date": ((T.StringType,), "a date, or text"),
}


def _leads(shape: T.DataType, way: Way) -> bool:
    """Whether there is such a member."""
    for name in way:
        if not isinstance(shape, T.StructType) or name not in shape.fieldNames():
            return False
        shape = shape[name].dataType
    return True
