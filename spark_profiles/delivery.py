"""How changes are said to the platform: a part of the definition, for it decides written bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

MEMBERS = {
    "FORCE_REPLACE": '"update_strategy":"FORCE_REPLACE"',
    "PARTIAL_UPDATE": '"update_strategy":"PARTIAL_UPDATE"',
    "PARTIAL_DELETE": '"update_strategy":"PARTIAL_DELETE"',
    "legacy_replace": '"force_replace":true',
    "legacy_merge": '"force_replace":false,"merge_objects":false',
    "legacy_merge_objects": '"force_replace":false,"merge_objects":true',
}
"""Strategy of a line -> its members in the line; the older form of the API has flags."""

REPLACING = ("FORCE_REPLACE", "legacy_replace")
"""The strategies that leave nothing of the former profile."""

Strategy = Literal[
    "FORCE_REPLACE",
    "PARTIAL_UPDATE",
    "PARTIAL_DELETE",
    "legacy_replace",
    "legacy_merge",
    "legacy_merge_objects",
]


class Delivery(BaseModel):
    """How an UPSERT is to be taken. A DELETE has no strategy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "FORCE_REPLACE"
    """One for every line that carries a profile. Only a replacement leaves the platform with
    nothing but what is wanted."""
