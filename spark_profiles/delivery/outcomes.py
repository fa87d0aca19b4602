"""What each outcome of a request means: one table that the client obeys and the manual prints.

`taken` says whether the platform may have taken a file that was being uploaded; all other
requests may be repeated freely.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Then(str, Enum):
    """What the client does about an outcome."""

    REPEAT = "repeat"
    """Wait, then send the same request again, within the limits of attempts and of time."""
    FILE_FAILS = "the file fails"
    """Nothing will make the platform take this file; the others go on."""
    STOP = "stop"
    """A person has to mend something; the same command continues."""


@dataclass(frozen=True)
class Rule:
    """One row: an outcome, what it means, and what follows."""

    outcome: str
    meaning: str
    then: Then
    taken: bool = False
    """Whether an uploaded file may have been taken: then the executions are looked at first."""
    slower: bool = False
    """Whether fewer and slower requests follow."""
    remedy: str = ""

    @property
    def is_transient(self) -> bool:
        """Whether waiting may help."""
        return self.then is Then.REPEAT


LATER = "run again later: it continues"
NOT_CONNECTED = Rule("no connection", "nobody answers at this address", Then.REPEAT, remedy=LATER)
CUT_SHORT = Rule(
    "connection lost before the last part of the file went out",
    "the platform has no whole file",
    Then.REPEAT,
    remedy=LATER,
)
LOST = Rule(
    "connection lost, or no answer in time, after it",
    "the answer is missing, whatever it was",
    Then.REPEAT,
    taken=True,
    remedy=LATER,
)
UNREADABLE = Rule(
    "a success that cannot be read",
    "not the documented form; a gateway perhaps",
    Then.REPEAT,
    taken=True,
    remedy="check the base URL",
)
_ACCESS = "check the token reference and its rights on this datamart"
_PLACE = "check the base URL and the datamart id"
STATUS = {
    400: Rule("400", "the platform does not understand the request or the file", Then.FILE_FAILS),
    401: Rule(
        "401",
        "the token is missing, wrong or expired; it is read again once, and tried if it is new",
        Then.STOP,
        remedy=_ACCESS,
    ),
    403: Rule("403", "the token may not do this", Then.STOP, remedy=_ACCESS),
    404: Rule("404", "no such datamart, import or execution", Then.STOP, remedy=_PLACE),
    408: Rule("408", "the request took too long to arrive", Then.REPEAT, slower=True, remedy=LATER),
    409: Rule("409", "not possible in this state", Then.STOP, remedy="look at the import"),
    413: Rule(
        "413", "the file is too large for the platform", Then.FILE_FAILS, remedy="lower --max-bytes"
    ),
    415: Rule("415", "the content type is not the import's", Then.STOP, remedy="see --multipart"),
    422: Rule("422", "the content is not acceptable", Then.FILE_FAILS),
    429: Rule("429", "too many requests", Then.REPEAT, slower=True, remedy=LATER),
    500: Rule("500", "the platform failed", Then.REPEAT, taken=True, remedy=LATER),
    502: Rule("502", "a gateway failed", Then.REPEAT, taken=True, remedy=LATER),
    503: Rule(
        "503", "the platform is not available", Then.REPEAT, taken=True, slower=True, remedy=LATER
    ),
    504: Rule("504", "a gateway waited too long", Then.REPEAT, taken=True, remedy=LATER),
}
OTHER_4XX = Rule("other 3xx and 4xx", "an answer without a rule: refused", Then.STOP)
OTHER_5XX = Rule(
    "other 5xx", "an answer without a rule: failed", Then.REPEAT, taken=True, remedy=LATER
)
TABLE = (NOT_CONNECTED, CUT_SHORT, LOST, UNREADABLE, *STATUS.values(), OTHER_4XX, OTHER_5XX)


def of_status(status: int) -> Rule:
    """The rule of an answer that is no success."""
    return STATUS.get(status, OTHER_5XX if status >= 500 else OTHER_4XX)  # noqa: PLR2004


def as_markdown() -> str:
    """The table as the manual prints it."""
    rows = ["| outcome | it means | the client | an uploaded file | pace |",
            "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for rule in TABLE:
        taken = "may have been taken: looked up first" if rule.taken else "was not taken"
        pace = "slower" if rule.slower else ""
        then = {
            Then.REPEAT: "repeats",
            Then.FILE_FAILS: "fails the file, or stops",
            Then.STOP: "stops",
        }
        rows.append(f"| {rule.outcome} | {rule.meaning} | {then[rule.then]} | {taken} | {pace} |")
    return "\n".join(rows) + "\n"
