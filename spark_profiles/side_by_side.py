"""EDGE. What Spark has to do that does not need each other, done side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pyspark import inheritable_thread_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession


def done(spark: SparkSession, *works: Callable[[], Any]) -> list[Any]:
    """What each of these gives, in their order; an error is raised when all have ended.

    Their jobs belong to the group of the caller's, so that they are cancelled with it.
    """
    with ThreadPoolExecutor(len(works)) as pool:
        begun = [pool.submit(inheritable_thread_target(spark)(work)) for work in works]
    return [work.result() for work in begun]
