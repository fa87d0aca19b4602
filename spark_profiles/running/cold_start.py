"""EDGE. The classes of Spark and Delta in one file, from which a session here starts sooner.

    python -m spark_profiles.running.cold_start

Without it the JVM looks for each of 17,000 classes in 300 jars, and verifies it, at every start.
It looks by itself whether the file is of its version and jars, and does without it otherwise.
The first demo makes it by the way.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import SparkContext

from spark_profiles.audit import leases
from spark_profiles.engine import session
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import SparkSession

_OPTIONS = "spark.driver.extraJavaOptions"


@contextmanager
def kept(name: str, settings: Mapping[str, str]) -> Iterator[SparkSession]:
    """A new session, as of `session.local_session`; what it loads is laid out when it ends.

    Raises:
        PlatformError: Spark, Java or Delta's jars are missing.
    """
    made = session.class_data(session.cache_folder())
    made.unlink(missing_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=made.parent))
    try:
        part = scratch / made.name
        options = f"-XX:ArchiveClassesAtExit={part} {session.QUIET_JVM}"
        both = f"{options} {settings.get(_OPTIONS, '')}".strip()
        spark = session.local_session(name, settings={**settings, _OPTIONS: both})
        yield spark
        spark.stop()
        gateway: Any = SparkContext._gateway  # noqa: SLF001  of the JVM that we started
        gateway.proc.stdin.close()
        gateway.proc.wait()
        if part.exists():  # a JVM that cannot do it goes on without
            part.replace(made)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def lay_out() -> None:
    """Start a session, use Delta as a run does, and keep what was loaded."""
    cache = session.cache_folder()
    with tempfile.TemporaryDirectory(dir=cache) as scratch, kept("cold start", {}) as spark:
        audit = run.Job(spark, output=f"{scratch}/import", audit=f"{scratch}/audit").tables()
        with leases.held(audit, "cold_start", now=lambda: datetime.now(timezone.utc)):
            audit.put_records("files", "cold_start", [])


if __name__ == "__main__":
    lay_out()
