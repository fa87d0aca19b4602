"""The OpenAPI description of what the emulator offers of the platform's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from spark_profiles.emulator.imports import DOCUMENT_TYPES, MIME_TYPES, PRIORITIES

if TYPE_CHECKING:
    from starlette.requests import Request

    Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_NUMBER: Json = {"type": "integer"}
_STATUS = ["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(*required: str, **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


_IMPORT = {
    "document_type": {"enum": list(DOCUMENT_TYPES)},
    "mime_type": {"enum": list(MIME_TYPES)},
    "encoding": _TEXT,
    "name": _TEXT,
    "priority": {"enum": list(PRIORITIES)},
}
SCHEMAS: Json = {
    "NewImport": _object("document_type", "mime_type", **_IMPORT),
    "ImportChange": _object(**_IMPORT),
    "Import": _object(
        "id", "datamart_id", "datafarm_key", "document_type", "mime_type",
        id=_TEXT, datamart_id=_TEXT, datafarm_key=_TEXT, **_IMPORT,
    ),
    "Execution": _object(
        "id", "status", "creation_date", "external_model_name", "parameters",
        id=_TEXT,
        status={"enum": _STATUS},
        creation_date=_NUMBER,
        start_date=_nullable(_NUMBER),
        duration=_nullable(_NUMBER),
        external_model_name={"const": "PUBLIC_DOCUMENT_IMPORT"},
        num_tasks=_NUMBER,
        completed_tasks=_NUMBER,
        erroneous_tasks=_NUMBER,
        parameters=_object(
            "datamart_id", "document_import_id", "document_type", "file_uri",
            datamart_id={"type": ["integer", "string"]},
            document_import_id=_NUMBER,
            document_type=_TEXT,
            file_uri=_TEXT,
        ),
        result=_nullable(
            _object(
                "total_success", "total_failure",
                total_success=_NUMBER,
                total_failure=_NUMBER,
                input_file_name=_TEXT,
                input_file_uri=_TEXT,
                error_file_uri=_nullable(_TEXT),
            )
        ),
        error=_nullable(_object("message", message=_TEXT)),
    ),
    "Action": _object("action", action={"const": "CANCEL"}),
    "UserProfile": {"type": "object"},
    "UserIdentifier": _object("type", type=_TEXT),
    "Compartment": _object("compartment_id", "default", compartment_id=_TEXT,
                           default={"type": "boolean"}),
    "Error": _object("status", "error", status={"const": "error"}, error=_TEXT,
                     error_id=_TEXT, error_code=_nullable(_TEXT)),
}  # fmt: skip
_PARAMETERS: Json = {
    "datamart": {"name": "datamart", "in": "path", "required": True, "schema": _TEXT},
    "id": {"name": "id", "in": "path", "required": True, "schema": _TEXT},
    "number": {"name": "number", "in": "path", "required": True, "schema": _TEXT},
    "selector": {"name": "selector", "in": "path", "required": True, "schema": _TEXT},
    "first_result": {"name": "first_result", "in": "query", "schema": {**_NUMBER, "minimum": 0}},
    "max_results": {"name": "max_results", "in": "query", "schema": {**_NUMBER, "minimum": 0}},
    "keywords": {"name": "keywords", "in": "query", "schema": _TEXT},
    "uri": {"name": "uri", "in": "query", "required": True, "schema": _TEXT},
}
_DATAMART = "/v1/datamarts/{datamart}"
_PAGED = ("first_result", "max_results")


def _operation(
    name: str,
    summary: str,
    parameters: tuple[str, ...],
    answer: Json,
    *failures: int,
    body: Json | None = None,
) -> Json:
    described: Json = {
        "operationId": name,
        "summary": summary,
        "parameters": [{"$ref": f"#/components/parameters/{one}"} for one in parameters],
        "responses": {
            "200": {"description": "done", "content": answer},
            **{
                str(code): {
                    "description": "refused",
                    "content": {"application/json": {"schema": _ref("Error")}},
                }
                for code in (401, *failures)
            },
        },
    }
    if body:
        described["requestBody"] = {"required": True, "content": body}
    return described


def _one(schema: str) -> Json:
    wrapper = _object("status", "data", status={"const": "ok"}, data=_ref(schema))
    return {"application/json": {"schema": wrapper}}


def _list(schema: str) -> Json:
    wrapper = _object(
        "status", "count", "first_result", "max_results", "data",
        status={"const": "ok"}, count=_NUMBER, first_result=_NUMBER, max_results=_NUMBER,
        total=_NUMBER, data={"type": "array", "items": _ref(schema)},
    )  # fmt: skip
    return {"application/json": {"schema": wrapper}}


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _ref(schema)}}


def _imports() -> Json:
    d = _DATAMART
    i, one = d + "/document_imports", ("datamart", "id")
    e = i + "/{id}/executions"
    execution = (*one, "number")
    file = {
        "application/x-ndjson": {"schema": _TEXT},
        "multipart/form-data": {
            "schema": _object("file", file={"type": "string", "format": "binary"}, type=_TEXT)
        },
    }
    return {
        i: {
            "post": _operation("createImport", "Create a document import", ("datamart",),
                               _one("Import"), 400, body=_json("NewImport")),
            "get": _operation("listImports", "Document imports, newest first",
                              ("datamart", *_PAGED, "keywords"), _list("Import"), 400),
        },
        i + "/{id}": {
            "get": _operation("getImport", "One document import", one, _one("Import"), 404),
            "put": _operation("updateImport", "Change a document import", one, _one("Import"),
                              400, 404, body=_json("ImportChange")),
            "delete": _operation("deleteImport", "Delete a document import", one,
                                 _one("Import"), 404),
        },
        e: {
            "post": _operation("createExecution", "Upload a file", one, _one("Execution"),
                               400, 404, 413, 415, body=file),
            "get": _operation("listExecutions", "Executions, newest first", (*one, *_PAGED),
                              _list("Execution"), 400, 404),
        },
        e + "/{number}": {
            "get": _operation("getExecution", "One execution", execution, _one("Execution"), 404),
        },
        e + "/{number}/action": {
            "post": _operation("actOnExecution", "Cancel a pending execution", execution,
                               _one("Execution"), 400, 404, 409, body=_json("Action")),
        },
    }  # fmt: skip


def _reading() -> Json:
    d = _DATAMART
    anything = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        "/v1/data_file/data": {
            "get": _operation("getDataFile", "An input or error file", ("uri",), anything, 404),
        },
        d + "/compartments": {
            "get": _operation("listCompartments", "Compartments", ("datamart", *_PAGED),
                              _list("Compartment"), 400),
        },
        d + "/user_points/{selector}/user_profiles": {
            "get": _operation("getProfiles", "Profiles of a user point",
                              ("datamart", "selector", *_PAGED), _list("UserProfile"), 400, 404),
        },
        d + "/user_points/{selector}/user_identifiers": {
            "get": _operation("getIdentifiers", "Identifiers of a user point",
                              ("datamart", "selector", *_PAGED), _list("UserIdentifier"),
                              400, 404),
        },
    }  # fmt: skip


def description() -> Json:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bulk imports, emulated",
            "version": "1",
            "description": "What the platform's documentation says of bulk imports of profiles.",
        },
        "security": [{"token": []}],
        "paths": {**_imports(), **_reading()},
        "components": {
            "schemas": SCHEMAS,
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
        },
    }


async def served(_: Request) -> Response:
    """GET /openapi.json."""
    return JSONResponse(description())
