"""Tokens by reference: where they may lie, and that they show nowhere."""

from __future__ import annotations

import json
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from spark_profiles.delivery.datamart import Connection, Datamart, Token
from spark_profiles.delivery.tokens import Secret
from spark_profiles.errors import DefinitionError, PlatformError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "api:Zq7-very-secret"


def test_a_secret_does_not_show() -> None:
    secret = Secret(SECRET)
    assert SECRET not in f"{secret} {secret!r} {secret!s} {[secret]} {vars(Token('env', 'N'))}"
    assert secret.masked(f"no {SECRET}, nor Zq7-very-secret") == "no ***, nor ***"


def test_aws_secrets_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto import mock_aws

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name="plain", SecretString=SECRET)
        client.create_secret(Name="crm/api", SecretString=json.dumps({"token": SECRET}))
        assert Token.parse("aws:plain").read().value == SECRET
        assert Token.parse("aws:crm/api#token").read().value == SECRET
        with pytest.raises(DefinitionError, match="aws:other"):
            Token.parse("aws:other").read()


def test_databricks_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Secrets:
        def get(self, *, scope: str, key: str) -> str:
            return {("crm", "api"): SECRET}[scope, key]

    sdk: Any = types.ModuleType("databricks.sdk")
    sdk.WorkspaceClient = lambda: types.SimpleNamespace(
        dbutils=types.SimpleNamespace(secrets=Secrets())
    )
    monkeypatch.setitem(sys.modules, "databricks", types.ModuleType("databricks"))
    monkeypatch.setitem(sys.modules, "databricks.sdk", sdk)
    assert Token.parse("databricks:crm/api").read().value == SECRET
    with pytest.raises(DefinitionError, match="KeyError"):
        Token.parse("databricks:crm/other").read()


@pytest.mark.parametrize(("kind", "module"), [("aws", "boto3"), ("databricks", "databricks")])
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, kind: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.sdk", None)
    with pytest.raises(PlatformError, match=rf"pip install 'spark-profiles\[{kind}\]'"):
        Token.parse(f"{kind}:crm/api").read()


@pytest.mark.parametrize("wrong", [f"{SECRET}\nx", f"{SECRET}é", f"{SECRET}\x00"])
def test_what_no_header_may_have_is_refused_without_a_trace(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "token").write_text(wrong, encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        Token.parse(f"file:{tmp_path / 'token'}").read()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def client(tmp_path: Path, answers: list[httpx.Response], seen: list[str]) -> Datamart:
    """A client whose platform rotates the token file at the first refusal."""
    place = tmp_path / "token"

    def handle(request: httpx.Request) -> httpx.Response:
        request.read()
        seen.append(request.headers["Authorization"])
        answer = answers.pop(0)
        if answer.status_code == 401:
            place.write_text(answer.text or "api:old")
        return answer

    place.write_text("api:old")
    connection = Connection("https://api.example.org", "1", Token.parse(f"file:{place}"))
    return Datamart(connection, transport=httpx.MockTransport(handle), sleep=lambda _: None)


def done() -> httpx.Response:
    return httpx.Response(200, json={"data": {"id": "8", "status": "PENDING"}})


def test_a_rotated_token_is_read_again_once(tmp_path: Path) -> None:
    seen: list[str] = []
    answers = [httpx.Response(401, text="api:new"), done(), done()]
    with client(tmp_path, answers, seen) as datamart:
        datamart.post_execution("7", lambda: [b"{}\n"], 3)
        datamart.execution("7", "8")
    assert seen == ["api:old", "api:new", "api:new"]


def test_a_token_that_stays_wrong_is_refused_at_once(tmp_path: Path) -> None:
    seen: list[str] = []
    with client(tmp_path, [httpx.Response(401)], seen) as datamart, pytest.raises(RefusedError):
        datamart.execution("7", "8")
    assert seen == ["api:old"]
    both = [httpx.Response(401, text="api:new"), httpx.Response(401, text="api:newest")]
    with client(tmp_path, both, seen) as datamart, pytest.raises(RefusedError):
        datamart.execution("7", "8")
    assert seen[1:] == ["api:old", "api:new"], "once, not for ever"


def test_an_answer_that_repeats_the_token_is_masked(tmp_path: Path) -> None:
    told = {"error": {"message": "bad api:old"}, "error_id": "id-api:old-1"}
    body = {"data": {"id": "8", "status": "FAILED", **told}}
    answers = [httpx.Response(200, json=body), httpx.Response(400, json=told)]
    with client(tmp_path, answers, []) as datamart:
        assert datamart.execution("7", "8").message == "bad ***"
        with pytest.raises(RefusedError) as caught:
            datamart.execution("7", "8")
    assert "api:old" not in str(caught.value)
    assert "id-***-1" in str(caught.value)
