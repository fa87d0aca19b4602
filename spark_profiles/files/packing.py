"""Grains of lines -> as few packs as the limits of a file allow. Pure, exact, deterministic.

A grain is a stretch of lines that stays together. Packs of consecutive grains are tried first, for
they are the simplest to describe; where that wastes a tenth, largest first, then a bounded search.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Limits:
    """The most that one file may hold; both are exact."""

    bytes: int = 95_000_000
    lines: int | None = None


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Grain:
    """The lines of one operation and phase that lie between two places: never parted."""

    operation: str
    first: int
    last: int
    lines: int
    bytes: int
    longest: int
    """Bytes of the longest line."""
    phase: int = 1


Pack = list[Grain]
NO_LIMIT = 1 << 62
_MOST_SEARCHED = 400
"""Grains; of more than these, largest first is close enough to the fewest."""
_STEPS = 20_000


def packs(grains: Sequence[Grain], limits: Limits) -> list[Pack]:
    """The grains in packs within the limits, each pack and the packs in the order of places.

    Every grain must fit by itself. There are at most a tenth more packs than `fewest` says are
    needed, unless even the search finds none better.
    """
    ordered = sorted(grains, key=lambda grain: grain.first)
    needed = fewest(ordered, limits)
    best = _consecutive(ordered, limits)
    if _is_close(best, needed):
        return best
    best = min(best, _largest_first(ordered, limits), key=len)
    if not _is_close(best, needed) and len(ordered) <= _MOST_SEARCHED:
        best = _Search(ordered, limits, needed, best).found()
    in_order = [sorted(pack, key=lambda grain: grain.first) for pack in best]
    return sorted(in_order, key=lambda pack: pack[0].first)


def fewest(grains: Sequence[Grain], limits: Limits) -> int:
    """So many packs are needed at least: by lines, by bytes, and by grains that exclude others.

    Of grains over half a file no two share one; what is left beside them holds only so much of
    the rest (the bound of Martello and Toth).
    """
    sizes = sorted((grain.bytes for grain in grains), reverse=True)
    most = -(-sum(sizes) // limits.bytes)
    if limits.lines:
        most = max(most, -(-sum(grain.lines for grain in grains) // limits.lines))
    large = [size for size in sizes if 2 * size > limits.bytes]
    small = sizes[len(large) :]
    rest = 0
    for position, size in enumerate(small):
        rest += size
        if position + 1 < len(small) and small[position + 1] == size:
            continue
        shared = [other for other in large if other + size <= limits.bytes]
        room = len(shared) * limits.bytes - sum(shared)
        most = max(most, len(large) + max(0, -(-(rest - room) // limits.bytes)))
        if position > _MOST_SEARCHED:
            break
    return max(most, len(large))


def _is_close(found: Sequence[Pack], needed: int) -> bool:
    return 10 * len(found) <= 11 * needed


def _consecutive(grains: Sequence[Grain], limits: Limits) -> list[Pack]:
    found: list[Pack] = []
    room = _Room(0, 0)
    for grain in grains:
        if not found or not room.holds(grain):
            found.append([])
            room = _Room.of(limits)
        found[-1].append(grain)
        room = room.without(grain)
    return found


def _largest_first(grains: Sequence[Grain], limits: Limits) -> list[Pack]:
    """Each grain, largest first, into the fullest pack that still holds it."""
    found: list[Pack] = []
    open_packs: list[tuple[int, int, int]] = []  # free bytes, free lines, which; in order
    for grain in sorted(grains, key=_size(limits), reverse=True):
        start = bisect.bisect_left(open_packs, (grain.bytes, grain.lines, -1))
        fits = (n for n in range(start, len(open_packs)) if open_packs[n][1] >= grain.lines)
        position = next(fits, None)
        if position is None:
            room = _Room.of(limits)
            free, which = (room.bytes, room.lines), len(found)
            found.append([])
        else:
            *free_now, which = open_packs.pop(position)
            free = (free_now[0], free_now[1])
        found[which].append(grain)
        bisect.insort(open_packs, (free[0] - grain.bytes, free[1] - grain.lines, which))
    return found


def _size(limits: Limits) -> Callable[[Grain], tuple[float, int]]:
    """How much of a file a grain fills, in bytes or lines, whichever is more."""

    def size(grain: Grain) -> tuple[float, int]:
        share = grain.bytes / limits.bytes
        return max(share, grain.lines / limits.lines if limits.lines else 0.0), -grain.first

    return size


@dataclass(frozen=True)
class _Room:
    """What a pack can still take."""

    bytes: int
    lines: int

    @classmethod
    def of(cls, limits: Limits) -> _Room:
        return cls(limits.bytes, limits.lines or NO_LIMIT)

    def holds(self, grain: Grain) -> bool:
        return grain.bytes <= self.bytes and grain.lines <= self.lines

    def without(self, grain: Grain) -> _Room:
        return _Room(self.bytes - grain.bytes, self.lines - grain.lines)


class _Search:
    """Depth-first search for fewer packs than `best`, in a bounded number of steps."""

    def __init__(
        self, grains: Sequence[Grain], limits: Limits, needed: int, best: list[Pack]
    ) -> None:
        self._grains = sorted(grains, key=_size(limits), reverse=True)
        self._empty = _Room.of(limits)
        self._needed, self._best = needed, best
        self._left = [0]
        for grain in reversed(self._grains):
            self._left.append(self._left[-1] + grain.bytes)
        self._left.reverse()
        self._steps = _STEPS
        self._packs: list[Pack] = []
        self._rooms: list[_Room] = []

    def found(self) -> list[Pack]:
        """The best packs that were met."""
        self._place(0)
        return self._best

    def _place(self, number: int) -> None:
        """Try every pack for the grain `number`, the fullest first, and then a new one."""
        self._steps -= 1
        free = sum(room.bytes for room in self._rooms)
        more = max(0, -(-(self._left[number] - free) // self._empty.bytes))
        if self._is_over() or len(self._packs) + more >= len(self._best):
            return
        if number == len(self._grains):
            self._best = [list(pack) for pack in self._packs]
            return
        grain = self._grains[number]
        tried = set()
        for which in sorted(range(len(self._rooms)), key=lambda n: self._rooms[n].bytes):
            room = self._rooms[which]
            if room.holds(grain) and room not in tried:
                tried.add(room)
                self._packs[which].append(grain)
                self._rooms[which] = room.without(grain)
                self._place(number + 1)
                self._rooms[which] = room
                self._packs[which].pop()
                if self._is_over():
                    return
        self._packs.append([grain])
        self._rooms.append(self._empty.without(grain))
        self._place(number + 1)
        self._rooms.pop()
        self._packs.pop()

    def _is_over(self) -> bool:
        return self._steps <= 0 or len(self._best) <= self._needed
