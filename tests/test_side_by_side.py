"""Work that does not need each other: all of it is done, and belongs to the caller's group."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from spark_profiles.engine import side_by_side

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.sail
def test_all_is_begun_before_any_has_ended_and_given_in_order(spark: SparkSession) -> None:
    both = threading.Barrier(2, timeout=30)

    def first() -> int:
        both.wait()
        return spark.range(3).count()

    def second() -> int:
        both.wait()
        return spark.range(4).count()

    assert side_by_side.done(spark, first, second) == [3, 4]


@pytest.mark.sail
def test_an_error_is_raised_when_all_have_ended(spark: SparkSession) -> None:
    ended = []

    def broken() -> None:
        message = "so it is"
        raise ValueError(message)

    def whole() -> None:
        ended.append(spark.range(5).count())

    with pytest.raises(ValueError, match="so it is"):
        side_by_side.done(spark, broken, whole)
    assert ended == [5]


@pytest.mark.jvm
def test_jobs_belong_to_the_group_of_the_caller(spark: SparkSession) -> None:
    context = spark.sparkContext
    context.setJobGroup("the caller's", "")
    try:
        side_by_side.done(spark, spark.range(3).count, spark.range(4).count)
        assert len(context.statusTracker().getJobIdsForGroup("the caller's")) >= 2
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)
