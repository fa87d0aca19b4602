"""Upkeep of the audit tables: what goes, what stays, and what can still be done after it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import shop
from test_run import PEOPLE, Shop

from spark_profiles.aftercare import erase, maintain, rollback
from spark_profiles.audit import leases
from spark_profiles.audit.guard import Acceptance
from spark_profiles.emulator import server
from spark_profiles.errors import SourceError, UnsettledError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from spark_profiles.audit.runs import Run

pytestmark = pytest.mark.sail

DELETES = Acceptance(("deletes", "refused:purchases"), why="a test")


class Calendar:
    """A clock that ticks a second a look, and is set to a day by the test."""

    def __init__(self) -> None:
        self.time = shop.at("2026-03-01")

    def __call__(self) -> dt.datetime:
        self.time += dt.timedelta(seconds=1)
        return self.time

    def set(self, day: int) -> None:
        self.time = shop.at(f"2026-03-{day:02d}")


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def a_shop(spark: SparkSession, tmp_path: Path, calendar: Calendar) -> Iterator[Shop]:
    (tmp_path / "token").write_text("api:secret")
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as emulator:
        made = Shop(spark, tmp_path, emulator)
        made.job = replace(made.job, now=calendar)
        yield made


def named(**names: str) -> list[dict[str, str]]:
    """The people, some with other first names."""
    return [{**p, "first_name": names.get(p["customer_id"], p["first_name"])} for p in PEOPLE]


def run_days(a_shop: Shop, calendar: Calendar) -> list[Run]:
    """Three runs: c7 changes twice, c0 leaves at last."""
    runs = []
    for day, people in ((1, PEOPLE), (10, named(c7="Eve")), (20, named(c7="Max")[1:])):
        calendar.set(day)
        runs.append(a_shop.run(people, accepted=DELETES))
        if day == 10:
            a_shop.held = a_shop.names()  # type: ignore[attr-defined]
    return runs


def test_what_is_old_goes_and_what_a_rollback_needs_stays(a_shop: Shop, calendar: Calendar) -> None:
    first, second, third = run_days(a_shop, calendar)
    delivered = sorted(r["payload"] for r in a_shop.table("delivered"))
    calendar.set(30)
    audit = a_shop.job.tables()
    done = maintain.maintain(audit, keep_days=15, vacuum_hours=0)

    assert (done.pruned.runs, done.pruned.lines) == (2, 1)
    lines = {(r["run_id"], r["profile_key"]) for r in a_shop.table("lines")}
    assert (first.run_id, "c7") not in lines, "overtaken before the horizon"
    assert (second.run_id, "c7") in lines, "what the third run is rolled back to"
    assert len(lines) == 7 + 1 + 2
    assert sorted(r["payload"] for r in a_shop.table("delivered")) == delivered
    assert [r.pruned_at is not None for r in audit.runs("shop")] == [True, True, False]
    assert maintain.maintain(audit, keep_days=15).pruned.lines == 0
    for size in done.sizes:
        assert size.rows == len(a_shop.table(size.table))
        assert size.stored_files > 0

    with pytest.raises(SourceError, match="pruned from the audit tables"):
        rollback.rollback(a_shop.job, second.run_id, a_shop.datamart)
    rollback.rollback(a_shop.job, third.run_id, a_shop.datamart, accepted=DELETES)
    assert a_shop.names() == a_shop.held  # type: ignore[attr-defined]


def test_nothing_is_maintained_while_a_run_is_at_work(a_shop: Shop) -> None:
    a_shop.run(PEOPLE)
    audit = a_shop.job.tables()
    with (
        leases.held(audit, "shop", now=a_shop.job.now),
        pytest.raises(UnsettledError, match="at work"),
    ):
        maintain.maintain(audit, keep_days=1)


def test_an_erasure_is_complete_when_old_files_are_gone(a_shop: Shop, calendar: Calendar) -> None:
    a_shop.run(PEOPLE)
    erase.erase(a_shop.job, ["c3"], a_shop.datamart)
    audit = a_shop.job.tables()
    maintain.maintain(audit, keep_days=90, vacuum_hours=24)
    assert [r["vacuumed_at"] for r in a_shop.table("erasures")] == [None]
    calendar.set(20)
    maintain.maintain(audit, keep_days=90, vacuum_hours=24)
    assert a_shop.table("erasures")[0]["vacuumed_at"]
