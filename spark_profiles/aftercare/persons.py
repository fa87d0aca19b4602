"""EDGE. Identifiers -> all that the audit tables know of these persons, and where it stands.

A person is found by the key of a profile, by any identifier or account under which a profile was
ever sent, and by any value of a property that a definition marks `personal: identifying`. All are
compared as values, never as parts of a text; marked values and e-mail addresses without regard to
case. Whoever was found is known by all other names of these profiles as well.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.aftercare import mentions, receipts
from spark_profiles.aftercare.mentions import Persons, Profile
from spark_profiles.core.addresses import KINDS
from spark_profiles.definition.model import Definition
from spark_profiles.engine import frames
from spark_profiles.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pyspark.sql import Column, DataFrame, Row

    from spark_profiles.audit.tables import Audit

_EMAIL = re.compile(r"[^\s@\"'<>,;:()\[\]\\]+@[^\s@\"'<>,;:()\[\]\\]+\.[^\s@\"'<>,;:()\[\]\\]+")
_MOST_LINKS = 20
"""So often may a key have changed: users are followed from key to key at one address."""
Path = tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """What each of the given texts names."""

    profiles: Mapping[str, tuple[Profile, ...]]
    """Text, as it was given -> profiles of one person, or of none."""
    succeeded: frozenset[str]
    """Texts that name a user who is delivered nowhere, while another key has their address."""
    ambiguous: Mapping[str, int]
    """Text -> how many delivered persons have it: it names none of them for certain."""
    unmarked: Mapping[str, tuple[str, ...]]
    """Text that names nobody -> properties that hold it and are not marked as identifying."""
    refused: frozenset[str]
    """Texts that name nobody but stand in refused rows."""

    @property
    def certain(self) -> tuple[str, ...]:
        """The texts that name one person, or refused rows only."""
        return tuple(
            text
            for text, profiles in self.profiles.items()
            if text not in self.ambiguous
            and text not in self.succeeded
            and (profiles or (text in self.refused and text not in self.unmarked))
        )

    def problems(self) -> list[Problem]:
        """Why the texts that name nobody for certain do not; each is named as it was given."""
        return [
            Problem(text, *self._problem(text))
            for text in self.profiles
            if text not in self.certain
        ]

    def _problem(self, text: str) -> tuple[str, str, str]:
        """What was found, what was expected, and what to do."""
        if text in self.succeeded:
            found = "the user is delivered nowhere, and another key has their address now"
            remedy = "give that key too, or say that it is another person: --keep-successors"
            return found, "all keys of the person", remedy
        if text in self.ambiguous:
            found = f"names {self.ambiguous[text]} users"
            return found, "one person", "`explain` shows them; give their keys"
        if text in self.unmarked:
            paths = ", ".join(self.unmarked[text])
            found = f"is a value of {paths}, which is not marked `personal: identifying`"
            remedy = "give the key, or mark the property, build, and erase again"
            return found, "a name of a person", remedy
        return "found nowhere", "a name of a person", "is it written as it was sent?"


def search(audit: Audit, given: Iterable[str], *, keep_successors: bool = True) -> Search:
    """Whom each of these texts names: keys, account ids, user agents, addresses or their hashes.

    Reads `lines` and `delivered`; refused rows only for texts that name nobody.

    Args:
        audit: the tables.
        given: the texts.
        keep_successors: whether the users who have an address of these persons now are others.
    """
    texts = list(dict.fromkeys(text for text in given if text.strip()))
    found = _matches(audit, texts)
    delivered = _delivered(audit, {pair for pairs in found.values() for pair in pairs})
    ambiguous = {text: n for text in texts if (n := _most_alive(found[text], delivered)) > 1}
    everybody = {pair for pairs in found.values() for pair in pairs}
    succeeded = [] if keep_successors else [
        text for text in texts
        if found[text] and not found[text] & delivered
        and _holders(audit, found[text]) - everybody
    ]  # fmt: skip
    nobodys = [text for text in texts if not found[text]]
    return Search(
        {text: tuple(sorted(found[text])) for text in texts},
        frozenset(succeeded),
        ambiguous,
        _unmarked(audit, nobodys) if nobodys else {},
        _in_refused_rows(audit, nobodys) if nobodys else frozenset(),
    )


def known(audit: Audit, given: Sequence[str], profiles: Iterable[Profile]) -> Persons:
    """All names of the persons with these profiles, and those who had their addresses before them.

    Whoever had an address before and is delivered nowhere now is taken for the same person under
    a former key. An e-mail address that other profiles hold as well, a shop's for example, is no
    name of the person unless it was given.
    """
    keys = _with_former_keys(audit, set(profiles))
    rows = _rows_of(audit, keys).collect() if keys else []
    asked = tuple(dict.fromkeys(map(receipts.normal, given)))
    hashes = {text for one in given if "@" in one for text in receipts.email_hashes(one)}
    held = {found.lower() for row in rows for found in _EMAIL.findall(_plain(row["payload"]))}
    own = held - _of_others(audit, keys, sorted(held))
    accounts = _accounts(rows) | hashes | {text for text in asked if "@" not in text}
    return Persons(
        given=asked,
        profiles=tuple(sorted(keys)),
        identifiers=tuple(sorted({row["identifier"] for row in rows if row["identifier"]})),
        emails=tuple(sorted({*own, *(text for text in asked if "@" in text)})),
        accounts=tuple(sorted(accounts)),
    )


def _profiles(audit: Audit) -> DataFrame:
    """Every profile that was ever recorded or delivered."""
    columns = ("name", "profile_key", "identifier", "address", "payload")
    lines, delivered = audit.read("lines"), audit.read("delivered")
    return lines.select(*columns).unionByName(delivered.select(*columns))


def _rows_of(audit: Audit, keys: set[Profile]) -> DataFrame:
    mine = frames.of(audit.spark, sorted(keys), "name string, profile_key string")
    rows = _profiles(audit).join(mine, on=["name", "profile_key"], how="left_semi")
    return rows.distinct()


# What a given text is compared with


def _folded(value: Column) -> Column:
    """A value as it is compared without regard to case: by the engine, on both sides alike."""
    return F.lower(F.trim(value))


def _matches(audit: Audit, texts: Sequence[str]) -> dict[str, set[Profile]]:
    """Text -> the profiles that it names."""
    wanted: list[tuple[str, str | None, str | None]] = []
    for text in texts:
        trimmed = text.strip()
        hashes = receipts.email_hashes(text) if "@" in text else set()
        wanted += [(text, exact, None) for exact in sorted({trimmed, *hashes})]
        wanted.append((text, None, trimmed))
    asked = frames.of(audit.spark, wanted, "given string, exact string, folded string")
    asked = asked.withColumn("folded", _folded(F.col("folded")))
    marked = _properties(audit, is_marked=True)
    account = F.from_json("payload", "`$user_account_id` string")["$user_account_id"]
    exact = [F.col("profile_key"), account, *_members("identifier")]
    # A key that is an e-mail address names the person however it is written.
    folded = [F.when(F.contains(name, F.lit("@")), name) for name in exact]
    values = [F.explode_outer(F.array(*exact)).alias("exact"), F.lit(None).alias("folded")]
    rows = _profiles(audit)
    names = rows.select("name", "profile_key", values[0], values[1].cast("string"))
    more = F.concat(F.array(*folded), *[_leaves(name, path) for name, path in marked])
    names = names.unionByName(
        rows.select(
            "name", "profile_key", F.lit(None).cast("string").alias("exact"),
            F.explode_outer(more).alias("folded"),
        )
    )  # fmt: skip
    names = names.withColumn("folded", _folded(F.col("folded"))).alias("n")
    is_it = (F.col("n.exact") == F.col("g.exact")) | (F.col("n.folded") == F.col("g.folded"))
    met = names.join(F.broadcast(asked).alias("g"), on=is_it, how="inner")
    found: dict[str, set[Profile]] = {text: set() for text in texts}
    for row in met.select("g.given", "n.name", "n.profile_key").distinct().collect():
        found[row["given"]].add((row["name"], row["profile_key"]))
    return found


def _members(column: str) -> list[Column]:
    return [F.get_json_object(column, f"$.{name}") for name in KINDS]


def _properties(audit: Audit, *, is_marked: bool) -> list[tuple[str, Path]]:
    """Name of a definition and path of each property, marked as identifying in any run, or not."""
    texts = {(made.name, made.definition) for made in audit.runs()}
    marks: dict[tuple[str, Path], bool] = {}
    for name, text in sorted(texts):
        for path, prop in Definition.model_validate_json(text).properties():
            place = (name, path)
            marks[place] = marks.get(place, False) or prop.personal == "identifying"
    return [place for place, mark in marks.items() if mark == is_marked]


def _leaves(name: str, path: Path) -> Column:
    """The values of a property in payloads of this definition: itself, or the members of it."""
    value = F.when(F.col("name") == name, F.col("payload"))
    for part in path:
        value = F.from_json(value, "map<string,string>")[part]
    nothing = F.array().cast("array<string>")
    members = F.coalesce(F.from_json(value, "array<string>"), nothing)
    windows = F.coalesce(F.map_values(F.from_json(value, "map<string,string>")), nothing)
    objects = F.from_json(value, "array<map<string,string>>")
    inner = F.flatten(F.transform(objects, F.map_values))
    return F.concat(F.array(value), members, windows, F.coalesce(inner, nothing))


def _delivered(audit: Audit, keys: set[Profile]) -> set[Profile]:
    """Those of the profiles that are delivered now."""
    if not keys:
        return set()
    mine = frames.of(audit.spark, sorted(keys), "name string, profile_key string")
    rows = audit.read("delivered").join(mine, on=["name", "profile_key"], how="left_semi")
    return {(row[0], row[1]) for row in rows.select("name", "profile_key").distinct().collect()}


def _holders(audit: Audit, keys: set[Profile]) -> set[Profile]:
    """The profiles that are delivered at addresses where these were sent."""
    mine = frames.of(audit.spark, sorted(keys), "name string, profile_key string")
    lines = audit.read("lines").join(mine, on=["name", "profile_key"], how="left_semi")
    sent = lines.where(F.col("operation").isNotNull()).select("name", "address").distinct()
    rows = audit.read("delivered").join(sent, on=["name", "address"], how="left_semi")
    return {(row[0], row[1]) for row in rows.select("name", "profile_key").collect()}


def own_identifiers(audit: Audit, persons: Persons) -> list[str]:
    """The identifiers of the persons, without those that a profile of another user has now."""
    mine = frames.of(audit.spark, sorted(persons.profiles), "name string, profile_key string")
    others = audit.read("delivered").join(mine, on=["name", "profile_key"], how="left_anti")
    rows = others.where(F.col("identifier").isin(*persons.identifiers)).select("identifier")
    taken = {row[0] for row in rows.distinct().collect()}
    return [text for text in persons.identifiers if text not in taken]


def _most_alive(profiles: set[Profile], delivered: set[Profile]) -> int:
    """Of how many delivered users of one definition the profiles are, at most."""
    names = [name for name, _ in profiles & delivered]
    return max((names.count(name) for name in names), default=0)


def _unmarked(audit: Audit, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Text -> properties that hold it and are not marked as identifying."""
    places = _properties(audit, is_marked=False)
    asked = [(text, text.strip()) for text in texts]
    given = frames.of(audit.spark, asked, "given string, folded string")
    given = given.withColumn("folded", _folded(F.col("folded")))
    found: dict[str, set[str]] = {}
    rows = _profiles(audit)
    for name, path in places:
        values = rows.select(F.explode(_leaves(name, path)).alias("value"))
        values = values.select(_folded(F.col("value")).alias("folded"))
        met = given.join(values, on="folded", how="left_semi").collect()
        for row in met:
            found.setdefault(row["given"], set()).add(".".join(path))
    return {text: tuple(sorted(paths)) for text, paths in found.items()}


def _in_refused_rows(audit: Audit, texts: Sequence[str]) -> frozenset[str]:
    """Those of the texts that are a key or a value of a refused row."""
    given = frames.of(audit.spark, [(t, t.strip()) for t in texts], "given string, folded string")
    given = given.withColumn("folded", _folded(F.col("folded")))
    rows = audit.read("refused_rows")
    values = rows.select(F.explode(mentions.row_values()).alias("value"))
    values = values.select(F.trim("value").alias("folded"))
    values = values.unionByName(rows.select(_folded(F.col("key")).alias("folded")))
    met = given.join(values, on="folded", how="left_semi").collect()
    return frozenset(row["given"] for row in met)


# All names of a person


def _with_former_keys(audit: Audit, keys: set[Profile]) -> set[Profile]:
    """With the keys under which the same addresses were sent before, of users who are no more."""
    for _ in range(_MOST_LINKS):
        if not keys:
            return keys
        mine = frames.of(audit.spark, sorted(keys), "name string, profile_key string")
        rows = _profiles(audit).where(F.col("address").isNotNull())
        addresses = rows.join(mine, on=["name", "profile_key"], how="left_semi")
        shared = rows.join(
            addresses.select("name", "address").distinct(), on=["name", "address"], how="left_semi"
        )
        rows_of = shared.select("name", "profile_key").distinct().collect()
        others = {(row[0], row[1]) for row in rows_of} - keys
        former = others - _delivered(audit, others)
        if not former:
            return keys
        keys = keys | former
    return keys


def _plain(payload: str | None) -> str:
    """The texts of a JSON object, without its escapes."""
    return "\n".join(_texts(json.loads(payload))) if payload else ""


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _accounts(rows: Iterable[Row]) -> set[str]:
    found = set()
    for row in rows:
        named = json.loads(row["identifier"] or "{}")
        found |= {str(value) for name, value in named.items() if name != "compartment_id"}
        account = json.loads(row["payload"] or "{}").get("$user_account_id")
        found |= {row["profile_key"]} | ({str(account)} if account else set())
    return found


def _of_others(audit: Audit, keys: set[Profile], emails: Sequence[str]) -> set[str]:
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
