"""EDGE. Delta's jars on this machine: named by the user, kept from before, or fetched once.

They are fetched by Spark's own resolver in a process of its own, before any session. So every
session names them on its class path, which is quicker than to have them resolved at each start, and
the same for all (see `cold_start`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from spark_profiles.errors import PlatformError, Problem


def delta(cache: Path, java: Path) -> dict[str, str]:
    """The settings that bring Delta to a session; `java` is the JAVA_HOME to use.

    Raises:
        PlatformError: delta-spark is not installed, or its jars cannot be fetched.
    """
    named = os.environ.get("SPARK_PROFILES_JARS")
    if named:
        return {"spark.jars": named}
    try:
        coordinates = delta_coordinates(
            metadata.version("pyspark"), metadata.version("delta-spark")
        )
    except metadata.PackageNotFoundError as error:
        problem = Problem("delta-spark", "not installed", "", "pip install 'spark-profiles[local]'")
        message = "The audit tables need Delta"
        raise PlatformError(message, problem) from error
    group, artifact, version = coordinates.split(":")
    folder = cache / "ivy" / "jars"
    found = [folder / f"{group}_{name}-{version}.jar" for name in (artifact, "delta-storage")]
    if not all(jar.exists() for jar in found):
        log = _fetched(coordinates, cache, java)
        if not all(jar.exists() for jar in found):
            raise _missing(log, found)
    return {"spark.driver.extraClassPath": os.pathsep.join(map(str, found))}


def delta_coordinates(spark_version: str, delta_version: str) -> str:
    """The Maven coordinates of Delta for these two versions.

    >>> delta_coordinates("4.1.4", "4.4.0")
    'io.delta:delta-spark_4.1_2.13:4.4.0'
    >>> delta_coordinates("3.5.9", "3.3.3")
    'io.delta:delta-spark_2.12:3.3.3'
    """
    if spark_version.startswith("3."):
        return f"io.delta:delta-spark_2.12:{delta_version}"
    line = ".".join(spark_version.split(".")[:2])
    return f"io.delta:delta-spark_{line}_2.13:{delta_version}"


def _fetched(coordinates: str, cache: Path, java: Path) -> Path:
    """Let Spark's resolver put the jars into the cache; returns its log."""
    import pyspark  # noqa: PLC0415  importing us must not need Spark

    log = cache / "jars.log"
    with tempfile.TemporaryDirectory() as scratch, log.open("wb") as told:
        nothing = Path(scratch) / "nothing.py"
        nothing.touch()
        submit = str(Path(pyspark.__file__).parent / "bin" / "spark-submit")
        asked = ["--packages", coordinates, "--conf", f"spark.jars.ivy={cache / 'ivy'}"]
        subprocess.run(  # noqa: S603  Spark's own command
            [submit, "--master", "local[1]", *asked, str(nothing)],
            env={**os.environ, "JAVA_HOME": str(java), "PYSPARK_PYTHON": sys.executable},
            stdout=told,
            stderr=told,
            check=False,
        )
    return log


def _missing(log: Path, wanted: list[Path]) -> PlatformError:
    told = log.read_text(encoding="utf-8", errors="replace")
    is_unreached = "unresolved dependency" in told
    found = "Maven Central could not be reached" if is_unreached else f"not there; see {log}"
    problem = Problem(
        "Delta's jars",
        found,
        " and ".join(jar.name.split("_", 1)[1] for jar in wanted),
        "name them: SPARK_PROFILES_JARS=/path/one.jar,/path/other.jar",
    )
    message = "The Spark session did not start"
    return PlatformError(message, problem)
