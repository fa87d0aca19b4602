"""What may be computed over many rows of a user: one operation, over one or more windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from spark_profiles import windows
from spark_profiles.language import Expression, Measure, Model


def _checked_window(name: str) -> str:
    if not windows.is_window(name):
        message = f"{name!r} is no window; write 90m, 24h, 30d, 8w, 12mo or one of {_NAMED}"
        raise ValueError(message)
    return name


_NAMED = ", ".join(windows.NAMED)
Window = Annotated[str, BeforeValidator(_checked_window)]


class PropertyBase(Model):
    """What every property may declare."""

    default: str | int | float | bool | None = None
    """Written instead of a missing value."""
    scale: int | None = Field(default=None, ge=0, le=18)
    """Digits after the point, rounded half up."""


class Aggregate(PropertyBase):
    """A value over the user's rows of another source: one operation, over one or more windows."""

    source: str = Field(alias="from")
    where: Expression | None = None
    windows: tuple[Window, ...] = ()
    """With windows the property is an object, one member a window; without, lifetime is meant."""
    max_age: Window | None = None
    """Only rows at most this old are looked at."""

    count: Literal[True] | None = None
    count_distinct: Expression | None = None
    sum: Expression | None = None
    average: Expression | None = None
    min: Expression | None = None
    max: Expression | None = None
    first: Expression | None = None
    last: Expression | None = None
    latest: Annotated[int, Field(ge=1, le=1000)] | None = None
    fields: dict[str, Expression] = Field(default_factory=dict)
    """With `latest`: member -> expression, for each of the records."""
    top: Expression | None = None
    """The categories of which a user has most; most first, ties in the order of their names."""
    k: Annotated[int, Field(ge=1, le=1000)] = 3
    """With `top`: so many categories."""
    by: Measure = "count(1)"
    """With `top`: an aggregate over the rows of a category."""

    @model_validator(mode="after")
    def _one_operation(self) -> Aggregate:
        given = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            message = f"give exactly one operation of {', '.join(OPERATIONS)}; found {found}"
            raise ValueError(message)
        if bool(self.fields) != (self.latest is not None):
            message = "latest and fields go together: latest: 3, fields: {id: purchase_id}"
            raise ValueError(message)
        if self.top is None and {"k", "by"} & self.chosen:
            message = "k and by go with top: {top: category, k: 3, by: sum(amount)}"
            raise ValueError(message)
        if self.windows and self.max_age:
            message = "windows and max_age exclude each other"
            raise ValueError(message)
        return self

    @property
    def operation(self) -> str:
        """The name of the one operation given."""
        return next(name for name in OPERATIONS if getattr(self, name) is not None)


OPERATIONS = (
    "count",
    "count_distinct",
    "sum",
    "average",
    "min",
    "max",
    "first",
    "last",
    "latest",
    "top",
)
