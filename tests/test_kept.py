"""Kept import files without some of their lines, plain and compressed."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from spark_profiles import stores
from spark_profiles.aftercare import kept

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ["operation=UPSERT/f.ndjson", "operation=UPSERT/f.ndjson.gz"])
def test_lines_go_and_the_manifest_tells_what_is_left(tmp_path: Path, path: str) -> None:
    pack, unpack = (gzip.compress, gzip.decompress) if path.endswith(".gz") else (bytes, bytes)
    place = tmp_path / path
    place.parent.mkdir()
    place.write_bytes(pack(b'{"a":1}\n{"b":2}\n{"c":3}\n'))
    entry = {"path": path, "lines": 3, "bytes": 0, "sha256": ""}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": [entry]}))

    (now,) = kept.without(stores.folder(tmp_path), [path], {b'{"b":2}'})
    left = b'{"a":1}\n{"c":3}\n'
    assert unpack(place.read_bytes()) == left
    (told,) = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert told["lines"] == now.lines == 2
    assert told["content_bytes"] == len(left)
    assert told["content_sha256"] == hashlib.sha256(left).hexdigest()
    assert told["bytes"] == place.stat().st_size
    assert told["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()

    kept.without(stores.folder(tmp_path), [path], set(left.splitlines()))
    assert not place.exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["files"] == []
