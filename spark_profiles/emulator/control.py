"""The controls of the emulator itself, under `/_emulator/`: they are no part of the API."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from spark_profiles.emulator import envelope
from spark_profiles.emulator.faults import Fault, Faults

if TYPE_CHECKING:
    from starlette.requests import Request

    from spark_profiles.emulator.store import Store


class Control:
    """The handlers."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store, self._faults = store, faults

    async def faults(self, request: Request) -> Response:
        """POST arms one fault, DELETE clears all, GET tells what is armed."""
        if request.method == "POST":
            try:
                self._faults.add(Fault.of(await envelope.json_object(request)))
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
        elif request.method == "DELETE":
            seed = request.query_params.get("seed", "")
            is_number = seed.isascii() and seed.isdigit()
            self._faults.clear(seed=int(seed[:18]) if is_number else None)
            self._store.arrived.set()
        return JSONResponse({"faults": self._faults.armed()})

    async def behaviour(self, _: Request) -> Response:
        """GET the switches as they are."""
        return JSONResponse(asdict(self._store.behaviour))
