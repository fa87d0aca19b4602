"""Document imports and their executions: the handlers of section `imports` of the API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

from spark_profiles.emulator import envelope
from spark_profiles.emulator.store import CANCELED, PENDING

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from starlette.requests import Request

    from spark_profiles.emulator.store import Store

    Json = dict[str, Any]

MIME_TYPES = {"APPLICATION_X_NDJSON": "application/x-ndjson", "TEXT_CSV": "text/csv"}
DOCUMENT_TYPES = (
    "USER_ACTIVITY",
    "USER_SEGMENT",
    "USER_PROFILE",
    "USER_CHOICE",
    "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS",
    "USER_IDENTIFIERS_DISSOCIATION_DECLARATIONS",
    "USER_IDENTIFIERS_DELETION",
    "USER_POINTS_DELETION",
    "USER_DEVICE_POINTS_DELETION",
)
PRIORITIES = ("LOW", "MEDIUM", "HIGH")
_MEMBERS = ("document_type", "mime_type", "encoding", "name", "priority")
URI = "mics://data_file/tenants/emulator/"


class Imports:
    """The handlers."""

    def __init__(self, store: Store) -> None:
        self._store, self._behaviour = store, store.behaviour

    async def create(self, request: Request) -> Response:
        """POST document_imports."""
        resource = _checked(await envelope.json_object(request))
        return envelope.one(self._store.create_import(request.path_params["datamart"], resource))

    async def list(self, request: Request) -> Response:
        """GET document_imports, newest first."""
        words = request.query_params.get("keywords", "").lower()
        found = self._store.imports(request.path_params["datamart"])
        chosen = [r for r in found if words in str(r.get("name", "")).lower()]
        return envelope.listed(request, chosen, self._behaviour)

    async def one(self, request: Request) -> Response:
        """GET, PUT or DELETE of one import."""
        found = self._import(request)
        datamart, number = found["datamart_id"], found["id"]
        if request.method == "DELETE":
            self._store.delete_import(datamart, number)
        if request.method == "PUT":
            changed = {**found, **await envelope.json_object(request)}
            resource = _checked(changed)
            self._store.update_import(datamart, number, resource)
            found = {**found, **resource}
        return envelope.one(found)

    def _import(self, request: Request) -> Json:
        found = self._store.one_import(request.path_params["datamart"], request.path_params["id"])
        if found is None:
            raise HTTPException(404)
        return found

    # Executions

    async def upload(self, request: Request) -> Response:
        """POST executions: the file, raw or as the part `file` of a form."""
        resource = self._import(request)
        mime = MIME_TYPES[resource["mime_type"]]
        sent = request.headers.get("content-type", "").split(";")[0].strip()
        if sent not in (mime, "multipart/form-data"):
            raise HTTPException(415, f"Content-Type must be {mime}")
        most = self._behaviour.most_upload_bytes
        body = self._store.body_to_fill()
        try:
            await _receive(request, body, most=most, form_of=mime if sent != mime else None)
            if mime != "text/csv":
                await asyncio.to_thread(_check_lines, body, self._behaviour.upload_check)
            row = self._store.create_execution(resource, body)
        except BaseException:
            body.unlink(missing_ok=True)
            raise
        return envelope.one(self.described(row))

    async def executions(self, request: Request) -> Response:
        """GET executions, newest first."""
        rows = self._store.executions(self._import(request)["id"])
        first, most = envelope.page_of(request, self._behaviour)
        shown = range(first, first + most)
        listed = [self.described(row) if n in shown else None for n, row in enumerate(rows)]
        return envelope.listed(request, listed, self._behaviour)

    async def execution(self, request: Request) -> Response:
        """GET one execution."""
        return envelope.one(self.described(self._execution(request)))

    async def act(self, request: Request) -> Response:
        """POST action: cancel an execution that is still pending."""
        row = self._execution(request)
        if (await envelope.json_object(request)).get("action") != "CANCEL":
            raise HTTPException(400, "the one action is CANCEL")
        if not self._store.cancel(row["id"]):
            raise HTTPException(409, "only a pending execution can be cancelled")
        return envelope.one(self.described(self._execution(request)))

    def _execution(self, request: Request) -> sqlite3.Row:
        found = self._store.execution(self._import(request)["id"], request.path_params["number"])
        if found is None:
            raise HTTPException(404)
        return found

    def described(self, row: sqlite3.Row) -> Json:
        """An execution as the API tells of it."""
        number = row["id"]
        has_result = row["ended"] is not None and row["status"] != CANCELED
        uri = f"{URI}{number}.ndjson"
        # Progress in parts of a hundred, by bytes.
        done = 100 * row["bytes_done"] // max(1, row["bytes"])
        return {
            "id": str(number),
            "status": row["status"],
            "creation_date": row["created"],
            "start_date": row["started"],
            "duration": row["ended"] - row["started"] if row["ended"] and row["started"] else None,
            "external_model_name": "PUBLIC_DOCUMENT_IMPORT",
            "num_tasks": 100,
            "completed_tasks": 0 if row["status"] == PENDING else done,
            "erroneous_tasks": 0,
            "parameters": {
                "datamart_id": _as_number(row["datamart"]),
                "document_import_id": row["import_id"],
                "document_type": row["document_type"],
                "file_uri": uri,
            },
            "result": {
                "total_success": max(0, row["succeeded"] - row["is_short"]),
                "total_failure": row["failed"],
                "input_file_name": f"{number}.ndjson",
                "input_file_uri": uri,
                "error_file_uri": f"{URI}{number}.errors.ndjson" if row["failed"] else None,
            }
            if has_result
            else None,
            "error": {"message": row["message"]} if row["message"] else None,
        }

    async def data_file(self, request: Request) -> Response:
        """GET an input or error file by its URI."""
        name = request.query_params.get("uri", "").removeprefix(URI)
        number = name.split(".")[0]
        if number.isascii() and number.isdigit() and len(number) < 18:  # noqa: PLR2004  an int of SQLite
            files = [self._store.error_file(int(number))]
            if self._behaviour.input_file_readable:
                files.append(self._store.input_file(int(number)))
            for path in files:
                if path.name == name and path.exists():
                    return FileResponse(path, media_type="application/octet-stream")
        raise HTTPException(404)


def _checked(resource: Json) -> Json:
    """What is kept of a document import that a request describes."""
    mime, kind = resource.get("mime_type"), resource.get("document_type")
    if kind not in DOCUMENT_TYPES or mime not in tuple(MIME_TYPES):
        raise HTTPException(400, "unknown document_type or mime_type")
    if mime == "TEXT_CSV" and kind != "USER_SEGMENT":
        raise HTTPException(400, "CSV goes with USER_SEGMENT only")
    if resource.get("priority") not in (None, *PRIORITIES):
        raise HTTPException(400, f"priority is one of {', '.join(PRIORITIES)}")
    if not all(isinstance(resource.get(name, ""), str) for name in ("encoding", "name")):
        raise HTTPException(400, "encoding and name are texts")
    return {name: resource[name] for name in _MEMBERS if resource.get(name) is not None}


def _as_number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


async def _receive(request: Request, body: Path, *, most: int, form_of: str | None) -> None:
    """Keep the body; of a form whose content is of the type `form_of`, its part `file`."""
    size = 0
    with body.open("wb") as file:
        if form_of:
            form = await _form(request)
            if form.get("type", form_of) != form_of:
                raise HTTPException(415, f"the part type must be {form_of}")
            part = form.get("file")
            if part is None or isinstance(part, str):
                raise HTTPException(400, "the form has no part file")
            while chunk := await part.read(1 << 20):
                file.write(chunk)
            return
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if most and size > most:
                    raise HTTPException(413, f"at most {most} bytes", {"Connection": "close"})
                file.write(chunk)
        except ClientDisconnect:
            raise HTTPException(400, "the body broke off") from None


async def _form(request: Request) -> Any:
    try:
        return await request.form()
    except HTTPException:
        raise
    except Exception:  # noqa: BLE001  the parser has many ways to say no
        raise HTTPException(400, "the form cannot be read") from None


def _check_lines(body: Path, extent: str) -> None:
    """Refuse at once what is no list of JSON objects, one a line."""
    if extent == "nothing":
        return
    with body.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                is_object = isinstance(json.loads(line), dict)
            except (ValueError, RecursionError):
                is_object = False
            if not is_object:
                raise HTTPException(400, f"line {number} is no JSON object")
            if extent == "first line":
                return
