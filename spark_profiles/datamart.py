"""EDGE. HTTP client of the bulk-import API. No Spark.

Reading, and creating an import, may be repeated freely. Posting a file may not: only where it is
certain that the platform did not take it is it sent again; otherwise `AmbiguousOutcome` is raised
and the caller looks at the executions of the import.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from spark_profiles.errors import (
    DefinitionError,
    Problem,
    RefusedError,
    SparkProfilesError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

STATUS = {
    400: ("terminal", "the request is not understood"),
    401: ("terminal", "the token is missing, wrong or expired"),
    403: ("terminal", "the token may not do this"),
    404: ("terminal", "no such datamart, import or execution"),
    409: ("terminal", "not possible in this state"),
    413: ("terminal", "the file is too large for the platform"),
    415: ("terminal", "the content type is not the import's"),
    429: ("transient, not taken", "too many requests"),
    500: ("transient, unknown whether taken", "the platform failed"),
    502: ("transient, unknown whether taken", "a gateway failed"),
    503: ("transient, not taken", "the platform is not available"),
    504: ("transient, unknown whether taken", "a gateway waited too long"),
}
"""What each answer means. Others: 4xx terminal, 5xx transient, unknown whether taken."""

_NOT_TAKEN = (429, 503)
_PAGE = 100


class AmbiguousOutcome(UnavailableError):  # noqa: N818  named for what it says
    """The platform may or may not have taken a file; look before sending it again."""


@dataclass(frozen=True)
class Token:
    """Where the API token is; the token itself is read when it is needed and never kept."""

    kind: str
    place: str = field(repr=False)

    @classmethod
    def parse(cls, reference: str) -> Token:
        """The reference `env:NAME` or `file:PATH`.

        Raises:
            DefinitionError: it is neither. It may be the token itself, so it is not repeated.
        """
        kind, _, place = reference.partition(":")
        if kind not in ("env", "file") or not place:
            problem = Problem(
                "token", "no reference (not shown)", "env:NAME or file:PATH", "never the token"
            )
            message = "The token must be given by reference"
            raise DefinitionError(message, problem)
        return cls(kind, place)

    def read(self) -> str:
        """The whole value of the Authorization header.

        Raises:
            DefinitionError: the variable or file is missing or empty.
        """
        try:
            value = os.environ.get(self.place, "") if self.kind == "env" else _text(self.place)
        except (OSError, UnicodeDecodeError):
            value = ""
        if not value.strip():
            problem = Problem(
                f"token {self.kind}:{self.place}", "missing or empty", "the whole token value"
            )
            message = "There is no token"
            raise DefinitionError(message, problem)
        return value.strip()


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Connection:
    """Which datamart, where, and with which token."""

    base_url: str
    datamart_id: str
    token: Token


@dataclass(frozen=True)
class DocumentImport:
    """A document import: the definition under which files are uploaded."""

    id: str
    name: str


@dataclass(frozen=True)
class Execution:
    """One uploaded file, as the platform tells of it. Members it leaves out are None."""

    id: str
    status: str
    total_success: int | None = None
    total_failure: int | None = None
    message: str | None = None
    error_file_uri: str | None = None
    input_file_uri: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the platform is done with it."""
        return self.status in ("SUCCEEDED", "FAILED", "CANCELED")


@dataclass(frozen=True)
class RetryPolicy:
    """Bounds of attempts and of time; both hold."""

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    total_s: float = 300.0


def wait_before(
    attempt: int, policy: RetryPolicy, *, retry_after_s: float | None, jitter: float
) -> float | None:
    """Seconds to wait before `attempt` (2 is the first retry); None means give up.

    Without word from the server the wait doubles with each attempt up to the longest, and
    `jitter` (0 to 1) takes away up to half of it, so that many clients do not return at once.
    """
    if attempt > policy.attempts:
        return None
    if retry_after_s is not None:
        return retry_after_s
    ceiling = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** (attempt - 2))
    return ceiling * (1 - jitter / 2)


class Datamart:
    """The API of one datamart. A context manager that holds one pool of connections."""

    def __init__(
        self,
        connection: Connection,
        *,
        transport: httpx.BaseTransport | None = None,
        retry: RetryPolicy = RetryPolicy(),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connection, self._retry = connection, retry
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._client = httpx.Client(
            base_url=connection.base_url,
            transport=transport,
            timeout=httpx.Timeout(60.0, connect=10.0),
        )
        self._imports = f"/v1/datamarts/{quote(connection.datamart_id)}/document_imports"

    def __enter__(self) -> Datamart:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def create_import(self, name: str, priority: str | None = None) -> DocumentImport:
        """Create the document import of a run."""
        body = {
            "document_type": "USER_PROFILE",
            "mime_type": "APPLICATION_X_NDJSON",
            "encoding": "utf-8",
            "name": name,
        }
        if priority:
            body["priority"] = priority
        made = self._data("POST", self._imports, json=body)
        return DocumentImport(str(made["id"]), str(made.get("name", name)))

    def post_execution(
        self, import_id: str, content: Callable[[], Iterable[bytes]], size: int
    ) -> Execution:
        """Upload one file; `content` gives its bytes anew for each attempt.

        Raises:
            AmbiguousOutcome: it is not known whether the platform took it.
        """
        path = f"{self._imports}/{import_id}/executions"
        answer = self._send(
            "POST",
            path,
            content=content,
            headers={"Content-Type": "application/x-ndjson", "Content-Length": str(size)},
        )
        try:
            return _execution(answer.json()["data"])
        except (ValueError, KeyError, TypeError) as error:
            message = "The answer to an upload cannot be read"
            raise AmbiguousOutcome(message, Problem(path, "no execution in it")) from error

    def executions(self, import_id: str) -> list[Execution]:
        """All executions of an import, through all pages."""
        path = f"{self._imports}/{import_id}/executions"
        return [_execution(item) for item in self._pages(path)]

    def execution(self, import_id: str, execution_id: str) -> Execution:
        """One execution as it stands."""
        return _execution(
            self._data("GET", f"{self._imports}/{import_id}/executions/{execution_id}")
        )

    def cancel(self, import_id: str, execution_id: str) -> Execution:
        """Cancel an execution that is still pending."""
        path = f"{self._imports}/{import_id}/executions/{execution_id}/action"
        return _execution(self._data("POST", path, json={"action": "CANCEL"}))

    def data_file(self, uri: str) -> bytes:
        """The content of an error file, or of an input file."""
        return self._send("GET", "/v1/data_file/data", params={"uri": uri}).content

    def profiles(self, compartment_id: str, user_account_id: str) -> list[dict[str, Any]]:
        """The profiles of the user point with this account; none when it is unknown."""
        selector = f"compartment_id={compartment_id},user_account_id={user_account_id}"
        path = f"/v1/datamarts/{self._connection.datamart_id}/user_points/{quote(selector)}"
        try:
            return list(self._pages(f"{path}/user_profiles"))
        except RefusedError as error:
            if error.problems[0].found.startswith("404"):
                return []
            raise

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        first = 0
        while True:
            params = {"first_result": first, "max_results": _PAGE}
            content = self._json("GET", path, params=params)
            items = content.get("data") or []
            yield from items
            first += len(items)
            total = content.get("total")
            if not items or (total is not None and first >= total) or (
                total is None and len(items) < _PAGE
            ):  # fmt: skip
                return

    def _data(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        data = self._json(method, path, **request).get("data")
        if not isinstance(data, dict):
            message = "The API answered in an unknown form"
            raise UnavailableError(message, Problem(f"{method} {path}", "no data", "an object"))
        return data

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            content = self._send(method, path, **request).json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            message = "The API answered in an unknown form"
            raise UnavailableError(message, Problem(f"{method} {path}", "no JSON object"))
        return content

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, after retries. An upload is recognised by its `content`."""
        begun = self._clock()
        attempt = 1
        while True:
            outcome = self._try(method, path, **request)
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                return outcome
            failure = self._failure(method, path, outcome, is_upload="content" in request)
            if not isinstance(failure, UnavailableError) or isinstance(failure, AmbiguousOutcome):
                raise failure
            attempt += 1
            wait = wait_before(
                attempt, self._retry, retry_after_s=_retry_after(outcome), jitter=self._jitter()
            )
            if wait is None or self._clock() - begun + wait > self._retry.total_s:
                raise failure
            self._sleep(wait)

    def _try(self, method: str, path: str, **request: Any) -> httpx.Response | httpx.HTTPError:
        headers = {"Authorization": self._connection.token.read(), **request.pop("headers", {})}
        content = request.pop("content", None)
        try:
            return self._client.request(
                method, path, headers=headers, content=content() if content else None, **request
            )
        except httpx.HTTPError as error:
            return error

    def _failure(
        self, method: str, path: str, outcome: httpx.Response | httpx.HTTPError, *, is_upload: bool
    ) -> SparkProfilesError:
        where = f"{method} {path}"
        if isinstance(outcome, httpx.HTTPError):
            is_certain = isinstance(outcome, (httpx.ConnectError, httpx.ConnectTimeout))
            base = self._connection.base_url
            problem = Problem(
                where, f"{type(outcome).__name__} at {base}", "an answer", "run again later"
            )
            message = "The API does not answer"
            kind = AmbiguousOutcome if is_upload and not is_certain else UnavailableError
            return kind(message, problem)
        status = outcome.status_code
        meaning = STATUS.get(status, ("", "an answer without a rule"))[1]
        problem = Problem(where, f"{status}, {meaning}{_told(outcome)}", "", _remedy(status))
        if status < 500 and status != 429:  # noqa: PLR2004
            message = "The API refused"
            return RefusedError(message, problem)
        message = "The API could not do it"
        is_ambiguous = is_upload and status not in _NOT_TAKEN
        return (AmbiguousOutcome if is_ambiguous else UnavailableError)(message, problem)


def _told(answer: httpx.Response) -> str:
    """The ids to quote to support; other text of the answer is not repeated."""
    try:
        content = answer.json()
        ids = [str(content[k]) for k in ("error_id", "error_code") if content.get(k)]
    except (ValueError, AttributeError, KeyError, TypeError):
        return ""
    return f" ({', '.join(ids)})" if ids else ""


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "check the token reference and its rights on this datamart"
    if status == 404:  # noqa: PLR2004
        return "check the base URL and the datamart id"
    return "" if status < 500 else "run again later: it continues"  # noqa: PLR2004


def _retry_after(outcome: httpx.Response | httpx.HTTPError) -> float | None:
    if isinstance(outcome, httpx.HTTPError):
        return None
    text = outcome.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _execution(data: dict[str, Any]) -> Execution:
    result = data.get("result") or {}
    error = data.get("error") or {}
    status = str(data.get("status", ""))
    return Execution(
        id=str(data["id"]),
        status="SUCCEEDED" if status == "SUCCESS" else status,  # the older name
        total_success=_integer(result.get("total_success")),
        total_failure=_integer(result.get("total_failure")),
        message=error.get("message") if isinstance(error, dict) else None,
        error_file_uri=result.get("error_file_uri"),
        input_file_uri=result.get("input_file_uri"),
    )


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
