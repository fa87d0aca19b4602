"""The emulator's switches, faults and user points."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from import_files import wait_for

from spark_profiles.emulator import behaviour, points, rules, server
from spark_profiles.emulator.behaviour import Behaviour
from spark_profiles.emulator.faults import KINDS, Fault, Faults, route_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spark_profiles.emulator.server import Emulator

IMPORTS = "/v1/datamarts/1500/document_imports"
NDJSON = {"Content-Type": "application/x-ndjson"}
PROFILES = {"document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON"}
CREATED = {"$creation_ts", "$last_modified_ts"}


@pytest.fixture
def api(datamart_emulator: Emulator) -> Iterator[httpx.Client]:
    with httpx.Client(
        verify=False, base_url=datamart_emulator.url, headers={"Authorization": "x"}
    ) as client:
        yield client


def send(emulator: Emulator, api: httpx.Client, *lines: Any, kind: str = "USER_PROFILE") -> str:
    new = {"document_type": kind, "mime_type": "APPLICATION_X_NDJSON"}
    number = api.post(IMPORTS, json=new).json()["data"]["id"]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    path = f"{IMPORTS}/{number}/executions"
    posted = api.post(path, content=body, headers=NDJSON).json()["data"]
    wait_for(lambda: not emulator.store.open_executions())
    return f"{path}/{posted['id']}"


def after(stored: dict[str, Any], sent: dict[str, Any], behaviour: Behaviour, **flags: Any) -> Any:
    command = {"operation": "UPSERT", "user_profile": sent, **flags}
    told = rules.upserted(stored, command, behaviour, now=1)
    return {name: value for name, value in told.items() if name not in CREATED}


@pytest.mark.parametrize(
    ("switch", "flags", "expected"),
    [
        ({}, {}, {"b": None, "t": [2]}),
        ({"nulls": "remove"}, {}, {"t": [2]}),
        ({"omitted_strategy": "PARTIAL_UPDATE"}, {}, {"a": 1, "b": None, "t": [2]}),
        (
            {"arrays_in_partial_update": "appended"},
            {"update_strategy": "PARTIAL_UPDATE"},
            {"a": 1, "b": None, "t": [1, 2]},
        ),
        ({}, {"update_strategy": "PARTIAL_DELETE"}, {"a": 1}),
        ({}, {"update_strategy": "FORCE_REPLACE", "force_replace": False}, {"b": None, "t": [2]}),
    ],
)
def test_switches_of_updates(
    switch: dict[str, Any], flags: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert (
        after({"a": 1, "t": [1]}, {"b": None, "t": [2]}, Behaviour(**switch), **flags) == expected
    )


@pytest.mark.parametrize(
    ("switch", "line"),
    [
        ({"legacy_flags": "rejected"}, {"force_replace": True}),
        ({"both_generations": "rejected"}, {"force_replace": True, "update_strategy": "X"}),
        ({"omitted_strategy": "REJECTED"}, {}),
        ({}, {"update_strategy": "SHALLOW_MERGE"}),
    ],
)
def test_switches_that_reject(switch: dict[str, Any], line: dict[str, Any]) -> None:
    with pytest.raises(rules.Rejected):
        after({}, {}, Behaviour(**switch), **line)


def test_switches_and_faults_as_text() -> None:
    assert behaviour.parse(["nulls=remove", "page_size=5", "totals_in_lists=no"]) == Behaviour(
        nulls="remove", page_size=5, totals_in_lists=False
    )
    for wrong in ("nulls=maybe", "no=1", "page_size=x"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            behaviour.parse([wrong])
    text = "status on=upload status=429 retry_after=2 times=3"
    assert Fault.parse(text) == Fault("status", "upload", status=429, retry_after="2", times=3)
    for wrong in ("nothing", "status on=mars", "status status=200", "status x=1"):
        with pytest.raises(ValueError, match=r"."):
            Fault.parse(wrong)


def test_draws_are_repeatable_and_counted() -> None:
    def drawn() -> list[bool]:
        faults = Faults(seed=3)
        faults.add(Fault("status", on="upload", times=5, after=2, share=0.5))
        return [bool(faults.take({"status"}, "upload")) for _ in range(40)]

    assert drawn() == drawn()
    assert sum(drawn()) == 5
    assert drawn()[:2] == [False, False]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_is_felt(datamart_emulator: Emulator, api: httpx.Client, kind: str) -> None:
    faults = datamart_emulator.faults
    faults.rejects = lambda _: kind == "no_error_file"
    armed = {"kind": kind, "on": "upload", "seconds": 0.2}
    assert api.post("/_emulator/faults", json=armed).status_code == 200
    line = {"operation": "UPSERT", "user_account_id": "c", "user_profile": {"a": 1}}
    felt = None
    broken = {"reset_before_body", "reset_in_body", "reset_after_body", "lost_answer", "restart"}
    if kind in broken:
        with pytest.raises(httpx.TransportError):
            send(datamart_emulator, api, line)
        wait_for(lambda: not datamart_emulator.store.open_executions())
        felt = len(datamart_emulator.store.executions()) == (kind == "lost_answer")
    elif kind in ("status", "garbled"):
        with pytest.raises((KeyError, ValueError)):
            send(datamart_emulator, api, line)
        felt = len(datamart_emulator.store.executions()) == (kind == "garbled")
    elif kind == "stuck":
        api.post(IMPORTS, json=PROFILES)
        api.post(f"{IMPORTS}/1/executions", content=json.dumps(line), headers=NDJSON)
        time.sleep(0.3)
        (row,) = datamart_emulator.store.executions()
        felt = row["status"] == "PENDING"
    else:
        answer = api.get(send(datamart_emulator, api, line))
        felt = _is_felt(kind, answer, api)
    assert felt
    assert api.get("/_emulator/faults").json()["faults"][0]["used"] == 1


def _is_felt(kind: str, answer: httpx.Response, api: httpx.Client) -> bool:
    if kind == "lost_execution":
        return answer.status_code == 404
    data = answer.json()["data"]
    result = data["result"] or {}
    return {
        "latency": data["status"] == "SUCCEEDED",
        "failed": data["status"] == "FAILED",
        "partial": result.get("total_failure") == 1,
        "wrong_totals": result.get("total_success") == 0 and result.get("total_failure") == 0,
        "no_error_file": api.get(
            "/v1/data_file/data", params={"uri": result.get("error_file_uri") or ""}
        ).status_code
        == 404,
    }[kind]


def test_user_points_are_created_associated_merged_and_become_hyper_points(
    datamart_emulator: Emulator, api: httpx.Client
) -> None:
    def account(number: int) -> dict[str, str]:
        return {"type": "USER_ACCOUNT", "compartment_id": "1", "user_account_id": f"a{number}"}

    for number in range(5):
        line = {"operation": "UPSERT", "compartment_id": "1", "user_account_id": f"a{number}",
                "user_profile": {"$compartment_id": number, "n": number}}  # fmt: skip
        send(datamart_emulator, api, line)
    point = "/v1/datamarts/1500/user_points/compartment_id=1,user_account_id="
    assert len(api.get(f"{point}a0/user_profiles").json()["data"]) == 1
    declared = {"identifiers": [account(n) for n in range(4)]}
    kind = "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS"
    send(datamart_emulator, api, declared, kind=kind)
    profiles = api.get(f"{point}a3/user_profiles").json()["data"]
    assert [one["n"] for one in profiles] == [0, 1, 2, 3]
    told = api.get(f"{point}a3/user_identifiers").json()["data"]
    number = told[0]["user_point_id"]
    assert points.hyper_reasons(datamart_emulator.store.db, "1500", number) == []
    send(datamart_emulator, api, {"identifiers": [account(0), account(4)]}, kind=kind)
    reasons = points.hyper_reasons(datamart_emulator.store.db, "1500", number)
    assert reasons == ["more than 4 of account in 7 days"]
    send(datamart_emulator, api, account(4), kind="USER_IDENTIFIERS_DELETION")
    assert api.get(f"{point}a4/user_profiles").status_code == 404
    send(datamart_emulator, api, account(0), kind="USER_POINTS_DELETION")
    assert api.get(f"{point}a1/user_profiles").status_code == 404
    assert list(datamart_emulator.store.profiles()) == []


def test_a_stop_in_the_middle_of_an_execution_goes_on_there(tmp_path: Path) -> None:
    """Counts and the error file are those of one pass, wherever it was stopped."""
    with server.running(tmp_path / "d.sqlite") as emulator:
        emulator.faults.execution_seconds = 3600
        line = '{"operation":"UPSERT","user_account_id":"c%d","user_profile":{}}\n'
        body = "".join(line % n if n % 7 else '{"operation":"NO"}\n' for n in range(2500))
        with httpx.Client(
            verify=False, base_url=emulator.url, headers={"Authorization": "x"}
        ) as api:
            new = {"document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON"}
            api.post(IMPORTS, json=new)
            api.post(f"{IMPORTS}/1/executions", content=body, headers=NDJSON)
        store = emulator.store
        assert store.start(1)
        row = store._applied(1, emulator.faults, 0.0)
        assert row
        assert 0 < row["bytes_done"] < row["bytes"]
        with store.error_file(1).open("ab") as told:
            told.write(b"written, but not kept when it stopped")
    with server.running(tmp_path / "d.sqlite") as emulator:
        wait_for(lambda: not emulator.store.open_executions())
        (row,) = emulator.store.executions()
        errors = emulator.store.error_file(1).read_text().splitlines()
    bad = [n + 1 for n in range(2500) if n % 7 == 0]
    assert (row["succeeded"], row["failed"]) == (2500 - len(bad), len(bad))
    assert [json.loads(error)["line"] for error in errors] == bad


def test_a_datamart_can_be_unknown(tmp_path: Path) -> None:
    known = Behaviour(datamarts=("1500", "7"))
    with (
        server.running(tmp_path / "d.sqlite", behaviour=known) as emulator,
        httpx.Client(verify=False, base_url=emulator.url, headers={"Authorization": "x"}) as api,
    ):
        answers = [api.get(IMPORTS.replace("1500", number)) for number in ("1500", "7", "150")]
        assert [answer.status_code for answer in answers] == [200, 200, 404]
        assert answers[-1].json()["error"] == "Resource Not Found"


def test_routes_are_told_apart() -> None:
    assert route_of("POST", IMPORTS) == "create_import"
    assert route_of("POST", f"{IMPORTS}/1/executions") == "upload"
    assert route_of("GET", f"{IMPORTS}/1/executions") == "list"
    assert route_of("GET", f"{IMPORTS}/1/executions/2") == "poll"
    assert route_of("POST", f"{IMPORTS}/1/executions/2/action") == "cancel"
