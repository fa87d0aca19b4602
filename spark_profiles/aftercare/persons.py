"""EDGE. Identifiers -> all that the audit tables know of these persons, and where it stands.

A person is known by the profiles whose key, line identifier or `$user_account_id` was given, and
then by all other names of these profiles: their keys, accounts, hashes and e-mail addresses.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.aftercare import receipts
from spark_profiles.engine import frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyspark.sql import Column, DataFrame, Row

    from spark_profiles.audit.tables import Audit

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_SHORT = 4
"""A shorter account id is looked for only where keys stand, or quoted in a message: 42 is often
something else."""


@dataclass(frozen=True)
class Persons:
    """All names of the persons that one erasure is about. It is personal data itself."""

    given: tuple[str, ...]
    profiles: tuple[tuple[str, str], ...] = ()
    """Name of the definition and profile key."""
    identifiers: tuple[str, ...] = ()
    """Line identifiers, as JSON texts."""
    emails: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    """Keys, account ids, hashes and user agents, as they stand in data."""

    def to_json(self) -> str:
        """For the record of an erasure that has begun."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Persons:
        """The same again."""
        parts = json.loads(text)
        pairs = tuple((name, key) for name, key in parts.pop("profiles"))
        return cls(profiles=pairs, **{name: tuple(part) for name, part in parts.items()})


def find(audit: Audit, given: Iterable[str]) -> Persons:
    """The persons whom these identifiers name: account ids, e-mail addresses or their hashes.

    Reads `lines` and `delivered` once. An address that other profiles hold as well, a shop's for
    example, is no name of the person unless it was given.
    """
    texts = [text for text in given if text.strip()]
    asked = tuple(dict.fromkeys(map(receipts.normal, texts)))
    hashes = [receipts.email_hashes(text) for text in texts if "@" in text]
    wanted = sorted(set(asked).union(*hashes))
    columns = ("name", "profile_key", "identifier", "payload")
    known = (
        audit.read("lines").select(*columns).unionByName(audit.read("delivered").select(*columns))
    )
    account = F.from_json("payload", "`$user_account_id` string")["$user_account_id"]
    names = [F.col("profile_key"), F.lower("profile_key"), account, *_members("identifier")]
    rows = known.where(_any(name.isin(wanted) for name in names)).distinct().collect()
    keys = {(row["name"], row["profile_key"]) for row in rows}
    held = {found.lower() for row in rows for found in _EMAIL.findall(row["payload"] or "")}
    own = held - _of_others(audit, keys, sorted(held))
    return Persons(
        given=asked,
        profiles=tuple(sorted(keys)),
        identifiers=tuple(sorted({row["identifier"] for row in rows})),
        emails=tuple(sorted({*own, *(text for text in asked if "@" in text)})),
        accounts=tuple(sorted(_accounts(rows) | {text for text in wanted if "@" not in text})),
    )


def _members(column: str) -> list[Column]:
    names = ("user_account_id", "email_hash", "user_agent_id")
    return [F.get_json_object(column, f"$.{name}") for name in names]


def _any(conditions: Iterable[Column]) -> Column:
    whole = F.lit(False)
    for condition in conditions:
        whole = whole | F.coalesce(condition, F.lit(False))
    return whole


def _accounts(rows: Iterable[Row]) -> set[str]:
    found = set()
    for row in rows:
        named = json.loads(row["identifier"])
        found |= {str(value) for name, value in named.items() if name != "compartment_id"}
        account = json.loads(row["payload"] or "{}").get("$user_account_id")
        found |= {row["profile_key"]} | ({str(account)} if account else set())
    return found


def _of_others(audit: Audit, keys: set[tuple[str, str]], emails: Sequence[str]) -> set[str]:
    """Those of the addresses that also stand in profiles of others."""
    if not emails:
        return set()
    mine = frames.of(audit.spark, sorted(keys), "name string, profile_key string")
    others = audit.read("delivered").join(mine, on=["name", "profile_key"], how="left_anti")
    counts = [
        F.count(F.when(F.contains(F.lower("payload"), F.lit(email)), 1)).alias(f"n{number}")
        for number, email in enumerate(emails)
    ]
    (row,) = others.agg(*counts).collect()
    return {email for number, email in enumerate(emails) if row[f"n{number}"]}


def mentions(column: str, persons: Persons, *, short_ids: bool) -> Column:
    """Whether a text names one of the persons.

    Args:
        column: of text; JSON, or a message of the platform.
        persons: whose names to look for: addresses, hashes, account ids of four characters on.
        short_ids: also shorter account ids, within quotes.
    """
    long = [account for account in persons.accounts if len(account) >= _SHORT]
    names = [re.escape(name.lower()) for name in (*persons.emails, *long)]
    short = [re.escape(name.lower()) for name in persons.accounts if name not in long]
    patterns = [rf"(^|[^a-z0-9._%+-])({'|'.join(names)})([^a-z0-9_-]|$)"] if names else []
    patterns += [rf"[\"']({'|'.join(short)})[\"']"] if short and short_ids else []
    return _any(F.lower(column).rlike(pattern) for pattern in patterns)


def refused_rows(audit: Audit, persons: Persons, members: dict[str, Sequence[str]]) -> DataFrame:
    """The refused rows about the persons: by their key, an address, or a column that is a key.

    Args:
        audit: the tables.
        persons: whose rows to find.
        members: the columns of raw rows that hold keys, by the name of the definition.
    """
    runs = audit.read("runs").select("run_id", "name")
    rows = audit.read("refused_rows").join(F.broadcast(runs), on="run_id", how="inner")
    texts = sorted({*persons.accounts, *persons.given})
    about = [mentions("row", persons, short_ids=False), F.col("key").isin(texts)]
    for name, columns in members.items():
        values = [F.trim(F.get_json_object("row", f"$.{column}")) for column in columns]
        about += [(F.col("name") == name) & value.isin(texts) for value in values]
    return rows.where(_any(about)).select("run_id", "source", "row")
