"""People whose addresses change from day to day, and a shop that sends their profiles.

Nothing here asks the library what is right: the wanted profiles are made in plain Python.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import deltalake

from spark_profiles.audit.guard import Limits
from spark_profiles.definition import loader
from spark_profiles.delivery.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pyspark.sql import SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.emulator.server import Emulator

COLUMNS = "id string, email string, card string, name string"
NO_LIMITS = Limits(
    deleted_share=None, changed_share=None, moved_share=None, refused_share=None,
    shrunken_share=None, null_share=None, shift=None,
)  # fmt: skip
EMAIL = "{email_hash: email}"
CARD_OR_EMAIL = '[{compartment_id: "1600", user_account_id: card}, {email_hash: email}]'
ANONYMOUS, BY_CARD = "{compartment_id: 1606}", "{compartment_id: 1606, user_account_id: card}"
SHAPES = {
    "by e-mail": (EMAIL, ANONYMOUS),
    "by e-mail, with a card": (EMAIL, BY_CARD),
    "by card, else by e-mail": (CARD_OR_EMAIL, BY_CARD),
}
"""Name -> how lines name a user, and the keys inside the profile."""


class Person(NamedTuple):
    """One row of the customers' table."""

    id: str
    email: str | None
    card: str | None = None
    name: str = "Ada"


class Held(NamedTuple):
    """A profile as the platform holds it: under which identifier, and what."""

    identifier: str
    compartment: str
    account: str
    name: str


def definition(shape: str, **replaced: str) -> Any:
    """The definition of one of `SHAPES`."""
    identifier, keys = SHAPES[shape]
    text = (
        "name: shop\ntime_zone: UTC\n"
        f"identifier: {identifier}\nprofile_keys: {keys}\n"
        "sources: {customers: {table: customers, key: id}}\n"
        "users: customers\nprofile:\n  name: {value: name}\n  contact: {email: {value: email}}\n"
    )
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    return loader.parse_yaml(text)


def email_hash(address: str) -> str:
    return hashlib.sha256(address.strip().lower().encode()).hexdigest()


def wanted(people: Iterable[Person], shape: str) -> list[Held]:
    """What the platform must hold of these people."""
    has_card = "card" in shape
    held = []
    for person in people:
        identifier = f"email_hash {email_hash(person.email or '')}"
        if shape == "by card, else by e-mail" and person.card:
            identifier = f"account 1600/{person.card}"
        account = (person.card or "") if has_card else ""
        held.append(Held(identifier, "1606", account, person.name))
    return sorted(held)


class Shop:
    """A job over changing people, and the emulated platform it delivers to."""

    def __init__(self, spark: SparkSession, folder: Path, emulator: Emulator) -> None:
        self.spark, self.emulator, self.folder = spark, emulator, folder
        self.days = 0
        self.job = run.Job(
            spark=spark,
            output=str(folder / "import"),
            audit=str(folder / "audit"),
            limits=NO_LIMITS,
        )
        (folder / "token").write_text("api:secret")
        connection = Connection(emulator.url, "1500", Token.parse(f"file:{folder / 'token'}"))
        retry = RetryPolicy(attempts=2, first_wait_s=0.01)
        self.datamart = Datamart(connection, retry=retry, sleep=lambda _: None)

    def run(self, people: Sequence[Person], shape: str | Any = "by e-mail", **options: Any) -> Run:
        """Deliver the profiles of these people, a day later than before."""
        self.days += 1
        rows = self.spark.createDataFrame([tuple(person) for person in people], COLUMNS)
        place = str(self.folder / f"raw{self.days}")
        rows.write.parquet(place)
        made_of = definition(shape) if isinstance(shape, str) else shape
        return run.run(
            self.job, made_of, self.datamart, as_of=f"2026-03-{self.days:02d}",
            tables={"customers": self.spark.read.parquet(place)}, **options,
        )  # fmt: skip

    def held(self) -> list[Held]:
        """Every profile that the platform holds, once for each identifier it is found by."""
        rows = self.emulator.store.db.all(
            "SELECT kind, value, compartment, account, payload FROM profiles"
            " JOIN identifiers USING (datamart, point)"
        )
        return sorted(
            Held(f"{r['kind']} {r['value']}", r["compartment"], r["account"],
                 json.loads(r["payload"])["name"])
            for r in rows
        )  # fmt: skip

    def profiles(self) -> Counter[tuple[str, str, str]]:
        """Compartment, account and name of every profile, whatever identifiers there are."""
        rows = self.emulator.store.db.all("SELECT compartment, account, payload FROM profiles")
        return Counter(
            (r["compartment"], r["account"], json.loads(r["payload"])["name"]) for r in rows
        )

    def check(self, people: Iterable[Person], shape: str) -> None:
        """All profiles of these people are held where they are looked for, and no others."""
        expected = wanted(people, shape)
        assert self.profiles() == Counter((h.compartment, h.account, h.name) for h in expected)
        assert set(expected) <= set(self.held())

    def table(self, name: str) -> list[dict[str, Any]]:
        """An audit table, read by another reader of Delta than the one that wrote it."""
        table = deltalake.DeltaTable(f"{self.job.audit}/{name}")
        return table.to_pyarrow_table().to_pylist()

    def lines(self) -> list[tuple[str, str, str | None, int | None]]:
        """Of the newest run: key, change, operation and phase of each line."""
        newest = max(self.table("runs"), key=lambda row: row["started_at"])["run_id"]
        rows = [row for row in self.table("lines") if row["run_id"] == newest]
        return sorted((r["profile_key"], r["change"], r["operation"], r["phase"]) for r in rows)
