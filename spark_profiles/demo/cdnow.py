"""The CDNOW example: where it lies, and its purchase log."""

from __future__ import annotations

import csv
import functools
import gzip
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from spark_profiles.errors import PlatformError, Problem


@dataclass(frozen=True)
class Purchase:
    """One line of the log, as published; `purchase_id` is its number there."""

    purchase_id: int
    customer_id: str
    purchased_on: date
    quantity: int
    amount: Decimal


def folder() -> Path:
    """The example's folder: beside the package in a checkout, inside it when installed.

    Raises:
        PlatformError: it is in neither place.
    """
    here = Path(__file__).parent
    for place in (here / "cdnow_data", here.parent.parent / "examples" / "cdnow"):
        if (place / "profiles.yaml").exists():
            return place
    problem = Problem("examples/cdnow", "not found", "the example's data", "install the package")
    message = "The demo has no data"
    raise PlatformError(message, problem)


@functools.cache
def purchases() -> tuple[Purchase, ...]:
    """The whole log: 69,659 purchases of 23,570 customers."""
    with gzip.open(folder() / "purchases.csv.gz", "rt", encoding="utf-8") as file:
        return tuple(
            Purchase(int(number), customer, date.fromisoformat(on), int(count), Decimal(amount))
            for number, customer, on, count, amount in list(csv.reader(file))[1:]
        )
