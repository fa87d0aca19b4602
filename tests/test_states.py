"""The table of states: what may follow what."""

from __future__ import annotations

import pytest

from spark_profiles import states
from spark_profiles.errors import IntegrityError
from spark_profiles.states import NEXT, RunStatus


def test_every_status_has_its_place_and_its_words() -> None:
    assert set(NEXT) == set(states.IN_WORDS) == set(RunStatus)


def test_nothing_that_may_have_been_sent_can_be_abandoned() -> None:
    assert RunStatus.ABANDONED not in NEXT[RunStatus.UPLOADING]


def test_only_an_upload_can_confirm() -> None:
    assert [s for s in RunStatus if RunStatus.CONFIRMED in NEXT[s]] == [RunStatus.UPLOADING]


def test_a_step_that_the_table_does_not_know_is_refused() -> None:
    with pytest.raises(IntegrityError):
        states.check(RunStatus.RECORDED, RunStatus.UPLOADING)
