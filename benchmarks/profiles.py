"""Whether lines mean the same profiles: as JSON values, in whatever order and spelling."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fingerprint:
    """Of a set of profiles; equal sets have equal ones, whatever the order of the lines."""

    lines: int
    bytes: int
    values: str
    """Sum of the SHA-256 of each profile's values, as hex."""

    def agrees(self, other: Fingerprint) -> bool:
        """Whether both are of the same profiles; how they are spelt does not count."""
        return (self.lines, self.values) == (other.lines, other.values)


def fingerprint(files: Iterable[Path]) -> Fingerprint:
    """The fingerprint of all lines of the files."""
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(_of_file, files))
    lines, size, total = (sum(part) for part in zip(*found, strict=True)) if found else (0, 0, 0)
    return Fingerprint(lines, size, f"{total % (1 << 256):064x}")


def _of_file(file: Path) -> tuple[int, int, int]:
    """Lines, bytes, and the sum of the hashes of the values."""
    total, lines, size = 0, 0, 0
    with file.open("rb") as stream:
        for line in stream:
            value = json.dumps(known(json.loads(line)), sort_keys=True)
            total += int.from_bytes(hashlib.sha256(value.encode()).digest(), "big")
            lines += 1
            size += len(line)
    return lines, size, total


def known(value: Any) -> Any:
    """The value without nulls, and without objects that have nothing else.

    Some write `"30d": null` where others leave the member out; both say that nothing is known.
    """
    if isinstance(value, dict):
        members = {name: known(member) for name, member in value.items()}
        return {name: m for name, m in members.items() if m is not None and m != {}}
    if isinstance(value, list):
        return [known(item) for item in value]
    # 100, 100.0 and 1e2 are one number.
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
