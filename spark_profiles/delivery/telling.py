"""How far an upload is, told to its listener: files, bytes, rate, time left, what is pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_profiles.audit.records import FileStatus
from spark_profiles.progress import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spark_profiles.audit.records import FileRecord
    from spark_profiles.progress import Listener

_EVERY_S = 0.5


class Teller:
    """Tells about twice a second, and whenever the state of a file changed."""

    def __init__(
        self, listener: Listener, clock: Callable[[], float], files: Mapping[str, FileRecord]
    ) -> None:
        self._listener, self._clock, self._files = listener, clock, files
        self._begun = self._told_at = clock()
        self._told: object = None
        # Written by the sending threads, each for its own file.
        self._gone: dict[str, int] = {}
        # What was there before this start is no work of this start.
        self._before = sum(f.bytes for f in files.values() if _has_arrived(f))

    def counter(self, name: str) -> Callable[[int], None]:
        """What a sending thread tells how many bytes of the file went."""

        def count(size: int) -> None:
            self._gone[name] = size

        return count

    def tell(self) -> None:
        """Tell, if there is something to tell."""
        counts = self._counts()
        is_new = counts != self._told
        if not is_new and self._clock() - self._told_at < _EVERY_S:
            return
        self._told, self._told_at = counts, self._clock()
        facts = self._facts(counts)
        if counts["written"] or counts["sending"]:
            left = facts["seconds_left"]
            message = f"{_size(facts['bytes_sent'])} of {_size(facts['bytes'])}" + (
                f", {_size(facts['bytes_per_s'])}/s, {left:.0f} s left" if left is not None else ""
            )
            message += f", {counts['sent']} executions pending" if counts["sent"] else ""
        else:
            message = f"waiting for {counts['sent']} executions"
        self._event(message, counts, facts)

    def stopped(self) -> None:
        """Say what is left of an upload that stops here."""
        counts = self._counts()
        message = (
            f"stopped: {counts['written']} files to send, {counts['sending']} of unknown fate,"
            f" {counts['sent']} executions not ended; the same command continues"
        )
        self._event(message, counts, self._facts(counts))

    def say(self, message: str) -> None:
        """Tell this."""
        self._event(message, self._counts(), {})

    def _event(
        self, message: str, counts: Mapping[str, int], facts: Mapping[str, float | None]
    ) -> None:
        total = len(self._files)
        done = total - counts["written"] - counts["sending"] - counts["sent"]
        self._listener(Event("upload", message, done, total, "files", {**counts, **facts}))

    def _counts(self) -> dict[str, int]:
        """Files by where they stand."""
        stands = [file.status for file in self._files.values()]
        return {status.value: stands.count(status) for status in FileStatus}

    def _facts(self, counts: Mapping[str, int]) -> dict[str, float | None]:
        arrived = sum(file.bytes for file in self._files.values() if _has_arrived(file))
        on_the_way = sum(
            self._gone.get(file.name, 0) for file in self._files.values() if not _has_arrived(file)
        )
        total = sum(file.bytes for file in self._files.values())
        sent, seconds = arrived + on_the_way, self._clock() - self._begun
        rate = (sent - self._before) / seconds if seconds > 0 else 0.0
        return {
            "bytes": total,
            "bytes_sent": sent,
            "bytes_per_s": round(rate),
            "seconds_left": round((total - sent) / rate, 1) if rate > 0 else None,
            "executions_pending": counts["sent"],
        }


def _has_arrived(file: FileRecord) -> bool:
    return file.status not in (FileStatus.WRITTEN, FileStatus.SENDING)


def _size(count: float | None) -> str:
    """Bytes as people read them."""
    value, unit = float(count or 0), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 100 or unit == "bytes" else f"{value:.1f} {unit}"  # noqa: PLR2004
