"""What shall go wrong, and how often: set while the server runs, drawn from a seed."""

from __future__ import annotations

import random
import re
from dataclasses import asdict, dataclass, field, fields
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {
    "latency": "wait `seconds` before the request is looked at",
    "status": "answer `status` (with `retry_after`, if given) before looking at the request",
    "reset_before_body": "break the connection before the body is read",
    "reset_in_body": "break the connection within the body; nothing is taken",
    "reset_after_body": "break the connection after the body; nothing is taken",
    "lost_answer": "take the request, then break the connection instead of answering",
    "garbled": "take the request, then answer 200 with a page that is no JSON",
    "restart": "break every connection and restart the server, with what it has stored",
    "stuck": "the execution stays PENDING until the faults are cleared",
    "failed": "the execution ends FAILED; nothing is applied",
    "partial": "a `share` of the execution's lines become failed records",
    "wrong_totals": "the totals of the execution are one line short",
    "no_error_file": "an execution with failed records names an error file that is not there",
    "lost_execution": "the execution is forgotten: 404, nothing is applied",
}
OF_EXECUTIONS = {
    "stuck", "failed", "partial", "wrong_totals", "no_error_file", "lost_execution",
}  # fmt: skip
ROUTES = ("any", "create_import", "upload", "list", "poll", "cancel", "data_file", "profiles")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: what, where, how often."""

    kind: str
    """A key of `KINDS`."""
    on: str = "any"
    """Which requests: one of `ROUTES`. Faults of executions need none."""
    times: int = 1
    """How often; 0 means always."""
    after: int = 0
    """So many that fit are spared first."""
    share: float = 1.0
    """Of the requests that fit, drawn; for `partial`, of the lines."""
    status: int = 503
    retry_after: str = ""
    """The header's text: seconds, or an HTTP date."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            message = f"{self.kind!r} is no fault; they are {', '.join(KINDS)}"
            raise ValueError(message)
        if self.on not in ROUTES:
            message = f"{self.on!r} is no route; they are {', '.join(ROUTES)}"
            raise ValueError(message)
        if not 400 <= self.status <= 599:  # noqa: PLR2004
            message = f"{self.status} is no status of a failure"
            raise ValueError(message)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """`KIND [NAME=VALUE …]`, such as `status on=upload status=429 retry_after=2 times=3`.

        Raises:
            ValueError: it is none; the message says why.
        """
        kind, *settings = text.split()
        return cls.of({"kind": kind, **dict(one.partition("=")[::2] for one in settings)})

    @classmethod
    def of(cls, content: dict[str, Any]) -> Fault:
        """The fault of these members, as text or as JSON has them.

        Raises:
            ValueError: a name or a value is wrong; the message says why.
        """
        types = {
            one.name: {"str": str, "int": int, "float": float}[str(one.type)] for one in fields(cls)
        }
        if "kind" not in content or content.keys() - types.keys():
            message = f"a fault has the members {', '.join(types)}"
            raise ValueError(message)
        try:
            return cls(**{name: types[name](value) for name, value in content.items()})
        except (TypeError, OverflowError) as error:
            raise ValueError(str(error)) from None


@dataclass
class _Armed:
    fault: Fault
    spared: int = 0
    used: int = 0

    @property
    def is_spent(self) -> bool:
        return 0 < self.fault.times <= self.used


class Faults:
    """The faults of one server, and how slow its executions are. Safe in any thread."""

    def __init__(self, *, seed: int = 0) -> None:
        self._lock = Lock()
        self._armed: list[_Armed] = []
        self._seed, self._dice = seed, _dice(seed)
        self.rejects: Callable[[dict[str, Any]], bool] = lambda _: False
        """Commands that become failed records."""
        self.execution_seconds: float = 0.0
        """How long an execution stays PENDING, and again RUNNING."""

    def add(self, *faults: Fault) -> None:
        """Arm these, after those that are."""
        with self._lock:
            self._armed += [_Armed(fault) for fault in faults]

    def clear(self, *, seed: int | None = None) -> None:
        """Nothing goes wrong any more; with a seed, draws begin anew."""
        with self._lock:
            self._armed = []
            self.rejects = lambda _: False
            if seed is not None:
                self._seed, self._dice = seed, _dice(seed)

    def armed(self) -> list[dict[str, Any]]:
        """What is armed and how often it was used, as JSON."""
        with self._lock:
            return [{**asdict(one.fault), "used": one.used} for one in self._armed]

    def take(self, kinds: set[str], on: str = "any") -> Fault | None:
        """The first of these kinds that is due here; uses it up by one."""
        with self._lock:
            for one in self._armed:
                fault = one.fault
                is_here = fault.kind in OF_EXECUTIONS or fault.on in ("any", on)
                if fault.kind not in kinds or not is_here or one.is_spent:
                    continue
                if one.spared < fault.after:
                    one.spared += 1
                    continue
                if fault.kind != "partial" and self._dice.random() >= fault.share:
                    continue
                one.used += 1
                return fault
        return None

    def draws(self, share: float) -> bool:
        """A draw: true in a `share` of the cases."""
        with self._lock:
            return self._dice.random() < share

    def rank(self, execution: int) -> float:
        """A draw for an execution, the same at each call: of the seed and the execution's id."""
        return _dice(f"{self._seed} {execution}").random()

    def _times(self, kind: str, times: int, **more: Any) -> None:
        with self._lock:
            self._armed = [one for one in self._armed if one.fault.kind != kind]
        if times:
            self.add(Fault(kind, times=times, **more))

    # The commonest, said shortly.

    fail_requests = property(fset=lambda self, times: self._times("status", times))
    """So many requests are answered with 503."""
    lose_answers = property(fset=lambda self, times: self._times("lost_answer", times, on="upload"))
    """So many uploads are taken and not answered."""
    fail_executions = property(fset=lambda self, times: self._times("failed", times))
    """So many executions end FAILED."""


def _dice(seed: int | str) -> random.Random:
    return random.Random(seed)  # noqa: S311  to be repeatable


@dataclass(frozen=True)
class _Route:
    name: str
    method: str
    pattern: re.Pattern[str] = field(repr=False)


_ID = r"/document_imports/[^/]+"
_PATTERNS = [
    _Route("create_import", "POST", re.compile(r".*/document_imports\Z")),
    _Route("upload", "POST", re.compile(rf".*{_ID}/executions\Z")),
    _Route("cancel", "POST", re.compile(rf".*{_ID}/executions/[^/]+/action\Z")),
    _Route("list", "GET", re.compile(rf".*{_ID}/executions\Z")),
    _Route("poll", "GET", re.compile(rf".*{_ID}/executions/[^/]+\Z")),
    _Route("data_file", "GET", re.compile(r".*/data_file/data\Z")),
    _Route("profiles", "GET", re.compile(r".*/user_profiles\Z")),
]


def route_of(method: str, path: str) -> str:
    """Which of `ROUTES` a request is."""
    return next((r.name for r in _PATTERNS if r.method == method and r.pattern.match(path)), "any")


def as_markdown() -> str:
    """The table as the manual prints it."""
    rows = ["| fault | of | what happens |", "| --- | --- | --- |"]
    for kind, meaning in KINDS.items():
        of = "executions" if kind in OF_EXECUTIONS else "requests"
        rows.append(f"| `{kind}` | {of} | {meaning} |")
    rows.append("")
    rows.append(f"`on` is one of {', '.join(f'`{route}`' for route in ROUTES)}.")
    return "\n".join(rows) + "\n"
