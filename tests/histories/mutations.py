"""Faults to put into the library, so that the law is seen to fail."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_profiles.audit import leases
from spark_profiles.audit.states import RunStatus
from spark_profiles.audit.tables import Audit
from spark_profiles.delivery import datamart
from spark_profiles.lines import changes, phases


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


def keep_left_address() -> None:
    """Nothing deletes the profile at the address that a user left."""
    changes._left_change = lambda *_: F.lit(None).cast("string")


def delete_and_upsert_one_address() -> None:
    """The DELETE of a former user is sent beside the UPSERT of the new one."""
    phases._one_an_address = lambda lines, _: lines.withColumn("sp_waits", F.lit(False))
    confirm = Audit._merge_delivered

    def of_upserts(self: Audit, lines: DataFrame, name: str, clauses: str) -> None:
        """A MERGE refuses two rows for one."""
        upserted = lines.where(F.col("operation") == "UPSERT")
        alone = lines.join(upserted.select("address"), on="address", how="left_anti")
        confirm(self, upserted.unionByName(alone.select(*upserted.columns)), name, clauses)

    Audit._merge_delivered = of_upserts


def one_phase() -> None:
    """Nothing waits for deletes."""
    ordered = phases.ordered

    def at_once(lines: DataFrame, *, replacing: str) -> DataFrame:
        first = F.when(F.col("operation").isNotNull(), 1)
        return ordered(lines, replacing=replacing).withColumn("phase", first)

    phases.ordered = at_once


APPLY = {
    "": nothing,
    "confirm before polling": confirm_before_polling,
    "skip settling": skip_settling,
    "drop the lease": drop_lease,
    "keep the left address": keep_left_address,
    "delete and upsert one address": delete_and_upsert_one_address,
    "one phase": one_phase,
}
