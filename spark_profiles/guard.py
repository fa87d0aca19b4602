"""The circuit breaker: counts of a recorded run -> what is too unusual to be sent unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.errors import GuardError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


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
    users: int = 0
    """Profiles whose first source of users this is; the sum over sources is that of profiles."""

    @property
    def adds_up(self) -> bool:
        """Whether every row went somewhere, and only once."""
        went = self.used + self.refused + self.duplicate + self.orphan + self.after_as_of
        return went == self.rows


@dataclass(frozen=True)
class Limits:
    """Shares between 0 and 1."""

    deleted_share: float = 0.1
    """Profiles to delete, of those delivered."""
    refused_share: float = 0.2
    """Refused rows, of the rows of a source."""
    shrunken_share: float = 0.5
    """Rows that a source may have lost since the last confirmed run."""


@dataclass(frozen=True)
class Trip:
    """One limit that was passed."""

    name: str
    found: str
    limit: str


def trips(
    counts: Sequence[SourceCounts],
    before: Sequence[SourceCounts],
    *,
    gone: int,
    delivered: int,
    limits: Limits,
) -> list[Trip]:
    """Every limit that the run passes; `before` are the counts of the last confirmed run."""
    found = []
    if delivered and gone > limits.deleted_share * delivered:
        text = f"{gone:,} of {delivered:,} delivered profiles would be deleted"
        found.append(Trip("deletes", text, f"{limits.deleted_share:.0%}"))
    former = {count.source: count.rows for count in before}
    for count in counts:
        if count.rows and count.refused > limits.refused_share * count.rows:
            text = f"{count.refused:,} of {count.rows:,} rows refused"
            found.append(Trip(f"refused:{count.source}", text, f"{limits.refused_share:.0%}"))
        lost = former.get(count.source, 0) - count.rows
        if count.rows == 0:
            found.append(Trip(f"empty:{count.source}", "the source has no rows", "at least one"))
        elif lost > limits.shrunken_share * former.get(count.source, 0):
            text = f"{count.rows:,} rows; the last confirmed run had {former[count.source]:,}"
            limit = f"a loss of {limits.shrunken_share:.0%}"
            found.append(Trip(f"shrunken:{count.source}", text, limit))
    return found


def check(found: Sequence[Trip], *, accepted: Collection[str]) -> None:
    """Stop unless every trip was accepted by its name.

    Raises:
        GuardError: some were not.
    """
    stopping = [trip for trip in found if trip.name not in accepted]
    if stopping:
        problems = [
            Problem(t.name, t.found, f"limit {t.limit}", f"if this is right: --accept {t.name}")
            for t in stopping
        ]
        message = "The run was stopped before anything was sent"
        raise GuardError(message, *problems)
