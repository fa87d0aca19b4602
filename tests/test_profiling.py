"""What the steps of a command cost: the engine's own figures, each in the step it belongs to."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from spark_profiles.errors import DefinitionError
from spark_profiles.progress import Event, Step
from spark_profiles.running import profiling

if TYPE_CHECKING:
    from pathlib import Path


def stage(at: str, **figures: Any) -> dict[str, Any]:
    return {"submissionTime": f"2026-11-27T{at}GMT", "numTasks": 2, **figures}


NOON = 1795780800.0  # date -u -d 2026-11-27T12:00 +%s


def test_a_stage_counts_in_the_step_in_which_it_began() -> None:
    steps = [Step("plan", NOON, NOON + 1), Step("record", NOON + 1, NOON + 9)]
    stages = [
        stage("12:00:01.000", inputRecords=7, executorCpuTime=2_500_000_000, jvmGcTime=250),
        stage("12:00:08.999", inputRecords=1, diskBytesSpilled=10, memoryBytesSpilled=99),
        stage("11:59:59.999", inputRecords=1000),
        stage("12:00:09.000", inputRecords=1000),
    ]
    plan, record = (step["engine"] for step in profiling.measured(steps, stages))
    assert (plan["stages"], plan["rows_read"]) == (0, 0)
    assert (record["stages"], record["tasks"], record["rows_read"]) == (2, 4, 8)
    assert (record["cpu_seconds"], record["gc_seconds"], record["spilled_bytes"]) == (2.5, 0.25, 10)


def test_steps_are_written_also_of_what_failed_and_of_an_engine_that_tells_nothing(
    tmp_path: Path,
) -> None:
    heard: list[Event] = []
    clock = iter([100.0, 102.5, 103.0, 110.0])
    target = tmp_path / "profile.json"

    def fail() -> None:
        with profiling.Profile(target, heard.append, clock=lambda: next(clock)) as profile:
            profile.listen(Event("plan", "first"))
            profile.listen(Event("plan", "still"))
            profile.listen(Event("write"))
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011  raised above
        fail()
    told = json.loads(target.read_text())
    assert [event.message for event in heard] == ["first", "still", ""]
    assert told.pop("driver_peak_bytes") > 1_000_000
    assert told == {
        "seconds": 10.0,
        "failed": True,
        "steps": [
            {"step": "start", "seconds": 2.5, "engine": None},
            {"step": "plan", "seconds": 0.5, "engine": None},
            {"step": "write", "seconds": 7.0, "engine": None},
        ],
    }


def test_without_a_file_nothing_is_noted() -> None:
    with profiling.Profile(None, lambda _: None) as profile:
        profile.listen(Event("plan"))
    assert profile.settings == {}


SCRIPT = """
import socket
import sys
from pathlib import Path
from spark_profiles.engine import session
from spark_profiles.running import profiling
from spark_profiles.progress import Event

with profiling.Profile(Path(sys.argv[1]), lambda event: None) as profile:
    spark = profile.watch(session.local_session("test", settings=profile.settings))
    profile.listen(Event("write"))
    spark.range(1000).repartition(3).write.parquet(sys.argv[2])
    profile.listen(Event("read"))
    assert spark.read.parquet(sys.argv[2]).where("id % 2 = 0").count() == 500
    port = int(spark.sparkContext.uiWebUrl.rpartition(":")[2])
    for address in ("127.0.0.1", "127.0.0.2"):  # one that is bound, and one of all others
        print(socket.socket().connect_ex((address, port)) == 0)
"""


@pytest.mark.jvm
def test_spark_tells_what_it_read_wrote_and_moved(tmp_path: Path) -> None:
    target = tmp_path / "profile.json"
    command = [sys.executable, "-c", SCRIPT, str(target), str(tmp_path / "rows")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["True", "False"]
    start, write, read = json.loads(target.read_text())["steps"]
    assert (start["engine"]["stages"], write["step"], read["step"]) == (0, "write", "read")
    assert write["engine"]["rows_written"] == read["engine"]["rows_read"] == 1000
    written = sum(file.stat().st_size for file in (tmp_path / "rows").glob("*.parquet"))
    assert write["engine"]["bytes_written"] == written
    assert write["engine"]["shuffle_bytes"] > 1000
    assert write["engine"]["spilled_bytes"] == 0


def test_a_folder_that_is_not_there_is_said_before_anything_is_done(tmp_path: Path) -> None:
    target = tmp_path / "no" / "profile.json"
    with pytest.raises(DefinitionError, match="nothing was read") as caught:
        profiling.Profile(target, lambda _: None).__enter__()
    assert caught.value.exit_code == 3


def test_a_profile_that_cannot_be_written_does_not_hide_what_happened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "profile.json"

    def fail() -> None:
        with profiling.Profile(target, lambda _: None):
            target.mkdir()
            message = "what happened"
            raise ValueError(message)

    with pytest.raises(ValueError, match="what happened"):
        fail()
    assert "The profile was not written" in capsys.readouterr().err
