"""Figures of an upload for OpenTelemetry; where they go is set up outside, as its users do.

| instrument | kind | attributes |
| --- | --- | --- |
| `spark_profiles.upload.requests` | counter | `method`, `outcome` |
| `spark_profiles.upload.request.duration` (s) | histogram | `method`, `outcome` |
| `spark_profiles.upload.files` | gauge | `status` |
| `spark_profiles.upload.bytes_sent` (By) | gauge | |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spark_profiles.audit.records import FileStatus

if TYPE_CHECKING:
    from spark_profiles.delivery.channel import Exchange
    from spark_profiles.progress import Event, Listener


class Metrics:
    """The instruments of one meter; `exchange` observes a client, `listening` an upload."""

    def __init__(self, meter: Any) -> None:
        name = "spark_profiles.upload"
        self._requests = meter.create_counter(f"{name}.requests")
        self._durations = meter.create_histogram(f"{name}.request.duration", unit="s")
        self._files = meter.create_gauge(f"{name}.files")
        self._bytes = meter.create_gauge(f"{name}.bytes_sent", unit="By")

    def exchange(self, exchange: Exchange) -> None:
        """Count a request."""
        attributes = {"method": exchange.method, "outcome": exchange.outcome}
        self._requests.add(1, attributes)
        self._durations.record(exchange.seconds, attributes)

    def listening(self, onward: Listener) -> Listener:
        """A listener that counts, and passes on."""

        def listen(event: Event) -> None:
            if event.step == "upload":
                for status in FileStatus:
                    if status.value in event.facts:
                        self._files.set(event.facts[status.value], {"status": status.value})
                if "bytes_sent" in event.facts:
                    self._bytes.set(event.facts["bytes_sent"])
            onward(event)

        return listen


def installed() -> Metrics | None:
    """The instruments of the global meter provider; None without the extra `metrics`."""
    try:
        from opentelemetry import metrics  # noqa: PLC0415  optional
    except ImportError:
        return None
    return Metrics(metrics.get_meter("spark_profiles"))
