"""Figures for OpenTelemetry, read back by its own SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from import_files import Shelf
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spark_profiles.delivery import upload
from spark_profiles.delivery.datamart import Connection, Datamart, Token
from spark_profiles.delivery.metrics import Metrics
from spark_profiles.emulator.faults import Fault
from spark_profiles.progress import Event

if TYPE_CHECKING:
    import pytest

    from spark_profiles.emulator.server import Emulator


def test_requests_files_and_bytes_are_measured(
    datamart_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "api:x")
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader]).get_meter("test"))
    datamart_emulator.faults.add(Fault("status", on="upload", status=429))
    shelf, events = Shelf(), list[Event]()
    connection = Connection(datamart_emulator.url, "1", Token.parse("env:TOKEN"))
    with Datamart(connection, observe=metrics.exchange, sleep=lambda _: None) as datamart:
        upload.upload(
            list(shelf.states.values()),
            datamart=datamart,
            open_file=shelf.open,
            import_name="run",
            journal=shelf,
            listener=metrics.listening(events.append),
            settings=upload.Settings(poll_every_s=0.02),
        )
    data: Any = reader.get_metrics_data()
    points = {
        (metric.name, *sorted(point.attributes.values())): point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    name = "spark_profiles.upload"
    assert points[f"{name}.requests", "200", "POST"].value == 4  # an import and three files
    assert points[f"{name}.requests", "429", "POST"].value == 1
    assert points[f"{name}.request.duration", "429", "POST"].count == 1
    assert points[f"{name}.files", "confirmed"].value == 3
    size = sum(map(len, shelf.content.values()))
    assert points[f"{name}.bytes_sent",].value == size
    last = events[-1]
    assert (last.done, last.total, last.unit) == (3, 3, "files")
    assert last.facts["bytes_sent"] == last.facts["bytes"] == size
