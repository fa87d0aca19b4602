"""The API's published flow, by curl, unchanged; and what the uploader sends, word for word."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from import_files import Shelf

from spark_profiles.delivery import upload
from spark_profiles.delivery.datamart import Connection, Datamart, Token
from spark_profiles.emulator import server

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from spark_profiles.emulator.server import Emulator

# The documentation's calls, with its placeholders: create, send the file, ask how it stands.
CREATE = """
curl --location --request POST "$BASE/v1/datamarts/$DATAMART/document_imports" \
 --header "Authorization: $TOKEN" --header 'Content-Type: application/json' \
 --data-raw '{
   "document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON", "encoding": "utf-8",
   "name": "<YOUR_DOCUMENT_IMPORT_NAME>"
 }'
"""
SEND = """
curl --location --request POST "$BASE/v1/datamarts/$DATAMART/document_imports/$IMPORT/executions" \
 --header "Authorization: $TOKEN" --header 'Content-Type: application/x-ndjson' \
 --data-binary '@profiles.ndjson'
"""
POLL = """
curl --location --request GET \
 "$BASE/v1/datamarts/$DATAMART/document_imports/$IMPORT/executions/$EXECUTION" \
 --header "Authorization: $TOKEN"
"""
LINE = {
    "operation": "UPSERT", "compartment_id": "1606", "user_account_id": "crm-42",
    "update_strategy": "FORCE_REPLACE",
    "user_profile": {"$compartment_id": 1606, "$user_account_id": "crm-42", "city": "Lyon"},
}  # fmt: skip


def curl(script: str, folder: Path, variables: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(
        ["sh", "-c", script.replace("curl ", "curl --silent --show-error --fail ")],
        cwd=folder, env=variables, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok"
    return dict(answer["data"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_published_calls_work_unchanged(datamart_emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "profiles.ndjson").write_text(json.dumps(LINE) + "\n")
    known = {
        "BASE": datamart_emulator.url, "DATAMART": "1509", "TOKEN": "api:abc",
        "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    known["IMPORT"] = str(curl(CREATE, tmp_path, known)["id"])
    posted = curl(SEND, tmp_path, known)
    assert posted["status"] == "PENDING"
    known["EXECUTION"] = str(posted["id"])
    for _ in range(100):
        execution = curl(POLL, tmp_path, known)
        if execution["status"] == "SUCCEEDED":
            break
    assert execution["result"]["total_success"] == 1  # type: ignore[index]
    assert datamart_emulator.profile("1509", "1606", "crm-42") == LINE["user_profile"]


@pytest.mark.parametrize("multipart", [False, True])
def test_the_uploader_sends_exactly_the_documented_requests(
    datamart_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, multipart: bool
) -> None:
    monkeypatch.setenv("TOKEN", "api:abc")
    shelf, sent = Shelf((2,)), []
    connection = Connection(datamart_emulator.url, "1509", Token.parse("env:TOKEN"))

    def recorded(request: httpx.Request) -> None:
        sent.append((request, request.read() if request.method == "POST" else b""))

    with Datamart(connection) as datamart:
        datamart._channel._client.event_hooks = {"request": [recorded]}
        upload.upload(
            list(shelf.states.values()),
            datamart=datamart,
            open_file=shelf.open,
            import_name="nightly",
            journal=shelf,
            settings=upload.Settings(poll_every_s=0.3, priority="HIGH", multipart=multipart),
        )
    base = "/v1/datamarts/1509/document_imports"
    told = [(r.method, r.url.raw_path.decode()) for r, _ in sent]
    assert told == [
        ("POST", base),
        ("POST", f"{base}/1/executions"),
        ("GET", f"{base}/1/executions/1"),
    ]
    (create, wanted), (post, body), (poll, _) = sent
    assert json.loads(wanted) == {
        "document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON", "encoding": "utf-8",
        "name": "nightly", "priority": "HIGH",
    }  # fmt: skip
    assert create.headers["Content-Type"] == "application/json"
    assert {r.headers["Authorization"] for r in (create, post, poll)} == {"api:abc"}
    assert int(post.headers["Content-Length"]) == len(body)
    assert "Transfer-Encoding" not in post.headers
    file = shelf.content["f0.ndjson"]
    if not multipart:
        assert post.headers["Content-Type"] == "application/x-ndjson"
        assert body == file
        return
    kind, _, boundary = post.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    mark = f"--{boundary}".encode()
    parts = [part.strip(b"\r\n") for part in body.split(mark)[1:-1]]
    assert parts[0].endswith(b'name="type"\r\n\r\napplication/x-ndjson')
    assert b'name="file"; filename="f0.ndjson"' in parts[1]
    assert parts[1].endswith(b"Content-Type: application/x-ndjson\r\n\r\n" + file.rstrip(b"\n"))


def test_what_is_served_is_found_again_after_a_restart(tmp_path: Path) -> None:
    with server.running(tmp_path / "d.sqlite") as emulator:
        before = emulator.url
        emulator.restart()
        assert emulator.url == before
