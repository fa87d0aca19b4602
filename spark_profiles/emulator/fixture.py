"""A pytest plugin: the fixture `datamart_emulator`, to test your own definitions against.

pytest finds it by itself where this package is installed. Nothing is loaded until a test asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spark_profiles.emulator.server import Emulator


@pytest.fixture
def datamart_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """A bulk-import API on loopback with an empty datamart, for one test.

    `url` is where it listens, `faults` makes it fail, `store` and `profile` tell what it holds.
    """
    from spark_profiles.emulator import server  # noqa: PLC0415  only where it is asked for

    with server.running(tmp_path / "datamart.sqlite") as emulator:
        yield emulator
