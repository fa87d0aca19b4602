"""One step of a history in a process of its own, which kills itself where it is told to.

The server imports everything once and forks a process for each step; that process opens its own
session. The engine lives in the same process, so that SIGKILL ends driver and engine together.

An effect is a commit of an audit table, a step of the store, or a request to the API. Before and
after each lies a boundary; the process reports it in a file and dies there if that was asked.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pysail.spark
import pyspark.sql.connect.session  # noqa: F401  imported once, before the forks

from histories import mutations
from spark_profiles import stores
from spark_profiles.aftercare import erase, rollback
from spark_profiles.audit import guard
from spark_profiles.audit.delta_rs import DeltaTables
from spark_profiles.audit.tables import Audit
from spark_profiles.definition import loader
from spark_profiles.delivery import datamart, sending
from spark_profiles.engine import session
from spark_profiles.errors import SparkProfilesError
from spark_profiles.lines import changes
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_S = 100
UNSENT = {"no connection": httpx.ConnectError, "timeout before": httpx.ReadTimeout}
doing: ContextVar[str] = ContextVar("doing", default="")
"""What the effect is for, such as the state that is recorded."""


class Boundaries:
    """Counts the boundaries of this process, and ends it at one of them."""

    def __init__(self, log: Path, *, kill: int | str | None, stop: str | None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._kill, self._stop, self._lock = kill, stop, threading.Lock()
        self._reached: list[str] = []

    @contextlib.contextmanager
    def around(self, effect: str) -> Iterator[None]:
        self.reach(f"before {effect}")
        yield
        self.reach(f"after {effect}")

    def reach(self, name: str) -> None:
        with self._lock:
            self._reached.append(name)
            os.write(self._log, f"{name}\n".encode())
            occurrence = f"{name} #{self._reached.count(name)}"
            if self._kill in (len(self._reached), occurrence):
                os.kill(os.getpid(), signal.SIGKILL)
            if self._stop == occurrence:
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.5)  # the signal may reach this thread last


def hook(spark: Any, boundaries: Boundaries) -> None:
    """Put boundaries around the effects on Delta tables and on the store."""

    def around(owner: Any, name: str, effect: Callable[..., str | None]) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*args: Any, **kwargs: Any) -> Any:
            told = effect(*args, **kwargs)
            with boundaries.around(told) if told else contextlib.nullcontext():
                return inner(*args, **kwargs)

        setattr(owner, name, outer)

    writer = type(spark.range(1).write)
    around(writer, "save", lambda _, path, *args, **kwargs: commit("write", path))
    if not session.engine(spark).startswith("Sail"):  # there `text` is a call of `save`
        around(writer, "text", lambda _, path: commit("write", path))
    around(type(spark), "sql", statement)
    for name, verb in {"_write": "write", "add_check": "constrain", "merge_lease": "merge"}.items():
        around(DeltaTables, name, functools.partial(record, verb))
    around(DeltaTables, "create", creation)
    around(stores.Folder, "remove", lambda folder, name="": removal(folder, name))
    around(stores.Folder, "remove_file", lambda _, name: f"remove {place(name)}")
    around(stores.Folder, "move", lambda _, name, *to: f"move {place(name)}")
    around(stores.Folder, "replace", lambda _, name, chunks: f"write {place(name)}")
    around(stores.Folder, "become", lambda *_: "let the folder of a run appear")
    name_what_is_recorded()


def commit(verb: str, location: str) -> str:
    """A write by Spark."""
    if Path(location).parent.name != "audit":
        return "write the text of import files"
    return " ".join(filter(None, [verb, Path(location).name, doing.get()]))


def record(verb: str, tables: DeltaTables, name: str, *args: Any, **kwargs: Any) -> str:
    """A write by delta-rs."""
    return commit(verb, f"{tables.location}/{'leases' if verb == 'merge' else name}")


def creation(tables: DeltaTables, name: str, *args: Any, **kwargs: Any) -> str | None:
    """The creation of a table; None where it is there."""
    where = f"{tables.location}/{name}"
    return None if Path(where, "_delta_log").exists() else commit("create", where)


def statement(_: Any, text: str, *args: Any, **kwargs: Any) -> str | None:
    """A statement that changes a table; None: another one."""
    found = re.match(r"\s*(MERGE INTO|DELETE FROM|UPDATE|INSERT INTO) delta\.`([^`]+)`", text)
    return commit(found[1].split()[0].lower(), found[2]) if found else None


def place(name: str) -> str:
    """A file of a run's folder, without what differs from run to run."""
    return re.sub(r".*/file=.*", "an import file", name) or "the folder of a run"


def removal(folder: stores.Folder, name: str) -> str | None:
    """A removal; None where there is nothing to remove."""
    hidden = "hidden " if Path(folder.root).name.startswith(("_", ".")) and not name else ""
    return f"remove {place(name)}".replace("the ", f"the {hidden}") if folder.exists(name) else None


def name_what_is_recorded() -> None:
    """Let the name of a commit say what it is for."""

    def named(owner: Any, name: str, purpose: Callable[..., str]) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*args: Any, **kwargs: Any) -> Any:
            token = doing.set(purpose(*args, **kwargs))
            try:
                return inner(*args, **kwargs)
            finally:
                doing.reset(token)

        setattr(owner, name, outer)

    def of_run(_: Any, run: Any, **changed: Any) -> str:
        return f"({changed.get('status', run.status).value})"

    def of_records(_: Any, table: str, run_id: str, records: Any) -> str:
        if table == "runs":
            return doing.get()
        if table == "erasures":
            return f"({records[0]['status']})"
        states = {str(record["status"]) for record in records if "status" in record}
        if not states:
            return ""
        # How many answers are there already is a matter of time, and no name for a boundary.
        return (
            "(sending)"
            if "sending" in states
            else "(written)"
            if states == {"written"}
            else ("(answers)")
        )

    named(Audit, "_create", lambda *_: "(created)")
    named(Audit, "put_run", of_run)
    named(Audit, "put_records", of_records)
    named(Audit, "confirm", lambda *_: "(confirmed)")
    named(Audit, "doubt", lambda *_: "(in doubt)")


class AllButEmpty(tuple[str, ...]):
    """The names of all trips that a person may well accept; nobody accepts an empty source."""

    def __contains__(self, name: object) -> bool:
        return not str(name).startswith("empty:")


class Body(httpx.SyncByteStream):
    """The body of an upload, with a boundary before its last piece."""

    def __init__(self, pieces: Any, boundaries: Boundaries) -> None:
        self._pieces, self._boundaries = pieces, boundaries

    def __iter__(self) -> Iterator[bytes]:
        pieces = list(self._pieces)
        yield from pieces[:-1]
        self._boundaries.reach("in the middle of POST document_imports/N/executions")
        yield from pieces[-1:]


class Wire(httpx.HTTPTransport):
    """The real way over the socket, with boundaries around and faults on request.

    `faults` are (number of the request, kind): see `play.FAULTS`.
    """

    def __init__(
        self, boundaries: Boundaries, faults: list[tuple[int, str]], *, lose_error_files: bool
    ) -> None:
        super().__init__()
        self._boundaries, self._faults = boundaries, dict(faults)
        self._lose_error_files = lose_error_files
        self._lock, self._count = threading.Lock(), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self._count += 1
            fault = self._faults.get(self._count, "")
        route = re.sub(r"/\d+\b", "/N", request.url.path.partition("/document_imports")[2])
        name = "data_file" if "data_file" in request.url.path else f"document_imports{route}"
        with self._boundaries.around(f"{request.method} {name}"):
            return self._answer(request, fault, is_file=name == "data_file")

    def _answer(self, request: httpx.Request, fault: str, *, is_file: bool) -> httpx.Response:
        if is_file and self._lose_error_files:
            fault = "404"
        if fault in UNSENT:
            raise UNSENT[fault](fault, request=request)
        if fault.isdigit():
            return httpx.Response(int(fault), request=request)
        if request.url.path.endswith("/executions") and request.method == "POST":
            request.stream = Body(request.stream, self._boundaries)
        answer = super().handle_request(request)
        answer.read()
        if fault == "timeout after":
            raise httpx.ReadTimeout(fault, request=request)
        spoiled = {
            "502 after": httpx.Response(502, request=request),
            "garbled after": httpx.Response(200, content=b"<html>", request=request),
        }
        return spoiled.get(fault, answer)


def build_and_deliver(step: dict[str, Any], job: run.Job, client: datamart.Datamart) -> str:
    """An ordinary run."""
    done = run.run(
        job,
        loader.parse_yaml(step["definition"]),
        client,
        as_of=step["as_of"],
        data=step["data"],
        accepted=guard.Acceptance(AllButEmpty() if step["accept"] else (), "test", "drawn"),
    )
    return done.status.value


def roll_back(step: dict[str, Any], job: run.Job, client: datamart.Datamart) -> str:
    """A rollback of the newest run that was sent."""
    names = ("deletes", "moves") if step["accept"] else ()
    accepted = guard.Acceptance(names, "test", "drawn")
    done = rollback.rollback(job, step["run_id"], client, accepted=accepted)
    return done.status.value


def erase_persons(step: dict[str, Any], job: run.Job, client: datamart.Datamart) -> str:
    """An erasure of a person, or the continuation of those that were stopped."""
    erase.erase(job, step["users"], client)
    return "erased"


KINDS = {"run": build_and_deliver, "rollback": roll_back, "erase": erase_persons}


def take(step: dict[str, Any]) -> dict[str, Any]:
    """Take the step; returns how it ended."""
    folder = Path(step["folder"])
    if step["engine"] == "sail":
        spark = session.embedded_session()
    else:
        spark = session.local_session("history", cores="2", memory="1g")
    boundaries = Boundaries(Path(step["log"]), kill=step["kill"], stop=step["stop"])
    hook(spark, boundaries)
    wire = Wire(boundaries, step["faults"], lose_error_files=step["lose_error_files"])
    client = datamart.Datamart(
        datamart.Connection(step["url"], "1500", datamart.Token.parse(f"file:{folder / 'token'}")),
        transport=wire,
        retry=datamart.RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.02),
    )
    mutations.APPLY[step["mutation"]]()
    job = run.Job(
        spark=spark,
        output=str(folder / "import"),
        audit=str(folder / "audit"),
        max_bytes=1_000,
        sending=sending.Settings(poll_every_s=0.02, settle_s=0.2, record_every_s=0.0),
        policy=changes.Policy(most_rejections=1_000),  # or the last run would leave lines out
    )
    try:
        return {"ended": KINDS[step["kind"]](step, job, client)}
    except SparkProfilesError as error:
        return {"ended": error.code, "message": str(error)}


def child(step: dict[str, Any]) -> None:
    """The forked process: takes the step, writes how it ended, and is gone."""
    faulthandler.dump_traceback_later(LONGEST_S, exit=True)
    Path(step["log"]).with_suffix(".pid").write_text(str(os.getpid()), encoding="utf-8")
    with Path(step["said"]).open("ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    try:
        outcome = take(step)
    except BaseException:  # noqa: BLE001  all of it is told
        outcome = {"ended": "broken", "message": traceback.format_exc()}
    partial = Path(step["outcome"] + ".partial")
    partial.write_text(json.dumps(outcome), encoding="utf-8")
    partial.rename(step["outcome"])
    os._exit(0)


def serve() -> None:
    """A step as a line of JSON in, its exit status as a line out; one after another."""
    assert pysail.spark, "imported before the forks"
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            child(json.loads(line))
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
