"""The circuit breaker: counts of a recorded run -> what is too unusual to be sent unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.errors import GuardError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


_FEW_MOVES = 10
"""So many addresses may change in any run: among a handful of profiles a share says nothing."""


@dataclass(frozen=True)
class SourceCounts:
    """Where the rows of one source went. `used + refused + … + after_as_of == rows`."""

    source: str
    rows: int
    used: int
    refused: int
    duplicate: int
    orphan: int
    after_as_of: int
    newest: datetime | None = None
    """The newest instant of a row neither refused nor late; None for a source without time."""
    users: int = 0
    """Profiles whose first source of users this is; the sum over sources is that of profiles."""

    @property
    def adds_up(self) -> bool:
        """Whether every row went somewhere, and only once."""
        went = self.used + self.refused + self.duplicate + self.orphan + self.after_as_of
        return went == self.rows


@dataclass(frozen=True)
class RuleCount:
    """How many accepted rows of a source break a rule that only warns."""

    source: str
    rule: str
    rows: int


@dataclass(frozen=True)
class ConsentCount:
    """How many users gave a consent, did not, or are not known to have said anything."""

    purpose: str
    granted: int
    refused: int
    unknown: int


@dataclass(frozen=True)
class Limits:
    """Shares are between 0 and 1. None: no limit."""

    deleted_share: float | None = 0.1
    """Profiles to delete, of those delivered."""
    changed_share: float | None = 0.5
    """Changed profiles, of those delivered; twice the most of the runs before is always allowed,
    and everything where the definition itself changed."""
    moved_share: float | None = 0.5
    """Profiles whose address changed, of those delivered; up to ten are always allowed."""
    refused_share: float | None = 0.2
    """Refused rows, of the rows of a source."""
    shrunken_share: float | None = 0.5
    """Rows that a source may have lost since the last confirmed run."""
    late_days: float | None = None
    """Age of the newest row of a source relative to as-of, in days beyond its age in the last
    confirmed run."""
    null_share: float | None = 0.2
    """Rise of the share of profiles without a property since the last confirmed run."""
    shift: float | None = 1.0
    """By how many standard deviations the mean of a numeric property may move."""
    files: int | None = None
    """Import files of one run."""
    bytes: int | None = None
    """Bytes of all import files of one run."""


@dataclass(frozen=True)
class PropertyStats:
    """One property over all wanted profiles; mean and deviation only for numbers."""

    name: str
    profiles: int
    known: int
    mean: float | None = None
    deviation: float | None = None

    @property
    def null_share(self) -> float:
        """The share of profiles in which it has no value."""
        return 1 - self.known / self.profiles if self.profiles else 0.0


@dataclass(frozen=True)
class Figures:
    """What a run would do, as far as limits look at it."""

    definition_hash: str
    as_of: datetime
    counts: tuple[SourceCounts, ...] = ()
    delivered: int = 0
    """Profiles on the platform before the run."""
    changed: int = 0
    gone: int = 0
    moved: int = 0
    files: int = 0
    bytes: int = 0
    stats: tuple[PropertyStats, ...] = ()


@dataclass(frozen=True)
class Trip:
    """One limit that was passed."""

    name: str
    found: str
    limit: str


@dataclass(frozen=True)
class Acceptance:
    """Trips that are right this time: which, who says so, and why. Recorded with the run."""

    names: tuple[str, ...] = ()
    by: str = ""
    why: str = ""


def trips(now: Figures, before: Sequence[Figures], *, limits: Limits) -> list[Trip]:
    """Every limit that the run passes; `before` are the last confirmed runs, newest last."""
    found = [*_share_trips(now, before, limits), *_size_trips(now, limits)]
    last = before[-1] if before else None
    former = {count.source: count for count in last.counts} if last else {}
    for count in now.counts:
        found += _source_trips(count, former.get(count.source), now, last, limits)
    stats = {stat.name: stat for stat in last.stats} if last else {}
    if last and last.definition_hash == now.definition_hash:
        for stat in now.stats:
            if stat.name in stats:
                found += _property_trips(stat, stats[stat.name], limits)
    return found


def _share_trips(now: Figures, before: Sequence[Figures], limits: Limits) -> list[Trip]:
    found = []
    if _over(now.gone, limits.deleted_share, now.delivered):
        text = f"{now.gone:,} of {now.delivered:,} delivered profiles would be deleted"
        found.append(Trip("deletes", text, f"{limits.deleted_share:.0%}"))
    if now.moved > _FEW_MOVES and _over(now.moved, limits.moved_share, now.delivered):
        text = f"the addresses of {now.moved:,} of {now.delivered:,} delivered profiles changed"
        found.append(Trip("moves", text, f"{limits.moved_share:.0%}"))
    alike = [run for run in before if run.definition_hash == now.definition_hash]
    if limits.changed_share is not None and alike:
        usual = max(run.changed / run.delivered if run.delivered else 0.0 for run in alike)
        limit = max(limits.changed_share, 2 * usual)
        if _over(now.changed, limit, now.delivered):
            text = f"{now.changed:,} of {now.delivered:,} delivered profiles changed"
            found.append(Trip("changes", text, f"{min(limit, 1):.0%}"))
    return found


def _size_trips(now: Figures, limits: Limits) -> list[Trip]:
    found = []
    for name in ("files", "bytes"):
        limit, size = getattr(limits, name), getattr(now, name)
        if limit is not None and size > limit:
            found.append(Trip(name, f"{size:,} {name}", f"{limit:,}"))
    return found


def _source_trips(
    count: SourceCounts,
    former: SourceCounts | None,
    now: Figures,
    last: Figures | None,
    limits: Limits,
) -> list[Trip]:
    if count.rows == 0:
        return [Trip(f"empty:{count.source}", "the source has no rows", "at least one")]
    found = []
    if _over(count.refused, limits.refused_share, count.rows):
        text = f"{count.refused:,} of {count.rows:,} rows refused"
        found.append(Trip(f"refused:{count.source}", text, f"{limits.refused_share:.0%}"))
    if former and _over(former.rows - count.rows, limits.shrunken_share, former.rows):
        text = f"{count.rows:,} rows; the last confirmed run had {former.rows:,}"
        limit = f"a loss of {limits.shrunken_share:.0%}"
        found.append(Trip(f"shrunken:{count.source}", text, limit))
    if former and last and limits.late_days is not None and count.newest and former.newest:
        age = (now.as_of - count.newest).total_seconds() / 86_400
        usual = (last.as_of - former.newest).total_seconds() / 86_400
        if age - usual > limits.late_days:
            text = f"its newest row is {age:.1f} days old; in the last confirmed run {usual:.1f}"
            found.append(Trip(f"late:{count.source}", text, f"{limits.late_days:g} days more"))
    return found


def _property_trips(now: PropertyStats, before: PropertyStats, limits: Limits) -> list[Trip]:
    found = []
    rise = now.null_share - before.null_share
    if limits.null_share is not None and rise > limits.null_share:
        text = f"{now.null_share:.0%} of profiles lack it; in the last run {before.null_share:.0%}"
        found.append(Trip(f"nulls:{now.name}", text, f"a rise of {limits.null_share:.0%}"))
    if limits.shift is not None and None not in (now.mean, before.mean) and before.deviation:
        moved = abs((now.mean or 0) - (before.mean or 0)) / before.deviation
        if moved > limits.shift:
            text = f"its mean moved by {moved:.1f} standard deviations since the last run"
            found.append(Trip(f"shift:{now.name}", text, f"{limits.shift:g}"))
    return found


def _over(part: int, share: float | None, whole: int) -> bool:
    return share is not None and whole > 0 and part > share * whole


def check(found: Sequence[Trip], *, accepted: Acceptance) -> None:
    """Stop unless every trip was accepted by its name.

    Raises:
        GuardError: some were not.
    """
    stopping = [trip for trip in found if trip.name not in accepted.names]
    if stopping:
        problems = [
            Problem(
                t.name,
                t.found,
                f"limit {t.limit}",
                f"if this is right: --accept {t.name} --why '…'",
            )
            for t in stopping
        ]
        message = "The run was stopped before anything was sent"
        raise GuardError(message, *problems)
