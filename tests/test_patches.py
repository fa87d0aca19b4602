"""Patches against a twin of the platform in plain Python, under all readings of its documentation.

The twin knows nothing of how patches are made. What the documentation of the platform leaves open
is a reading, and a patch has to be right under each that its definition does not exclude.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shop
from pyspark.sql import types as T
from test_run import PEOPLE, Shop
from test_run import a_shop as a_shop  # noqa: PLC0414  a fixture

from spark_profiles.audit import schemas
from spark_profiles.audit.guard import Acceptance
from spark_profiles.definition.delivery import Delivery
from spark_profiles.definition.model import Definition
from spark_profiles.engine import session
from spark_profiles.lines import changes, commands, patches
from spark_profiles.lines.changes import Known

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHAPE = (
    "`$compartment_id` bigint, `$user_account_id` string, plain string, n bigint,"
    " `it's` decimal(12,2), flag boolean, tags array<string>,"
    " o struct<a: string, b: bigint, in: struct<x: decimal(12,2), y: string>>,"
    " w struct<`30d`: bigint, list: array<struct<k: string, v: bigint>>>"
)
TEXTS = [
    "a",
    "",
    'quote " and \\',
    "\u2028é😀",
    "line\nend",
    "null",
    '{"a":1}',
    "1",
    "true",
    "x" * 300,
]
ALL = ("arrays_replaced", "members_deleted", "objects_merged")


def drawn_profile(rng: random.Random) -> dict[str, Any]:
    """A profile of the shape; members that are missing are left out, sections too."""

    def maybe(value: Any, share: float = 0.75) -> Any:
        return value if rng.random() < share else None

    def known(**members: Any) -> dict[str, Any] | None:
        found = {name: value for name, value in members.items() if value is not None}
        return found or None

    def money() -> Decimal:
        return Decimal(rng.choice([0, 1, -37, 990_000_000_001])) / 100

    records = [
        {"k": rng.choice(TEXTS[:3]), "v": rng.randint(0, 2)} for _ in range(rng.randint(0, 2))
    ]
    inner = known(x=maybe(money()), y=maybe(rng.choice(TEXTS)))
    members = {
        "$compartment_id": 1606,
        "plain": maybe(rng.choice(TEXTS)),
        "n": maybe(rng.choice([0, 1, 2**63 - 1, -(2**63)])),
        "it's": maybe(money()),
        "flag": maybe(rng.random() < 0.5),
        "tags": maybe([rng.choice(TEXTS[:2]) for _ in range(rng.randint(0, 2))], 0.5),
        "o": known(a=maybe(rng.choice(TEXTS)), b=maybe(rng.randint(0, 2)), **{"in": inner}),
        "w": known(**{"30d": maybe(rng.randint(0, 2)), "list": maybe(records, 0.3)}),
    }
    return {name: value for name, value in members.items() if value is not None}


def varied(rng: random.Random, profile: dict[str, Any]) -> dict[str, Any]:
    """The profile a day later: a few members as in another profile."""
    other = drawn_profile(rng)
    after = dict(profile)
    if rng.random() < 0.1:  # what is plain vanishes, and nothing else
        return {k: v for k, v in after.items() if k not in rng.choice([["n"], ["plain", "flag"]])}
    for name in rng.sample(["plain", "n", "it's", "flag", "tags", "o", "w"], rng.randint(0, 3)):
        after.pop(name, None)
        if name in other:
            after[name] = other[name]
        elif rng.random() < 0.6 and name in profile:
            after[name] = profile[name]
    if rng.random() < 0.3 and "o" in profile:  # one member of the object only
        members = {**profile["o"], "b": 7}
        after["o"] = {name: members[name] for name in ("a", "b", "in") if name in members}
    order = T._parse_datatype_string(f"struct<{SHAPE}>").fieldNames()
    return {name: after[name] for name in order if name in after}


def json_text(profile: dict[str, Any]) -> str:
    """As the engines write it: members in the order of the shape, decimals with all digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, Decimal):
            return f"@{value:.2f}@"
        if isinstance(value, dict):
            return {name: plain(member) for name, member in value.items()}
        return value

    text = json.dumps(plain(profile), ensure_ascii=False, separators=(",", ":"))
    return text.replace('"@', "").replace('@"', "")


def applied(stored: Any, command: dict[str, Any], *, objects: str, arrays: str) -> Any:
    """The twin: what the platform holds after the command."""
    sent = command["user_profile"]
    strategy = command["update_strategy"]
    if strategy == "FORCE_REPLACE":
        return sent
    if strategy == "PARTIAL_DELETE":
        return {k: v for k, v in stored.items() if k not in sent or k.startswith("$")}
    assert strategy == "PARTIAL_UPDATE"

    def updated(old: Any, new: Any, level: int) -> Any:
        if isinstance(old, dict) and isinstance(new, dict) and (objects == "merged" or level == 0):
            return {**old, **{k: updated(old.get(k), v, level + 1) for k, v in new.items()}}
        if isinstance(old, list) and isinstance(new, list) and arrays != "replaced":
            return old + [v for v in new if arrays == "appended" or v not in old]
        return new

    return updated(stored, sent, 0)


def readings(assume: tuple[str, ...]) -> list[dict[str, str]]:
    """All that the platform may do, but for what is assumed not to be."""
    objects = ["merged"] if "objects_merged" in assume else ["merged", "overridden"]
    arrays = ["replaced"] if "arrays_replaced" in assume else ["replaced", "appended", "united"]
    return [{"objects": o, "arrays": a} for o, a in itertools.product(objects, arrays)]


def vanished(old: Any, new: Any) -> bool:
    if isinstance(old, dict):
        return any(k not in new or vanished(v, new[k]) for k, v in old.items())
    return False


def holds_array(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(holds_array, value.values()))
    return isinstance(value, list)


def difference(old: dict[str, Any], new: dict[str, Any], *, deep: bool) -> dict[str, Any]:
    found = {}
    for name, value in new.items():
        before = old.get(name)
        if deep and isinstance(value, dict) and isinstance(before, dict):
            inner = difference(before, value, deep=True)
            if inner:
                found[name] = inner
        elif name not in old or before != value:
            found[name] = value
    return found


def possible(old: dict[str, Any], new: dict[str, Any], assume: tuple[str, ...]) -> str:
    """Which strategy is certain and shorter, by more than the one byte of its name."""
    keys = {"$compartment_id": 1606}
    if not vanished(old, new):
        sent = difference(old, new, deep="objects_merged" in assume)
        fits = "arrays_replaced" in assume or not holds_array(sent)
        strategy = "PARTIAL_UPDATE"
    else:
        sent = {name: value for name, value in old.items() if name not in new}
        rest = {name: value for name, value in old.items() if name in new}
        fits = "members_deleted" in assume and rest == new
        fits = fits and not any(isinstance(v, (dict, list)) for v in sent.values())
        strategy = "PARTIAL_DELETE"
    order = list(dict.fromkeys([*old, *new]))
    sent = {**keys, **{name: sent[name] for name in order if name in sent}}
    is_shorter = len(json_text(sent).encode()) + 1 < len(json_text(new).encode())
    return strategy if fits and is_shorter else "FORCE_REPLACE"


@pytest.mark.parametrize("assume", [(), *[(name,) for name in ALL], ALL])
def test_every_line_makes_the_delivered_profile_the_wanted_one(
    spark: SparkSession, assume: tuple[str, ...]
) -> None:
    rng = random.Random(f"patches {assume}")
    pairs = {}
    for number in range(400):
        before = drawn_profile(rng)
        after = varied(rng, before)
        if json_text(before) != json_text(after):
            pairs[f"k{number}"] = (before, after)
    chosen: Counter[str] = Counter()
    for key, line, saved in lines_of(spark, pairs, Delivery(strategy="minimal", assume=assume)):
        before, after = (json.loads(json_text(p), parse_float=Decimal) for p in pairs[key])
        command = json.loads(line, parse_float=Decimal)
        assert command["update_strategy"] == possible(before, after, assume), key
        chosen[command["update_strategy"]] += 1
        for reading in readings(assume):
            once = applied(before, command, **reading)
            assert once == after, (key, reading)
            assert applied(once, command, **reading) == after, (key, reading, "twice")
        whole = {**command, "update_strategy": "FORCE_REPLACE", "user_profile": pairs[key][1]}
        spared = len(json_text(whole).encode()) - len(line.encode())
        assert saved == (spared if command["update_strategy"] != "FORCE_REPLACE" else None)
    assert sum(chosen.values()) == len(pairs)
    assert chosen["PARTIAL_UPDATE"] > 50
    assert chosen["FORCE_REPLACE"] > 50
    assert (chosen["PARTIAL_DELETE"] > 5) == ("members_deleted" in assume)


def lines_of(spark: SparkSession, pairs: dict[str, Any], delivery: Delivery) -> list[Any]:
    """Key, line and saved bytes of each pair of delivered and wanted profile."""
    texts = [
        [("n", key, '{"email_hash":"e"}', json_text(pair[side]), json_text(pair[side]), "r1",
          f"{key}|email_hash|||")
         for key, pair in pairs.items()]
        for side in (0, 1)
    ]  # fmt: skip
    frames = [spark.createDataFrame(rows, schemas.DELIVERED) for rows in texts]
    wanted = frames[1].drop("name", "run_id")
    found = changes.between(frames[0], wanted, as_of=shop.at("2026-03-31"), with_base=True)
    planned = patches.planned(found, shape(), delivery, spells_json=session.is_sail(spark))
    lines = commands.lines(planned, delivery, is_patched=True)
    return [tuple(r) for r in lines.select("profile_key", commands.text(), "saved").collect()]


def shape() -> T.StructType:
    parsed = T._parse_datatype_string(f"struct<{SHAPE}>")
    assert isinstance(parsed, T.StructType)
    return parsed


@pytest.mark.sail
def test_a_run_sends_patches_and_keeps_whole_profiles(a_shop: Shop) -> None:
    """Three days on the emulator: created, patched, and replaced where an upload is in doubt."""
    minimal = shop.definition(
        **{"users: customers": "delivery: {strategy: minimal}\nusers: customers"}
    )
    a_shop.run(PEOPLE, definition=minimal)
    accepted = Acceptance(("changes",), why="a small shop")
    second = [{**PEOPLE[0], "first_name": "Eve"}, *PEOPLE[1:7], {**PEOPLE[7], "email": None}]
    done = a_shop.run(second, definition=minimal, accepted=accepted)
    lines = {r["profile_key"]: r for r in a_shop.table("lines") if r["run_id"] == done.run_id}
    patched, whole = lines["c0"], lines["c7"]  # a vanished member cannot be patched away
    assert json.loads(patched["patch"]) == {
        "$compartment_id": 1606, "$user_account_id": "c0", "firstname": "Eve",
    }  # fmt: skip
    assert (patched["strategy"], whole["strategy"]) == ("PARTIAL_UPDATE", "FORCE_REPLACE")
    assert (whole["patch"], whole["saved"]) == (None, None)
    assert (done.patches, done.saved) == (1, patched["saved"])
    written = "".join(path.read_text() for path in Path(done.output).rglob("*.ndjson"))
    assert len(written.encode()) == done.bytes == patched["bytes"] + whole["bytes"]
    assert held(a_shop) == delivered(a_shop)
    assert delivered(a_shop)["c0"] == json.loads(patched["payload"])

    for row in a_shop.table("delivered"):  # as after an upload of which nobody knows how it ended
        assert row["payload_hash"] != schemas.IN_DOUBT
    a_shop.job.tables().doubt(done.run_id, "shop", [f["file"] for f in a_shop.table("files")
                                                    if f["run_id"] == done.run_id])  # fmt: skip
    third = a_shop.run(second, definition=minimal, accepted=accepted)
    assert (third.lines, third.patches, third.saved) == (2, 0, 0)
    assert held(a_shop) == delivered(a_shop)


def held(a_shop: Shop) -> dict[str, Any]:
    return {account: profile for _, account, profile in a_shop.emulator.store.profiles()}


def delivered(a_shop: Shop) -> dict[str, Any]:
    return {row["profile_key"]: json.loads(row["payload"]) for row in a_shop.table("delivered")}


def test_only_what_the_platform_holds_for_certain_is_patched(spark: SparkSession) -> None:
    """As delivered and as wanted is the same throughout; what is known of it is not."""
    long = {"plain": "x" * 100}
    before, after = (json_text({"$compartment_id": 1, **long, "n": n}) for n in (1, 2))
    unusual = {
        "spaces": before.replace(",", ", "),
        "unknown member": before.replace('"n"', '"former":1,"n"'),
        "null": before.replace('"n":1', '"n":1,"flag":null'),
        "other type": before.replace('"n":1', '"n":"1"'),
        "other order": before.replace('"$compartment_id":1,', "").replace(
            "}", ',"$compartment_id":1}'
        ),
        "other compartment": before.replace('id":1', 'id":2'),
        "twice": before.replace("}", ',"n":1}'),
        "no json": "{",
    }
    rows: list[tuple[Any, ...]] = [
        ("n", key, "{}", text, "h", "exact") for key, text in unusual.items()
    ]
    rows += [
        ("n", "certain", "{}", before, "h", "exact"),
        ("n", "in doubt", "{}", before, schemas.IN_DOUBT, "exact"),
        ("n", "merged before", "{}", before, "h", "merging"),
        ("n", "other identifier", '{"a":1}', before, "h", "exact"),
        ("n", "asked for", "{}", before, "h", "exact"),
    ]
    at = [f"{row[1]}{' before' if row[1] == 'other identifier' else ''}" for row in rows]
    addressed = [(*row, address) for row, address in zip(rows, at, strict=True)]
    delivered = spark.createDataFrame(addressed, schemas.DELIVERED)
    wanted = spark.createDataFrame(
        [(key, "{}", after, "new", key) for key in [*(row[1] for row in rows), "new"]],
        "profile_key string, identifier string, payload string, payload_hash string,"
        " address string",
    )
    resend = spark.createDataFrame([("asked for",)], "profile_key string")
    found = changes.between(
        delivered, wanted, as_of=shop.at("2026-03-31"), with_base=True,
        known=Known(resend=resend, inexact=("merging",)),
    )  # fmt: skip
    delivery = Delivery(strategy="minimal", assume=ALL)
    planned = patches.planned(found, shape(), delivery, spells_json=session.is_sail(spark))
    lines = commands.lines(planned, delivery, is_patched=True).collect()
    assert {row["profile_key"] for row in lines if row["patch"]} == {"certain"}
    whole = [row for row in lines if not row["patch"] and row["operation"] == "UPSERT"]
    assert {row["strategy"] for row in whole} == {"FORCE_REPLACE"}
    assert [row["profile_key"] for row in lines if row["operation"] == "DELETE"] == [
        "other identifier"
    ]
    assert len(lines) == len(rows) + 2


def test_assumptions_go_with_minimal_only_and_are_part_of_the_hash() -> None:
    with pytest.raises(ValueError, match="strategy: minimal only"):
        Delivery(assume=("objects_merged",))
    base = shop.definition().model_dump(by_alias=True, exclude_defaults=True)

    def hashed(**delivery: Any) -> str:
        return Definition.model_validate({**base, "delivery": delivery}).definition_hash

    plain = hashed(strategy="minimal")
    one, other = (hashed(strategy="minimal", assume=two) for two in (ALL, ALL[::-1]))
    assert plain != one == other
