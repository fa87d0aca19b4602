"""The HTTP client: what is sent, what is retried, and within which bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_profiles.delivery.datamart import (
    AmbiguousOutcome,
    Connection,
    Datamart,
    RetryPolicy,
    Token,
)
from spark_profiles.delivery.retry import wait_before
from spark_profiles.errors import DefinitionError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = RetryPolicy(attempts=4, first_wait_s=1.0, longest_wait_s=3.0, total_s=100.0)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("TOKEN", "api:secret\n")
    return Connection("https://api.example.org", "1500", Token.parse("env:TOKEN"))


class Fake:
    """Answers from a list, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.requests, self.waits = list(answers), [], []
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, connection: Connection, policy: RetryPolicy = POLICY) -> Datamart:
        return Datamart(
            connection,
            transport=httpx.MockTransport(self),
            retry=policy,
            sleep=self.sleep,
            clock=lambda: self.seconds,
            jitter=lambda: 0.0,
        )


def ok(data: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "ok", "data": data})


def test_the_documented_requests_are_sent(connection: Connection) -> None:
    fake = Fake(ok({"id": "7", "name": "n"}), ok({"id": "8", "status": "PENDING"}))
    with fake.client(connection) as client:
        client.create_import("n")
        client.post_execution("7", lambda: [b"{}", b"\n"], 3)
    create, post = fake.requests
    assert (create.method, create.url.path) == ("POST", "/v1/datamarts/1500/document_imports")
    assert json.loads(create.content) == {
        "document_type": "USER_PROFILE",
        "mime_type": "APPLICATION_X_NDJSON",
        "encoding": "utf-8",
        "name": "n",
    }
    assert post.url.path == "/v1/datamarts/1500/document_imports/7/executions"
    assert post.headers["Content-Type"] == "application/x-ndjson"
    assert post.headers["Content-Length"] == "3"
    assert post.content == b"{}\n"
    assert {r.headers["Authorization"] for r in fake.requests} == {"api:secret"}


def test_waits_double_up_to_the_longest_and_attempts_are_bounded(connection: Connection) -> None:
    fake = Fake(*[httpx.Response(503)] * 4)
    with fake.client(connection) as client, pytest.raises(UnavailableError):
        client.create_import("n")
    assert fake.waits == [1.0, 2.0, 3.0]


def test_the_server_knows_best_how_long_to_wait(connection: Connection) -> None:
    fake = Fake(httpx.Response(429, headers={"Retry-After": "17"}), ok({"id": "7"}))
    with fake.client(connection) as client:
        client.create_import("n")
    assert fake.waits == [17.0]


def test_a_pause_that_is_too_long_for_one_does_not_hold_the_others(connection: Connection) -> None:
    day = {"Retry-After": "86400"}
    fake = Fake(httpx.Response(429, headers=day), ok({"id": "7"}))
    with fake.client(connection) as client:
        with pytest.raises(UnavailableError):
            client.create_import("n")
        client.create_import("n")
    assert sum(fake.waits) <= POLICY.total_s


def test_time_is_bounded_too(connection: Connection) -> None:
    fake = Fake(httpx.Response(429, headers={"Retry-After": "101"}))
    with fake.client(connection) as client, pytest.raises(UnavailableError):
        client.create_import("n")


@pytest.mark.parametrize(
    ("outcome", "requests"),
    [
        (httpx.ReadTimeout(""), 1),
        (httpx.RemoteProtocolError(""), 1),
        (httpx.Response(500), 1),
        (httpx.Response(504), 1),
        (httpx.Response(200, text="<html>"), 1),
        (httpx.Response(200, json={"data": None}), 1),
        (httpx.Response(200, json={"data": [{"id": "8"}]}), 1),
        (httpx.Response(200, json={"data": {"id": "8", "result": "done"}}), 1),
        (httpx.Response(503), 1),  # a gateway may say so after the platform took it
        (httpx.ConnectError(""), 2),
        (httpx.Response(429), 2),
    ],
)
def test_a_file_is_posted_again_only_where_it_was_certainly_not_taken(
    connection: Connection, outcome: Any, requests: int
) -> None:
    fake = Fake(outcome, ok({"id": "8", "status": "PENDING"}))
    with fake.client(connection) as client:
        if requests == 1:
            with pytest.raises(AmbiguousOutcome):
                client.post_execution("7", lambda: [b"{}\n"], 3)
        else:
            assert client.post_execution("7", lambda: [b"{}\n"], 3).id == "8"
    assert len(fake.requests) == requests


def test_all_pages_are_read(connection: Connection) -> None:
    pages = [
        [{"id": str(n), "status": "PENDING"} for n in range(a, b)]
        for a, b in ((0, 100), (100, 130))
    ]
    fake = Fake(*[httpx.Response(200, json={"data": page, "total": 130}) for page in pages])
    with fake.client(connection) as client:
        assert [e.id for e in client.executions("7")] == [str(n) for n in range(130)]
    assert [r.url.params["first_result"] for r in fake.requests] == ["0", "100"]


def test_old_names_and_missing_members_are_understood(connection: Connection) -> None:
    fake = Fake(ok({"id": 8, "status": "SUCCESS", "result": {"total_success": "5"}, "error": None}))
    with fake.client(connection) as client:
        execution = client.execution("7", "8")
    assert (execution.status, execution.is_final) == ("SUCCEEDED", True)
    assert (execution.total_success, execution.total_failure) == (5, None)


OTHER_FORMS = ["[]", "null", '{"data": null}', '{"data": {"status": "PENDING"}}',
               '{"data": {"id": 1, "result": "done"}}', '{"data": [1, 2], "total": 2}',
               '{"data": [{"status": "PENDING"}], "total": "many"}']  # fmt: skip


@pytest.mark.parametrize("text", OTHER_FORMS)
def test_an_answer_of_another_form_is_said_to_be_that(connection: Connection, text: str) -> None:
    def told(ask: Callable[[Datamart], object], error: type[Exception]) -> None:
        with Fake(httpx.Response(200, text=text)).client(connection) as client:
            with pytest.raises(error, match="unknown form") as found:
                ask(client)
            assert "/document_imports" in str(found.value)

    told(lambda client: client.executions("7"), UnavailableError)
    told(lambda client: client.execution("7", "8"), UnavailableError)
    told(lambda client: client.cancel("7", "8"), UnavailableError)
    told(lambda client: client.post_execution("7", lambda: [b"x"], 1), AmbiguousOutcome)


@pytest.mark.parametrize("reference", ["api:abcdef-the-token", "", "env:", "abcdef"])
def test_a_token_given_itself_is_refused_without_repeating_it(reference: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Token.parse(reference)
    assert "abcdef" not in str(caught.value)


def test_a_missing_token_names_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_TOKEN", raising=False)
    with pytest.raises(DefinitionError, match="env:NO_TOKEN"):
        Token.parse("env:NO_TOKEN").read()


@given(st.integers(2, 50), st.floats(0, 1))
def test_a_wait_is_never_longer_than_the_longest_nor_less_than_half(
    attempt: int, jitter: float
) -> None:
    policy = RetryPolicy(attempts=50, first_wait_s=1.0, longest_wait_s=30.0)
    wait = wait_before(attempt, policy, retry_after_s=None, jitter=jitter)
    whole = wait_before(attempt, policy, retry_after_s=None, jitter=0.0)
    assert wait is not None
    assert whole is not None
    assert whole / 2 <= wait <= whole <= 30.0
