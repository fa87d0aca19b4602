"""Serving the emulator: in the foreground for a person, in a thread for demos and tests."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spark_profiles.errors import PlatformError, Problem

try:
    import uvicorn

    from spark_profiles.emulator.app import Api, Faults
except ImportError as error:
    _remedy = "pip install 'spark-profiles[emulator]'"
    _message = "The emulator needs packages that are not installed"
    raise PlatformError(
        _message, Problem(str(error.name), "not installed", remedy=_remedy)
    ) from error

from spark_profiles.emulator.rules import Behaviour
from spark_profiles.emulator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    url: str
    store: Store
    faults: Faults


@contextlib.contextmanager
def running(
    store: Path,
    *,
    port: int = 0,
    token: str | None = None,
    behaviour: Behaviour = Behaviour(),  # noqa: B008  frozen
) -> Iterator[Emulator]:
    """An emulator on 127.0.0.1, in threads of this process, for as long as the block lasts.

    Args:
        store: the SQLite file of the datamart; made where it is not there.
        port: 0 takes any free one.
        token: the one Authorization to accept; None accepts any.
        behaviour: what the documentation leaves open.

    Raises:
        PlatformError: the port is occupied; nothing was started.
    """
    listening = _listen(port)
    datamart = Store(store, behaviour=behaviour)
    faults = Faults()
    api = Api(datamart, token=token, faults=faults)
    config = uvicorn.Config(api.application(), log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    stopping = threading.Event()
    threads = [
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True),
        threading.Thread(target=_work, args=(datamart, faults, stopping), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield Emulator(f"http://{HOST}:{listening.getsockname()[1]}", datamart, faults)
    finally:
        server.should_exit = True
        stopping.set()
        for thread in threads:
            thread.join(timeout=10)
        datamart.close()


def serve(store: Path, *, port: int, tell: Callable[[str], None]) -> None:
    """Serve until interrupted; `tell` is called with the address once it listens."""
    with running(store, port=port) as emulator:
        tell(emulator.url)
        threading.Event().wait()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
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


def _work(store: Store, faults: Faults, stopping: threading.Event) -> None:
    """Apply executions one after another, oldest first, until told to stop."""
    while not stopping.wait(0.02):
        number = store.next_pending()
        if number is None:
            continue
        time.sleep(faults.execution_seconds)
        if not store.start(number):
            continue
        time.sleep(faults.execution_seconds)
        if faults.take("fail_executions"):
            store.fail(number, "failed on demand")
        else:
            store.apply(number, rejects=faults.rejects)
