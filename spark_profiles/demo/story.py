"""The demo: two days of a real shop, delivered over a real socket, and every profile compared."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from spark_profiles.definition import loader
from spark_profiles.delivery.datamart import Connection, Datamart, Token
from spark_profiles.demo import cdnow, tables
from spark_profiles.emulator import server
from spark_profiles.engine import session
from spark_profiles.errors import DefinitionError, IntegrityError, Problem
from spark_profiles.planning import pipeline
from spark_profiles.progress import Event, Steps
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from pyspark.sql import SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.definition.model import Definition
    from spark_profiles.emulator.store import Store
    from spark_profiles.progress import Listener

DAYS = (date(1998, 4, 1), date(1998, 4, 2))
DATAMART = "1600"
# Small on purpose: a first load of 20 MB then shows how files are cut.
MAX_BYTES = 12_000_000
_NAME = "spark-profiles demo"
_FEW_ROWS = {
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -Xms1g -Xmn512m",
    # Compiling code for each of 150 small queries takes longer than to interpret them.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.subexpressionElimination.enabled": "false",
}


@dataclass(frozen=True)
class Day:
    """What one day did, and the seconds of its steps."""

    as_of: date
    run: Run
    seconds: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Story:
    """The whole demo: its days, and how many profiles of the datamart equal the wanted ones."""

    output: Path
    days: tuple[Day, ...]
    refused: tuple[tuple[str, str, str, int], ...]
    """Run, source, reason and number of refused rows."""
    compared: int


def tell(output: Path, *, listener: Listener, engine: str = "spark") -> Story:
    """Run both days from nothing and compare; all that is written lies under `output`.

    Raises:
        IntegrityError: the datamart holds other profiles than the sources ask for.
    """
    _clear(output)
    definition = loader.load_definition(cdnow.folder() / "profiles.yaml")
    listener(Event("start", "Spark, the audit tables, and the shop's raw tables"))
    (output / "token").write_text("api:demo", encoding="utf-8")
    token = Token.parse(f"file:{output / 'token'}")
    with (
        ThreadPoolExecutor(max_workers=1) as exporter,
        server.running(output / "datamart.sqlite", token="api:demo") as emulator,  # noqa: S106
        Datamart(Connection(emulator.url, DATAMART, token)) as client,
    ):
        exports = _exports(output, exporter)
        with _session(engine, listener) as spark:
            job = run.Job(
                spark=spark,
                output=str(output.absolute() / "import"),
                audit=str(output.absolute() / "audit"),
                max_bytes=MAX_BYTES,
            )
            days = []
            for day, export in zip(DAYS, exports, strict=True):
                export.result()
                days.append(_day(job, definition, client, output, day, listener))
            listener(Event("compare", "every profile of the datamart with the wanted one"))
            compared = _compare(spark, definition, str(_raw(output, DAYS[-1])), emulator.store)
            return Story(output, tuple(days), _refused(job), compared)


@contextlib.contextmanager
def _session(engine: str, listener: Listener) -> Iterator[SparkSession]:
    """The session of the demo; the first one keeps its classes, so that the next starts sooner."""
    if engine == "sail":
        yield session.embedded_session()
    elif session.is_active() or session.class_data(session.cache_folder()).exists():
        yield session.local_session(_NAME, settings=_FEW_ROWS)
    else:
        from spark_profiles.running import cold_start  # noqa: PLC0415  needs Spark

        with cold_start.kept(_NAME, _FEW_ROWS) as spark:
            yield spark
            listener(Event("keep", "Spark's classes in one file: the next start is quicker"))


def _day(
    job: run.Job,
    definition: Definition,
    client: Datamart,
    output: Path,
    day: date,
    listener: Listener,
) -> Day:
    watch = Steps(listener, time.monotonic)
    watch.listen(Event("settle", f"as of {day}: former runs"))
    timed = replace(job, listener=watch.listen)
    done = run.run(timed, definition, client, as_of=str(day), data=str(_raw(output, day)))
    seconds: dict[str, float] = {}
    for step in watch.stop():
        seconds[step.step] = seconds.get(step.step, 0.0) + step.ended - step.began
    return Day(day, done, tuple(seconds.items()))


def _refused(job: run.Job) -> tuple[tuple[str, str, str, int], ...]:
    """How many rows were refused: run, source, reason, rows."""
    counted = Counter(
        (row["run_id"], row["source"], reason)
        for row in job.tables().rows("refused_rows")
        for reason in row["reasons"]
    )
    return tuple((*where, rows) for where, rows in sorted(counted.items()))


def _exports(output: Path, exporter: Executor) -> list[Future[Any]]:
    """The raw tables of each day, made beside the start of Spark.

    They are always the same, so those of an earlier demo are taken, if they are of this version.
    """
    made_by, recipe = output / "raw" / ".made-by", tables.recipe()
    if made_by.exists() and made_by.read_text(encoding="utf-8") == recipe:
        return [exporter.submit(tuple) for _ in DAYS]
    shutil.rmtree(made_by.parent, ignore_errors=True)
    days = [exporter.submit(tables.write_tables, _raw(output, d), as_of=d) for d in DAYS]

    def finished() -> None:
        if not any(day.exception() for day in days):
            made_by.write_text(recipe, encoding="utf-8")

    exporter.submit(finished)  # after them: they are one queue
    return days


def _raw(output: Path, day: date) -> Path:
    return output.absolute() / "raw" / str(day)


def _compare(spark: SparkSession, definition: Definition, raw: str, store: Store) -> int:
    """How many profiles agree; they are computed again from the sources, without the tables."""
    plan = pipeline.plan(spark, definition, as_of=str(DAYS[-1]), data=raw)
    with ThreadPoolExecutor(max_workers=1) as reader:
        reading = reader.submit(lambda: {key: value for _, key, value in store.profiles()})
        rows = plan.wanted.select("profile_key", "payload").collect()
        wanted = {row["profile_key"]: json.loads(row["payload"]) for row in rows}
        held = reading.result()
    differing = sorted(
        key for key in wanted.keys() | held.keys() if wanted.get(key) != held.get(key)
    )
    if differing:
        problem = Problem(
            "datamart.sqlite",
            f"{len(differing):,} profiles differ, or are on one side only",
            f"{len(wanted):,} equal profiles",
        )
        message = "The datamart is not what the sources ask for"
        raise IntegrityError(message, problem)
    return len(wanted)


def _clear(output: Path) -> None:
    """Remove what an earlier demo wrote but for its raw tables; another folder is refused.

    Raises:
        DefinitionError: the folder was not made by the demo.
    """
    marker = output / ".spark-profiles-demo"
    if output.exists() and any(output.iterdir()) and not marker.exists():
        problem = Problem(str(output), "a folder with other things in it", "a new or empty folder")
        message = "The demo would overwrite what is not its own"
        raise DefinitionError(message, problem)
    output.mkdir(parents=True, exist_ok=True)
    for child in output.iterdir():
        if child.is_dir() and child.name != "raw":
            shutil.rmtree(child)
        elif child.is_file():
            child.unlink()
    marker.touch()
