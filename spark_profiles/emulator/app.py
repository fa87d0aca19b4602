"""The routes of the API, with authorisation and faults in front; an ASGI application."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from spark_profiles.emulator import envelope, openapi
from spark_profiles.emulator.control import Control
from spark_profiles.emulator.faults import Fault, Faults, route_of
from spark_profiles.emulator.imports import Imports
from spark_profiles.emulator.page import Page
from spark_profiles.emulator.people import People

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from starlette.responses import Response

    from spark_profiles.emulator.store import Store

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

_TRANSPORT = "emulator.transport"
_BEFORE = {"status", "reset_before_body", "reset_in_body", "reset_after_body", "restart"}
_AFTER = {"lost_answer", "garbled"}


class Protocol(H11Protocol):
    """Uvicorn's own protocol, which also tells the application its connection, to break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        inner = self.app

        async def told(scope: Any, receive: Any, send: Any) -> None:
            await inner({**scope, _TRANSPORT: transport}, receive, send)

        self.app = told


def application(
    store: Store, *, token: str | None, faults: Faults, restart: Callable[[], None]
) -> Application:
    """The application. `token` None accepts any Authorization; `restart` is a fault of its own."""
    imports, people, control = Imports(store), People(store), Control(store, faults)
    page = Page(store)
    d = "/v1/datamarts/{datamart}"
    i = d + "/document_imports"
    e = i + "/{id}/executions"
    point = d + "/user_points/{selector}"
    get, post = ["GET"], ["POST"]
    routes = [
        Route("/", page.whole),
        Route("/_emulator/executions", page.executions),
        Route("/_emulator/faults", control.faults, methods=["GET", "POST", "DELETE"]),
        Route("/_emulator/behaviour", control.behaviour),
        Route("/openapi.json", openapi.served),
        Route(i, imports.create, methods=post),
        Route(i, imports.list, methods=get),
        Route(i + "/{id}", imports.one, methods=["GET", "PUT", "DELETE"]),
        Route(e, imports.upload, methods=post),
        Route(e, imports.executions, methods=get),
        Route(e + "/{number}", imports.execution, methods=get),
        Route(e + "/{number}/action", imports.act, methods=post),
        Route("/v1/data_file/data", imports.data_file, methods=get),
        Route(d + "/compartments", people.compartments, methods=get),
        Route(point + "/user_profiles", people.profiles, methods=get),
        Route(point + "/user_profiles/{document:path}", people.profiles, methods=get),
        Route(point + "/user_identifiers", people.identifiers, methods=get),
        Route(d + "/user_identifiers/{selector:path}", people.identifiers, methods=get),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: envelope.error})

    async def guarded(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await app(scope, receive, send)
            return
        route = route_of(scope["method"], scope["path"])
        if slow := faults.take({"latency"}, route):
            await asyncio.sleep(slow.seconds)
        if fault := faults.take(_BEFORE, route):
            if fault.kind == "restart":
                threading.Thread(target=restart).start()
                await asyncio.Event().wait()  # it ends with the server
            await _fail(fault, scope, receive, send)
            return
        if not _is_allowed(scope, token):
            await envelope.failure(401, "Not authenticated")(scope, receive, send)
            return
        if not _is_known(scope["path"], store.behaviour.datamarts):
            await envelope.failure(404, envelope.NOT_FOUND)(scope, receive, send)
            return
        await app(scope, receive, _spoiling(faults, route, scope, send))

    return guarded


def _is_allowed(scope: Message, token: str | None) -> bool:
    given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    return bool(given) and token in (None, given)


def _is_known(path: str, datamarts: Sequence[str]) -> bool:
    """Whether the path is of a datamart that is there, or of none."""
    named = re.match(r"/v1/datamarts/([^/]*)", path)
    return not (datamarts and named) or named[1] in datamarts


async def _fail(fault: Fault, scope: Message, receive: Receive, send: Send) -> None:
    """Let the request fail before it is looked at."""
    if fault.kind == "status":
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        answer: Response = envelope.failure(fault.status, "a fault on demand", headers)
        await answer(scope, receive, send)
        return
    if fault.kind == "reset_in_body":
        await receive()
    elif fault.kind == "reset_after_body":
        while (await receive()).get("more_body"):
            pass
    _reset(scope)


def _spoiling(faults: Faults, route: str, scope: Message, send: Send) -> Send:
    """Send the answer, unless a fault is due for it: the request was taken all the same."""
    spoiled: list[Fault] = []

    async def sending(message: Message) -> None:
        is_begin = message["type"] == "http.response.start"
        if is_begin and message["status"] < 300 and (fault := faults.take(_AFTER, route)):  # noqa: PLR2004
            spoiled.append(fault)
            if fault.kind == "lost_answer":
                _reset(scope)
            else:
                headers = [(b"content-type", b"text/html"), (b"content-length", b"6")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"<html>"})
        if not spoiled:
            await send(message)

    return sending


def _reset(scope: Message) -> None:
    """Break the connection as a machine that dies does: with a reset, not with a farewell."""
    transport = scope[_TRANSPORT]
    with_linger = transport.get_extra_info("socket")
    with_linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
