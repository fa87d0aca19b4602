"""The Spark session of the tests, created on first use, and little else."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

# Far from UTC and from every zone in the tests: any use of the machine's zone shows at once.
os.environ["TZ"] = "Pacific/Chatham"
time.tzset()

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

if "CI" not in os.environ:  # there Hypothesis does the same by itself
    settings.register_profile("calm", deadline=None)  # a busy machine is no fault of an example
    settings.load_profile("calm")

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


def pytest_addoption(parser: pytest.Parser) -> None:
    """What runs the tests, and whether generated parts of documents are made anew."""
    parser.addoption(
        "--engine",
        choices=["spark", "sail"],
        default="spark",
        help="what runs the tests that need a session; one process can hold one engine only",
    )
    parser.addoption(
        "--fault-scripts", type=int, default=60, help="how many drawn scripts of faults are run"
    )
    parser.addoption("--large", action="store_true", help="also run what takes minutes")
    parser.addoption("--write-docs", action="store_true", help="write what documents show anew")
    parser.addoption("--histories", type=int, default=4, help="so many histories are drawn")


def pytest_configure(config: pytest.Config) -> None:
    # The command line, here and in processes of its own, takes the engine of this run.
    os.environ["SPARK_PROFILES_ENGINE"] = config.getoption("--engine")
    # `datamart_emulator`: pytest finds it by itself where the package is installed with its
    # entry points; here also without that.
    from spark_profiles.emulator import fixture

    known = {getattr(plugin, "__name__", "") for plugin in config.pluginmanager.get_plugins()}
    if fixture.__name__ not in known:
        config.pluginmanager.register(fixture)


@pytest.fixture(scope="session")
def spark_session(request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    """One session for the whole run, with the settings that make small queries quick."""
    from spark_profiles.engine import session

    if request.config.getoption("--engine") == "sail":
        yield session.embedded_session()
        return
    spark = session.local_session(
        "tests",
        cores="2",
        settings={
            "spark.sql.shuffle.partitions": "2",
            # A few rows are sooner interpreted than code for them compiled, and are the same:
            # see test_deterministic.
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -Xms1g",
        },
    )
    monkeypatch = pytest.MonkeyPatch()
    if not spark.version.startswith("3."):
        monkeypatch.setattr(spark, "createDataFrame", partial(_by_arrow, spark))
    yield spark
    monkeypatch.undo()
    spark.stop()


def _by_arrow(spark: SparkSession, rows: Sequence[Any], schema: str | StructType) -> DataFrame:
    """A frame of rows, as Connect makes it: otherwise each use of it would start Python workers."""
    from pyspark.sql.conversion import LocalDataToArrowConversion
    from pyspark.sql.types import StructType

    shape = StructType.fromDDL(schema) if isinstance(schema, str) else schema
    given: Any = list(rows)
    if given:
        given = LocalDataToArrowConversion.convert(given, shape, use_large_var_types=False)
    return type(spark).createDataFrame(spark, given, shape)


@pytest.fixture
def spark(
    spark_session: SparkSession, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SparkSession]:
    """The session, cleaned of views after each test.

    Spark writes all of the audit tables, as on a cluster, but where a test is marked `at_hand`.
    """
    if not request.node.get_closest_marker("at_hand"):
        monkeypatch.setattr("spark_profiles.engine.session.is_at_hand", lambda *_: False)
    yield spark_session
    for table in spark_session.sql("SHOW TABLES").collect():
        if table["isTemporary"]:
            spark_session.catalog.dropTempView(table["tableName"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a session, and choose what the engine of this run can be asked.

    Tests marked `jvm` look at bytes or plans of Spark itself; tests marked `sail` are long stories
    of runs, which take a minute each on Spark: there they are told with --large.
    """
    for item in items:
        if "spark_session" in getattr(item, "fixturenames", ()):
            item.add_marker("spark")
    is_sail, is_large = config.getoption("--engine") == "sail", config.getoption("--large")
    asked = {"jvm": not is_sail, "sail": is_sail or is_large, "large": is_large}
    markers = [name for name, is_asked in asked.items() if not is_asked]
    left_out = [item for item in items if any(map(item.get_closest_marker, markers))]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A client of an S3 over a socket, with an empty bucket `import`."""
    import boto3
    import httpx
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    for name, value in {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    httpx.post(f"{url}/moto-api/reset")  # what it stores outlives the server
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="import")
    yield client
    server.stop()
