"""Uploads without Spark: the command line over audit tables that delta-rs reads and writes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import written_run
from import_files import wait_for

from spark_profiles import cli
from spark_profiles.audit.delta_rs import DeltaTables
from spark_profiles.delivery import courier
from spark_profiles.emulator import server
from spark_profiles.emulator.faults import Fault
from spark_profiles.errors import DefinitionError, IntegrityError, UnsettledError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from written_run import WrittenRun

    from spark_profiles.emulator.server import Emulator

Run = Callable[..., tuple[int, str, str]]
SECRET = "api:Zq7-very-secret-token-of-this-test"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with server.running(tmp_path / "datamart.sqlite", token=SECRET) as running:
        yield running


@pytest.fixture
def written(tmp_path: Path) -> WrittenRun:
    return written_run.write(tmp_path, files=5)


@pytest.fixture
def run(
    written: WrittenRun,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """The command line in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("UPLOAD_TOKEN", SECRET)

    def run(*more: str) -> tuple[int, str, str]:
        code = cli.guarded(cli.app, written.command(emulator.url, *more)[3:])
        told = capsys.readouterr()
        assert SECRET not in told.out + told.err
        return code, told.out, " ".join(told.err.split())

    return run


def held(emulator: Emulator) -> dict[str, Any]:
    return {account: payload for _, account, payload in emulator.store.profiles()}


def test_compressed_files_are_not_sent(written: WrittenRun, run: Run, emulator: Emulator) -> None:
    tables = DeltaTables(str(written.audit))
    packed = [{**row, "file": row["file"] + ".gz"} for row in written.rows("files")]
    tables.put_records("files", written_run.RUN_ID, packed)
    manifest = written.output / "manifest.json"
    manifest.write_text(manifest.read_text().replace('.ndjson"', '.ndjson.gz"'))
    code, _, err = run()
    assert (code, "files built with --gzip" in err) == (3, True)
    assert [row["status"] for row in written.rows("runs")] == ["written"]
    assert not emulator.store.executions()


def test_an_upload_needs_no_spark_and_is_recorded(
    emulator: Emulator, written: WrittenRun, run: Run
) -> None:
    script = (
        "import sys; sys.modules['pyspark'] = None\n"
        "from spark_profiles import cli; sys.exit(cli.guarded(cli.app, sys.argv[1:]))"
    )
    command = written.command(emulator.url, "--json")
    command[1:3] = ["-c", script]
    process = written_run.start(command, SECRET)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert (told["files"], told["confirmed"], told["confirmed_lines"]) == (5, 5, 15)
    assert held(emulator) == written.profiles()
    events = [json.loads(line) for line in err.splitlines()]
    assert events[-1]["confirmed"] == 5
    assert events[-1]["bytes_sent"] == sum(map(len, written.bodies()))
    assert {row["status"] for row in written.rows("files")} == {"confirmed"}
    (recorded,) = written.rows("runs")
    # The merge into `delivered` is left to Spark, which settles a run that is `uploading`.
    assert recorded["status"] == "uploading"
    assert recorded["document_import_id"] == "1"
    # Again: nothing is read, nothing is asked.
    for file in written.output.rglob("*.ndjson"):
        file.unlink()
    assert run()[0] == 0
    assert len(emulator.store.executions()) == 5


def test_a_dry_run_sends_nothing(emulator: Emulator, written: WrittenRun, run: Run) -> None:
    code, out, _ = run("--dry-run")
    assert code == 0
    assert out.count("written    send") == 5
    assert "Nothing was sent" in out
    told = json.loads(run("--dry-run", "--json")[1])
    assert told["bytes_to_send"] == sum(map(len, written.bodies()))
    assert emulator.store.imports() == []


def test_a_test_line_is_sent_on_its_own(emulator: Emulator, written: WrittenRun, run: Run) -> None:
    code, out, _ = run("--test-line", "3-1", "--json")
    told = json.loads(out)
    assert (code, told["status"], told["succeeded"], told["line"]) == (0, "SUCCEEDED", 1, 2)
    assert "n" in told["profile_members"]
    assert held(emulator) == {"3-1": written.profiles()["3-1"]}
    code, _, err = run("--test-line", "nobody-at-all")
    assert (code, "nobody-at-all" in err) == (4, False)
    emulator.faults.rejects = lambda _: True
    code, out, _ = run("--test-line", "first")
    assert (code, "rejected on demand" in out) == (9, True)


def test_failures_are_recorded_and_end_with_9(
    emulator: Emulator, written: WrittenRun, run: Run
) -> None:
    emulator.faults.rejects = lambda command: command["user_account_id"] == "2-1"
    emulator.faults.add(Fault("failed", after=3))
    code, _, err = run("--parallel", "1")
    assert code == 9
    assert "2 taken and 1 failed of 3 lines" in err
    assert Counter(row["status"] for row in written.rows("files")) == {
        "confirmed": 3, "partial": 1, "failed": 1,
    }  # fmt: skip
    (line,) = written.rows("rejected_lines")
    assert line["line_number"] == 2


def test_a_cancelled_upload_ends_with_reasons(
    emulator: Emulator, written: WrittenRun, run: Run
) -> None:
    emulator.faults.add(Fault("stuck", times=0))
    process = written_run.start(written.command(emulator.url, "--parallel", "1"), SECRET)
    wait_for(lambda: len(emulator.store.executions()) == 5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "5 executions not ended" in " ".join(err.split())
    code, _, err = run("--cancel")
    assert code == 9
    assert {row["message"] for row in written.rows("files")} == {"CANCELED: no message"}
    assert held(emulator) == {}


def test_ctrl_c_takes_the_answers_in_flight_and_says_what_is_left(
    emulator: Emulator, written: WrittenRun, run: Run
) -> None:
    emulator.faults.add(Fault("latency", on="upload", seconds=0.5, times=0))
    process = written_run.start(written.command(emulator.url, "--parallel", "2"), SECRET)
    wait_for(lambda: len(emulator.store.executions()) >= 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "files to send" in err
    stood = Counter(row["status"] for row in written.rows("files"))
    assert stood["sending"] == 0, "no file is left of unknown fate"
    assert stood["sent"] + stood["confirmed"] == len(emulator.store.executions())
    assert stood["written"] > 0
    emulator.faults.clear()
    assert run()[0] == 0
    assert held(emulator) == written.profiles()
    assert len(emulator.store.executions()) == 5


@pytest.mark.parametrize("where", ["a byte", "a line less", "gone"])
def test_a_file_altered_after_the_manifest_is_never_accepted(
    emulator: Emulator, written: WrittenRun, run: Run, where: str
) -> None:
    file = sorted(written.output.rglob("*.ndjson"))[2]
    body = bytearray(file.read_bytes())
    body[body.index(b'"n"') + 5] ^= 1
    {
        "a byte": lambda: file.write_bytes(bytes(body)),
        "a line less": lambda: file.write_bytes(bytes(body[: body.index(b"\n") + 1])),
        "gone": file.unlink,
    }[where]()
    code, _, err = run()
    assert code == 11, err
    assert file.name in err
    taken = {emulator.store.input_file(e["id"]).read_bytes() for e in emulator.store.executions()}
    assert taken <= set(written.bodies())
    assert written.bodies()[2] not in taken


def test_a_manifest_of_another_run_is_refused(written: WrittenRun) -> None:
    manifest = written.output / "manifest.json"
    listed = json.loads(manifest.read_text())
    listed["files"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(listed))
    with pytest.raises(IntegrityError, match="manifest"):
        courier.waiting(DeltaTables(str(written.audit)), "shop")


def test_two_uploads_of_one_run_do_not_both_go_on(written: WrittenRun) -> None:
    tables = DeltaTables(str(written.audit))
    found = courier.waiting(tables, "shop")
    assert found
    first, second = (courier._Alone(tables, found.run_id, "shop") for _ in range(2))
    first.record(found.files)
    sending = [f.__class__(**{**vars(f), "attempts": 1}) for f in found.files]
    first.record(sending)
    with pytest.raises(UnsettledError, match="Another upload"):
        second.record(found.files)


def test_nothing_waiting_and_no_tables_are_said(emulator: Emulator, written: WrittenRun) -> None:
    tables = DeltaTables(str(written.audit))
    assert courier.waiting(tables, "other") is None
    with pytest.raises(DefinitionError, match="no audit tables"):
        DeltaTables(str(written.audit / "nowhere")).rows("runs")
    with pytest.raises(DefinitionError, match="path"):
        DeltaTables("main.audit")


@pytest.mark.parametrize(("ending", "code"), [("well", 0), ("refused", 8), ("a fault of ours", 1)])
def test_the_token_shows_nowhere(
    emulator: Emulator, written: WrittenRun, ending: str, code: int
) -> None:
    """Debug logs of all libraries, the process list, the tables, the files: all are searched."""
    emulator.faults.add(Fault("latency", seconds=0.4, times=3))
    if ending == "refused":
        emulator.faults.add(Fault("status", status=403, times=0, on="upload"))
    emulator.faults.add(Fault("status", status=500, times=2, on="upload"))
    broken = "sending.Sending._arrived = None" if ending == "a fault of ours" else ""
    script = (
        "import logging, sys; logging.basicConfig(level=1)\n"
        f"from spark_profiles.delivery import sending; {broken}\n"
        "from spark_profiles import cli; sys.exit(cli.guarded(cli.app, sys.argv[1:]))"
    )
    command = written.command(emulator.url, "--json")
    command[1:3] = ["-c", script]
    process = written_run.start(command, SECRET)
    wait_for(lambda: emulator.store.imports() or process.poll() is not None)
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err[-2000:]
    assert ("Traceback" in err) == (code == 1)
    assert "httpcore" in err, "the logs of the libraries are on"
    mentions = [SECRET, SECRET.removeprefix("api:")]
    texts = [listed.stdout, out, err]
    texts += [
        path.read_bytes().decode("utf-8", "replace")
        for folder in (written.audit, written.output)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert not [m for m in mentions for text in texts if m in text]
