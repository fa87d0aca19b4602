"""EDGE. All names of persons -> where they stand in messages and refused rows."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyspark.sql import Column, DataFrame

    from spark_profiles.audit.tables import Audit

_SHORT = 4
"""A shorter account id is looked for only where keys stand, or quoted in a message: 42 is often
something else."""
Profile = tuple[str, str]
"""Name of the definition and profile key."""


@dataclass(frozen=True)
class Persons:
    """All names of the persons that one erasure is about. It is personal data itself."""

    given: tuple[str, ...]
    profiles: tuple[Profile, ...] = ()
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


def row_values() -> Column:
    """The values of a refused row, in lower case."""
    return F.map_values(F.from_json(F.lower("row"), "map<string,string>"))


def _any(conditions: Iterable[Column]) -> Column:
    whole = F.lit(False)
    for condition in conditions:
        whole = whole | F.coalesce(condition, F.lit(False))
    return whole


def mentions(column: str, persons: Persons, *, short_ids: bool) -> Column:
    """Whether a text names one of the persons.

    Args:
        column: of text; JSON, or a message of the platform.
        persons: whose names to look for: addresses, hashes, account ids of four characters on.
        short_ids: also shorter account ids, within quotes.
    """
    long = [account for account in persons.accounts if len(account) >= _SHORT]
    names = _patterns((*persons.emails, *long))
    short = _patterns(name for name in persons.accounts if name not in long)
    patterns = [rf"(^|[^a-z0-9._%+-])({'|'.join(names)})([^a-z0-9_-]|$)"] if names else []
    patterns += [rf"[\"']({'|'.join(short)})[\"']"] if short and short_ids else []
    return _any(F.lower(column).rlike(pattern) for pattern in patterns)


def _patterns(names: Iterable[str]) -> list[str]:
    """Patterns of the names, as they are and as JSON writes them."""
    written = {
        form for name in names for form in (name, json.dumps(name, ensure_ascii=False)[1:-1])
    }
    return [re.escape(form.lower()) for form in sorted(written)]


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
    folded = sorted({text.strip().lower() for text in (*persons.given, *persons.emails)})
    about = [mentions("row", persons, short_ids=False), F.col("key").isin(texts)]
    if folded:
        about.append(F.arrays_overlap(row_values(), F.array(*map(F.lit, folded))))
    for name, columns in members.items():
        values = [F.trim(F.get_json_object("row", f"$.{column}")) for column in columns]
        about += [(F.col("name") == name) & value.isin(texts) for value in values]
    return rows.where(_any(about)).select("run_id", "source", "row")
