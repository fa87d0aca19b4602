"""EDGE. HTTP client of the bulk-import API. No Spark.

Reading, and creating an import, may be repeated freely. Posting a file may not: only where it is
certain that the platform did not take it is it sent again; otherwise `AmbiguousOutcome` is raised
and the caller looks at the executions of the import. What is certain is a row of `outcomes.TABLE`.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from spark_profiles.delivery import outcomes
from spark_profiles.delivery.channel import AmbiguousOutcome, Body, Channel, Connection, FileRefused
from spark_profiles.delivery.retry import RetryPolicy
from spark_profiles.delivery.tokens import Token
from spark_profiles.errors import Problem, RefusedError, UnavailableError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

__all__ = [
    "AmbiguousOutcome",
    "Connection",
    "Datamart",
    "DocumentImport",
    "Execution",
    "FileRefused",
    "RetryPolicy",
    "Token",
]

_PAGE = 100
_MIME = "application/x-ndjson"


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

    @property
    def is_pending(self) -> bool:
        """Whether the platform has not begun with it, so that it can be cancelled."""
        return self.status == "PENDING"


class Datamart:
    """The API of one datamart. A context manager that holds one pool of connections."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        """Options are those of `channel.Channel`."""
        self._channel = Channel(connection, **options)
        self.pace = self._channel.pace
        self.masked = self._channel.masked
        self._root = f"/v1/datamarts/{quote(connection.datamart_id, safe='')}"
        self._imports = f"{self._root}/document_imports"

    def __enter__(self) -> Datamart:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    # What the API offers

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
        with _documented("POST", self._imports):
            made = self._json("POST", self._imports, json=body)["data"]
            return DocumentImport(str(made["id"]), str(made.get("name", name)))

    def post_execution(
        self,
        import_id: str,
        content: Callable[[], Iterable[bytes]],
        size: int,
        *,
        form_name: str | None = None,
        stop: threading.Event | None = None,
    ) -> Execution:
        """Upload one file; `content` gives its bytes anew for each attempt.

        Args:
            import_id: the document import.
            content: the bytes, in parts.
            size: how many bytes they are together.
            form_name: sends a multipart form with this file name, instead of the raw body.
            stop: once set, nothing is repeated any more.

        Raises:
            AmbiguousOutcome: it is not known whether the platform took it.
            FileRefused: the platform does not take this file.
        """
        path = f"{self._imports}/{_part(import_id)}/executions"
        kind, parts, length = _MIME, content, size
        if form_name is not None:
            kind, head, tail = _form(form_name)
            length = len(head) + size + len(tail)
            parts = lambda: _joined(head, content(), tail)  # noqa: E731
        headers = {"Content-Type": kind, "Content-Length": str(length)}
        answer = self._channel.send(
            "POST", path, upload=lambda: Body(parts(), length), headers=headers, stop=stop
        )
        try:
            with _documented("POST", path):
                return _execution(self._channel.read(answer)["data"])
        except UnavailableError as error:
            raise AmbiguousOutcome(error.message, *error.problems) from error

    def executions(self, import_id: str) -> list[Execution]:
        """All executions of an import, through all pages, newest first."""
        path = f"{self._imports}/{_part(import_id)}/executions"
        with _documented("GET", path):
            # What arrives between two pages moves the rest on: one may come twice.
            found = {item["id"]: item for item in self._pages(path)}
            return [_execution(item) for item in found.values()]

    def execution(self, import_id: str, execution_id: str) -> Execution:
        """One execution as it stands."""
        path = f"{self._imports}/{_part(import_id)}/executions/{_part(execution_id)}"
        with _documented("GET", path):
            return _execution(self._json("GET", path)["data"])

    def cancel(self, import_id: str, execution_id: str) -> Execution:
        """Cancel an execution that is still pending."""
        path = f"{self._imports}/{_part(import_id)}/executions/{_part(execution_id)}/action"
        with _documented("POST", path):
            return _execution(self._json("POST", path, json={"action": "CANCEL"})["data"])

    @contextmanager
    def data_file(self, uri: str) -> Iterator[Iterator[bytes]]:
        """The content of an error file, or of an input file, in parts as they come.

        Raises:
            UnavailableError: it broke off.
        """
        path = "/v1/data_file/data"
        answer = self._channel.send("GET", path, params={"uri": uri}, stream=True)
        try:
            yield answer.iter_bytes()
        except httpx.HTTPError as error:
            found = f"broke off ({type(error).__name__})"
            problem = Problem(f"GET {path}", found, "the whole file", outcomes.LATER)
            message = "The API could not do it"
            raise UnavailableError(message, problem) from None
        finally:
            answer.close()

    def profiles(self, compartment_id: str, user_account_id: str) -> list[dict[str, Any]]:
        """The profiles of the user point with this account; none when it is unknown."""
        selector = f"compartment_id={compartment_id},user_account_id={user_account_id}"
        path = f"{self._root}/user_points/{_part(selector)}/user_profiles"
        try:
            with _documented("GET", path):
                return list(self._pages(path))
        except RefusedError as error:
            if error.problems[0].found.startswith("404"):
                return []
            raise

    # How it is asked

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        first = 0
        while True:
            params = {"first_result": first, "max_results": _PAGE}
            content = self._json("GET", path, params=params)
            items = list(content["data"])
            yield from items
            first += len(items)
            total = content.get("total")
            if not items or (total is not None and first >= total) or (
                total is None and len(items) < (content.get("max_results") or _PAGE)
            ):  # fmt: skip
                return

    def _json(self, method: str, path: str, **request: Any) -> Any:
        return self._channel.read(self._channel.send(method, path, **request))


@contextmanager
def _documented(method: str, path: str) -> Iterator[None]:
    """Answers are read within; one of another form than the documented is said to be that.

    Raises:
        UnavailableError: it is of another form.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = "The API answered in an unknown form"
        problem = Problem(f"{method} {path}", type(error).__name__, "the documented form",
                          outcomes.UNREADABLE.remedy)  # fmt: skip
        raise UnavailableError(message, problem) from error


def _part(text: str) -> str:
    return quote(text, safe="")


def _form(name: str) -> tuple[str, bytes, bytes]:
    """Content type, beginning and end of a form whose part `file` lies between."""
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="type"\r\n\r\n{_MIME}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {_MIME}\r\n\r\n"
    )
    return (
        f"multipart/form-data; boundary={boundary}",
        head.encode(),
        f"\r\n--{boundary}--\r\n".encode(),
    )


def _joined(head: bytes, parts: Iterable[bytes], tail: bytes) -> Iterator[bytes]:
    yield head
    yield from parts
    yield tail


def _execution(data: dict[str, Any]) -> Execution:
    result = data.get("result") or {}
    error = data.get("error") or {}
    parameters = data.get("parameters") or {}
    status = str(data.get("status", ""))
    return Execution(
        id=str(data["id"]),
        status="SUCCEEDED" if status == "SUCCESS" else status,  # the older name
        total_success=_integer(result.get("total_success")),
        total_failure=_integer(result.get("total_failure")),
        message=error.get("message") if isinstance(error, dict) else None,
        error_file_uri=result.get("error_file_uri"),
        input_file_uri=result.get("input_file_uri") or parameters.get("file_uri"),
    )


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
