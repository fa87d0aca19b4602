"""Import files: the same bytes everywhere, and at what price.

    python -m benchmarks.files same [PYTHON ...]     # of environments with Spark 3.5, 4.1, 4.2, …
    python -m benchmarks.files cost 0.1 1            # gigabytes of lines
    python -m benchmarks.files s3a                   # fetches 630 MB of jars, once

`same`: the lines of the CDNOW example and a hostile set, from shuffled tables, with 1, 2, 7 and 64
shuffle partitions, classic and (from Spark 4) Connect, written by Spark and by Arrow: one hash for
each stage, or exit code 1.
`cost`: writing verified files, by Spark and by Arrow, of the lines of the CDNOW example, many times
over under other keys, by turns with Spark's plain `write.text` of the same recorded lines in the
same session, and the most memory that the JVM (with a heap of 1 GB) and Python held.
`s3a`: files written by Spark's own s3a to an S3 over a socket (moto), verified, and a bucket that is
not there. Spark 4.1, whose Hadoop is that of the jars.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from functools import partial
from operator import truediv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_profiles import stores
from spark_profiles.audit import places
from spark_profiles.definition import loader
from spark_profiles.demo import tables as example
from spark_profiles.errors import PlatformError
from spark_profiles.files import arrow_files, fileplan, spark_files, verify, writing
from spark_profiles.files.packing import Limits
from spark_profiles.lines import changes, commands
from spark_profiles.planning import pipeline

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests"))

import hostile  # noqa: E402  the tests' own
import shop  # noqa: E402
from linework import ABOUT, parquet  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import Column, DataFrame

AS_OF = date(1998, 4, 1)
PARTITIONS = (1, 2, 7, 64)
LIMIT = 2_500_000
ROUNDS = 3


def session(mode: str, **more: str) -> SparkSession:
    """A session without Delta, which neither lines nor files need."""
    settings = {
        "spark.sql.session.timeZone": "UTC", "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.showConsoleProgress": "false", **more,
    }  # fmt: skip
    builder = SparkSession.builder
    builder = builder.remote("local[2]") if mode == "connect" else builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def digest(texts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode() + b"\n")
    return found.hexdigest()[:16]


def cdnow(spark: SparkSession, tables: Path, seed: int) -> DataFrame:
    """The lines of the example, from tables whose rows come in another order each time."""
    whole = (HERE / "examples" / "cdnow" / "profiles.yaml").read_text(encoding="utf-8")
    # Of the same `İpek` Spark 3.5 makes `I\u0307pek`, Spark 4 `İpek`: other lines, not other files.
    own = tables / "profiles.yaml"
    own.write_text(whole.replace("initcap(", "("), encoding="utf-8")
    definition = loader.load_definition(own)
    shuffled = {
        name: spark.read.parquet(str(tables / name)).orderBy(F.rand(seed))
        for name in definition.sources
    }
    return pipeline.plan(spark, definition, as_of=AS_OF.isoformat(), tables=shuffled).lines


def hostile_lines(spark: SparkSession, _: Path, seed: int) -> DataFrame:
    wanted = list(hostile.wanted().items())
    random.Random(seed).shuffle(wanted)
    made = hostile.profiles(spark, dict(wanted)).withColumn("payload", F.to_json("user_profile"))
    texts = commands.payloads(made)
    return commands.lines(changes.between(None, texts, as_of=shop.at("2026-03-31")))


def one(mode: str, tables: Path) -> dict[str, dict[str, str]]:
    """Set of lines -> partitions -> hashes of the payloads and of the files."""
    spark = session(mode)
    found: dict[str, dict[str, str]] = {}
    for name, lines_of in {"cdnow": cdnow, "hostile": hostile_lines}.items():
        for partitions in PARTITIONS:
            spark.conf.set("spark.sql.shuffle.partitions", str(partitions))
            with tempfile.TemporaryDirectory() as scratch:
                lines_of(spark, tables, partitions).write.parquet(f"{scratch}/lines")
                lines = spark.read.parquet(f"{scratch}/lines").repartition(partitions)
                rows = lines.select("profile_key", commands.text().alias("text")).collect()
                hashes = []
                for way in (by_spark, by_arrow):
                    texts = way(lines, f"{scratch}/lines")
                    written = write(lines, texts, f"{scratch}/{way.__name__}", LIMIT)
                    hashes.append(digest([f"{f.path} {f.sha256}" for f in written]))
                if len(set(hashes)) != 1:
                    sys.exit(f"{name}: Spark and Arrow wrote different files")
                found.setdefault(name, {})[str(partitions)] = " ".join(
                    [f"{len(rows)} lines", digest([r["text"] for r in sorted(rows)]),
                     f"{len(written)} files", hashes[0]]
                )  # fmt: skip
    spark.stop()
    return found


def write(lines: DataFrame, texts: Any, place: str, limit: int) -> Any:
    """All that a run does from recorded lines to the manifest."""
    planned = fileplan.planned(lines, Limits(limit))
    return writing.write(texts, planned, stores.folder(place), ABOUT)


def by_spark(lines: DataFrame, _: str = "") -> Any:
    return partial(spark_files.write, lines)


def by_arrow(_: DataFrame, place: str) -> Any:
    return partial(arrow_files.write, parquet(Path(place)))


def same(pythons: list[str]) -> int:
    """Prints a line for each environment and mode; 1 if any hash differs."""
    seen: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        example.write_tables(Path(scratch), as_of=AS_OF)
        for python in pythons:
            version = "import pyspark; print(pyspark.__version__)"
            spark = subprocess.check_output([python, "-c", version], text=True).strip()
            for mode in ("classic", "connect") if spark >= "4" else ("classic",):
                env = {**os.environ, "PYTHONPATH": str(HERE), "PYSPARK_PYTHON": python}
                env |= {"SPARK_TESTING": "1"} if mode == "connect" else {}  # a free port
                asked = [python, "-m", "benchmarks.files", "one", mode, scratch]
                told = subprocess.run(asked, cwd=HERE, env=env, capture_output=True, text=True,
                                      check=False)  # fmt: skip
                if told.returncode:
                    words = [t for t in told.stderr.splitlines() if not t.startswith("\tat ")]
                    print(f"{spark} {mode}: FAILED", *words[-40:], sep="\n", flush=True)
                    seen.setdefault("failed", set()).update("12")
                    continue
                for name, by_partitions in json.loads(told.stdout.splitlines()[-1]).items():
                    hashes = set(by_partitions.values())
                    seen.setdefault(name, set()).update(hashes)
                    counts = ", ".join(by_partitions)
                    print(f"Spark {spark:<6} {mode:<8} {name:<8} {counts} partitions:", *hashes,
                          flush=True)  # fmt: skip
    return int(any(len(hashes) > 1 for hashes in seen.values()))


def many(spark: SparkSession, gigabytes: float, place: str) -> DataFrame:
    """The lines of the example, again and again under other keys, in no order; written once."""
    tables = Path(place) / "tables"
    tables.mkdir()
    example.write_tables(tables, as_of=AS_OF)
    once = cdnow(spark, tables, 1).select(
        "profile_key", "operation", "strategy", "identifier", "payload", "patch", "bytes"
    )
    once.write.parquet(f"{place}/once")
    once = spark.read.parquet(f"{place}/once")
    copies = round(gigabytes * 1e9 / once.agg(F.sum("bytes")).collect()[0][0])
    key = F.concat_ws("-", "profile_key", "id")
    rows = once.crossJoin(spark.range(copies)).select(
        key.alias("profile_key"),
        "operation",
        "strategy",
        *[_renamed(text, key).alias(text) for text in ("identifier", "payload")],
        "patch",
        places.of(key).alias("place"),
    )
    rows = rows.repartition(8, "place")
    rows = rows.withColumn("bytes", (F.octet_length(commands.text()) + 1).cast("bigint"))
    rows.write.parquet(f"{place}/lines")
    return spark.read.parquet(f"{place}/lines")


def cost(gigabytes: float, place: str) -> dict[str, Any]:
    """Seconds of both ways, by turns, and the most memory."""
    spark = session("classic", **{"spark.driver.memory": "1g"})
    lines = many(spark, gigabytes, place)
    size = lines.agg(F.sum("bytes")).collect()[0][0]
    ways = {"plain": None, "by_spark": by_spark, "by_arrow": by_arrow}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    count = 0
    for turn in range(ROUNDS + 1):  # the first warms up
        for way in sorted(seconds, reverse=bool(turn % 2)):
            begun = time.monotonic()
            if texts := ways[way]:
                made = texts(lines, f"{place}/lines")
                count = len(write(lines, made, f"{place}/{way}{turn}", 95_000_000))
            else:
                lines.select(commands.text().alias("value")).write.text(f"{place}/{way}{turn}")
            if turn:
                seconds[way].append(round(time.monotonic() - begun, 1))
            subprocess.run(["rm", "-rf", f"{place}/{way}{turn}"], check=True)
    proc = spark.sparkContext._gateway.proc.pid  # noqa: SLF001  the JVM that we started
    status = Path(f"/proc/{proc}/status").read_text()
    jvm = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    spark.stop()
    ratios = {
        way: round(statistics.median(map(truediv, seconds[way], seconds["plain"])), 2)
        for way in ("by_spark", "by_arrow")
    }
    return {
        "bytes": size, "files": count, **seconds, "ratios": ratios, "jvm_mb": jvm // 1024,
        "python_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def _renamed(text: str, key: Column) -> Column:
    """The text of a line, of the customer with another key."""
    quoted = [F.concat(F.lit('"'), name, F.lit('"')) for name in (F.col("profile_key"), key)]
    return F.replace(F.col(text), *quoted)


def s3a() -> dict[str, Any]:
    """What was written and verified, and what is said of a missing bucket."""
    import boto3  # noqa: PLC0415  of this one alone
    from linework import recorded, row  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    os.environ |= {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="import")
    spark = session(
        "classic",
        **{
            "spark.jars.packages": "org.apache.hadoop:hadoop-aws:3.4.2",
            "spark.hadoop.fs.s3a.endpoint": url,
            "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
            "spark.hadoop.fs.s3a.path.style.access": "true",
        },
    )
    rows = [row(f"c{n}", {"t": "é😀" * 200}) for n in range(500)]
    lines = recorded(spark, [*rows, *(row(f"d{n}", {}, "DELETE") for n in range(50))])
    write(lines, by_spark(lines), "s3a://import/shop/run_id=1", 100_000)
    found = verify.verify("s3a://import/shop/run_id=1")
    try:
        write(lines, by_spark(lines), "s3a://nowhere/shop/run_id=1", 100_000)
        said = "nothing"
    except PlatformError as error:
        said = str(error.problems[0])
    spark.stop()
    server.stop()
    return {"files": found.files, "lines": found.lines, "bytes": found.bytes, "no bucket": said}


def main(argv: list[str]) -> int:
    what, *rest = argv or ["help"]
    if what == "one":
        print(json.dumps(one(rest[0], Path(rest[1]))))
    elif what == "one-cost":
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(cost(float(rest[0]), scratch)))
    elif what == "same":
        return same(rest or [sys.executable])
    elif what == "s3a":
        print(json.dumps(s3a()))
    elif what == "cost":
        for gigabytes in rest or ["0.1", "1"]:
            asked = [sys.executable, "-m", "benchmarks.files", "one-cost", gigabytes]
            env = {**os.environ, "PYTHONPATH": str(HERE)}
            print(subprocess.check_output(asked, cwd=HERE, env=env, text=True).splitlines()[-1])
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
