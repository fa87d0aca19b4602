"""1 % of a million profiles changed, 0.1 % moved: exactly these become lines, and what it costs.

    python -m benchmarks.changes --profiles 1000000 --engine spark

A first load (all lines new) and the day after (one in a hundred changed) are recorded as Delta
tables from the same wanted profiles of about 1 KB; both are timed as whole steps, alternating:
seconds, and seconds of all processors.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.engine import session
from spark_profiles.lines import changes, commands
from spark_profiles.lines.changes import Known

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

AS_OF = datetime(2026, 3, 31, tzinfo=timezone.utc)


def profiles(spark: SparkSession, count: int, *, day: int) -> DataFrame:
    """Wanted profiles: on day 1 every hundredth differs from day 0, and one in 1,000 has moved."""
    moved = (F.col("id") % 1000 == 7) & F.lit(day == 1)
    account = F.concat(F.col("id").cast("string"), F.when(moved, "-new").otherwise(""))
    changed = (F.col("id") % 100 == 0) & F.lit(day == 1)
    filler = F.concat_ws("", *[F.sha2(F.concat_ws("-", "id", F.lit(n)), 512) for n in range(7)])
    payload = F.concat(
        F.lit('{"$user_account_id":"'), F.col("id"), F.lit('","score":'),
        F.when(changed, 2).otherwise(1).cast("string"), F.lit(',"text":"'), filler, F.lit('"}'),
    )  # fmt: skip
    rows = spark.range(count).select(
        F.col("id").cast("string").alias("profile_key"),
        F.concat(F.lit('{"user_account_id":"'), account, F.lit('"}')).alias("identifier"),
        F.concat(account, F.lit("|user_account_id|||"), F.col("id")).alias("address"),
        payload.alias("payload"),
    )
    return rows.withColumn("payload_hash", F.sha2("payload", 256))


def recorded(delivered: DataFrame | None, wanted: DataFrame, place: str) -> tuple[float, float]:
    """Seconds, and seconds of all processors, to record the lines of what differs."""
    begun, busy = time.monotonic(), processors()
    between = changes.between(delivered, wanted, as_of=AS_OF, known=Known())
    lines = commands.lines(between, is_first=delivered is None)
    lines.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(place)
    return time.monotonic() - begun, processors() - busy


def processors() -> float:
    """Seconds that this process and its children have worked, the JVM among them."""
    mine = os.times()
    below = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[1] == str(os.getpid()):
                below += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return mine.user + mine.system + below


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--profiles", type=int, default=1_000_000)
    options.add_argument("--engine", choices=["spark", "sail"], default="spark")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    is_sail = given.engine == "sail"
    spark = session.embedded_session() if is_sail else session.local_session("changes")
    with tempfile.TemporaryDirectory() as folder:
        places = {name: str(Path(folder) / name) for name in ("day0", "day1", "lines")}
        for day in (0, 1):
            rows = profiles(spark, given.profiles, day=day)
            rows.write.format("delta").save(places[f"day{day}"])
        delivered, wanted = (spark.read.format("delta").load(places[d]) for d in ("day0", "day1"))
        firsts, seconds = [], []
        for _ in range(given.rounds + 1):
            firsts.append(recorded(None, wanted, places["lines"]))
            seconds.append(recorded(delivered, wanted, places["lines"]))
            found = spark.read.format("delta").load(places["lines"])
            sent = {
                row["change"]: row["count"] for row in found.groupBy("change").count().collect()
            }
            right = found.where(F.col("profile_key").cast("long") % 100 == 0).count()
            expected, moved = (len(range(n, given.profiles, by)) for n, by in ((0, 100), (7, 1000)))
            if sent != {"changed": expected, "moved": moved, "left": moved} or right != expected:
                message = f"not the changed profiles became lines: {sent}, {right} right"
                raise SystemExit(message)
    (first, busy_first), (second, busy_second) = (
        map(statistics.median, zip(*times[1:], strict=True)) for times in (firsts, seconds)
    )
    counted = f"{expected:,} of {given.profiles:,} profiles changed, {moved:,} moved"
    print(f"{given.engine}: {counted}, all of them found")
    print(f"first load {first:.1f} s ({busy_first:.1f} of processors)")
    print(f"day after {second:.1f} s ({busy_second:.1f} of processors)")


if __name__ == "__main__":
    main()
