"""The uploader: every file ends confirmed or with a reason, and none goes twice."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spark_profiles.audit.records import FileRecord, FileStatus, RejectedLine
from spark_profiles.delivery import upload
from spark_profiles.delivery.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.emulator import server
from spark_profiles.emulator.faults import Fault
from spark_profiles.errors import IntegrityError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spark_profiles.emulator.server import Emulator

SECRET = "api:very-secret-token"


class Shelf:
    """Three files in memory, and a journal that keeps every state it was told."""

    def __init__(self, *, lines: int = 3) -> None:
        self.content = {f"f{n}.ndjson": self._file(n, lines) for n in range(3)}
        self.states = {
            name: FileRecord(name, "UPSERT", lines, len(body), hashlib.sha256(body).hexdigest())
            for name, body in self.content.items()
        }
        self.history: list[dict[str, FileStatus]] = []
        self.rejected: list[RejectedLine] = []

    @staticmethod
    def _file(number: int, lines: int) -> bytes:
        commands = [
            {
                "operation": "UPSERT", "compartment_id": "1", "user_account_id": f"{number}-{n}",
                "user_profile": {"$compartment_id": 1, "$user_account_id": f"{number}-{n}"},
            }
            for n in range(lines)
        ]  # fmt: skip
        return "".join(json.dumps(command) + "\n" for command in commands).encode()

    def record(self, files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        self.rejected += rejected
        self.states.update({file.name: file for file in files})
        self.history.append({name: file.status for name, file in self.states.items()})

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.content[name])


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with server.running(tmp_path / "datamart.sqlite", token=SECRET) as running:
        yield running


@pytest.fixture
def datamart(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Datamart]:
    monkeypatch.setenv("TOKEN", SECRET)
    connection = Connection(emulator.url, "1500", Token.parse("env:TOKEN"))
    retry = RetryPolicy(attempts=4, first_wait_s=0.01)
    with Datamart(connection, retry=retry, sleep=lambda _: None, jitter=lambda: 0.0) as client:
        yield client


def send(shelf: Shelf, datamart: Datamart) -> list[FileStatus]:
    done = upload.upload(
        list(shelf.states.values()),
        datamart=datamart,
        open_file=shelf.open,
        import_name="run 1",
        journal=shelf,
        settings=upload.Settings(poll_every_s=0.01, settle_s=0.05),
    )
    assert {file.name: file for file in done} == shelf.states
    return [file.status for file in done]


ALL_CONFIRMED = [FileStatus.CONFIRMED] * 3


def accounts(emulator: Emulator) -> list[str]:
    return [account for _, account, _ in emulator.store.profiles()]


def test_every_file_is_sent_once_and_confirmed(emulator: Emulator, datamart: Datamart) -> None:
    shelf = Shelf()
    assert send(shelf, datamart) == ALL_CONFIRMED
    assert len(accounts(emulator)) == 9
    assert len(emulator.store.executions()) == 3
    assert len({file.document_import_id for file in shelf.states.values()}) == 1


def test_a_state_is_on_record_before_the_step_it_allows(
    emulator: Emulator, datamart: Datamart
) -> None:
    shelf = Shelf()
    seen = []
    opened = shelf.open

    def watching(name: str) -> io.BytesIO:
        seen.append(shelf.states[name].status)
        return opened(name)

    shelf.open = watching  # type: ignore[method-assign]
    send(shelf, datamart)
    assert seen == [FileStatus.SENDING] * 3


def test_final_files_are_left_alone(emulator: Emulator, datamart: Datamart) -> None:
    shelf = Shelf()
    send(shelf, datamart)
    shelf.content.clear()  # not read again
    assert send(shelf, datamart) == ALL_CONFIRMED
    assert len(emulator.store.executions()) == 3


def test_a_second_execution_that_a_stop_left_behind_is_cancelled(
    emulator: Emulator, datamart: Datamart
) -> None:
    shelf = Shelf()
    send(shelf, datamart)
    file = shelf.states["f0.ndjson"]
    shelf.states[file.name] = replace(file, attempts=2)
    emulator.faults.execution_seconds = 60
    body = shelf.content[file.name]
    late = datamart.post_execution(str(file.document_import_id), lambda: [body], len(body))
    assert send(shelf, datamart) == ALL_CONFIRMED
    assert datamart.execution(str(file.document_import_id), late.id).status == "CANCELED"


def test_what_is_unforeseen_is_looked_up_before_it_is_sent_again(
    emulator: Emulator, datamart: Datamart, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf()
    post = datamart.post_execution

    def taken_but(*args: object, **named: object) -> None:
        post(*args, **named)  # type: ignore[arg-type]
        raise AttributeError

    with monkeypatch.context() as broken:
        broken.setattr(datamart, "post_execution", taken_but)
        with pytest.raises(AttributeError):
            send(shelf, datamart)
    assert send(shelf, datamart) == ALL_CONFIRMED
    assert len(emulator.store.executions()) == 3


@pytest.mark.parametrize(
    ("status", "execution", "attempts", "is_doubtful"),
    [
        (FileStatus.WRITTEN, None, 0, False),
        (FileStatus.WRITTEN, None, 1, True),  # looked for in vain: its execution may show late
        (FileStatus.SENDING, None, 1, False),
        (FileStatus.SENDING, None, 2, True),
        (FileStatus.CONFIRMED, "7", 1, False),
        (FileStatus.CONFIRMED, "7", 2, True),
        (FileStatus.FAILED, None, 1, True),
        (FileStatus.FAILED, "7", 1, False),
    ],
)
def test_a_file_is_doubtful_if_the_platform_may_have_more_of_it_than_is_known(
    status: FileStatus, execution: str | None, attempts: int, is_doubtful: bool
) -> None:
    file = next(iter(Shelf().states.values()))
    file = replace(file, status=status, execution_id=execution, attempts=attempts)
    assert file.is_doubtful == is_doubtful


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("recorded", [1, 2])
def test_a_stop_after_any_record_is_continued(
    emulator: Emulator, datamart: Datamart, recorded: int, arrived: bool
) -> None:
    class StopError(Exception):
        pass

    shelf = Shelf()
    keep = shelf.record

    def stopping(files: Sequence[FileRecord], rejected: Sequence[RejectedLine] = ()) -> None:
        keep(files, rejected)
        if len(shelf.history) == recorded:
            raise StopError

    shelf.record = stopping  # type: ignore[method-assign]
    with pytest.raises(StopError):
        send(shelf, datamart)
    shelf.record = keep  # type: ignore[method-assign]
    sending = [f for f in shelf.states.values() if f.status is FileStatus.SENDING]
    if arrived and sending:  # the body went out before the stop, the answer did not come back
        body = shelf.content[sending[0].name]
        import_id = str(sending[0].document_import_id)
        datamart.post_execution(import_id, lambda: [body], len(body))
    assert send(shelf, datamart) == ALL_CONFIRMED
    assert len(accounts(emulator)) == 9
    assert len(emulator.store.executions()) == 3


def test_a_lost_answer_is_looked_up_not_sent_again(emulator: Emulator, datamart: Datamart) -> None:
    emulator.faults.lose_answers = 2
    assert send(Shelf(), datamart) == ALL_CONFIRMED
    assert len(emulator.store.executions()) == 3


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_passing_faults_are_waited_out(emulator: Emulator, datamart: Datamart, status: int) -> None:
    emulator.faults.add(Fault("status", on="upload", status=status, times=2))
    assert send(Shelf(), datamart) == ALL_CONFIRMED
    assert len(emulator.store.executions()) == 3


def test_lasting_faults_end_with_a_clear_error_and_can_be_continued(
    emulator: Emulator, datamart: Datamart
) -> None:
    shelf = Shelf()
    emulator.faults.fail_requests = 100
    with pytest.raises(UnavailableError) as caught:
        send(shelf, datamart)
    assert caught.value.exit_code == 7
    emulator.faults.fail_requests = 0
    assert send(shelf, datamart) == ALL_CONFIRMED


def test_an_altered_file_is_never_accepted(emulator: Emulator, datamart: Datamart) -> None:
    shelf = Shelf()
    shelf.content["f1.ndjson"] = shelf.content["f1.ndjson"].replace(b"1-0", b"9-9", 1)
    with pytest.raises(IntegrityError) as caught:
        send(shelf, datamart)
    assert caught.value.exit_code == 11
    taken = {emulator.store.input_file(e["id"]).read_bytes() for e in emulator.store.executions()}
    assert taken == {shelf.content["f0.ndjson"], shelf.content["f2.ndjson"]}


def test_failures_are_never_taken_for_success(emulator: Emulator, datamart: Datamart) -> None:
    shelf = Shelf()
    emulator.faults.fail_executions = 1  # of whichever file comes first
    emulator.faults.rejects = lambda command: command["user_account_id"].endswith("-2")
    assert sorted(send(shelf, datamart)) == [
        FileStatus.FAILED,
        FileStatus.PARTIAL,
        FileStatus.PARTIAL,
    ]
    partial = [file for file in shelf.states.values() if file.status is FileStatus.PARTIAL]
    assert sorted((line.file, line.line_number) for line in shelf.rejected) == [
        (file.name, 3) for file in partial
    ]
    assert {file.message for file in partial} == {"2 taken and 1 failed of 3 lines"}


def test_totals_that_disagree_with_the_file_confirm_nothing(
    emulator: Emulator, datamart: Datamart
) -> None:
    shelf = Shelf()
    shelf.states["f0.ndjson"] = replace(shelf.states["f0.ndjson"], lines=4)
    assert send(shelf, datamart)[0] is FileStatus.PARTIAL


def test_a_refused_token_is_named_by_its_reference_only(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "api:wrong-and-secret")
    connection = Connection(emulator.url, "1500", Token.parse("env:TOKEN"))
    with Datamart(connection) as client, pytest.raises(RefusedError) as caught:
        send(Shelf(), client)
    assert caught.value.exit_code == 8
    assert "secret" not in f"{caught.value!r} {caught.value} {connection!r}"
