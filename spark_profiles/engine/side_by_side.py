"""EDGE. What Spark has to do that does not need each other, done side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyspark
from pyspark import inheritable_thread_target
from pyspark.sql.utils import is_remote

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession


def done(spark: SparkSession, *works: Callable[[], Any]) -> list[Any]:
    """What each of these gives, in their order; an error is raised when all have ended.

    Their jobs belong to the group of the caller's, so that they are cancelled with it.
    """
    inheriting: Any = inheritable_thread_target
    if is_remote() or not pyspark.__version__.startswith("3."):
        inheriting = inheriting(spark)  # which Spark 3 takes of Connect only
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(inheriting(work)) for work in works]
    return [work.result() for work in begun]
