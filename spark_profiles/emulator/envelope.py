"""The forms of answers: one resource, a list, a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from spark_profiles.emulator.behaviour import Behaviour

NOT_FOUND = "Resource Not Found"


def one(resource: Any) -> Response:
    """A single resource."""
    return JSONResponse({"status": "ok", "data": resource})


def page_of(request: Request, behaviour: Behaviour) -> tuple[int, int]:
    """The first result and the most results that a request asks for."""
    try:
        first = int(request.query_params.get("first_result", 0))
        most = int(request.query_params.get("max_results", behaviour.page_size))
    except ValueError:
        first = most = -1
    if first < 0 or most < 0:
        raise HTTPException(400, "first_result and max_results are numbers from 0 on")
    return first, min(most, behaviour.largest_page)


def listed(request: Request, found: Sequence[Any], behaviour: Behaviour) -> Response:
    """The part of a list that the request asks for."""
    first, most = page_of(request, behaviour)
    part = list(found[first : first + most])
    content = {
        "status": "ok", "count": len(part), "first_result": first, "max_results": most,
        "total": len(found), "data": part,
    }  # fmt: skip
    if not behaviour.totals_in_lists:
        del content["total"]
    return JSONResponse(content)


def failure(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error."""
    content = {
        "status": "error", "error": message, "error_id": f"emulator-{status}", "error_code": None,
    }  # fmt: skip
    return JSONResponse(content, status_code=status, headers=headers)


async def json_object(request: Request) -> dict[str, Any]:
    """The body of a request, which must be a JSON object."""
    try:
        content = await request.json()
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return content


async def error(_: Request, raised: Exception) -> Response:
    """The answer to an error that a handler raised."""
    if not isinstance(raised, HTTPException):
        raise raised
    text = NOT_FOUND if raised.status_code == 404 else raised.detail  # noqa: PLR2004
    return failure(raised.status_code, text, dict(raised.headers or {}))
