"""1 % of a million profiles changed: exactly these become lines, and what finding them costs.

    python -m benchmarks.changes --profiles 1000000 --engine spark

A first load (all lines new) and the day after (one in a hundred changed) are recorded as Delta
tables from the same wanted profiles of about 1 KB; both are timed as whole steps, alternating.
"""

from __future__ import annotations

import argparse
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
    """Wanted profiles: on day 1 every hundredth differs from day 0."""
    changed = (F.col("id") % 100 == 0) & F.lit(day == 1)
    filler = F.concat_ws("", *[F.sha2(F.concat_ws("-", "id", F.lit(n)), 512) for n in range(7)])
    payload = F.concat(
        F.lit('{"$user_account_id":"'), F.col("id"), F.lit('","score":'),
        F.when(changed, 2).otherwise(1).cast("string"), F.lit(',"text":"'), filler, F.lit('"}'),
    )  # fmt: skip
    rows = spark.range(count).select(
        F.col("id").cast("string").alias("profile_key"),
        F.concat(F.lit('{"user_account_id":"'), F.col("id"), F.lit('"}')).alias("identifier"),
        payload.alias("payload"),
    )
    return rows.withColumn("payload_hash", F.sha2("payload", 256))


def recorded(delivered: DataFrame | None, wanted: DataFrame, place: str) -> float:
    """Seconds to record the lines of what differs."""
    begun = time.monotonic()
    between = changes.between(delivered, wanted, as_of=AS_OF, known=Known())
    lines = commands.lines(between)
    lines.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(place)
    return time.monotonic() - begun


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
            expected = len(range(0, given.profiles, 100))
            if sent != {"changed": expected} or right != expected:
                message = f"not the changed profiles became lines: {sent}, {right} right"
                raise SystemExit(message)
    first, second = statistics.median(firsts[1:]), statistics.median(seconds[1:])
    print(f"{given.engine}: {expected:,} of {given.profiles:,} profiles changed, all of them found")
    print(f"first load {first:.1f} s, day after {second:.1f} s, ratio {second / first:.2f}")


if __name__ == "__main__":
    main()
