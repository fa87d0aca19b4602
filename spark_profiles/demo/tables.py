"""The shop's raw tables as exported on the morning of a day: real purchases, made-up CRM, dirt.

Everything made up follows from the seed, the table and the customer alone, never from the order
of making, so that two days differ only by what happened between them: purchases, 0.5 % of the
customers updated, 15 new ones and 12 gone a day.
"""

from __future__ import annotations

import functools
import hashlib
import random
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from spark_profiles.demo import cdnow, scoring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spark_profiles.demo.cdnow import Purchase

_OPENED = date(1998, 3, 25)
"""From this day on customers come and go."""
_NEW_A_DAY, _GONE_A_DAY, _DAYS_BETWEEN_UPDATES = 15, 12, 200
_FIRST_DIRTY_ID = 900_000_000
_HORIZON = 90 / 7

_GIVEN = (
    "Ada", "Björn", "Chloé", "Dmitri", "Émilie", "Fatima", "Giulia", "Hana", "İpek", "José",
    "Kwame", "Łukasz", "María", "Noor", "Oluwaseun", "Priya", "Quentin", "Rania", "Søren", "Thảo",
    "Uma", "Völundur", "Wanjiru", "Xin", "Yūki", "Zoë", "O'Shea", 'Jo "JJ"', "Anne-Marie", "Max 🎧",
)  # fmt: skip
_FAMILY = (
    "Ångström", "Brontë", "Căpraru", "D'Angelo", "Eriksson", "Fernández", "Gödel", "Haddad",
    "Ivanova", "Jørgensen", "Kowalczyk", "Lefèvre", "Müller", "Nguyễn", "Okafor", "Peña",
    "Quispe", "Rossi", "Şahin", "Tanaka", "Ueda", "Vušković", "Weiß", "Xu", "Yılmaz", "Zając",
)  # fmt: skip
_PLACES = (
    ("Paris", "FR", "fr"), ("Lyon", "FR", "fr"), ("Köln", "DE", "de"), ("Zürich", "CH", "de"),
    ("London", "GB", "en"), ("New York", "US", "en"), ("São Paulo", "BR", "pt"),
    ("Madrid", "ES", "es"), ("Kraków", "PL", "pl"), ("東京", "JP", "ja"),
)  # fmt: skip
_UNUSABLE_EMAILS = (None, "", "none", "foo@", "@example.org", "a b@example.org")
_NEWSLETTERS = ("daily_deals", "new_releases", "jazz_letter")
_PURPOSES = ("email_marketing", "profiling", "third_party")


@dataclass
class TableCounts:
    """What was written into one table, known by construction.

    `rows` are all rows. Each row is counted in at most one of the others: `unusable` (a null or
    blank key, or a value that cannot be read or is refused), `after_as_of` (happened at or after
    as-of), `duplicates` (an older or equal row of what stands in another row), `orphans` (of no
    customer in the export). The rest are good rows.
    """

    rows: int = 0
    unusable: int = 0
    after_as_of: int = 0
    duplicates: int = 0
    orphans: int = 0


@dataclass
class _Export:
    """The rows of one table while it is made."""

    schema: pa.Schema
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    counts: TableCounts = field(default_factory=TableCounts)

    def add(self, kind: str, *rows: tuple[Any, ...]) -> None:
        """Add rows that are `good`, or one kind of those that `TableCounts` names."""
        self.rows += rows
        self.counts.rows += len(rows)
        if kind != "good":
            setattr(self.counts, kind, getattr(self.counts, kind) + len(rows))

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        columns = zip(*self.rows, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self.schema)
        parquet.write_table(table, folder / "part-00000.parquet")


_INSTANT = pa.timestamp("us", tz="UTC")
_SCHEMAS = {
    "purchases": {
        "purchase_id": pa.int64(), "customer_id": pa.string(), "purchased_on": pa.date32(),
        "quantity": pa.int32(), "amount": pa.string(),
    },
    "customers": {
        "customer_id": pa.string(), "updated_at": _INSTANT, "row_id": pa.int64(),
        "first_name": pa.string(), "last_name": pa.string(), "email": pa.string(),
        "gender": pa.string(), "birth_date": pa.string(), "city": pa.string(),
        "country": pa.string(), "language": pa.string(), "loyalty_status": pa.string(),
        "loyalty_points": pa.string(), "crm_segment": pa.string(), "created_on": pa.date32(),
    },
    "newsletters": {
        "customer_id": pa.string(), "updated_at": _INSTANT, "newsletter": pa.string(),
        "subscribed": pa.bool_(), "frequency": pa.string(),
    },
    "consents": {
        "customer_id": pa.string(), "purpose": pa.string(), "granted": pa.bool_(),
        "updated_at": _INSTANT,
    },
    "scores": {
        "customer_id": pa.string(), "model": pa.string(), "score": pa.float64(),
        "scored_at": _INSTANT,
    },
}  # fmt: skip


def recipe() -> str:
    """A hash over all that the tables follow from: the log, and the code that makes them."""
    here = Path(__file__)
    parts = [*sorted(here.parent.glob("*.py")), *sorted(cdnow.folder().glob("*.gz"))]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()


def write_tables(directory: Path, *, as_of: date, seed: int = 1) -> dict[str, TableCounts]:
    """Write one Parquet file a table under `directory`; returns what was written, by table.

    Args:
        directory: gets a folder a table.
        as_of: the day of the export; it holds what happened before its midnight (UTC), and a
            few rows that are ahead of it.
        seed: another seed gives other people and other dirt around the same purchases.
    """
    log = cdnow.purchases()
    people = _people(log, as_of, seed)
    exports = {
        "purchases": _purchases(log, people, as_of, seed),
        "customers": _customers(log, people, as_of, seed),
        "newsletters": _newsletters(log, people, as_of, seed),
        "consents": _consents(log, people, as_of, seed),
        "scores": _scores(people, as_of, seed),
    }
    for name, export in exports.items():
        export.write(directory / name)
    return {name: export.counts for name, export in exports.items()}


def _export(name: str) -> _Export:
    return _Export(pa.schema(list(_SCHEMAS[name].items())))


def _dice(*parts: object) -> random.Random:
    return random.Random("|".join(map(str, parts)))  # noqa: S311  made-up data


def _people(log: Sequence[Purchase], as_of: date, seed: int) -> dict[str, date]:
    """Who is in the CRM on that day, and since when."""
    since: dict[str, date] = {}
    for purchase in log:
        known = since.get(purchase.customer_id, purchase.purchased_on)
        since[purchase.customer_id] = min(known, purchase.purchased_on)
    days = max(0, (as_of - _OPENED).days)
    in_order = sorted(since)
    gone = _dice(seed, "gone").sample(in_order, len(in_order))[: days * _GONE_A_DAY]
    for customer in gone:
        del since[customer]
    for day in (_OPENED + timedelta(days=n) for n in range(days)):
        for number in range(_NEW_A_DAY):
            since[f"N{day:%y%m%d}{number:02d}"] = day
    return since


def _instant(day: date, dice: random.Random) -> datetime:
    midnight = datetime.combine(day, time(), timezone.utc)
    return midnight + timedelta(microseconds=dice.randrange(86_400_000_000))


def _customers(
    log: Sequence[Purchase], people: Mapping[str, date], as_of: date, seed: int
) -> _Export:
    export = _export("customers")
    spent: dict[str, float] = {}
    for purchase in log:
        if purchase.purchased_on < as_of:
            customer = purchase.customer_id
            spent[customer] = spent.get(customer, 0.0) + float(purchase.amount)
    for number, (customer, since) in enumerate(people.items()):
        dice = _dice(seed, "customers", customer)
        spaced = f" {customer} " if dice.random() < 0.02 else customer
        first = (spaced, _instant(since, dice), number * 10)
        about = _about(customer, since, dice, spent.get(customer, 0.0))
        updated_on = _last_update(customer, since, as_of, seed)
        if updated_on is None:
            export.add("good", (*first, *about))
            if dice.random() < 0.01:
                export.add("duplicates", (spaced, first[1], number * 10 - 1, "Former", *about[1:]))
            continue
        later = _dice(seed, "update", customer, updated_on)
        moved = _about(customer, since, later, spent.get(customer, 0.0))
        export.add(
            "good", (spaced, _instant(updated_on, later), number * 10 + 1, *about[:2], *moved[2:])
        )
        export.add("duplicates", (*first, *about))
    _add_dirty_customers(export, people, as_of, seed)
    return export


def _last_update(customer: str, since: date, as_of: date, seed: int) -> date | None:
    """The last day before as-of on which the CRM changed the customer: one day in 200."""
    offset = _dice(seed, "rhythm", customer).randrange(_DAYS_BETWEEN_UPDATES)
    yesterday = as_of - timedelta(days=1)
    last = yesterday - timedelta(days=(yesterday.toordinal() - offset) % _DAYS_BETWEEN_UPDATES)
    return last if last > max(since, date(1998, 1, 1)) else None


def _about(customer: str, since: date, dice: random.Random, spent: float) -> tuple[Any, ...]:
    """All members of a customer's row after its first three."""
    given, family = dice.choice(_GIVEN), dice.choice(_FAMILY)
    city, country, language = dice.choice(_PLACES)
    email = f"{customer.lower()}@example.org"
    if dice.random() < 0.1:
        email = f" {email.upper()} "
    unusable = dice.choice(_UNUSABLE_EMAILS)
    born = date(1930, 1, 1) + timedelta(days=dice.randrange(20_000))
    status = ("NONE", "BRONZE", "SILVER", "GOLD")[sum(spent >= limit for limit in (50, 200, 500))]
    return (
        dice.choice((given, given.upper(), f" {given}")),
        family,
        unusable if dice.random() < 0.06 else email,
        dice.choice(("M", "F", "f", None)),
        born.isoformat() if dice.random() < 0.97 else dice.choice(("unknown", "31/12/1965")),
        city,
        country,
        language,
        status,
        str(int(spent)) if dice.random() < 0.98 else dice.choice(("n/a", "12,5")),
        dice.choice(("A", "B", "C", "D")),
        since,
    )


def _add_dirty_customers(
    export: _Export, people: Mapping[str, date], as_of: date, seed: int
) -> None:
    dice = _dice(seed, "dirty customers")
    about = _about("00000", as_of, dice, 0.0)
    for number in range(60):
        key = None if number < 40 else "   "
        row = (key, _instant(date(1998, 1, 1), dice), -1 - number, *about)
        export.add("unusable", row)
    for number, customer in enumerate(dice.sample(sorted(people), 30)):
        ahead = (customer, _instant(as_of, dice), -1000 - number, *about)
        export.add("after_as_of", ahead)


def _purchases(
    log: Sequence[Purchase], people: Mapping[str, date], as_of: date, seed: int
) -> _Export:
    export = _export("purchases")
    known = [p for p in log if p.purchased_on <= as_of]
    for purchase in known:
        kind = "good" if purchase.customer_id in people else "orphans"
        export.add("after_as_of" if purchase.purchased_on == as_of else kind, _row(purchase))
    dice = _dice(seed, "dirty purchases")
    before = [p for p in known if p.purchased_on < date(1998, 1, 1)]
    for purchase in dice.sample(before, 120):
        export.add("duplicates", _row(purchase))
    for number, purchase in enumerate(dice.sample(before, 112)):
        _, customer, on, quantity, amount = _row(purchase)
        made_up = _FIRST_DIRTY_ID + number
        if number < 50:
            key = dice.choice((None, "", "  "))
            export.add("unusable", (made_up, key, on, quantity, amount))
        elif number < 100:
            export.add("orphans", (made_up, f"X{number}", on, quantity, amount))
        else:
            text = dice.choice(("n/a", "12,50"))
            export.add("unusable", (made_up, customer, on, quantity, text))
    return export


def _row(purchase: Purchase) -> tuple[Any, ...]:
    return (
        purchase.purchase_id,
        purchase.customer_id,
        purchase.purchased_on,
        purchase.quantity,
        str(purchase.amount),
    )


def _everyone(log: Sequence[Purchase], people: Mapping[str, date]) -> list[str]:
    """All who ever were customers: histories keep those that the CRM has lost."""
    return sorted({p.customer_id for p in log} | people.keys())


def _newsletters(
    log: Sequence[Purchase], people: Mapping[str, date], as_of: date, seed: int
) -> _Export:
    export = _export("newsletters")
    for customer in _everyone(log, people):
        dice = _dice(seed, "newsletters", customer)
        if dice.random() < 0.4:
            continue
        for letter in dice.sample(_NEWSLETTERS, dice.randint(1, 2)):
            day = date(1997, 4, 1) + timedelta(days=dice.randrange(500))
            row = (
                customer,
                _instant(day, dice),
                letter,
                dice.random() < 0.7,
                dice.choice(("DAILY", "WEEKLY", "MONTHLY")),
            )
            if day < as_of:
                export.add("good" if customer in people else "orphans", row)
    return export


def _consents(
    log: Sequence[Purchase], people: Mapping[str, date], as_of: date, seed: int
) -> _Export:
    export = _export("consents")
    for customer in _everyone(log, people):
        dice = _dice(seed, "consents", customer)
        for purpose in _PURPOSES:
            for _ in range(dice.choice((0, 1, 1, 2))):
                day = date(1997, 4, 1) + timedelta(days=dice.randrange(500))
                row = (customer, purpose, dice.random() < 0.6, _instant(day, dice))
                if day < as_of:
                    export.add("good" if customer in people else "orphans", row)
    return export


def _scores(people: Mapping[str, date], as_of: date, seed: int) -> _Export:
    """Both scores of the last two weekly scorings, from the real purchases known at each."""
    export = _export("scores")
    last_sunday = as_of - timedelta(days=as_of.isoweekday() % 7 or 7)
    for sunday in (last_sunday - timedelta(days=7), last_sunday):
        at = datetime.combine(sunday, time(3), timezone.utc)
        for customer, model, score in _scoring(sunday, seed):
            kind = "good" if customer in people else "orphans"
            export.add("unusable" if isnan(score) else kind, (customer, model, score, at))
    return export


@functools.cache
def _scoring(sunday: date, seed: int) -> list[tuple[str, str, float]]:
    """Customer, model and score, a few of which are no number; the same on all days after."""
    days: dict[str, set[date]] = {}
    for purchase in cdnow.purchases():
        days.setdefault(purchase.customer_id, set()).add(purchase.purchased_on)
    return [
        (customer, model, nan if _is_broken(seed, customer, model) else score)
        for customer, bought in days.items()
        for model, score in _scored(bought, sunday)
    ]


@functools.cache
def _is_broken(seed: int, customer: str, model: str) -> bool:
    return _dice(seed, "nan", customer, model).random() < 0.0005


def _scored(bought: set[date], on: date) -> list[tuple[str, float]]:
    known = sorted(day for day in bought if day < on)
    if not known:
        return []
    frequency = len(known) - 1
    recency = (known[-1] - known[0]).days / 7
    age = (on - known[0]).days / 7
    model = scoring.PUBLISHED
    active = scoring.probability_active(model, frequency, recency, age)
    expected = scoring.expected_purchases(model, frequency, recency, age, _HORIZON)
    return [("active", round(active, 6)), ("purchases_90d", round(expected, 6))]
