"""The emulator behaves as the platform's documentation says, over a real socket."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from spark_profiles.emulator import server
from spark_profiles.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spark_profiles.emulator.server import Emulator

IMPORT = {
    "document_type": "USER_PROFILE",
    "mime_type": "APPLICATION_X_NDJSON",
    "encoding": "utf-8",
    "name": "nightly",
}
IMPORTS = "/v1/datamarts/1500/document_imports"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with server.running(tmp_path / "datamart.sqlite", token="api:secret") as running:
        yield running


@pytest.fixture
def api(emulator: Emulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": "api:secret"}  # no certificates: reading them takes long
    with httpx.Client(verify=False, base_url=emulator.url, headers=headers) as client:
        yield client


def data(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "ok"
    return answer.json()["data"]


def send(api: httpx.Client, *lines: Any) -> dict[str, Any]:
    """Create an import, post the lines as one file, poll to the end."""
    made = data(api.post(IMPORTS, json=IMPORT))
    path = f"{IMPORTS}/{made['id']}/executions"
    body = "".join(json.dumps(line) + "\n" for line in lines)
    posted = data(api.post(path, content=body, headers=NDJSON))
    assert posted["status"] == "PENDING"
    for _ in range(200):
        execution = data(api.get(f"{path}/{posted['id']}"))
        if execution["status"] not in ("PENDING", "RUNNING"):
            return dict(execution)
        time.sleep(0.02)
    raise AssertionError(execution)


def upsert(profile: dict[str, Any], **more: Any) -> dict[str, Any]:
    who = {"compartment_id": "1606", "user_account_id": "c1"}
    inner = {"$compartment_id": 1606, "$user_account_id": "c1"}
    return {"operation": "UPSERT", **who, "user_profile": {**inner, **profile}, **more}


def stored(emulator: Emulator) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (compartment, account, {k: v for k, v in payload.items() if not k.startswith("$")})
        for compartment, account, payload in emulator.store.profiles()
    ]


def test_the_documented_flow(api: httpx.Client) -> None:
    execution = send(api, upsert({"firstname": "Ada"}, update_strategy="FORCE_REPLACE"))
    assert execution["status"] == "SUCCEEDED"
    assert (execution["result"]["total_success"], execution["result"]["total_failure"]) == (1, 0)
    selector = "compartment_id=1606,user_account_id=c1"
    found = data(api.get(f"/v1/datamarts/1500/user_points/{selector}/user_profiles"))
    assert len(found) == 1
    assert found[0]["firstname"] == "Ada"
    assert {"$creation_ts", "$last_modified_ts"} <= found[0].keys()


# Before and after from the rules of the documentation (legacy) and the emulator's own model.
@pytest.mark.parametrize(
    ("flags", "after"),
    [
        ({"update_strategy": "FORCE_REPLACE"}, {"b": 2, "o": {"y": 9}}),
        ({"force_replace": True}, {"b": 2, "o": {"y": 9}}),
        ({"force_replace": False}, {"a": 1, "b": 2, "o": {"y": 9}, "t": ["t1"]}),
        (
            {"force_replace": False, "merge_objects": True},
            {"a": 1, "b": 2, "o": {"x": 1, "y": 9}, "t": ["t1"]},
        ),
        (
            {"update_strategy": "PARTIAL_UPDATE"},
            {"a": 1, "b": 2, "o": {"x": 1, "y": 9}, "t": ["t1"]},
        ),
        ({"update_strategy": "PARTIAL_DELETE"}, {"a": 1, "o": {"x": 1}, "t": ["t1"]}),
    ],
)
def test_update_strategies(
    emulator: Emulator, api: httpx.Client, flags: dict[str, Any], after: dict[str, Any]
) -> None:
    before = upsert({"a": 1, "o": {"x": 1, "y": 2}, "t": ["t1"]})
    send(api, before, upsert({"b": 2, "o": {"y": 9}}, **flags))
    assert stored(emulator) == [("1606", "c1", after)]


def test_delete_removes_the_profile_that_its_keys_name(
    emulator: Emulator, api: httpx.Client
) -> None:
    other = upsert({"$compartment_id": 7})
    delete = {**upsert({}), "operation": "DELETE"}
    send(api, upsert({"a": 1}), other, delete)
    assert [(compartment, account) for compartment, account, _ in stored(emulator)] == [("7", "c1")]


def test_a_profile_inherits_nothing_from_the_identifier(
    emulator: Emulator, api: httpx.Client
) -> None:
    send(api, {**upsert({}), "user_profile": {"a": 1}})
    assert stored(emulator) == [("1000", "", {"a": 1})]  # default compartment, anonymous


def test_bad_commands_are_failed_records_of_a_succeeded_execution(api: httpx.Client) -> None:
    two = upsert({}, email_hash="abc")
    none = {"operation": "UPSERT", "user_profile": {}}
    execution = send(api, upsert({}), two, none, {"operation": "MERGE"})
    assert execution["status"] == "SUCCEEDED"
    assert (execution["result"]["total_success"], execution["result"]["total_failure"]) == (1, 3)
    assert execution["error"]["message"]
    uri = execution["result"]["error_file_uri"]
    errors = api.get("/v1/data_file/data", params={"uri": uri}).text.splitlines()
    assert [json.loads(line)["line"] for line in errors] == [2, 3, 4]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "GET", "url": IMPORTS, "headers": {"Authorization": ""}}, 401),
        ({"method": "GET", "url": f"{IMPORTS}/99"}, 404),
        ({"method": "GET", "url": "/v1/nothing"}, 404),
        ({"method": "POST", "url": IMPORTS, "json": {**IMPORT, "mime_type": "TEXT_CSV"}}, 400),
        ({"method": "POST", "url": IMPORTS, "json": {**IMPORT, "document_type": "X"}}, 400),
        ({"method": "POST", "url": IMPORTS, "content": b"[]"}, 400),
    ],
)
def test_refusals_come_in_the_error_envelope(
    api: httpx.Client, request_: dict[str, Any], status: int
) -> None:
    answer = api.request(**request_)
    assert answer.status_code == status
    assert answer.json()["status"] == "error"
    assert answer.json()["error_id"]


def test_an_upload_is_checked_at_once(api: httpx.Client) -> None:
    made = data(api.post(IMPORTS, json=IMPORT))
    path = f"{IMPORTS}/{made['id']}/executions"
    assert api.post(path, content=b"[\n{}\n]", headers=NDJSON).status_code == 400
    assert api.post(path, content=b"{}", headers={"Content-Type": "text/csv"}).status_code == 415
    assert data(api.get(path)) == []
    form = {"file": ("f.ndjson", b'{"operation":"X"}\n', "application/x-ndjson")}
    assert api.post(path, files=form, data={"type": "text/csv"}).status_code == 415
    assert data(api.post(path, files=form, data={"type": "application/x-ndjson"}))["id"]


def test_lists_are_paged_and_newest_first(api: httpx.Client) -> None:
    for n in range(3):
        data(api.post(IMPORTS, json={**IMPORT, "name": f"n{n}"}))
    answer = api.get(IMPORTS, params={"first_result": 1, "max_results": 1}).json()
    assert {k: answer[k] for k in ("count", "first_result", "max_results", "total")} == {
        "count": 1, "first_result": 1, "max_results": 1, "total": 3,
    }  # fmt: skip
    assert [item["name"] for item in answer["data"]] == ["n1"]


def test_a_pending_execution_can_be_cancelled(emulator: Emulator, api: httpx.Client) -> None:
    emulator.faults.execution_seconds = 0.5
    made = data(api.post(IMPORTS, json=IMPORT))
    path = f"{IMPORTS}/{made['id']}/executions"
    posted = data(api.post(path, content=json.dumps(upsert({})) + "\n", headers=NDJSON))
    cancel = {"action": "CANCEL"}
    assert data(api.post(f"{path}/{posted['id']}/action", json=cancel))["status"] == "CANCELED"
    assert api.post(f"{path}/{posted['id']}/action", json=cancel).status_code == 409


def test_the_datamart_survives_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with server.running(tmp_path / "d.sqlite") as running:
            with httpx.Client(
                verify=False, base_url=running.url, headers={"Authorization": "x"}
            ) as api:
                send(api, upsert({"a": 1}))
            assert stored(running) == [("1606", "c1", {"a": 1})]


def test_an_occupied_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with server.running(tmp_path / "d.sqlite") as first:
        port = int(first.url.rpartition(":")[2])
        with (
            pytest.raises(PlatformError, match="occupied") as caught,
            server.running(tmp_path / "other.sqlite", port=port),
        ):
            pass
    assert caught.value.exit_code == 5
    assert not (tmp_path / "other.sqlite").exists()


def test_the_page_lists_executions(api: httpx.Client) -> None:
    send(api, upsert({}))
    assert "SUCCEEDED" in api.get("/").text
