"""How changes are said to the platform: a part of the definition, for it decides written bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

MEMBERS = {
    "FORCE_REPLACE": '"update_strategy":"FORCE_REPLACE"',
    "PARTIAL_UPDATE": '"update_strategy":"PARTIAL_UPDATE"',
    "PARTIAL_DELETE": '"update_strategy":"PARTIAL_DELETE"',
    "legacy_replace": '"force_replace":true',
    "legacy_merge": '"force_replace":false,"merge_objects":false',
    "legacy_merge_objects": '"force_replace":false,"merge_objects":true',
}
"""Strategy of a line -> its members in the line; the older form of the API has flags."""

Strategy = Literal[
    "FORCE_REPLACE",
    "PARTIAL_UPDATE",
    "PARTIAL_DELETE",
    "minimal",
    "legacy_replace",
    "legacy_merge",
    "legacy_merge_objects",
    "legacy_minimal",
]


class Delivery(BaseModel):
    """How an UPSERT is to be taken. A DELETE has no strategy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Strategy = "FORCE_REPLACE"
    """One for every line, or `minimal`: the shortest line that is proven to do the same."""
    rely_on: tuple[Literal["PARTIAL_UPDATE", "PARTIAL_DELETE"], ...] = ()
    """With `minimal`: strategies to use although the platform documents them only by name. They
    are taken to merge objects deeply, and to remove the properties that the payload names."""

    @model_validator(mode="after")
    def _rely_on_goes_with_minimal(self) -> Delivery:
        if self.rely_on and self.strategy != "minimal":
            message = "rely_on goes with strategy: minimal"
            raise ValueError(message)
        return self

    @property
    def is_minimal(self) -> bool:
        """Whether the strategy is chosen for each profile."""
        return self.strategy in ("minimal", "legacy_minimal")

    @property
    def whole(self) -> str:
        """The strategy of lines that carry the whole profile."""
        return {"minimal": "FORCE_REPLACE", "legacy_minimal": "legacy_replace"}.get(
            self.strategy, self.strategy
        )
