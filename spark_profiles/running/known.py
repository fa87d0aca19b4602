"""What the audit tables know of profiles before a run is planned, and what nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit import history
from spark_profiles.audit.states import SENT, RunStatus
from spark_profiles.engine import frames
from spark_profiles.lines.changes import Known
from spark_profiles.progress import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit
    from spark_profiles.progress import Listener


def of_run(
    audit: Audit, runs: Sequence[Run], name: str, *, resend: Sequence[str], remove: Sequence[str]
) -> Known:
    """What is known; frames only where there is something to know.

    Args:
        audit: the tables.
        runs: all runs of the definition, oldest first.
        name: of the definition.
        resend: keys of profiles to be sent whatever they look like.
        remove: keys of profiles to be deleted.
    """
    ended = (RunStatus.CONFIRMED, RunStatus.UNCONFIRMED)
    settled = [run for run in runs if run.status in ended and not run.kind]
    is_any_rejected = any(run.rejected for run in settled)
    delivered, strays = audit.delivered_after(runs, name), history.strays(audit, runs, name)
    if delivered is not None and strays is not None:
        delivered = delivered.join(strays.select("address"), on="address", how="left_anti")
    return Known(
        delivered=delivered,
        strays=strays,
        is_first=not any(run.status in SENT for run in runs),
        rejected=history.rejected(audit, name) if is_any_rejected else None,
        kept=history.kept(audit, settled[-1].run_id) if settled and settled[-1].kept else None,
        resend=_keys(audit.spark, resend),
        remove=_keys(audit.spark, remove),
        inexact=tuple(run.run_id for run in runs if not run.is_exact),
    )


def _keys(spark: SparkSession, keys: Sequence[str]) -> DataFrame | None:
    if not keys:
        return None
    return frames.of(spark, [(key,) for key in keys], "profile_key string")


def tell_unknown(lines: DataFrame, step: str, keys: Sequence[str], listener: Listener) -> None:
    """Report how many keys that were asked for are in no source and in no delivery.

    Args:
        lines: those of the run: every key that is known and was asked for has one.
        step: what was asked for.
        keys: of profiles.
        listener: is told.
    """
    if not keys:
        return
    found = lines.where(F.col("profile_key").isin(*keys)).select("profile_key").distinct().count()
    if unknown := len(set(keys)) - found:
        text = f"{unknown:,} of {len(keys):,} keys are in no source and in no delivery"
        listener(Event(step, text))
