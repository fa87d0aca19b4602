"""What may be computed over many rows of a user: one operation, and how it is asked.

    value = operation ( rows of `from`, in the window, that fulfil `where` )

`docs/operations.md` says what each gives, what it gives of nothing and how ties are broken.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

from spark_profiles.definition import windows
from spark_profiles.definition.language import FORM, Expression, Measure, Model, Name


def _checked_window(name: object) -> object:
    if isinstance(name, str) and not windows.is_window(name):
        message = f"{name!r} is no window; write {windows.FORMS}"
        raise ValueError(message)
    return name


Window = Annotated[str, BeforeValidator(_checked_window)]
Size = Annotated[int, Field(ge=1, le=1000)]
Elapsed = Literal["hours", "days", "weeks"]
Periods = Literal["days", "weeks", "months"]

OPERATIONS = (
    *("count", "count_distinct", "sum", "average", "min", "max", "stddev", "median", "percentile"),
    *("first", "last", "latest", "top", "values", "any", "all", "ratio"),
    *("recency", "tenure", "span", "frequency"),
    *("streak", "longest_streak", "average_gap", "shortest_gap", "longest_gap"),
)
MERGED = ("sum", "average", "min", "max", "median", "percentile")
"""The operations that may be asked of whole days, weeks or months instead of rows."""
COUNTS = ("count", "count_distinct", "frequency", "streak", "longest_streak")
"""The operations that are 0 of no rows."""
NUMBERS = (
    *("count", "count_distinct", "sum", "average", "stddev", "median", "percentile", "ratio"),
    *("recency", "tenure", "span", "frequency", "streak", "longest_streak"),
    *("average_gap", "shortest_gap", "longest_gap"),
)
"""The operations whose value is a number, whatever the operand."""
UNTIMED = (
    *("count", "count_distinct", "sum", "average", "min", "max", "stddev", "median", "percentile"),
    *("top", "values", "any", "all", "ratio"),
)
"""The operations that do not ask when a row happened."""
QUOTIENTS = ("average", "stddev", "median", "percentile", "ratio", "average_gap")
"""The operations that are rounded to 6 digits where no scale is declared."""

# Member -> the operations it goes with, and how it is written.
_GOES_WITH: dict[str, tuple[tuple[str, ...], str]] = {
    "fields": (("latest",), "latest: 3, fields: {id: purchase_id}"),
    "order": (("latest",), "latest: 3, fields: {id: purchase_id}, order: [amount desc]"),
    "one_per": (("latest",), "latest: 9, fields: {score: score}, one_per: model"),
    "k": (("top",), "top: category, k: 3, by: sum(amount)"),
    "by": (("top",), "top: category, k: 3, by: sum(amount)"),
    "members": (("top",), "top: category, members: [name, value, share]"),
    "at": (("percentile",), "percentile: amount, at: 0.9"),
    "of": (("ratio",), "ratio: category = 'book', of: amount"),
    "limit": (("values",), "values: category, limit: 20"),
    "approximate": (
        ("count_distinct", "median", "percentile"),
        "count_distinct: url, approximate: true",
    ),
    "merge": (MERGED, "average: amount, merge: days"),
    "half_life": (("count", "sum"), "sum: amount, half_life: 30d"),
    "trend": (NUMBERS, "sum: amount, windows: [30d], trend: growth"),
}


class PropertyBase(Model):
    """What every property may declare."""

    beside_output: ClassVar[frozenset[str]] = frozenset({"personal"})

    default: str | int | float | bool | None = None
    """Written instead of a missing value."""
    nulls: Literal["omit", "write"] | None = None
    """What becomes of a missing value without default: left out, or written as null."""
    scale: int | None = Field(default=None, ge=0, le=18)
    """Digits after the point, rounded half up."""
    bands: dict[str, Decimal] = Field(default_factory=dict)
    """Band -> its lower bound, ascending; the value becomes the name of its band."""
    purpose: Annotated[
        Annotated[Name, Tag("<text>")] | Annotated[tuple[Name, ...], Tag("<list>")], FORM
    ] = ()
    """What it is for, a name of `consents`, or several; only users who consented to all get it."""
    personal: Literal["identifying"] | None = None
    """`identifying`: the value names a person, as an address or a phone number does. `erase`
    and `explain` find the person by it. It changes nothing of what is sent."""

    @property
    def purposes(self) -> tuple[str, ...]:
        """The purposes, sorted."""
        return (self.purpose,) if isinstance(self.purpose, str) else self.purpose

    @field_validator("purpose")
    @classmethod
    def _sorted(cls, purpose: str | tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({purpose} if isinstance(purpose, str) else set(purpose)))

    @field_validator("bands")
    @classmethod
    def _ascending(cls, bands: dict[str, Decimal]) -> dict[str, Decimal]:
        bounds = list(bands.values())
        if bounds != sorted(set(bounds)):
            written = ", ".join(f"{name}: {bound}" for name, bound in bands.items())
            message = f"bands {{{written}}} do not ascend; write {{low: 0, medium: 50, high: 200}}"
            raise ValueError(message)
        return bands


class Aggregate(PropertyBase):
    """A value over the user's rows of another source: one operation, over one or more windows."""

    source: str = Field(alias="from")
    where: Expression | None = None
    """Only rows for which this is true; null is not true."""
    windows: tuple[Window, ...] = ()
    """With windows the property is an object, one member a window; without, lifetime is meant."""
    max_age: Window | None = None
    """Only rows at most this old are looked at."""
    per: Expression | None = None
    """With `categories`: one member for each, over the rows for which `per` is that category."""
    categories: tuple[str, ...] = ()

    count: Literal[True] | None = None
    count_distinct: Expression | None = None
    sum: Expression | None = None
    average: Expression | None = None
    min: Expression | None = None
    max: Expression | None = None
    stddev: Expression | None = None
    """Of the sample: the divisor is n - 1."""
    median: Expression | None = None
    percentile: Expression | None = None
    at: Annotated[Decimal, Field(ge=0, le=1, decimal_places=4)] | None = None
    """With `percentile`: which one, from 0 to 1."""
    first: Expression | None = None
    last: Expression | None = None
    latest: Size | None = None
    """So many records, newest first or as `order` says."""
    fields: dict[str, Expression] = Field(default_factory=dict)
    """With `latest`: member -> expression, for each of the records."""
    order: tuple[str, ...] = ()
    """With `latest`: `expression desc` or `expression asc`; then newest first, if there is time."""
    one_per: Expression | None = None
    """With `latest`: of the records with the same value of this, only the first is kept."""
    top: Expression | None = None
    """The categories of which a user has most; most first, ties in the order of their names."""
    k: Size = 3
    """With `top`: so many categories."""
    by: Measure = "count(1)"
    """With `top`: an aggregate over the rows of a category."""
    members: tuple[Literal["name", "value", "share"], ...] = ()
    """With `top`: objects with these members instead of names."""
    values: Expression | None = None
    """The distinct values, ascending."""
    limit: Size = 1000
    """With `values`: at most so many."""
    any: Expression | None = None
    all: Expression | None = None
    ratio: Expression | None = None
    """The share of the rows (or of the sum `of` them) for which this condition is true."""
    of: Expression | None = None
    recency: Elapsed | None = None
    """From the last row to as-of."""
    tenure: Elapsed | None = None
    """From the first row to as-of."""
    span: Elapsed | None = None
    """From the first row to the last."""
    frequency: Periods | None = None
    """How many different days (weeks, months) have a row."""
    streak: Periods | None = None
    """The run of active days (weeks, months) that reaches the one of as-of or the one before."""
    longest_streak: Periods | None = None
    average_gap: Elapsed | None = None
    shortest_gap: Elapsed | None = None
    longest_gap: Elapsed | None = None

    approximate: bool = False
    merge: Periods | None = None
    """The rows of a day (week, month) are added up first: the operation sees one value for each."""
    skip: Annotated[int, Field(ge=0, le=1000)] = 0
    """With `merge`: so many of the first days are left out."""
    half_life: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}[mhdw]$")] | None = None
    """A row counts half after this time, a quarter after twice this time, and so on."""
    trend: Literal["change", "growth"] | None = None
    """This window against the one before: the difference, or the difference / the one before."""
    tiles: Annotated[int, Field(ge=2, le=100)] | None = None
    """The value becomes its rank in the population in so many steps: 5 is a quintile."""
    best: Literal["high", "low"] = "high"
    """With `tiles`: which values get the highest step."""

    @model_validator(mode="after")
    def _one_operation(self) -> Aggregate:
        given = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            message = f"give exactly one operation of {', '.join(OPERATIONS)}; found {found}"
            raise ValueError(message)
        faults = [*self._misplaced(given[0]), *self._missing(given[0])]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _misplaced(self, operation: str) -> list[str]:
        given = self.chosen
        faults = [
            f"{name} goes with {' or '.join(operations)}: {{{example}}}; found {operation}"
            for name, (operations, example) in _GOES_WITH.items()
            if name in given and operation not in operations and name != "fields"
        ]
        if bool(self.fields) != (operation == "latest"):
            example = _GOES_WITH["fields"][1]
            faults.append(f"latest and fields go together; write {example}")
        if {"half_life", "merge", "trend"} <= given or {"half_life", "merge"} <= given:
            faults.append("half_life and merge exclude each other")
        return faults

    def _missing(self, operation: str) -> list[str]:
        faults = []
        if len(set(self.members)) < len(self.members):
            faults.append("members are named twice: [name, value, share]")
        if self.windows and self.max_age:
            faults.append("windows and max_age exclude each other")
        if bool(self.per) != bool(self.categories):
            faults.append("per and categories go together: per: category, categories: [book, film]")
        if operation == "percentile" and self.at is None:
            faults.append("percentile needs at: {percentile: amount, at: 0.9}")
        if self.skip and not self.merge:
            faults.append("skip goes with merge: {average: amount, merge: days, skip: 1}")
        if self.best == "low" and not self.tiles:
            faults.append("best goes with tiles: {recency: days, tiles: 5, best: low}")
        asked = self.windows or ((self.max_age,) if self.max_age else ("lifetime",))
        if self.trend and any_without_before(asked):
            faults.append("trend needs windows that have one before them, such as 30d or "
                          "previous_month; found lifetime")  # fmt: skip
        return faults

    @property
    def operation(self) -> str:
        """The name of the one operation given."""
        return next(name for name in OPERATIONS if getattr(self, name) is not None)

    @property
    def operand(self) -> Any:
        """What was written behind the operation."""
        return getattr(self, self.operation)

    @property
    def needs_time(self) -> str | None:
        """What in it asks when a row happened, or None."""
        asked = {
            "windows": self.windows,
            "max_age": self.max_age,
            "merge": self.merge,
            "half_life": self.half_life,
            self.operation: self.operation not in UNTIMED and not self.order,
        }
        return next((name for name, given in asked.items() if given), None)

    @property
    def digits(self) -> int | None:
        """Digits after the point to which the value is rounded; None: as they come."""
        is_quotient = self.operation in QUOTIENTS or self.half_life or self.trend == "growth"
        return 6 if self.scale is None and is_quotient else self.scale


def any_without_before(names: tuple[str, ...]) -> bool:
    """Whether one of the windows has no window before it."""
    return not all(windows.has_before(name) for name in names)
