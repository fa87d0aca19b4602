"""Profiles with everything that breaks lines, as plain Python values and as a table."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DEPTH = 20  # Spark Connect reads no plan that is much deeper
TEXTS = [
    'quote " backslash \\ slash / apostrophe \'',
    "emoji 😀👩‍👩‍👧 flags 🇫🇷 combining e\u0301",
    "lines \n \r \r\n \u0085 \u2028 \u2029 \v \f",
    "controls " + "".join(map(chr, range(0x20))) + "\x7f",
    "nul \x00 end", "bidi \u202e\u2066 zero\u200bwidth \ufeff",
    "}{][,:\":\"user_profile\":{", "\\u0000 \\n \\", "$compartment_id", "", " ", "null",
    "x" * 1_000_000, "😀" * 250_000,
]  # fmt: skip


def deep(depth: int) -> str:
    """The type of a struct in a struct in a struct, …"""
    return f"struct<d: {deep(depth - 1)}>" if depth else "string"


def nested(depth: int, text: str) -> Any:
    return (nested(depth - 1, text),) if depth else text


NUMBERS = [2**63 - 1, -(2**63), 0, 1, -1]
BIG = [Decimal(2**63), Decimal(10) ** 37, Decimal(-(2**64))]
SMALL = [Decimal("1E-18"), Decimal("0E-18"), Decimal("-1234567.000000000000000001")]
PROFILE = (
    f"t string, n bigint, big decimal(38,0), small decimal(38,18), flags array<boolean>,"
    f" nothing array<string>, texts array<string>, objects array<struct<a: bigint, b: string>>,"
    f" `a.b c'd` string, deep {deep(DEPTH)}"
)


def wanted() -> dict[str, dict[str, Any]]:
    """Key -> the profile, as plain Python values."""
    found = {}
    for n, text in enumerate(TEXTS):
        found[f"k{n} {text[:20]}"] = {
            "t": text,
            "n": NUMBERS[n % len(NUMBERS)],
            "big": BIG[n % len(BIG)],
            "small": SMALL[n % len(SMALL)],
            "flags": [True, False][: n % 3],
            "nothing": [],
            "texts": [text[:100], "", text[:1]],
            "objects": [{"a": n, "b": text[:50]}],
            "a.b c'd": text[:10],
            "deep": text[:5],
        }
    return found


def profiles(spark: SparkSession, wanted: dict[str, dict[str, Any]]) -> DataFrame:
    rows = []
    for key, value in wanted.items():
        members = [*value.values()]
        members[7] = [(item["a"], item["b"]) for item in value["objects"]]
        members[9] = nested(DEPTH, value["deep"])
        rows.append((key, None, f"{key}|address", ("6", key), (7, key, *members)))
    return spark.createDataFrame(
        rows,
        "sp_key string, sp_refusal string, sp_address string,"
        " identifier struct<compartment_id: string, user_account_id: string>,"
        f" user_profile struct<`$compartment_id`: bigint, `$user_account_id`: string, {PROFILE}>",
    )


def expected(key: str, value: dict[str, Any]) -> dict[str, Any]:
    innermost: Any = value["deep"]
    for _ in range(DEPTH):
        innermost = {"d": innermost}
    return {"$compartment_id": 7, "$user_account_id": key, **value, "deep": innermost}
