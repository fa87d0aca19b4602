"""The emulator's switches, faults and user points."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
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


@contextmanager
def emulating(path: Path, *, seed: int = 0, **switches: Any) -> Iterator[tuple[Emulator, Any]]:
    """An emulator with these switches, and a client of it."""
    with (
        server.running(path, behaviour=Behaviour(**switches), seed=seed) as emulator,
        httpx.Client(verify=False, base_url=emulator.url, headers={"Authorization": "x"}) as client,
    ):
        yield emulator, client


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


def upsert(who: dict[str, str], inner: dict[str, Any], n: int, **more: Any) -> dict[str, Any]:
    inner = {f"${name}": value for name, value in inner.items()}
    return {"operation": "UPSERT", **who, "user_profile": {**inner, "n": n}, **more}


MAIL = {"email_hash": "e"}
ACCOUNT = {"compartment_id": "1", "user_account_id": "c"}


def numbers_at(api: httpx.Client, selector: str) -> list[int] | None:
    """The `n` of the profiles of a user point, sorted; None: it is unknown."""
    answer = api.get(f"/v1/datamarts/1500/user_points/{selector}/user_profiles")
    if answer.status_code == 404:
        return None
    return sorted(one["n"] for one in answer.json()["data"])


@pytest.mark.parametrize(
    ("switch", "of_mail", "of_account", "of_new"),
    [("nothing", [1, 4], [2, 3], None), ("account inside", [1, 2, 4], [1, 2, 4], [5])],
)
def test_an_upsert_can_link_the_account_inside(
    tmp_path: Path, switch: str, of_mail: Any, of_account: Any, of_new: Any
) -> None:
    """Of the profile that both user points hold the one sent stays, of the others each."""
    with emulating(tmp_path / "d.sqlite", upsert_links=switch) as (emulator, api):
        send(
            emulator,
            api,
            upsert(MAIL, {"compartment_id": 1}, 1),
            upsert(ACCOUNT, {"compartment_id": 1000}, 2),
            upsert(ACCOUNT, {"compartment_id": 1, "user_account_id": "c"}, 3),
            upsert(MAIL, {"compartment_id": 1, "user_account_id": "c"}, 4),
            upsert({"user_agent_id": "u"}, {"user_account_id": "new"}, 5),
        )
        assert numbers_at(api, "email_hash=e") == of_mail
        assert numbers_at(api, "compartment_id=1,user_account_id=c") == of_account
        assert numbers_at(api, "compartment_id=1000,user_account_id=new") == of_new


def test_an_upsert_that_is_rejected_links_nothing(tmp_path: Path) -> None:
    with emulating(tmp_path / "d.sqlite", upsert_links="account inside") as (emulator, api):
        wrong = upsert(MAIL, {"compartment_id": 1, "user_account_id": "c"}, 3, update_strategy="X")
        send(emulator, api, upsert(MAIL, {}, 1), upsert(ACCOUNT, {}, 2), wrong)
        assert numbers_at(api, "email_hash=e") == [1]
        assert numbers_at(api, "compartment_id=1,user_account_id=c") == [2]


def test_of_two_profiles_with_one_key_the_newer_survives_a_merge(tmp_path: Path) -> None:
    """Whichever user point is kept: here it is that of the e-mail address."""
    with emulating(tmp_path / "d.sqlite", upsert_links="account inside") as (emulator, api):
        send(
            emulator,
            api,
            upsert(MAIL, {"compartment_id": 7}, 1),
            upsert(ACCOUNT, {"compartment_id": 7}, 2),
            upsert(ACCOUNT, {"compartment_id": 8}, 3),
            upsert(MAIL, {"compartment_id": 8}, 4),
            upsert(MAIL, {"compartment_id": 1, "user_account_id": "c"}, 5),
        )
        assert numbers_at(api, "email_hash=e") == [2, 4, 5]


NOTHING_NAMED: dict[str, Any] = {}
ONE = {"compartment_id": 1}
BY_COMPARTMENT = "profiles of the compartment"


@pytest.mark.parametrize(
    ("named", "switches", "left"),
    [
        (ONE, {}, ["1/c", "1000/", "1000/c"]),
        (ONE, {"delete_without_account": BY_COMPARTMENT}, ["1000/", "1000/c"]),
        (ONE, {"delete_without_account": "all profiles"}, []),
        (ONE, {"delete_without_keys": "all profiles"}, ["1/c", "1000/", "1000/c"]),
        (NOTHING_NAMED, {}, ["1/", "1/c", "1000/c"]),
        (NOTHING_NAMED, {"delete_without_account": BY_COMPARTMENT}, ["1/", "1/c"]),
        (NOTHING_NAMED, {"delete_without_account": "all profiles"}, []),
        (NOTHING_NAMED, {"delete_without_keys": "all profiles"}, []),
        (
            {**ONE, "user_account_id": "c"},
            {"delete_without_account": "all profiles", "delete_without_keys": "all profiles"},
            ["1/", "1000/", "1000/c"],
        ),
    ],
)
def test_what_a_delete_without_an_account_removes(
    tmp_path: Path, named: dict[str, Any], switches: dict[str, str], left: list[str]
) -> None:
    accounts: tuple[dict[str, str], ...] = ({}, {"user_account_id": "c"})
    with emulating(tmp_path / "d.sqlite", **switches) as (emulator, api):
        keys = [{"compartment_id": id_, **account} for id_ in (1, 1000) for account in accounts]
        delete = {**upsert(MAIL, named, 0), "operation": "DELETE"}
        send(emulator, api, *(upsert(MAIL, key, 0) for key in keys), delete)
        stored = [
            f"{compartment}/{account}" for compartment, account, _ in emulator.store.profiles()
        ]
    assert stored == left


def upload(api: httpx.Client, count: int) -> None:
    """So many executions that all write one profile; they are not awaited."""
    api.post(IMPORTS, json=PROFILES)
    for n in range(count):
        line = json.dumps(upsert(ACCOUNT, {}, n))
        api.post(f"{IMPORTS}/1/executions", content=line, headers=NDJSON)
        time.sleep(0.04)  # longer than the server takes between two looks


def order_of(emulator: Emulator) -> list[int]:
    """The executions in the order in which they wrote, once all have ended."""
    wait_for(lambda: not emulator.store.open_executions())
    point = points.find(emulator.store.db, "1500", "account", "1/c")
    return [row["execution"] for row in reversed(emulator.store.history("1500", str(point)))]


@pytest.mark.parametrize(
    ("order", "seed", "expected"),
    [
        ("oldest first", 7, [1, 2, 3, 4, 5]),
        ("newest first", 7, [1, 5, 4, 3, 2]),
        ("drawn", 7, [1, 5, 3, 4, 2]),
        ("drawn", 8, [1, 3, 5, 4, 2]),
    ],
)
def test_the_order_of_executions_that_wait(
    tmp_path: Path, monkeypatch: Any, order: str, seed: int, expected: list[int]
) -> None:
    """The first of them was begun before the server stopped: it does not wait."""
    monkeypatch.setattr(server, "PAUSE_S", 0.0)  # all are there before the second server starts
    with emulating(tmp_path / "d.sqlite") as (emulator, api):
        emulator.faults.execution_seconds = 3600
        upload(api, 5)
        assert emulator.store.start(1)
    with emulating(tmp_path / "d.sqlite", seed=seed, execution_order=order) as (emulator, _):
        assert order_of(emulator) == expected


@pytest.mark.parametrize(("pause", "seconds"), [(0.4, 0.0), (0.0, 0.4)])
@pytest.mark.parametrize(
    ("order", "expected"), [("newest first", [4, 3, 2, 1]), ("drawn", [3, 4, 2, 1])]
)
def test_uploads_side_by_side_are_taken_in_another_order(
    tmp_path: Path, monkeypatch: Any, order: str, expected: list[int], pause: float, seconds: float
) -> None:
    monkeypatch.setattr(server, "PAUSE_S", pause)  # longer than it is: machines may be slow
    with emulating(tmp_path / "d.sqlite", execution_order=order, seed=7) as (emulator, api):
        emulator.faults.execution_seconds = seconds
        upload(api, 4)
        assert order_of(emulator) == expected
        for row in emulator.store.executions():
            assert row["started"] - row["created"] >= 400
            assert row["ended"] - row["started"] >= 1000 * seconds


def test_a_stuck_execution_lets_the_others_pass_in_any_order(tmp_path: Path) -> None:
    with emulating(tmp_path / "d.sqlite", execution_order="newest first") as (emulator, api):
        emulator.faults.add(Fault("stuck"))
        upload(api, 3)
        wait_for(lambda: len(emulator.store.open_executions()) == 1)
        time.sleep(0.3)
        (stuck,) = emulator.store.open_executions()
        assert stuck["status"] == "PENDING"
        emulator.faults.clear()
        assert order_of(emulator)[-1] == stuck["id"]


def test_a_declared_identifier_of_no_known_type_is_a_failed_record(
    datamart_emulator: Emulator, api: httpx.Client
) -> None:
    declared = [{"identifiers": [{"type": kind, "hash": "e"}]} for kind in (["USER_EMAIL"], None)]
    kind = "USER_IDENTIFIERS_ASSOCIATION_DECLARATIONS"
    answer = api.get(send(datamart_emulator, api, *declared, kind=kind))
    assert answer.json()["data"]["result"]["total_failure"] == 2


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
