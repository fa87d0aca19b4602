"""Serving the emulator: in the foreground for a person, in threads for demos and tests."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
import time
from typing import TYPE_CHECKING

from spark_profiles.errors import PlatformError, Problem

try:
    import uvicorn

    from spark_profiles.emulator.app import Protocol, application
except ImportError as error:
    _remedy = "pip install 'spark-profiles[emulator]'"
    _message = "The emulator needs packages that are not installed"
    raise PlatformError(
        _message, Problem(str(error.name), "not installed", remedy=_remedy)
    ) from error

from spark_profiles.emulator.behaviour import Behaviour
from spark_profiles.emulator.faults import Fault, Faults
from spark_profiles.emulator.store import PENDING, Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spark_profiles.emulator.rules import Json

HOST = "127.0.0.1"
PAUSE_S = 0.15
"""How long no upload arrives before executions begin in an order other than that of arrival."""


class Emulator:
    """A server of this process, on 127.0.0.1. `running` starts one for a block."""

    def __init__(
        self,
        store: Path,
        *,
        port: int = 0,
        token: str | None = None,
        behaviour: Behaviour = Behaviour(),  # noqa: B008  frozen
        seed: int = 0,
    ) -> None:
        self._path, self._port, self._token, self._behaviour = store, port, token, behaviour
        self.faults = Faults(seed=seed)
        self._is_running, self._changing = False, threading.RLock()

    @property
    def url(self) -> str:
        """Where it listens; the same after a restart."""
        return f"http://{HOST}:{self._port}"

    @property
    def store(self) -> Store:
        """What it holds; while it restarts, this waits."""
        with self._changing:
            return self._store

    def start(self) -> None:
        """Listen and work.

        Raises:
            PlatformError: the port is occupied; nothing was started.
        """
        listening = _listen(self._port)
        self._port = listening.getsockname()[1]
        self._store = Store(self._path, behaviour=self._behaviour)
        app = application(self._store, token=self._token, faults=self.faults, restart=self.restart)
        config = uvicorn.Config(
            app, http=Protocol, log_level="critical", log_config=None, lifespan="off"
        )
        self._server = _Server(config)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True),
            threading.Thread(target=self._work, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._is_running = True

    def stop(self) -> None:
        """Break off what goes on, and close; the store keeps what was taken."""
        with self._changing:
            self._is_running = False
            self._server.end()
            self._stopping.set()
            self._store.arrived.set()
            for thread in self._threads:
                thread.join(timeout=10)
            self._store.close()

    def restart(self) -> None:
        """Stop and start at the same address, with what was stored."""
        with self._changing:
            if self._is_running:
                self.stop()
                self.start()

    def profile(self, datamart: str, compartment: str, account: str) -> Json | None:
        """The profile of an account in a compartment, without the system's timestamps."""
        for one_compartment, one_account, payload in self.store.profiles(datamart):
            if (one_compartment, one_account) == (compartment, account):
                return payload
        return None

    def _work(self) -> None:
        """Take executions to their end until told to stop."""
        stuck: set[int] = set()
        store = self._store
        while not self._stopping.is_set():
            rows = store.open_executions()
            now = store.now_ms()
            for row in self._in_order(rows, now):
                if self._stopping.is_set():
                    return
                waited_s = (now - (row["started"] or row["created"])) / 1000
                self._advance(row["id"], row["status"], waited_s, stuck)
            store.arrived.wait(0.02 if rows else 1.0)
            store.arrived.clear()

    def _in_order(self, rows: list[sqlite3.Row], now: int) -> list[sqlite3.Row]:
        """Those of the open executions to look at now: begun ones, then the others in order.

        An order other than that of arrival needs several that wait. So none begins until uploads
        pause, nor before the last of them has been pending for `execution_seconds`.
        """
        order = self._behaviour.execution_order
        if order == "oldest first" or not rows:
            return rows
        pause_ms = 1000 * max(PAUSE_S, self.faults.execution_seconds)
        has_paused = now - max(row["created"] for row in rows) >= pause_ms
        due = [row for row in rows if has_paused or row["status"] != PENDING]
        rank = self.faults.rank if order == "drawn" else int.__neg__
        return sorted(due, key=lambda row: (row["started"] or math.inf, rank(row["id"])))

    def _advance(self, number: int, status: str, waited_s: float, stuck: set[int]) -> None:
        """One step of one execution, if it is time."""
        faults = self.faults
        if status == PENDING and number not in stuck and faults.take({"stuck"}):
            stuck.add(number)
        if number in stuck and any(one["kind"] == "stuck" for one in faults.armed()):
            return
        stuck.discard(number)
        if waited_s < faults.execution_seconds:
            return
        if status == PENDING and (not self._store.start(number) or faults.execution_seconds):
            return
        if faults.take({"lost_execution"}):
            self._store.forget(number)
        elif faults.take({"failed"}):
            self._store.fail(number, "failed on demand")
        else:
            self._store.apply(number, faults)


class _Server(uvicorn.Server):
    """Ends at once when it is told to, and breaks off what goes on, as a machine that stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = threading.Event()

    def end(self) -> None:
        """End, from any thread."""
        self._ended.set()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks for it ten times a second."""
        counter = 0
        while not self._ended.is_set():
            await self.on_tick(counter)
            counter += 1
            await asyncio.to_thread(self._ended.wait, 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what listens, break off what is connected."""
        for one in (*self.servers, *(sockets or ())):
            one.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


@contextlib.contextmanager
def running(
    store: Path,
    *,
    port: int = 0,
    token: str | None = None,
    behaviour: Behaviour = Behaviour(),  # noqa: B008  frozen
    seed: int = 0,
) -> Iterator[Emulator]:
    """An emulator on 127.0.0.1, in threads of this process, for as long as the block lasts.

    Args:
        store: the SQLite file of the datamart; made where it is not there.
        port: 0 takes any free one.
        token: the one Authorization to accept; None accepts any.
        behaviour: what the documentation leaves open.
        seed: of what is drawn.

    Raises:
        PlatformError: the port is occupied; nothing was started.
    """
    emulator = Emulator(store, port=port, token=token, behaviour=behaviour, seed=seed)
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()


def serve(
    store: Path,
    *,
    port: int,
    tell: Callable[[str], None],
    behaviour: Behaviour = Behaviour(),  # noqa: B008  frozen
    faults: Sequence[Fault] = (),
    seed: int = 0,
    execution_seconds: float = 0.0,
) -> None:
    """Serve until interrupted; `tell` is called with the address once it listens."""
    with running(store, port=port, behaviour=behaviour, seed=seed) as emulator:
        emulator.faults.execution_seconds = execution_seconds
        emulator.faults.add(*faults)
        tell(emulator.url)
        while True:
            time.sleep(3600)


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio sends small answers at once, not after 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        problem = Problem(f"{HOST}:{port}", "occupied", "a free port", "--port 0 takes any")
        message = "The emulator cannot listen"
        raise PlatformError(message, problem) from error
    listening.listen(128)
    return listening
