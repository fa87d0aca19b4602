"""A small shop, day by day: its tables, and in plain Python what must come of them.

Nothing here uses the library: it is the independent twin that results are compared with.

A person keeps an identity, `who`, whatever becomes of the key, the e-mail address and the card by
which the shop knows them. The tables have no column for it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count, islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FIRST_DAY = dt.datetime(2026, 3, 1, tzinfo=dt.timezone.utc)
INSTANT = pa.timestamp("us", tz="UTC")
CUSTOMERS = pa.schema(
    {"customer_id": pa.string(), "updated_at": INSTANT, "first_name": pa.string(),
     "city": pa.string(), "email": pa.string(), "card": pa.string()}
)  # fmt: skip
PURCHASES = pa.schema(
    {"purchase_id": pa.int64(), "customer_id": pa.string(), "purchased_at": INSTANT,
     "amount": pa.string()}
)  # fmt: skip
Row = dict[str, Any]
NAMES = ("customer_id", "email", "card")
"""The columns by which a person is known."""

ACCOUNT, E_MAIL, CARD_INSIDE = "account", "e-mail", "card inside"
NUMBER_INSIDE, CARD_OR_E_MAIL = "number inside", "card or e-mail"
WAYS = {
    ACCOUNT: (
        'identifier: {{compartment_id: "{outside}", user_account_id: customer_id}}\n'
        "profile_keys: {{compartment_id: {inside}, user_account_id: customer_id}}\n"
    ),
    E_MAIL: "identifier: {{email_hash: email}}\nprofile_keys: {{compartment_id: {inside}}}\n",
    CARD_INSIDE: (
        "identifier: {{email_hash: email}}\n"
        "profile_keys: {{compartment_id: {inside}, user_account_id: card}}\n"
    ),
    NUMBER_INSIDE: (
        "identifier: {{email_hash: email}}\n"
        "profile_keys: {{compartment_id: {inside},\n"
        "  user_account_id: \"coalesce(card, concat('number ', customer_id))\"}}\n"
    ),
    CARD_OR_E_MAIL: (
        'identifier: [{{compartment_id: "{outside}", user_account_id: card}}, '
        "{{email_hash: email}}]\n"
        "profile_keys: {{compartment_id: {inside}, user_account_id: card}}\n"
    ),
}
"""How a definition may address profiles. Where the account inside is the card and there is no card,
the profile is anonymous."""


@dataclass(frozen=True)
class Shape:
    """What a profile is made of that day, and where it is sent."""

    with_city: bool = False
    with_amount: bool = False
    window: int = 30
    way: str = ACCOUNT
    """A key of `WAYS`."""
    inside: int = 1606
    """The compartment inside the profile."""
    outside: int = 1606
    """The compartment of an account that is the identifier."""

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
            f"{WAYS[self.way].format(inside=self.inside, outside=self.outside)}"
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

    def account(self, person: Row) -> str:
        """The account inside the profile; empty: it is anonymous."""
        if self.way == E_MAIL:
            return ""
        if self.way == ACCOUNT:
            return str(person["customer_id"])
        if self.way == NUMBER_INSIDE:
            return str(person["card"] or f"number {person['customer_id']}")
        return person["card"] or ""

    def identifier(self, person: Row) -> tuple[str, str]:
        """Kind and value of the identifier, as the emulator names them."""
        if self.way == ACCOUNT:
            return "account", f"{self.outside}/{person['customer_id']}"
        if self.way == CARD_OR_E_MAIL and person["card"]:
            return "account", f"{self.outside}/{person['card']}"
        normal = person["email"].strip().lower()
        return "email_hash", hashlib.sha256(normal.encode()).hexdigest()


class Wanted(NamedTuple):
    """A profile that the platform must hold, and where."""

    kind: str
    """Of the identifier: account or email_hash."""
    value: str
    compartment: str
    account: str
    """Empty: the profile is anonymous."""
    profile: Row
    key: str

    @property
    def address(self) -> str:
        """The address as the audit tables write it."""
        if self.kind == "account":
            outside, _, account = self.value.partition("/")
            identifier = f"{account}|user_account_id|{outside}"
        else:
            identifier = f"{self.value}|{self.kind}|"
        return f"{identifier}|{self.compartment}|{self.account}"


@dataclass(frozen=True)
class Day:
    """What happened since the day before: how many people of each kind."""

    joined: int = 0
    renamed: int = 0
    left: int = 0
    """So many of those who came first; one stays in any case."""
    bought: int = 0
    dirt: bool = False
    """Rows as real exports have them: refused, duplicate, orphan, after as-of."""
    moved: int = 0
    """People with another e-mail address: a new one, or one that somebody had before."""
    swapped: int = 0
    """Pairs of people who swap their e-mail addresses."""
    passed_on: int = 0
    """E-mail addresses that a newcomer takes: from somebody who leaves (then the card as well), or
    who gets another address."""
    chained: int = 0
    """People of whom each takes the e-mail address of the next, whose last leaves."""
    rekeyed: int = 0
    """People with another customer_id; their purchases follow."""
    recarded: int = 0
    """People who get a card, another one, or lose theirs."""
    cards_swapped: int = 0
    """Pairs of people who swap their cards."""
    merged: int = 0
    """Pairs of whom one leaves; the other takes over e-mail address, card and purchases."""
    contested: int = 0
    """Pairs with one e-mail address and one card that day; until a day that has none of them."""
    edited: tuple[tuple[int, str, Any], ...] = ()
    """Of written histories: `who`, a column, and its value from now on."""


@dataclass(frozen=True)
class Tables:
    """The tables of one morning."""

    as_of: dt.datetime
    people: tuple[Row, ...] = ()
    purchases: tuple[Row, ...] = ()
    dirt: bool = False
    number: int = 0
    """Of the day."""
    next_who: int = 0
    contests: tuple[tuple[int, int], ...] = ()
    """Pairs of `who`: the first of each is exported with e-mail address and card of the second."""
    freed: tuple[str, ...] = ()
    """E-mail addresses that somebody had and nobody has now."""
    never: frozenset[str] = frozenset()
    """Keys and e-mail addresses of erased persons, which nobody gets again."""

    def after(self, day: Day) -> Tables:
        """The tables of the next export, ten days later."""
        return _Morning(self).of(day)

    def without(self, person: Row) -> Tables:
        """The tables without this person; what they bought stays, and is nobody's."""
        who, key = person["who"], person["customer_id"]
        return replace(
            self,
            people=tuple(one for one in self.people if one["who"] != who),
            purchases=tuple(
                {**row, "customer_id": "erased"} if row["customer_id"] == key else row
                for row in self.purchases
            ),
            contests=tuple(pair for pair in self.contests if who not in pair),
            never=self.never | {key, person["email"]},
        )

    def exported(self) -> list[Row]:
        """The people as the export has them."""
        others = {one["who"]: one for one in self.people}
        taken = {first: others[second] for first, second in self.contests}
        return [
            {**one, **{name: taken[one["who"]][name] for name in ("email", "card")}}
            if one["who"] in taken
            else one
            for one in self.people
        ]

    def contested(self, shape: Shape) -> set[str]:
        """The keys of people with an identifier or an account that another one has as well."""
        people = self.exported()
        identifiers = Counter(map(shape.identifier, people))
        accounts = Counter(map(shape.account, people))
        return {
            person["customer_id"]
            for person in people
            if identifiers[shape.identifier(person)] > 1
            or (shape.account(person) and accounts[shape.account(person)] > 1)
        }

    def customer_rows(self) -> list[Row]:
        """The rows of the export, dirt and all."""
        rows = [{name: row[name] for name in CUSTOMERS.names} for row in self.exported()]
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

    def profiles(self, shape: Shape) -> list[Wanted]:
        """What the platform must hold. Without contests: these leave people as they were."""
        assert not self.contested(shape), "who is contested stays as delivered"
        return [self._wanted(person, shape) for person in self.exported()]

    def _wanted(self, person: Row, shape: Shape) -> Wanted:
        key, account = person["customer_id"], shape.account(person)
        bought = [row for row in self.purchases if row["customer_id"] == key]
        since = self.as_of - dt.timedelta(days=shape.window)
        recent = [row for row in bought if row["purchased_at"] >= since]
        purchases: Row = {"count": {f"{shape.window}d": len(recent), "lifetime": len(bought)}}
        if shape.with_amount:
            total = sum((Decimal(row["amount"]) for row in bought), Decimal(0))
            purchases["amount"] = {"lifetime": float(total)}
        profile: Row = {
            "$compartment_id": shape.inside,
            **({"$user_account_id": account} if account else {}),
            "firstname": person["first_name"],
            "purchases": purchases,
            **({"contact": {"city": person["city"]}} if shape.with_city else {}),
        }
        return Wanted(*shape.identifier(person), str(shape.inside), account, profile, key)


def _purchase(number: int, customer_id: str, moment: dt.datetime) -> Row:
    amount = f"{number % 10}.10"
    return {
        "purchase_id": number, "customer_id": customer_id, "purchased_at": moment, "amount": amount,
    }  # fmt: skip


@dataclass
class _Morning:
    """Makes the tables of the next day."""

    before: Tables
    people: list[Row] = field(init=False)
    purchases: list[Row] = field(init=False)

    def __post_init__(self) -> None:
        self.people = [*self.before.people]
        self.purchases = [*self.before.purchases]
        self._freed = [*self.before.freed]
        self._who = count(self.before.next_who)
        self._new = count(1)

    def of(self, day: Day) -> Tables:
        """The tables after this day."""
        before = self.before
        for _ in range(min(day.left, max(0, len(self.people) - 1))):
            self._leave(self.people[0])
        for place, (name, change) in enumerate(_CHANGES.items()):
            change(self, self._chosen(place), getattr(day, name))
        for who, name, value in day.edited:
            self._change({"who": who}, **{name: value})
        for _ in range(day.joined):
            self.people.append(self.newcomer(self._email()))
        for n, person in enumerate(self.people[: day.renamed]):
            self.people[n] = {**person, "first_name": person["first_name"] + "'"}
        numbers = count(1 + max((row["purchase_id"] for row in self.purchases), default=-1))
        self.purchases += [
            _purchase(
                number,
                self.people[(3 * n) % len(self.people)]["customer_id"],
                before.as_of + dt.timedelta(days=1, hours=n),
            )
            for n, number in enumerate(islice(numbers, day.bought))
        ]
        emails = {person["email"] for person in self.people}
        freed = dict.fromkeys(email for email in self._freed if email not in emails)
        contests = _pairs(self._chosen(5), day.contested)
        return replace(
            before,
            as_of=before.as_of + dt.timedelta(days=10),
            people=tuple(self.people),
            purchases=tuple(self.purchases),
            dirt=day.dirt,
            number=before.number + 1,
            next_who=next(self._who),
            contests=tuple((first["who"], second["who"]) for first, second in contests),
            freed=tuple(freed),
        )

    def newcomer(self, email: str) -> Row:
        """Somebody who was never there, under a key that somebody may have had before."""
        who = next(self._who)
        return {
            "who": who, "customer_id": self._key(), "updated_at": self.before.as_of,
            "first_name": f"Name {who:02d}", "city": f"City {who % 3}", "email": email,
            "card": None if who % 3 == 0 else self._card(),
        }  # fmt: skip

    # Changes of people; each is told which people to take first

    def moved(self, chosen: list[Row], number: int) -> None:
        for n, person in enumerate(chosen[:number]):
            self._change(person, email=self._email(is_freed=n % 2 == 1))

    def swapped(self, chosen: list[Row], number: int) -> None:
        for first, second in _pairs(chosen, number):
            self._change(first, email=second["email"])
            self._change(second, email=first["email"])

    def passed_on(self, chosen: list[Row], number: int) -> None:
        for n, person in enumerate(chosen[:number]):
            newcomer = self.newcomer(person["email"])
            if (self.before.number + n) % 2 or len(self.people) == 1:
                self._change(person, email=self._email())
            else:
                self._leave(person)
                newcomer["card"] = person["card"]
            self.people.append(newcomer)

    def chained(self, chosen: list[Row], number: int) -> None:
        if number == 0 or len(chosen) < 2:
            return
        chain = chosen[: number + 1]
        for person, following in pairwise(chain):
            self._change(person, email=following["email"])
        self._leave(chain[-1])

    def rekeyed(self, chosen: list[Row], number: int) -> None:
        for person in chosen[:number]:
            new = self._key()
            self._take_purchases(person["customer_id"], new)
            self._change(person, customer_id=new)

    def recarded(self, chosen: list[Row], number: int) -> None:
        for n, person in enumerate(chosen[:number]):
            is_lost = person["card"] is not None and n % 3 == 2
            self._change(person, card=None if is_lost else self._card())

    def cards_swapped(self, chosen: list[Row], number: int) -> None:
        for first, second in _pairs(chosen, number):
            self._change(first, card=second["card"])
            self._change(second, card=first["card"])

    def merged(self, chosen: list[Row], number: int) -> None:
        for stays, leaves in _pairs(chosen, number):
            self._leave(leaves)
            self._take_purchases(leaves["customer_id"], stays["customer_id"])
            card = leaves["card"] or stays["card"]
            self._change(stays, email=leaves["email"], card=card)

    # What they consist of

    def _chosen(self, place: int) -> list[Row]:
        """All people, from another one on for each change and day: some meet several changes."""
        first = (5 * self.before.number + 3 * place) % max(1, len(self.people))
        return self.people[first:] + self.people[:first]

    def _change(self, person: Row, **changed: Any) -> None:
        for n, one in enumerate(self.people):
            if one["who"] == person["who"]:
                self._freed.append(one["email"])
                self.people[n] = {**one, **changed}

    def _leave(self, person: Row) -> None:
        if len(self.people) > 1:
            self._freed.append(person["email"])
            self.people = [one for one in self.people if one["who"] != person["who"]]

    def _take_purchases(self, former: str, key: str) -> None:
        self.purchases = [
            {**row, "customer_id": key} if row["customer_id"] == former else row
            for row in self.purchases
        ]

    def _key(self) -> str:
        """A key that nobody has, nor had the day before."""
        taken = {person["customer_id"] for person in (*self.before.people, *self.people)}
        taken |= self.before.never
        return next(key for n in count() if (key := f"c{n:02d}") not in taken)

    def _email(self, *, is_freed: bool = False) -> str:
        taken = {person["email"] for person in self.people} | self.before.never
        free = [email for email in self._freed if email not in taken]
        if is_freed and free:
            return free[0]
        email = f"Mail.{self.before.number}.{next(self._new)}@Shop.example"
        return email.lower() if self.before.number % 2 else f" {email} "

    def _card(self) -> str:
        return f"k{self.before.number}-{next(self._new)}"


_CHANGES: dict[str, Callable[[_Morning, list[Row], int], None]] = {
    "moved": _Morning.moved,
    "swapped": _Morning.swapped,
    "passed_on": _Morning.passed_on,
    "chained": _Morning.chained,
    "rekeyed": _Morning.rekeyed,
    "recarded": _Morning.recarded,
    "cards_swapped": _Morning.cards_swapped,
    "merged": _Morning.merged,
}
"""In this order on each day."""


def _pairs(chosen: list[Row], number: int) -> list[tuple[Row, Row]]:
    return list(zip(chosen[::2], chosen[1::2], strict=False))[:number]


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
