"""Faults to put into the library, so that the law is seen to fail: each breaks the order."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from spark_profiles.audit import leases
from spark_profiles.audit.states import RunStatus
from spark_profiles.audit.tables import Audit
from spark_profiles.delivery import datamart


def nothing() -> None:
    """The library as it is."""


def confirm_before_polling() -> None:
    """What was posted counts as delivered at once."""
    posted, put_run = datamart.Datamart.post_execution, Audit.put_run
    now: list[tuple[Audit, Any]] = []
    one_at_a_time = threading.Lock()  # files are posted side by side

    def remembered(self: Audit, run: Any, **changed: Any) -> Any:
        after = put_run(self, run, **changed)
        now[:] = [(self, after)]
        return after

    def confirmed(self: Any, *args: Any, **kwargs: Any) -> Any:
        execution = posted(self, *args, **kwargs)
        audit, run = now[0]
        rows = audit.of_run("files", run.run_id).collect()
        with one_at_a_time:
            audit.confirm(run.run_id, run.name, [row["file"] for row in rows])
        return execution

    Audit.put_run, datamart.Datamart.post_execution = remembered, confirmed


def skip_settling() -> None:
    """A run that may have reached the platform is taken for one that did not."""
    runs = Audit.runs

    def unsent(self: Audit, name: str | None = None) -> list[Any]:
        found = runs(self, name)
        for run in found:
            if run.status is RunStatus.UPLOADING:
                object.__setattr__(run, "status", RunStatus.WRITTEN)
        return found

    Audit.runs = unsent


def drop_lease() -> None:
    """Nobody asks whether another run is at work."""
    leases.held = lambda *args, **kwargs: contextlib.nullcontext()


APPLY = {
    "": nothing,
    "confirm before polling": confirm_before_polling,
    "skip settling": skip_settling,
    "drop the lease": drop_lease,
}
