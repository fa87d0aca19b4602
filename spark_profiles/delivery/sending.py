"""EDGE. One start of an upload: a few threads send, one decides and records. No Spark.

Its own state is on record before a byte leaves; a stop anywhere is continued by the next start.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from spark_profiles.audit.records import FileRecord, FileStatus, RejectedLine
from spark_profiles.delivery import interrupts, reading, results
from spark_profiles.delivery.datamart import AmbiguousOutcome, FileRefused
from spark_profiles.delivery.matching import Matched, match
from spark_profiles.delivery.telling import Teller
from spark_profiles.errors import Problem, RefusedError, SparkProfilesError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spark_profiles.audit.records import Journal
    from spark_profiles.delivery.datamart import Datamart, Execution
    from spark_profiles.progress import Listener

_SENDS = 3
"""How often one start sends one file, if it is shown each time that it did not arrive."""
_LOOKS = 2
"""How often the executions are looked at before a file counts as not arrived."""
_UNKNOWN_LOOKS = 3
"""How often the platform may say that it does not know an execution before it is believed."""
_BATCH = 8
"""So many files are put on record as being sent with one write."""


@dataclass(frozen=True)
class Settings:
    """Choices of an upload. How many files at once is the client's: `Datamart(parallel=…)`."""

    priority: str | None = None
    """Of the document import: LOW, MEDIUM or HIGH; None leaves it to the platform."""
    multipart: bool = False
    """Send files as a form, as the platform's own pages do, instead of the raw body."""
    poll_every_s: float = 0.5
    """Between the first looks at pending executions; it grows while nothing changes."""
    poll_at_most_s: float = 10.0
    settle_s: float = 5.0
    """After a lost answer, how long a late execution is given to show."""
    record_every_s: float = 5.0
    """Results may stay unrecorded so long; a stop meanwhile only asks for them again."""
    deadline_s: float = 24 * 3600.0
    """After which sending and polling end; the same call continues later."""


class Sending:
    """One start of an upload. The deciding thread runs `run`; the others only `_send`."""

    def __init__(
        self,
        files: Sequence[FileRecord],
        datamart: Datamart,
        open_file: Callable[[str], BinaryIO],
        journal: Journal,
        listener: Listener,
        settings: Settings,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        *,
        gives_up: bool = False,
    ) -> None:
        self._files = {file.name: file for file in files}
        self._datamart, self._open, self._journal = datamart, open_file, journal
        self._settings, self._sleep, self._clock = settings, sleep, clock
        self._gives_up = gives_up
        self._import_id = next((str(f.document_import_id) for f in files), "")
        self._waiting = deque(f.name for f in files if f.status is FileStatus.WRITTEN)
        self._claimed: deque[str] = deque()
        self._unclear = {f.name for f in files if f.status is FileStatus.SENDING}
        self._in_flight: dict[Future[Execution], str] = {}
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._rejected: list[RejectedLine] = []
        self._unknown: dict[str, int] = {}
        self._sends: Counter[str] = Counter()  # of this start; a file's attempts are of all
        self._hashes: dict[str, str | None] = {}
        self._begun = self._recorded_at = clock()
        self._poll_s, self._look_at = settings.poll_every_s, self._begun + settings.poll_every_s
        self._is_saved = not any(file.document_import_id for file in files)
        self._teller = Teller(listener, clock, self._files)

    def run(self) -> tuple[FileRecord, ...]:
        """All of it."""
        if self._gives_up:
            self._cancel_pending()
        most = self._datamart.pace.parallel
        with interrupts.held() as self._is_asked, ThreadPoolExecutor(max_workers=most) as pool:
            try:
                while not all(file.is_final for file in self._files.values()):
                    self._step(pool)
                    self._teller.tell()
                self._end_strays()
                self._save()
            except BaseException:
                self._halt()
                raise
        return tuple(self._files.values())

    def _step(self, pool: ThreadPoolExecutor) -> None:
        self._check_asked()
        if self._failure and not self._in_flight:
            raise self._failure
        if self._unclear and not self._in_flight:
            self._settle()
        elif not self._unclear and not self._failure:
            self._issue(pool)
        self._collect()
        self._look()
        if self._clock() - self._recorded_at > self._settings.record_every_s:
            self._save()
        self._check_deadline()

    def _check_deadline(self) -> None:
        if self._clock() - self._begun <= self._settings.deadline_s:
            return
        left = sum(not file.is_final for file in self._files.values())
        problem = Problem("files", f"{left} not ended", "", "the same command continues")
        message = "The upload did not end before its deadline"
        raise UnavailableError(message, problem)

    def _pause(self, seconds: float) -> None:
        """Wait, in slices, so that nobody who wants to stop has to wait."""
        while seconds > 0:
            self._check_asked()
            self._sleep(min(seconds, 0.5))
            seconds -= 0.5

    def _check_asked(self) -> None:
        if self._is_asked():
            raise KeyboardInterrupt

    # Sending

    def _issue(self, pool: ThreadPoolExecutor) -> None:
        """Hand files to threads, as many as may be sent at once."""
        while len(self._in_flight) < self._datamart.pace.parallel:
            if not self._claimed:
                self._claim()
            if not self._claimed:
                return
            file = self._files[self._claimed.popleft()]
            self._in_flight[pool.submit(self._send, file)] = file.name

    def _claim(self) -> None:
        """Put the next files on record as being sent, with all that happened before.

        So there is one write for several files. A stop finds them in `sending`.
        """
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        for name in batch:
            attempts = self._files[name].attempts + 1
            self._sends[name] += 1
            self._set(self._files[name], status=FileStatus.SENDING, attempts=attempts)
        if batch:
            self._save()
            self._claimed.extend(batch)

    def _send(self, file: FileRecord) -> Execution:
        """One file; runs in a thread of its own and changes nothing here."""
        return self._datamart.post_execution(
            self._import_id,
            lambda: reading.verified(file, self._open, self._teller.counter(file.name)),
            file.bytes,
            form_name=file.name.rpartition("/")[2] if self._settings.multipart else None,
            stop=self._stop,
        )

    def _collect(self) -> None:
        """Take the answers that came; wait a little when there is nothing else to do."""
        if not self._in_flight:
            if not self._waiting and not self._unclear and self._failure is None:
                self._pause(self._poll_s)
            return
        done, _ = wait(self._in_flight, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            file = self._files[self._in_flight.pop(future)]
            try:
                self._arrived(file, future.result())
            except AmbiguousOutcome as error:
                self._unclear.add(file.name)
                self._set(file, message=error.problems[0].found if error.problems else None)
            except FileRefused as error:
                refused = f"not taken: {error.problems[0].found}"
                self._set(file, status=FileStatus.FAILED, message=refused)
            except SparkProfilesError as error:  # raised again once all answers are in
                self._unsend(file)
                self._failure = self._failure or error
            except Exception as error:  # noqa: BLE001  unforeseen: it stays `sending`, to be looked up
                self._failure = self._failure or error

    def _arrived(self, file: FileRecord, execution: Execution) -> None:
        self._set(file, status=FileStatus.SENT, execution_id=execution.id, message=None)

    def _unsend(self, file: FileRecord) -> None:
        """It certainly did not arrive."""
        self._sends[file.name] -= 1
        self._set(file, status=FileStatus.WRITTEN, attempts=file.attempts - 1)

    def _halt(self) -> None:
        """Send nothing more, take the answers in flight, record, say what is left."""
        self._stop.set()
        while self._in_flight:
            self._collect()
        for name in self._claimed:
            self._unsend(self._files[name])
        self._save()
        self._teller.stopped()

    # Files of unknown fate

    def _settle(self) -> None:
        """Find out which of the unclear files arrived; nothing else is being sent meanwhile."""
        for look in range(_LOOKS):
            if look:
                self._pause(self._settings.settle_s)
            matched = self._matched()
            for file, execution in matched.found:
                self._unclear.discard(file.name)
                self._arrived(file, execution)
            if not self._unclear:
                return
        for file in matched.unclear:
            found = f"{len(matched.nobodys)} executions of the import could be this file"
            message = f"it cannot be told whether it arrived: {found}"
            self._set(file, status=FileStatus.FAILED, message=message)
        for file in matched.absent:
            self._absent(file)
        self._unclear.clear()

    def _matched(self) -> Matched:
        """The unclear files with the executions that no file is known for.

        Where it cannot be told, the executions are followed to their end first, so that nothing
        is applied late.
        """
        unclear = [self._files[name] for name in self._files if name in self._unclear]
        while True:
            matched = match(
                unclear,
                self._unaccounted(),
                accounted=frozenset(f.sha256 for f in self._files.values() if f.execution_id),
                doubtful=frozenset(f.name for f in self._files.values() if f.is_doubtful),
                content=self._content,
            )
            if not matched.unclear or all(execution.is_final for execution in matched.nobodys):
                return matched
            self._pause(self._settings.poll_at_most_s)
            self._check_deadline()

    def _unaccounted(self) -> list[Execution]:
        recorded = {file.execution_id for file in self._files.values()}
        listed = self._datamart.executions(self._import_id)
        return [execution for execution in listed if execution.id not in recorded]

    def _content(self, execution: Execution) -> str | None:
        if self._hashes.get(execution.id) is None:
            self._hashes[execution.id] = results.content_hash(execution, self._datamart)
        return self._hashes[execution.id]

    def _absent(self, file: FileRecord) -> None:
        """It did not arrive: it is sent again, but not for ever."""
        if self._gives_up:
            self._set(file, status=FileStatus.FAILED, message="given up before it was sent")
            return
        self._set(file, status=FileStatus.WRITTEN)
        if self._sends[file.name] < _SENDS:
            self._waiting.appendleft(file.name)
        else:
            found = f"sent {_SENDS} times and not taken: {file.message or 'no answer'}"
            message = "The API does not take a file"
            self._failure = UnavailableError(
                message, Problem(file.name, found, "", "the same command continues")
            )

    def _end_strays(self) -> None:
        """After a file went twice: what the platform took of it after all must not be applied late.

        A second execution of the same file is cancelled while it is pending, else waited for.
        """
        if all(file.attempts <= 1 for file in self._files.values()):
            return
        while strays := [e for e in self._unaccounted() if not e.is_final]:
            for execution in strays:
                self._cancel(execution)
            self._pause(self._settings.poll_every_s)
            self._check_deadline()

    # Following

    def _look(self) -> None:
        """See how the executions stand, if it is time."""
        sent = [f for f in self._files.values() if f.status is FileStatus.SENT]
        if not sent or self._clock() < self._look_at:
            return
        for file, execution in self._executions(sent):
            after = results.ended(file, execution)
            if after.status is FileStatus.PARTIAL:
                self._rejected += results.rejected(file, execution, self._datamart)
            if after != file:
                self._set(after)
        is_changed = any(self._files[file.name] != file for file in sent)
        slower = min(self._settings.poll_at_most_s, self._poll_s * 1.5)
        self._poll_s = self._settings.poll_every_s if is_changed else slower
        self._look_at = self._clock() + self._poll_s

    def _executions(self, sent: Sequence[FileRecord]) -> Iterable[tuple[FileRecord, Execution]]:
        """The execution of each file: from the list where that is fewer requests."""
        accounted = sum(file.execution_id is not None for file in self._files.values())
        listed: dict[str, Execution] = {}
        if len(sent) > 1 + accounted // 100:
            listed = {e.id: e for e in self._datamart.executions(self._import_id)}
        for file in sent:
            number = str(file.execution_id)
            if number in listed:
                yield file, listed[number]
                continue
            try:
                yield file, self._datamart.execution(self._import_id, number)
            except RefusedError as error:
                self._not_known(file, error)

    def _not_known(self, file: FileRecord, error: RefusedError) -> None:
        """The platform lost an execution that it had confirmed to have."""
        if not error.problems[0].found.startswith("404"):
            raise error
        self._unknown[file.name] = self._unknown.get(file.name, 0) + 1
        if self._unknown[file.name] >= _UNKNOWN_LOOKS:
            message = f"the platform does not know execution {file.execution_id} any more"
            self._set(file, status=FileStatus.FAILED, message=message)

    # Giving up

    def _cancel_pending(self) -> None:
        for file in self._files.values():
            if file.status is FileStatus.WRITTEN:
                self._set(file, status=FileStatus.FAILED, message="given up before it was sent")
        self._waiting.clear()
        sent = [file for file in self._files.values() if file.status is FileStatus.SENT]
        for _, execution in self._executions(sent):
            self._cancel(execution)

    def _cancel(self, execution: Execution) -> None:
        """Cancel it if it is pending; that it began meanwhile is no fault."""
        if not execution.is_pending:
            return
        try:
            self._datamart.cancel(self._import_id, execution.id)
        except SparkProfilesError as error:
            self._teller.say(f"execution {execution.id} was not cancelled: {error.message}")

    # Recording

    def _set(self, file: FileRecord, **changed: object) -> None:
        self._files[file.name] = replace(file, **changed)  # type: ignore[arg-type]
        self._is_saved = False

    def _save(self) -> None:
        """Record what changed since the last time."""
        if not self._is_saved:
            self._journal.record(list(self._files.values()), self._rejected)
            self._rejected, self._is_saved = [], True
        self._recorded_at = self._clock()
