"""Every error a user can meet, grouped by what the caller has to do next.

    SparkProfilesError
    ├── DefinitionError    3  mend the definition or the settings; nothing was read
    ├── SourceError        4  mend the data: a table is missing or breaks its contract
    ├── PlatformError      5  set up the machine: Java, jars, a free port, a missing extra
    ├── GuardError         6  look before going on: a limit tripped before anything was sent
    ├── UnavailableError   7  try again later: the API did not answer, or not usefully
    ├── RefusedError       8  mend the access: the API refused the token, datamart or request
    ├── UnconfirmedError   9  look, then run again: some files or lines were not confirmed
    ├── UnsettledError    10  settle or wait for another run first
    ├── IntegrityError    11  stop: counts, bytes or hashes do not add up
    └── NotFoundError     12  look: some of the persons asked for were not found for certain

Exit code 0 is "done", 1 is a fault of this program, 2 a wrong command line.
Messages name places, counts and names from the definition; never personal data, never a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it is, what was found, what was expected, what to do."""

    where: str
    found: str
    expected: str = ""
    remedy: str = ""

    def at(self, where: str) -> Problem:
        """The same problem, at a place that is named better."""
        return replace(self, where=where)

    @property
    def place(self) -> str:
        """The dotted place in the definition, without the file and line before it."""
        return re.sub(r"\A.+?:\d+ ", "", self.where)

    def __str__(self) -> str:
        expected = f"; expected {self.expected}" if self.expected else ""
        remedy = f"\n      -> {self.remedy}" if self.remedy else ""
        return f"{self.where}: {self.found}{expected}{remedy}"


class SparkProfilesError(Exception):
    """Base of all errors of this library: one message and all problems found at once."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    receipts: Sequence[dict[str, Any]] = ()
    """Of an erasure: of those who were erased all the same."""

    def __init__(self, message: str, *problems: Problem) -> None:
        # Positional arguments only, so that the error survives pickling between processes.
        super().__init__(message, *problems)
        self.message = message
        self.problems = problems

    def __str__(self) -> str:
        return "\n  - ".join([self.message, *map(str, self.problems)])


class DefinitionError(SparkProfilesError):
    """The definition or a setting is wrong. No data was read."""

    code = "definition"
    exit_code = 3


class SourceError(SparkProfilesError):
    """A source table is missing, unreadable, or lacks what the definition needs."""

    code = "source"
    exit_code = 4


class PlatformError(SparkProfilesError):
    """The machine lacks something: Java, a jar, a free port, an optional package."""

    code = "platform"
    exit_code = 5


class GuardError(SparkProfilesError):
    """A limit tripped on a recorded run. Nothing was sent."""

    code = "guard"
    exit_code = 6


class UnavailableError(SparkProfilesError):
    """The API could not be reached, or kept failing, until the limits of the retries."""

    code = "unavailable"
    exit_code = 7


class RefusedError(SparkProfilesError):
    """The API answered and refused: the token, the datamart or the request."""

    code = "refused"
    exit_code = 8


class UnconfirmedError(SparkProfilesError):
    """The upload ended, but not every line was confirmed. The next run sends the rest again."""

    code = "unconfirmed"
    exit_code = 9


class UnsettledError(SparkProfilesError):
    """Another run of this definition is not settled yet."""

    code = "unsettled"
    exit_code = 10


class IntegrityError(SparkProfilesError):
    """Counts, bytes or hashes disagree: something was lost or changed on the way."""

    code = "integrity"
    exit_code = 11


class NotFoundError(SparkProfilesError):
    """Some of the persons asked for were found nowhere, or not for certain. Others may be done.

    What was given is repeated as it was given: who asks has to know what to correct.
    """

    code = "not_found"
    exit_code = 12
