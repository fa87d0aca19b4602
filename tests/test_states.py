"""The table of states: what may follow what."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_profiles.audit import states
from spark_profiles.audit.states import NEXT, RunStatus
from spark_profiles.errors import IntegrityError


def test_every_status_has_its_place_and_its_words() -> None:
    assert set(NEXT) == set(states.IN_WORDS) == set(RunStatus)


def test_nothing_that_may_have_been_sent_can_be_abandoned() -> None:
    assert RunStatus.ABANDONED not in NEXT[RunStatus.UPLOADING]


def test_only_an_upload_can_confirm() -> None:
    assert [s for s in RunStatus if RunStatus.CONFIRMED in NEXT[s]] == [RunStatus.UPLOADING]


def test_a_step_that_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(IntegrityError):
        states.check(RunStatus.RECORDED, RunStatus.UPLOADING)


def test_the_documentation_is_drawn_from_the_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "states.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{states.drawn()}```" in text
    for status, words in states.IN_WORDS.items():
        assert f"| `{status.value}` | {words} |" in text
