"""EDGE. One line of one user, sent on its own before the files are: does the platform take it?"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spark_profiles.audit.records import FileRecord
from spark_profiles.delivery import results
from spark_profiles.errors import Problem, SourceError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from spark_profiles.delivery.courier import Waiting
    from spark_profiles.delivery.datamart import Datamart, Execution

_FIRST = "first"


@dataclass(frozen=True)
class Answer:
    """What the platform made of the line. Names of properties only: values are personal."""

    file: str
    line_number: int
    operation: str
    document_import_id: str
    execution: Execution
    rejected: tuple[str, ...]
    members: tuple[str, ...] | None
    """Names of the properties of the profile as read back; None where it cannot be read."""

    @property
    def is_taken(self) -> bool:
        """Whether the one line was confirmed."""
        return (self.execution.status, self.execution.total_success) == ("SUCCEEDED", 1)


def send(
    found: Waiting,
    datamart: Datamart,
    *,
    who: str = _FIRST,
    deadline_s: float = 600.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Send one line of a waiting run in an import of its own, and wait for its end.

    It does change the user's profile; the files bring the same line again.

    Args:
        found: the run.
        datamart: the API.
        who: the identifier's value (account, email hash or user agent) of the user whose line it
            shall be; `first` takes the first line.
        deadline_s: seconds to wait for its end.
        sleep: waits seconds.
        clock: seconds that only rise.

    Raises:
        SourceError: no line has this identifier.
        UnavailableError: it did not end in time.
    """
    file, number, line = _line(found, who)
    command = json.loads(line)
    import_id = datamart.create_import(f"{found.import_name} test line").id
    execution = datamart.post_execution(import_id, lambda: [line], len(line))
    begun = clock()
    while not execution.is_final:
        if clock() - begun > deadline_s:
            problem = Problem(
                f"execution {execution.id}", execution.status, "its end", "look later"
            )
            message = "The test line did not end in time"
            raise UnavailableError(message, problem)
        sleep(0.5)
        execution = datamart.execution(import_id, execution.id)
    record = FileRecord(file, str(command.get("operation")), 1, len(line), "")
    return Answer(
        file=file,
        line_number=number,
        operation=record.operation,
        document_import_id=import_id,
        execution=execution,
        rejected=tuple(one.message for one in results.rejected(record, execution, datamart)),
        members=_members(command, datamart),
    )


def _line(found: Waiting, who: str) -> tuple[str, int, bytes]:
    """File, number and bytes of the line of this user."""
    for file in found.files:
        with found.folder.open(file.name) as stream:
            rest, number = b"", 0
            while chunk := stream.read(1 << 18):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    number += 1
                    if who == _FIRST or (who.encode() in line and _is_of(json.loads(line), who)):
                        return file.name, number, line + b"\n"
    message = "There is no such line"
    problem = Problem("test line", "no line has this identifier (not shown)", "a user of this run")
    raise SourceError(message, problem)


def _is_of(command: dict[str, Any], who: str) -> bool:
    return who in (command.get(n) for n in ("user_account_id", "email_hash", "user_agent_id"))


def _members(command: dict[str, Any], datamart: Datamart) -> tuple[str, ...] | None:
    """Names of the properties of the profile that the line was about."""
    inner = command.get("user_profile") or {}
    account, compartment = command.get("user_account_id"), command.get("compartment_id")
    if account is None or compartment is None:
        return None
    for profile in datamart.profiles(str(compartment), str(account)):
        if profile.get("$user_account_id") == inner.get("$user_account_id"):
            return tuple(sorted(profile))
    return ()
