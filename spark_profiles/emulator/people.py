"""User points: reading what is stored, as the UserPoint API gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from spark_profiles.emulator import envelope, points

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from spark_profiles.emulator.behaviour import Behaviour
    from spark_profiles.emulator.store import Store


class People:
    """The handlers."""

    def __init__(self, store: Store) -> None:
        self._store, self._behaviour = store, store.behaviour

    async def profiles(self, request: Request) -> Response:
        """GET the profiles of one user point."""
        kind, value = selected(request.path_params["selector"], self._behaviour)
        found = self._store.profiles_of(request.path_params["datamart"], kind, value)
        if found is None:
            raise HTTPException(404)
        chosen = _members(request.path_params.get("document", "").replace("/", ","))
        for name, value in chosen.items():
            found = [one for one in found if str(one.get(f"${name}", "")) == value]
        return envelope.listed(request, found, self._behaviour)

    async def identifiers(self, request: Request) -> Response:
        """GET the identifiers of one user point."""
        selector = request.path_params["selector"].replace("/", ",")
        kind, value = selected(selector, self._behaviour)
        datamart = request.path_params["datamart"]
        point = points.find(self._store.db, datamart, kind, value)
        if point is None:
            raise HTTPException(404)
        found = points.identifiers_of(self._store.db, datamart, point)
        return envelope.listed(request, found, self._behaviour)

    async def compartments(self, request: Request) -> Response:
        """GET the compartments of a datamart; one of them is the default."""
        datamart = request.path_params["datamart"]
        default = self._behaviour.default_compartment
        names = dict.fromkeys((default, *self._behaviour.compartments))
        found = [
            {
                "id": str(number), "datamart_id": datamart, "compartment_id": name,
                "default": name == default, "token": f"c-{name}", "name": f"compartment {name}",
            }
            for number, name in enumerate(names, start=1)
        ]  # fmt: skip
        return envelope.listed(request, found, self._behaviour)


def selected(selector: str, behaviour: Behaviour) -> tuple[str, str]:
    """Kind and value of a user-point selector, such as `compartment_id=1,user_account_id=a`."""
    members = _members(selector)
    if "user_account_id" in members:
        compartment = members.get("compartment_id") or behaviour.default_compartment
        return "account", f"{compartment}/{members['user_account_id']}"
    for kind in ("email_hash", "user_agent_id"):
        if kind in members:
            return kind, members[kind]
    return "point", members.get("user_point_id", selector)


def _members(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name: value for name, _, value in parts}
