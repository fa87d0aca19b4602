"""How far Spark is: what is told while a step works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spark_profiles.engine import watching
from spark_profiles.progress import Event

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_what_is_no_longer_at_work_is_done_and_what_was_there_before_is_not_ours() -> None:
    tally = watching.Tally(former=frozenset({1}))
    assert tally.see({}) == (0, 0)
    assert tally.see({1: (0, 99), 2: (0, 4)}) == (0, 4)
    assert tally.see({2: (3, 4), 3: (1, 10)}) == (4, 14)
    assert tally.see({3: (9, 10)}) == (13, 14)
    assert tally.see({1: (99, 99)}) == (14, 14)


@pytest.mark.jvm
def test_tasks_are_told_while_they_are_done(spark: SparkSession) -> None:
    heard: list[Event] = []
    event = Event("record", "at work")
    with watching.watched(spark, heard.append, event, every=0.05):
        hashes = spark.range(0, 6_000_000, 1, 6).selectExpr("sha2(cast(id as string), 256) as h")
        assert hashes.where("h like 'zz%'").count() == 0
    assert heard[0] == heard[-1] == event
    told = [(one.done, one.total) for one in heard[1:-1] if one.done and one.total]
    assert told == sorted(told)
    assert all(done <= total for done, total in told)
    assert told[-1][1] >= 6
