"""The Spark session of the tests, created on first use, and little else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

# Far from UTC and from every zone in the tests: any use of the machine's zone shows at once.
os.environ["TZ"] = "Pacific/Chatham"
time.tzset()

import pytest  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rewrite` makes generated parts of the documents anew; look at the difference."""
    parser.addoption("--rewrite", action="store_true", help="rewrite what documents show")


@pytest.fixture(scope="session")
def spark_session() -> Iterator[SparkSession]:
    """One session for the whole run, with the settings that make small queries quick."""
    from spark_profiles import session

    spark = session.local_session(
        "tests",
        cores="2",
        settings={
            "spark.sql.shuffle.partitions": "2",
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        },
    )
    yield spark
    spark.stop()


@pytest.fixture
def spark(spark_session: SparkSession) -> Iterator[SparkSession]:
    """The session, cleaned of cached tables and views after each test."""
    yield spark_session
    spark_session.catalog.clearCache()
    for table in spark_session.catalog.listTables():
        if table.isTemporary:
            spark_session.catalog.dropTempView(table.name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Spark, so that `-m "not spark"` starts no JVM."""
    for item in items:
        if "spark_session" in getattr(item, "fixturenames", ()):
            item.add_marker("spark")
