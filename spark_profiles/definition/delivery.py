"""How changes are said to the platform: a part of the definition, for it decides written bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

MEMBERS = {
    "FORCE_REPLACE": '"update_strategy":"FORCE_REPLACE"',
    "PARTIAL_UPDATE": '"update_strategy":"PARTIAL_UPDATE"',
    "PARTIAL_DELETE": '"update_strategy":"PARTIAL_DELETE"',
    "legacy_replace": '"force_replace":true',
    "legacy_merge": '"force_replace":false,"merge_objects":false',
    "legacy_merge_objects": '"force_replace":false,"merge_objects":true',
}
"""Strategy of a line -> its members in the line; the older form of the API has flags."""

MINIMAL = "minimal"
REPLACING = ("FORCE_REPLACE", "legacy_replace", MINIMAL)
"""The strategies that leave nothing of the former profile."""

Strategy = Literal[
    "FORCE_REPLACE",
    "PARTIAL_UPDATE",
    "PARTIAL_DELETE",
    "legacy_replace",
    "legacy_merge",
    "legacy_merge_objects",
    "minimal",
]
Assumption = Literal["objects_merged", "arrays_replaced", "members_deleted"]
"""What the platform does, as far as its documentation does not say it:

    objects_merged     PARTIAL_UPDATE merges an object into the stored one, member by member
    arrays_replaced    PARTIAL_UPDATE replaces an array by the sent one
    members_deleted    PARTIAL_DELETE removes the members that the payload names, whatever they hold
"""


class Delivery(BaseModel):
    """How an UPSERT is to be taken. A DELETE has no strategy."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    strategy: Strategy = "FORCE_REPLACE"
    """One for every line that carries a profile; `minimal` chooses for each profile. Only a
    replacement, and `minimal`, leave the platform with nothing but what is wanted."""
    assume: tuple[Assumption, ...] = ()
    """With `minimal`: behaviour of the platform that may be relied on although it is not
    documented. Try it on your datamart first."""

    @field_validator("assume")
    @classmethod
    def _in_one_order(cls, given: tuple[Assumption, ...]) -> tuple[Assumption, ...]:
        return tuple(sorted(set(given)))

    @model_validator(mode="after")
    def _only_where_it_matters(self) -> Delivery:
        if self.assume and self.strategy != MINIMAL:
            message = "assume goes with strategy: minimal only"
            raise ValueError(message)
        return self


def replacing_strategy(delivery: Delivery) -> str:
    """The strategy that leaves nothing of a former profile, in the form of the API in use."""
    return "legacy_replace" if delivery.strategy.startswith("legacy") else "FORCE_REPLACE"
