"""The routes of the API, as documented; a Starlette application over a `Store`."""

from __future__ import annotations

import asyncio
import html
import json
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, MutableMapping
    from pathlib import Path

    from starlette.requests import Request

    from spark_profiles.emulator.store import Store

    Json = dict[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

MIME_TYPES = {"APPLICATION_X_NDJSON": "application/x-ndjson", "TEXT_CSV": "text/csv"}
DOCUMENT_TYPES = {
    "USER_ACTIVITY",
    "USER_SEGMENT",
    "USER_PROFILE",
    "USER_CHOICE",
    "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS",
    "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS",
    "USER_IDENTIFIERS_DELETION",
    "USER_POINTS_DELETION",
    "USER_DEVICE_POINTS_DELETION",
}
_URI = "mics://data_file/tenants/emulator/"
_PAGE = 20


@dataclass
class Faults:
    """What shall go wrong, set while the server runs. Each count falls by one when used."""

    status: int = 503
    fail_requests: int = 0
    """Answer so many requests with `status`, before looking at them."""
    only_uploads: bool = False
    """Only uploads of files are failed."""
    retry_after: int | None = None
    lose_answers: int = 0
    """Take so many uploads, then break the connection instead of answering."""
    fail_executions: int = 0
    """End so many executions as FAILED."""
    rejects: Callable[[Json], bool] = lambda _: False
    """Commands that become failed records."""
    execution_seconds: float = 0.0
    """How long an execution stays PENDING, and again RUNNING."""
    lock: Lock = field(default_factory=Lock)

    def take(self, name: str) -> bool:
        """Whether this fault is due now; uses it up by one."""
        with self.lock:
            left = getattr(self, name)
            setattr(self, name, max(0, left - 1))
            return bool(left)


class Api:
    """The handlers. `token` None accepts any Authorization."""

    def __init__(self, store: Store, *, token: str | None, faults: Faults) -> None:
        self._store, self._token, self._faults = store, token, faults

    def application(self) -> Callable[[Message, Receive, Send], Awaitable[None]]:
        """The ASGI application, with authorisation and faults in front."""
        d = "/v1/datamarts/{datamart}"
        i = f"{d}/document_imports"
        routes = [
            Route("/", self.page),
            Route(i, self.create_import, methods=["POST"]),
            Route(i, self.list_imports),
            Route(i + "/{id}", self.one_import, methods=["GET", "PUT", "DELETE"]),
            Route(i + "/{id}/executions", self.create_execution, methods=["POST"]),
            Route(i + "/{id}/executions", self.list_executions),
            Route(i + "/{id}/executions/{number:int}", self.one_execution),
            Route(i + "/{id}/executions/{number:int}/action", self.act, methods=["POST"]),
            Route("/v1/data_file/data", self.data_file),
            Route(d + "/user_points/{selector}/user_profiles", self.user_profiles),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _error})

        async def guarded(scope: Message, receive: Receive, send: Send) -> None:
            refusal = self._refusal(scope) if scope["type"] == "http" else None
            if refusal is not None:
                await refusal(scope, receive, send)
            else:
                await app(scope, receive, send)

        return guarded

    def _refusal(self, scope: Message) -> Response | None:
        if scope["path"] == "/":
            return None
        is_upload = scope["method"] == "POST" and scope["path"].endswith("/executions")
        if (is_upload or not self._faults.only_uploads) and self._faults.take("fail_requests"):
            wait = self._faults.retry_after
            headers = {} if wait is None else {"Retry-After": str(wait)}
            return _failure(self._faults.status, "a fault on demand", headers)
        given = {name.lower(): value for name, value in scope["headers"]}.get(b"authorization")
        if given is None or (self._token is not None and given.decode() != self._token):
            return _failure(401, "Not authenticated")
        return None

    # Document imports

    async def create_import(self, request: Request) -> Response:
        """POST document_imports."""
        resource = await _json_object(request)
        known = {"document_type", "mime_type", "encoding", "name", "priority"}
        mime, kind = resource.get("mime_type"), resource.get("document_type")
        if kind not in DOCUMENT_TYPES or mime not in MIME_TYPES:
            raise HTTPException(400, "unknown document_type or mime_type")
        if mime == "TEXT_CSV" and kind != "USER_SEGMENT":
            raise HTTPException(400, "CSV goes with USER_SEGMENT only")
        kept = {name: value for name, value in resource.items() if name in known}
        return _ok(self._store.create_import(request.path_params["datamart"], kept))

    async def list_imports(self, request: Request) -> Response:
        """GET document_imports, newest first."""
        words = request.query_params.get("keywords", "").lower()
        found = self._store.imports(request.path_params["datamart"])
        chosen = [r for r in reversed(found) if words in str(r.get("name", "")).lower()]
        return _listed(request, chosen)

    async def one_import(self, request: Request) -> Response:
        """GET, PUT or DELETE of one import."""
        found = self._import(request)
        datamart, number = request.path_params["datamart"], found["id"]
        if request.method == "DELETE":
            self._store.delete_import(datamart, number)
        if request.method == "PUT":
            found = {**found, **await _json_object(request), "id": number}
            self._store.update_import(datamart, number, found)
        return _ok(found)

    def _import(self, request: Request) -> Json:
        found = self._store.imports(request.path_params["datamart"])
        for resource in found:
            if resource["id"] == request.path_params["id"]:
                return resource
        raise HTTPException(404, "Resource Not Found")

    # Executions

    async def create_execution(self, request: Request) -> Response:
        """POST executions: the file, raw or as the part `file` of a form."""
        resource = self._import(request)
        mime = MIME_TYPES[resource["mime_type"]]
        sent = request.headers.get("content-type", "").split(";")[0].strip()
        if sent not in (mime, "multipart/form-data"):
            raise HTTPException(415, f"Content-Type must be {mime}")
        body = self._store.body_to_fill()
        try:
            await _receive(request, body, is_form=sent != mime)
            await asyncio.to_thread(_check_lines, body)
        except BaseException:
            body.unlink(missing_ok=True)
            raise
        number = self._store.create_execution(request.path_params["datamart"], resource["id"], body)
        if self._faults.take("lose_answers"):
            return _Broken()
        return _ok(self._resource(request, number))

    async def list_executions(self, request: Request) -> Response:
        """GET executions, newest first."""
        resource = self._import(request)
        rows = self._store.executions(resource["id"])
        return _listed(request, [self._described(row) for row in rows])

    async def one_execution(self, request: Request) -> Response:
        """GET one execution."""
        return _ok(self._resource(request, request.path_params["number"]))

    async def act(self, request: Request) -> Response:
        """POST action: cancel an execution that is still pending."""
        number = request.path_params["number"]
        self._resource(request, number)
        if (await _json_object(request)).get("action") != "CANCEL":
            raise HTTPException(400, "the one action is CANCEL")
        if not self._store.cancel(number):
            raise HTTPException(409, "only a pending execution can be cancelled")
        return _ok(self._resource(request, number))

    def _resource(self, request: Request, number: int) -> Json:
        for row in self._store.executions(self._import(request)["id"]):
            if row["id"] == number:
                return self._described(row)
        raise HTTPException(404, "Resource Not Found")

    def _described(self, row: sqlite3.Row) -> Json:
        number = row["id"]
        is_done = row["status"] == "SUCCEEDED"
        has_errors = bool(row["failed"])
        uri = f"{_URI}{number}.ndjson"
        return {
            "id": str(number),
            "status": row["status"],
            "creation_date": row["created"],
            "start_date": row["started"],
            "duration": row["ended"] - row["started"] if row["ended"] else None,
            "external_model_name": "PUBLIC_DOCUMENT_IMPORT",
            "parameters": {
                "datamart_id": _as_number(row["datamart"]),
                "document_import_id": row["import_id"],
                "document_type": "USER_PROFILE",
                "file_uri": uri,
            },
            "result": {
                "total_success": row["succeeded"],
                "total_failure": row["failed"],
                "input_file_name": f"{number}.ndjson",
                "input_file_uri": uri,
                "error_file_uri": f"{_URI}{number}.errors.ndjson" if has_errors else None,
            }
            if is_done
            else None,
            "error": {"message": row["message"]} if row["message"] else None,
        }

    # Files and profiles

    async def data_file(self, request: Request) -> Response:
        """GET an input or error file by its URI."""
        name = request.query_params.get("uri", "").removeprefix(_URI)
        number = name.split(".")[0]
        if number.isdigit():
            for path in (self._store.input_file(int(number)), self._store.error_file(int(number))):
                if path.name == name and path.exists():
                    return FileResponse(path, media_type="application/octet-stream")
        raise HTTPException(404, "Resource Not Found")

    async def user_profiles(self, request: Request) -> Response:
        """GET the profiles of one user point."""
        kind, value = _selector(request.path_params["selector"])
        found = self._store.profiles_of(request.path_params["datamart"], kind, value)
        if found is None:
            raise HTTPException(404, "Resource Not Found")
        return _listed(request, found)

    async def page(self, _: Request) -> Response:
        """A page for people: every execution and how it ended."""
        rows = "".join(
            f"<tr><td>{row['id']}<td>{row['import_id']}<td>{html.escape(row['status'])}"
            f"<td>{row['succeeded'] or 0:,}<td>{row['failed'] or 0:,}</tr>"
            for row in self._store.executions()
        )
        head = "<tr><th>execution<th>import<th>status<th>succeeded<th>failed</tr>"
        return HTMLResponse(
            "<!doctype html><meta charset=utf-8><title>Emulator</title>"
            f"<h1>Bulk imports</h1><table>{head}{rows}</table>"
        )


class _Broken(Response):
    """No answer: the connection is broken after the request was taken."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-length", b"1000")]})  # fmt: skip
        raise ConnectionResetError


def _as_number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _selector(text: str) -> tuple[str, str]:
    members = dict(part.partition("=")[::2] for part in text.split(",") if "=" in part)
    if "user_account_id" in members:
        return "account", f"{members.get('compartment_id')}/{members['user_account_id']}"
    for kind in ("email_hash", "user_agent_id"):
        if kind in members:
            return kind, members[kind]
    return "point", members.get("user_point_id", text)


async def _receive(request: Request, body: Path, *, is_form: bool) -> None:
    with body.open("wb") as file:
        if not is_form:
            async for chunk in request.stream():
                file.write(chunk)
            return
        part = (await request.form()).get("file")
        if part is None or isinstance(part, str):
            raise HTTPException(400, "the form has no part file")
        while chunk := await part.read(1 << 20):
            file.write(chunk)


def _check_lines(body: Path) -> None:
    """Refuse at once what is no list of JSON objects, one a line."""
    with body.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                is_object = isinstance(json.loads(line), dict)
            except ValueError:
                is_object = False
            if not is_object:
                raise HTTPException(400, f"line {number} is no JSON object")


async def _json_object(request: Request) -> Json:
    try:
        content = await request.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return content


def _ok(resource: Json) -> Response:
    return JSONResponse({"status": "ok", "data": resource})


def _listed(request: Request, found: list[Any]) -> Response:
    try:
        first = int(request.query_params.get("first_result", 0))
        most = int(request.query_params.get("max_results", _PAGE))
    except ValueError:
        raise HTTPException(400, "first_result and max_results are numbers") from None
    part = found[max(first, 0) : max(first, 0) + max(most, 0)]
    return JSONResponse(
        {
            "status": "ok",
            "count": len(part),
            "first_result": first,
            "max_results": most,
            "total": len(found),
            "data": part,
        }
    )


def _failure(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    content = {
        "status": "error",
        "error": message,
        "error_id": f"emulator-{status}",
        "error_code": None,
    }
    return JSONResponse(content, status_code=status, headers=headers)


async def _error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    text = "Resource Not Found" if error.status_code == 404 else error.detail  # noqa: PLR2004
    return _failure(error.status_code, text)
