"""A small shop, day by day: its tables, and in plain Python what must come of them.

Nothing here uses the library: it is the independent twin that results are compared with.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

FIRST_DAY = dt.datetime(2026, 3, 1, tzinfo=dt.timezone.utc)
INSTANT = pa.timestamp("us", tz="UTC")
CUSTOMERS = pa.schema(
    {"customer_id": pa.string(), "updated_at": INSTANT, "first_name": pa.string(),
     "city": pa.string()}
)  # fmt: skip
PURCHASES = pa.schema(
    {"purchase_id": pa.int64(), "customer_id": pa.string(), "purchased_at": INSTANT,
     "amount": pa.string()}
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """What a profile is made of that day."""

    with_city: bool = False
    with_amount: bool = False
    window: int = 30

    def text(self) -> str:
        """The definition."""
        city = "  contact: {city: {value: city}}\n" if self.with_city else ""
        amount = (
            "    amount: {from: purchases, sum: amount, windows: [lifetime], default: 0}\n"
            if self.with_amount
            else ""
        )
        return (
            "name: shop\n"
            "time_zone: UTC\n"
            'identifier: {compartment_id: "1606", user_account_id: customer_id}\n'
            "profile_keys: {compartment_id: 1606, user_account_id: customer_id}\n"
            "sources:\n"
            "  customers: {path: customers.parquet, format: parquet, key: customer_id,\n"
            "    time: updated_at, latest_by: [updated_at desc]}\n"
            "  purchases: {path: purchases.parquet, format: parquet, key: customer_id,\n"
            "    time: purchased_at, row_id: [purchase_id], types: {amount: 'decimal(10,2)'}}\n"
            "users: customers\n"
            "profile:\n"
            "  firstname: {value: first_name}\n"
            f"{city}"
            "  purchases:\n"
            f"    count: {{from: purchases, count: true, windows: [{self.window}d, lifetime]}}\n"
            f"{amount}"
        )


@dataclass(frozen=True)
class Day:
    """What happened since the day before."""

    joined: int = 0
    renamed: int = 0
    left: int = 0
    """So many of those who came first; one stays in any case."""
    bought: int = 0
    dirt: bool = False
    """Rows as real exports have them: refused, duplicate, orphan, after as-of."""


@dataclass(frozen=True)
class Tables:
    """The tables of one morning."""

    as_of: dt.datetime
    people: tuple[Row, ...] = ()
    purchases: tuple[Row, ...] = ()
    dirt: bool = False

    def after(self, day: Day) -> Tables:
        """The tables of the next export, ten days later."""
        left = min(day.left, max(0, len(self.people) - 1))
        people = list(self.people[left:])
        known = {person["customer_id"] for person in people}
        free = (f"c{n:02d}" for n in range(100) if f"c{n:02d}" not in known)
        for _, customer_id in zip(range(day.joined), free, strict=False):
            people.append(
                {"customer_id": customer_id, "updated_at": self.as_of,
                 "first_name": f"Name {customer_id}", "city": f"City {len(people) % 3}"}
            )  # fmt: skip
        for n, person in enumerate(people[: day.renamed]):
            people[n] = {**person, "first_name": person["first_name"] + "'"}
        bought = [
            {"purchase_id": len(self.purchases) + n,
             "customer_id": people[(3 * n) % len(people)]["customer_id"],
             "purchased_at": self.as_of + dt.timedelta(days=1, hours=n), "amount": f"{n}.10"}
            for n in range(day.bought)
        ]  # fmt: skip
        return Tables(
            as_of=self.as_of + dt.timedelta(days=10),
            people=tuple(people),
            purchases=(*self.purchases, *bought),
            dirt=day.dirt,
        )

    def customer_rows(self) -> list[Row]:
        """The rows of the export, dirt and all."""
        rows = list(self.people)
        if self.dirt:
            older = rows[0]["updated_at"] - dt.timedelta(days=30)
            rows += [
                {**rows[0], "customer_id": None},  # refused
                {**rows[0], "updated_at": older, "first_name": "Old"},  # duplicate
                {**rows[0], "customer_id": "late", "updated_at": self.as_of},  # after as-of
            ]
        return rows

    def purchase_rows(self) -> list[Row]:
        """The rows of the export, dirt and all."""
        rows = list(self.purchases)
        if self.dirt:
            rows += [
                {**rows[0], "purchase_id": 1000, "amount": "ten"},  # refused
                {**rows[0]},  # duplicate
                {**rows[0], "customer_id": "nobody"},  # orphan
                {**rows[0], "purchase_id": 1001, "purchased_at": self.as_of},  # after as-of
            ]
        return rows

    def counts(self) -> dict[str, dict[str, int]]:
        """Where the rows must go."""
        dirt = int(self.dirt)
        known = {person["customer_id"] for person in self.people}
        used = sum(row["customer_id"] in known for row in self.purchases)
        orphans = len(self.purchases) - used
        # The first purchase and its copies: of somebody who is still there, or not.
        return {
            "customers": {
                "rows": len(self.people) + 3 * dirt, "used": len(self.people), "refused": dirt,
                "duplicate": dirt, "orphan": 0, "after_as_of": dirt,
            },
            "purchases": {
                "rows": len(self.purchases) + 4 * dirt, "used": used, "refused": dirt,
                "duplicate": dirt, "orphan": orphans + dirt, "after_as_of": dirt,
            },
        }  # fmt: skip

    def profiles(self, shape: Shape) -> dict[str, Row]:
        """What the platform must hold: account -> profile."""
        return {person["customer_id"]: self._profile(person, shape) for person in self.people}

    def _profile(self, person: Row, shape: Shape) -> Row:
        bought = [r for r in self.purchases if r["customer_id"] == person["customer_id"]]
        since = self.as_of - dt.timedelta(days=shape.window)
        recent = [row for row in bought if row["purchased_at"] >= since]
        purchases: Row = {"count": {f"{shape.window}d": len(recent), "lifetime": len(bought)}}
        if shape.with_amount:
            total = sum((Decimal(row["amount"]) for row in bought), Decimal(0))
            purchases["amount"] = {"lifetime": float(total)}
        profile: Row = {
            "$compartment_id": 1606,
            "$user_account_id": person["customer_id"],
            "firstname": person["first_name"],
            "purchases": purchases,
        }
        return {**profile, "contact": {"city": person["city"]}} if shape.with_city else profile


OPENING = Tables(as_of=FIRST_DAY - dt.timedelta(days=10)).after(Day(joined=12))
OPENING = replace(
    OPENING,
    as_of=FIRST_DAY,
    purchases=tuple(
        {"purchase_id": n, "customer_id": f"c{n % 9:02d}",
         "purchased_at": FIRST_DAY - dt.timedelta(days=1 + 9 * n), "amount": f"{n}.25"}
        for n in range(10)
    ),
)  # fmt: skip
"""The shop as it is found on the first day."""

SOURCES = {
    "whole": (1.0, 1.0),
    "customers empty": (0.0, 1.0),
    "customers missing": (None, 1.0),
    "customers cut off": (0.25, 1.0),
    "customers garbled": (1.0, 1.0),
    "purchases empty": (1.0, 0.0),
    "purchases missing": (1.0, None),
}
"""How an export may fail: the share of rows that arrive; None: there is no file. Garbled: of some
customers the row has lost its time, so that it is refused."""


def garbled(people: tuple[Row, ...]) -> set[str]:
    """The customers whose rows a garbled export garbles."""
    return {person["customer_id"] for person in people[1::3]}


def export(tables: Tables, folder: Path, source: str) -> None:
    """Write the day's files, as whole as `source` says."""
    folder.mkdir(parents=True)
    customers = tables.customer_rows()
    if "garbled" in source:
        lost = garbled(tables.people)
        customers = [
            {**row, "updated_at": None} if row["customer_id"] in lost else row for row in customers
        ]
    both = (
        ("customers", customers, CUSTOMERS),
        ("purchases", tables.purchase_rows(), PURCHASES),
    )
    for share, (name, rows, schema) in zip(SOURCES[source], both, strict=True):
        if share is not None:
            kept = rows[: int(len(rows) * share)]
            pq.write_table(pa.Table.from_pylist(kept, schema), folder / f"{name}.parquet")
