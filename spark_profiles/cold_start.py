"""EDGE. The classes of Spark and Delta in one file, from which a session here starts sooner.

    python -m spark_profiles.cold_start

Without it the JVM looks for each of 17,000 classes in 300 jars, and verifies it, at every start.
It looks by itself whether the file is of its version and jars, and does without it otherwise.
Delta's jars have to be here: the first session fetches them.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pyspark import SparkContext

from spark_profiles import leases, run, session


def lay_out() -> Path:
    """Start a session, use Delta as a run does, and keep what was loaded; returns the file.

    Raises:
        PlatformError: Spark, Java or Delta's jars are missing.
    """
    made = session.class_data(session.cache_folder())
    made.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
        part = Path(scratch) / made.name
        kept = f"-XX:ArchiveClassesAtExit={part} {session.QUIET_JVM}"
        settings = {"spark.driver.extraJavaOptions": kept}
        spark = session.local_session("cold start", settings=settings)
        audit = run.Job(spark, output=f"{scratch}/import", audit=f"{scratch}/audit").tables()
        with leases.held(audit, "cold_start", now=lambda: datetime.now(timezone.utc)):
            audit.put_records("files", "cold_start", [])
        spark.stop()
        gateway: Any = SparkContext._gateway  # noqa: SLF001  of the JVM that we started
        gateway.proc.stdin.close()
        gateway.proc.wait()
        part.replace(made)
    return made


if __name__ == "__main__":
    lay_out()
