"""The bytes of a file on their way: whatever was altered, the platform never has a whole file."""

from __future__ import annotations

import hashlib
import io

import pytest

from spark_profiles.audit.records import FileRecord
from spark_profiles.delivery import reading
from spark_profiles.errors import IntegrityError


def passed(recorded: bytes, found: bytes) -> tuple[bytes, list[int], bool]:
    """What went out of a file, what was told of it, and whether it was refused."""
    sha256 = hashlib.sha256(recorded).hexdigest()
    file = FileRecord("f", "UPSERT", 1, len(recorded), sha256)
    sent, told = b"", list[int]()
    try:
        for part in reading.verified(file, lambda _: io.BytesIO(found), told.append):
            sent += part
    except IntegrityError:
        return sent, told, True
    return sent, told, False


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8, 13])
def test_an_altered_file_never_goes_out_whole(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(reading, "CHUNK", 4)
    whole = bytes(range(size))
    sent, told, is_refused = passed(whole, whole)
    assert (sent, is_refused) == (whole, False)
    assert told == [0, *range(4, size, 4), size]
    flipped = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(size)]
    cut = [whole[:n] for n in range(size)]
    longer = [whole + bytes(n) for n in range(1, 9)]
    for altered in (*flipped, *cut, *longer):
        sent, _, is_refused = passed(whole, altered)
        assert is_refused
        assert len(sent) < size
