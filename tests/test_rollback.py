"""After a rollback the platform holds what it held before, and the tables say so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from test_run import PEOPLE, Shop, names

from spark_profiles.aftercare import rollback
from spark_profiles.audit.guard import Acceptance
from spark_profiles.audit.states import RunStatus
from spark_profiles.emulator import server
from spark_profiles.errors import DefinitionError, GuardError, SourceError, UnconfirmedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = pytest.mark.sail

DELETES = Acceptance(("deletes", "changes"), why="a test")
CHANGED = [
    *PEOPLE[1:7],  # c0 left
    {**PEOPLE[7], "first_name": "Eve"},
    {"customer_id": "c9", "first_name": "Neo"},
]


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "token").write_text("api:secret")
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as emulator:
        yield Shop(spark, tmp_path, emulator)


def held(a_shop: Shop) -> dict[str, Any]:
    return {account: profile for _, account, profile in a_shop.emulator.store.profiles()}


def test_created_changed_and_deleted_profiles_are_as_before(a_shop: Shop) -> None:
    a_shop.run(PEOPLE)
    before = held(a_shop)
    second = a_shop.run(CHANGED, accepted=DELETES)
    a_shop.run([*CHANGED[:-1], {"customer_id": "c9", "first_name": "Trinity"}])
    assert held(a_shop) != before

    with pytest.raises(GuardError, match="1 of 8 delivered"):
        rollback.rollback(a_shop.job, second.run_id, a_shop.datamart)
    done = rollback.rollback(a_shop.job, second.run_id, a_shop.datamart, accepted=DELETES)
    assert held(a_shop) == before
    assert (done.status, done.kind) == (RunStatus.CONFIRMED, "rollback")
    assert (done.new, done.changed, done.gone, done.same) == (1, 1, 1, 6)
    assert {r["profile_key"]: json.loads(r["payload"]) for r in a_shop.table("delivered")} == before

    again = rollback.rollback(a_shop.job, second.run_id, a_shop.datamart)
    assert again.lines == 0
    # A rollback is a run: it can be rolled back too, and the sources win in the next run.
    rollback.rollback(a_shop.job, done.run_id, a_shop.datamart, accepted=DELETES)
    assert a_shop.names() == {**names(CHANGED), "c9": "Trinity"}
    assert a_shop.run(PEOPLE, accepted=DELETES).status is RunStatus.CONFIRMED
    assert held(a_shop) == before


def test_the_first_run_is_undone_to_nothing(a_shop: Shop) -> None:
    first = a_shop.run(PEOPLE)
    done = rollback.rollback(a_shop.job, first.run_id, a_shop.datamart, accepted=DELETES)
    assert (done.gone, held(a_shop), a_shop.table("delivered")) == (8, {}, [])


def test_what_was_never_confirmed_is_not_restored(a_shop: Shop) -> None:
    a_shop.run(PEOPLE)
    before = held(a_shop)
    a_shop.emulator.faults.fail_executions = 1
    with pytest.raises(UnconfirmedError):
        a_shop.run([{**person, "first_name": "Lost"} for person in PEOPLE], accepted=DELETES)
    good = a_shop.run([{**person, "first_name": "Found"} for person in PEOPLE], accepted=DELETES)
    assert held(a_shop) != before
    failed = next(r["run_id"] for r in a_shop.table("runs") if r["status"] == "unconfirmed")
    rollback.rollback(a_shop.job, failed, a_shop.datamart)
    assert held(a_shop) == before
    assert good.confirmed


def test_what_cannot_be_rolled_back_is_said(a_shop: Shop) -> None:
    with pytest.raises(DefinitionError, match="no such run"):
        rollback.rollback(a_shop.job, "shop-2026-03-31-01", a_shop.datamart)
    first = a_shop.run(PEOPLE)
    built = a_shop.build([{**person, "first_name": "Later"} for person in PEOPLE], accepted=DELETES)
    with pytest.raises(DefinitionError, match="nothing of it was sent"):
        rollback.rollback(a_shop.job, built.run_id, a_shop.datamart)
    second = a_shop.run([{**PEOPLE[0], "first_name": "Eve"}, *PEOPLE[1:]])
    a_shop.job.tables().put_records("lines", first.run_id, [])
    with pytest.raises(SourceError, match="1 former profiles were pruned"):
        rollback.rollback(a_shop.job, second.run_id, a_shop.datamart)
