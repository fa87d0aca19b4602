"""EDGE. Where the time of a command went: what each step cost, as JSON.

Seconds are taken here. Rows, bytes, spills and shuffle are those of the engine: Spark tells them by
its monitoring API, which a session that we build opens on this machine, and that of a platform may
have open. Of an engine that does not tell, they are null. What a command does costs nothing more:
the engine is asked at the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from spark_profiles.errors import DefinitionError, Problem
from spark_profiles.progress import Step, Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from pyspark.sql import SparkSession

    from spark_profiles.progress import Listener

SETTINGS = {"spark.ui.enabled": "true", "spark.ui.port": "0", "spark.ui.killEnabled": "false"}
"""What a session of ours needs to tell its figures."""


@dataclass(frozen=True)
class Figures:
    """What the engine did in a step."""

    stages: int
    tasks: int
    task_seconds: float
    """Of all tasks together; of which, below, on a processor and in garbage collection."""
    cpu_seconds: float
    gc_seconds: float
    rows_read: int
    bytes_read: int
    rows_written: int
    bytes_written: int
    shuffle_bytes: int
    spilled_bytes: int
    """Written to disk since memory did not suffice."""


class Profile:
    """A context manager that notes the steps of a command, and writes them at its end.

    Args:
        target: the file to write; None: nothing is noted.
        onward: the listener that is told all events as well.
        clock: seconds since 1970.
    """

    def __init__(
        self, target: Path | None, onward: Listener, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._target = target
        self._steps = Steps(onward, clock, first="start")
        self.listen = self._steps.listen
        self._spark: SparkSession | None = None

    def __enter__(self) -> Profile:
        if self._target and not self._target.absolute().parent.is_dir():
            problem = Problem("--profile", str(self._target), "a file in a folder that is there")
            message = "The profile could not be written; nothing was read"
            raise DefinitionError(message, problem)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._target is None:
            return
        steps = self._steps.stop()
        told = {
            "seconds": round(steps[-1].ended - steps[0].began, 3),
            "failed": error is not None,
            "driver_peak_bytes": _peak_memory(),
            "steps": measured(steps, _stages(self._spark)),
        }
        try:
            self._target.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        except OSError as problem:  # neither hides an error nor makes one of what went well
            sys.stderr.write(f"The profile was not written: {problem}\n")

    @property
    def settings(self) -> dict[str, str]:
        """What a session has to be built with."""
        return SETTINGS if self._target else {}

    def watch(self, spark: SparkSession) -> SparkSession:
        """Ask this session at the end."""
        self._spark = spark
        return spark


def measured(
    steps: Sequence[Step], stages: Sequence[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """Each step with the figures of the stages that began in it, as it is written.

    Args:
        steps: in the order of time, which is that of seconds since 1970.
        stages: as the monitoring API tells them; None: the engine does not tell.
    """
    begun = None if stages is None else [(_instant(s["submissionTime"]), s) for s in stages]
    found = []
    for step in steps:
        figures = None
        if begun is not None:
            figures = asdict(_figures([s for at, s in begun if step.began <= at < step.ended]))
        seconds = round(step.ended - step.began, 3)
        found.append({"step": step.step, "seconds": seconds, "engine": figures})
    return found


def _figures(stages: Sequence[dict[str, Any]]) -> Figures:
    def total(name: str) -> int:
        return sum(stage.get(name, 0) for stage in stages)

    return Figures(
        stages=len(stages),
        tasks=total("numTasks"),
        task_seconds=total("executorRunTime") / 1e3,
        cpu_seconds=round(total("executorCpuTime") / 1e9, 3),
        gc_seconds=total("jvmGcTime") / 1e3,
        rows_read=total("inputRecords"),
        bytes_read=total("inputBytes"),
        rows_written=total("outputRecords"),
        bytes_written=total("outputBytes"),
        shuffle_bytes=total("shuffleWriteBytes"),
        spilled_bytes=total("diskBytesSpilled"),
    )


def _stages(spark: SparkSession | None) -> list[dict[str, Any]] | None:
    """The stages that ran, as the monitoring API of Spark tells them; None: it is not open."""
    if spark is None or ".connect." in type(spark).__module__:
        return None
    context = cast("Any", spark.sparkContext)
    try:
        if not context.uiWebUrl:
            return None
        place = f"{context.uiWebUrl}/api/v1/applications/{context.applicationId}/stages"
        stages = _asked(place)
        for _ in range(20):  # the end of a stage is told a moment after it
            if not any(stage["status"] == "ACTIVE" for stage in stages):
                break
            time.sleep(0.1)
            stages = _asked(place)
    except Exception:  # noqa: BLE001  barred, broken or gone: the profile does without
        return None
    return [stage for stage in stages if "submissionTime" in stage]


def _asked(place: str) -> list[dict[str, Any]]:
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with directly.open(place, timeout=60) as answer:
        return cast("list[dict[str, Any]]", json.load(answer))


def _instant(text: str) -> float:
    """Seconds since 1970 of a time such as 2026-11-27T00:12:33.123GMT."""
    return datetime.strptime(text.replace("GMT", "+0000"), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def _peak_memory() -> int | None:
    """Most bytes that this process held by now; None where the system does not tell."""
    if os.name != "posix":
        return None
    import resource  # noqa: PLC0415  not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
