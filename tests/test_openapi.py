"""The emulator keeps its own OpenAPI description, whatever is thrown at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from spark_profiles.emulator import openapi, server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spark_profiles.emulator.server import Emulator


@schemathesis.serializer("application/x-ndjson")
def lines(_: object, value: object) -> bytes:
    """What is drawn for a file is sent as it is."""
    return str(value).encode("utf-8", "replace")


# The description alone; each case is sent over the socket of a running server.
schema = schemathesis.openapi.from_dict(openapi.description())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with server.running(tmp_path_factory.mktemp("openapi") / "d.sqlite") as emulator:
        import httpx

        with httpx.Client(
            verify=False, base_url=emulator.url, headers={"Authorization": "x"}
        ) as client:
            imports = "/v1/datamarts/0/document_imports"
            new = {"document_type": "USER_PROFILE", "mime_type": "APPLICATION_X_NDJSON"}
            number = client.post(imports, json=new).json()["data"]["id"]
            body = b'{"operation":"UPSERT","user_account_id":"0","user_profile":{}}\n'
            kind = {"Content-Type": "application/x-ndjson"}
            client.post(f"{imports}/{number}/executions", content=body, headers=kind)
        yield emulator


@schema.parametrize()
@settings(
    max_examples=8, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_no_answer_breaks_the_description(case: schemathesis.Case, served: Emulator) -> None:
    response = case.call(base_url=served.url, headers={"Authorization": "x"}, timeout=20)
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    case.validate_response(response, checks=checks)
