"""A run as it is recorded: its members, and the row of `runs` that holds them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from spark_profiles.audit import schemas
from spark_profiles.audit.guard import ConsentCount, Figures, RuleCount, SourceCounts
from spark_profiles.audit.states import SENT, RunStatus
from spark_profiles.definition.delivery import REPLACING, Delivery
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column

    from spark_profiles.audit.guard import PropertyStats


@dataclass(frozen=True)
class Run:
    """One run, as recorded. Counts are None until they are known."""

    run_id: str
    name: str
    status: RunStatus
    as_of: datetime
    definition_hash: str
    definition: str
    library_version: str
    engine: str
    output: str
    sources: tuple[tuple[str, str, int | None], ...]
    counts: tuple[SourceCounts, ...] = ()
    profiles: int | None = None
    new: int | None = None
    changed: int | None = None
    gone: int | None = None
    same: int | None = None
    held: int | None = None
    """Profiles that are not sent because the platform rejected them too often."""
    kept: int | None = None
    """Profiles of users who are gone, but not yet for long enough."""
    lines: int | None = None
    """Lines in files: without the refused ones."""
    refused_lines: int | None = None
    """Lines that alone are longer than a file may be; they stand in `refused_rows`."""
    files: int | None = None
    bytes: int | None = None
    document_import_id: str | None = None
    confirmed: int | None = None
    rejected: int | None = None
    message: str | None = None
    tripped: str | None = None
    accepted: str | None = None
    accepted_by: str | None = None
    accepted_why: str | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    kind: str | None = None
    pruned_at: datetime | None = None
    unusable: int | None = None
    """Profiles of users who are there, but refused; they stay as delivered."""
    warnings: tuple[RuleCount, ...] = ()
    consents: tuple[ConsentCount, ...] = ()
    patches: int | None = None
    """Lines that say only what changes."""
    saved: int | None = None
    """Bytes by which they are shorter than replacements."""
    moved: int | None = None
    """Profiles of users whose address changed; None: the run is older than addresses."""
    left_addresses: int | None = None
    """Profiles to delete at addresses that their users left."""
    resent: int | None = None
    """Unchanged profiles that are sent again, for a delete of the run may remove them."""
    replaced: int | None = None
    """Delivered profiles at addresses that another user has now: nothing is deleted there."""

    @property
    def is_before_addresses(self) -> bool:
        """Whether it was recorded before profiles were followed by address."""
        return self.moved is None and self.status in SENT

    @property
    def is_exact(self) -> bool:
        """Whether the platform holds what it sent and nothing more; see `definition.delivery`."""
        delivery = json.loads(self.definition).get("delivery", {})
        return Delivery.model_validate(delivery).strategy in REPLACING

    def figures(self, stats: Sequence[PropertyStats] = (), **sizes: int) -> Figures:
        """The run as limits look at it; `sizes` are those of its files."""
        parts = (
            self.changed, self.gone, self.same, self.kept, self.unusable, self.left_addresses,
            self.resent, self.replaced,
        )  # fmt: skip
        return Figures(
            definition_hash=self.definition_hash,
            as_of=self.as_of,
            counts=self.counts,
            delivered=sum(part or 0 for part in parts),
            changed=self.changed or 0,
            gone=self.gone or 0,
            moved=self.moved or 0,
            stats=tuple(stats),
            **sizes,
        )


_COUNTED: dict[str, Any] = {
    "counts": SourceCounts, "warnings": RuleCount, "consents": ConsentCount,
}  # fmt: skip
"""The columns of a run that hold counts, and what one of them is."""


def in_micros() -> list[Column]:
    """The columns of `runs`, instants as microseconds: collected they would lose their zone."""

    def counted(count: Column) -> Column:
        names = [field.name for field in fields(SourceCounts)]
        parts = [count[name].alias(name) for name in names]
        parts[names.index("newest")] = F.unix_micros(count["newest"]).alias("newest")
        return F.struct(*parts)

    special = {"counts": F.transform("counts", counted).alias("counts")}
    return [
        F.unix_micros(name).alias(name) if to == "timestamp" else special.get(name, F.col(name))
        for name, to in schemas.columns("runs")
    ]


def age(run: Run) -> float:
    """What sorts runs, oldest first."""
    return run.started_at.timestamp() if run.started_at else 0.0


def from_row(row: dict[str, Any]) -> Run:
    """The run of a row; its instants are aware, or microseconds as in `in_micros`."""
    for count in row["counts"] or ():
        count["newest"] = _instant(count["newest"])
    for name, to in schemas.columns("runs"):
        if to == "timestamp":
            row[name] = _instant(row[name])
    for name, kind in _COUNTED.items():
        row[name] = tuple(kind(**count) for count in row[name] or ())
    row["status"] = RunStatus(row["status"])
    row["sources"] = tuple(tuple(source.values()) for source in row["sources"] or ())
    return Run(**row)


def _instant(told: datetime | int | None) -> datetime | None:
    if isinstance(told, datetime):
        return told.astimezone(timezone.utc)
    return None if told is None else columns.instant_of(told)


def record(run: Run) -> dict[str, Any]:
    """The run as members of a row."""
    found = {field.name: getattr(run, field.name) for field in fields(run)}
    for name in _COUNTED:
        found[name] = [tuple(asdict(count).values()) for count in found[name]]
    return {**found, "status": run.status.value, "sources": list(run.sources)}
