"""EDGE. Requests to the API and what comes of them: one pool, one pace, one token. No Spark.

What is repeated, and what is certain about an uploaded file, is a row of `outcomes.TABLE`.
"""

from __future__ import annotations

import json
import math
import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx

from spark_profiles.delivery import outcomes
from spark_profiles.delivery.outcomes import Rule, Then
from spark_profiles.delivery.retry import Pace, RetryPolicy, retry_after_s, wait_before
from spark_profiles.errors import Problem, RefusedError, SparkProfilesError, UnavailableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

    from spark_profiles.delivery.tokens import Secret, Token


class AmbiguousOutcome(UnavailableError):  # noqa: N818  named for what it says
    """The platform may or may not have taken a file; look before sending it again."""


class FileRefused(RefusedError):  # noqa: N818  named for what it says
    """The platform will never take this file; others may go on."""


@dataclass(frozen=True)
class Connection:
    """Which datamart, where, and with which token."""

    base_url: str
    datamart_id: str
    token: Token


@dataclass(frozen=True)
class Exchange:
    """One request and what came of it, for those who measure."""

    method: str
    path: str
    outcome: str
    """The status, or the name of what went wrong with the connection."""
    seconds: float


class Body:
    """The parts of a file on their way; knows whether the last of them was handed over."""

    def __init__(self, parts: Iterable[bytes], size: int) -> None:
        self._parts, self._left = parts, size
        self.is_whole = size == 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._left -= len(part)
            self.is_whole = self._left <= 0
            yield part


class Channel:
    """Sends requests to one API, from any thread, and repeats what may be repeated."""

    def __init__(  # noqa: PLR0913
        self,
        connection: Connection,
        *,
        transport: httpx.BaseTransport | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  frozen
        parallel: int = 4,
        per_second: float | None = None,
        timeout_s: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        jitter: Callable[[], float] = random.random,
        observe: Callable[[Exchange], None] = lambda _: None,
    ) -> None:
        self._connection, self._retry = connection, retry
        self._sleep, self._clock, self._now, self._jitter = sleep, clock, now, jitter
        self._observe = observe
        self.pace = Pace(parallel=parallel, per_second=per_second, clock=clock, sleep=sleep)
        self._secrets: list[Secret] = []
        self._lock = threading.Lock()
        self._client = httpx.Client(
            base_url=connection.base_url,
            transport=transport,
            verify=_trusted(),
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            limits=httpx.Limits(max_connections=parallel + 2),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def masked(self, text: str) -> str:
        """The text without the token, or one before it, should it be in it."""
        for secret in self._secrets:
            text = secret.masked(text)
        return text

    def read(self, answer: httpx.Response) -> Any:
        """The JSON of an answer, the token masked in it.

        Raises:
            ValueError: it is no JSON.
        """
        return json.loads(self.masked(answer.text))

    def send(
        self,
        method: str,
        path: str,
        *,
        upload: Callable[[], Body] | None = None,
        stop: threading.Event | None = None,
        stream: bool = False,
        **request: Any,
    ) -> httpx.Response:
        """The answer, after retries; only what was certainly not taken is uploaded again.

        Args:
            method: of HTTP.
            path: below the base URL.
            upload: makes the body of an upload, anew for each attempt.
            stop: once set, nothing is repeated any more.
            stream: the answer's body is left to be read.
            request: `json`, `params` and `headers`, as httpx takes them.

        Raises:
            AmbiguousOutcome: an upload may have been taken.
            FileRefused: the platform does not take this upload.
            RefusedError: the API refused the request.
            UnavailableError: it did not answer usefully within the limits.
        """
        begun, attempt = self._clock(), 1
        secret, is_renewed = self._token(None), False
        while True:
            body = upload() if upload else None
            outcome = self._once(method, path, secret, body, stream=stream, **request)
            if isinstance(outcome, httpx.Response) and outcome.is_success:
                self.pace.good()
                return outcome
            if not is_renewed and _status(outcome) == httpx.codes.UNAUTHORIZED:
                is_renewed, refused, secret = True, secret, self._token(secret)
                if secret != refused:
                    continue
            failure, rule = self._failure(method, path, outcome, body)
            if not rule.is_transient or isinstance(failure, AmbiguousOutcome):
                raise failure
            attempt += 1
            wait = self._wait_before(attempt, rule, outcome)
            if wait is None or self._clock() - begun + wait > self._retry.total_s:
                raise failure
            if not self._paused(wait, stop):
                raise failure

    def _token(self, refused: Secret | None) -> Secret:
        """The token; read anew if it is the refused one."""
        with self._lock:
            if not self._secrets or self._secrets[-1] == refused:
                read = self._connection.token.read()
                if read != refused:
                    self._secrets.append(read)
            return self._secrets[-1]

    def _once(
        self,
        method: str,
        path: str,
        secret: Secret,
        body: Body | None,
        *,
        stream: bool,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response | httpx.HTTPError:
        self.pace.wait()
        begun, told = self._clock(), "stopped"
        try:
            made = self._client.build_request(
                method,
                path,
                headers={"Authorization": secret.value, **(headers or {})},
                content=body,
                **request,
            )
            answer = self._client.send(made, stream=stream)
            if stream and not answer.is_success:
                answer.read()
            told = str(answer.status_code)
        except httpx.HTTPError as error:
            told = type(error).__name__
            return error
        else:
            return answer
        finally:
            self._observe(Exchange(method, path, told, self._clock() - begun))

    def _wait_before(
        self, attempt: int, rule: Rule, outcome: httpx.Response | httpx.HTTPError
    ) -> float | None:
        asked = None
        if isinstance(outcome, httpx.Response):
            asked = retry_after_s(outcome.headers.get("Retry-After", ""), self._now())
        if rule.slower:  # a pause that is too long for a retry is none for the others either
            self.pace.slower(min(asked or 0.0, self._retry.total_s))
        return wait_before(attempt, self._retry, retry_after_s=asked, jitter=self._jitter())

    def _paused(self, seconds: float, stop: threading.Event | None) -> bool:
        """Wait; False if told to stop meanwhile."""
        if stop is None:
            self._sleep(seconds)
            return True
        slices = max(1, math.ceil(seconds / 0.5))
        for _ in range(slices):
            if stop.is_set():
                return False
            self._sleep(seconds / slices)
        return not stop.is_set()

    def _failure(
        self,
        method: str,
        path: str,
        outcome: httpx.Response | httpx.HTTPError,
        body: Body | None,
    ) -> tuple[SparkProfilesError, Rule]:
        """The error of an outcome that is no success, and its rule."""
        rule = _rule(outcome, body)
        if isinstance(outcome, httpx.HTTPError):
            found = f"{rule.outcome} ({type(outcome).__name__}) at {self._connection.base_url}"
        else:
            found = f"{outcome.status_code}, {rule.meaning}{self._ids(outcome)}"
        problem = Problem(f"{method} {path}", found, "", rule.remedy)
        if not rule.is_transient:
            is_file = body is not None and rule.then is Then.FILE_FAILS
            return (FileRefused if is_file else RefusedError)("The API refused", problem), rule
        is_ambiguous = rule.taken and body is not None and body.is_whole
        kind = AmbiguousOutcome if is_ambiguous else UnavailableError
        return kind("The API could not do it", problem), rule

    def _ids(self, answer: httpx.Response) -> str:
        """The ids to quote to support; other text of the answer is not repeated."""
        try:
            content = self.read(answer)
            ids = [str(content[k]) for k in ("error_id", "error_code") if content.get(k)]
        except (ValueError, AttributeError, KeyError, TypeError):
            return ""
        return f" ({', '.join(ids)[:200]})" if ids else ""


@cache
def _trusted() -> ssl.SSLContext:
    """Whose certificates are trusted, read once: it takes longer than many a request."""
    return httpx.create_ssl_context()


def _status(outcome: httpx.Response | httpx.HTTPError) -> int | None:
    return outcome.status_code if isinstance(outcome, httpx.Response) else None


def _rule(outcome: httpx.Response | httpx.HTTPError, body: Body | None) -> Rule:
    if isinstance(outcome, httpx.Response):
        return outcomes.of_status(outcome.status_code)
    if isinstance(outcome, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return outcomes.NOT_CONNECTED
    return outcomes.LOST if body is None or body.is_whole else outcomes.CUT_SHORT
