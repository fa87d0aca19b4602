"""A former run -> the plan that restores every profile to what was confirmed before it.

A rollback is an ordinary run whose wanted profiles come from the audit tables instead of the
sources: recorded, guarded, written, uploaded and confirmed like any other. Repeated after a stop
it sends what is still missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit import history, schemas
from spark_profiles.audit.guard import Acceptance
from spark_profiles.audit.states import SENT
from spark_profiles.definition.delivery import Delivery, replacing_strategy
from spark_profiles.definition.model import Definition
from spark_profiles.engine import frames
from spark_profiles.errors import DefinitionError, Problem, SourceError
from spark_profiles.lines import address_changes, commands
from spark_profiles.planning.pipeline import Plan
from spark_profiles.rows import accounting
from spark_profiles.running import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.running.run import Job

ROLLBACK = "rollback"


def rollback(
    job: Job, run_id: str, datamart: Datamart, *, accepted: Acceptance | None = None
) -> Run:
    """Restore what was confirmed before the run, and undo with it all runs after it.

    Profiles that the run created are deleted, changed ones get their former payload, deleted ones
    are created again. Profiles of erased persons stay erased. What platform and audit tables hold
    then is what they held before; the next ordinary run brings the sources' profiles again, so
    mend the definition or the source first.

    Args:
        job: where things lie.
        run_id: the first run to undo.
        datamart: the API.
        accepted: trips that are right this time; recorded with the run.

    Raises:
        DefinitionError: there is no such run, or nothing of it was sent.
        SourceError: lines that would be needed were pruned; nothing was sent.
        GuardError: a limit was passed; nothing was sent.
    """
    given_by = accepted or Acceptance()
    target = _target(job.tables().runs(), run_id)
    definition = recorded_definition(target)

    def planner(audit: Audit) -> Plan:
        runs = audit.runs(target.name)
        wanted = _state(audit, runs, target)
        delivered = audit.delivered(target.name)
        changed = address_changes.at_addresses(delivered, wanted, as_of=target.as_of)
        count = wanted.count()
        return given(audit, definition, target, changed, profiles=count, kind=ROLLBACK)

    return run.run(
        job,
        definition,
        datamart,
        as_of=target.as_of.isoformat(),
        accepted=replace(given_by, names=(*given_by.names, f"empty:{definition.spine[0]}")),
        planner=planner,
    )


def given(
    audit: Audit, definition: Definition, last: Run, changed: DataFrame, *, profiles: int, kind: str
) -> Plan:
    """A plan whose changes are given, not computed from sources.

    Args:
        audit: the tables.
        definition: the one that the lines were made with.
        last: the run whose as-of the plan takes over.
        changed: as of `address_changes.at_addresses`.
        profiles: how many there are once the changes are confirmed.
        kind: recorded with the run.
    """
    parts = (profiles, profiles, 0, 0, 0, 0, None, profiles)
    spark, none = audit.spark, changed.limit(0)
    no_profiles = none.select(
        F.struct(F.col("profile_key").alias("$user_account_id")).alias("user_profile")
    )
    return Plan(
        definition=definition,
        as_of=last.as_of,
        tables={},
        profiles=no_profiles,
        wanted=none,
        changes=changed,
        lines=commands.lines(changed, Delivery(strategy=replacing_strategy(definition.delivery))),
        accounts=accounting.Given(
            refused=frames.of(spark, [], schemas.REFUSED_ROWS).drop("run_id"),
            counts=frames.of(spark, [(definition.spine[0], *parts)], schemas.SOURCE_COUNTS),
        ),
        kind=kind,
    )


def recorded_definition(made: Run) -> Definition:
    """The definition as it was recorded with the run."""
    return Definition.model_validate_json(made.definition)


def _target(runs: Sequence[Run], run_id: str) -> Run:
    found = [made for made in runs if made.run_id == run_id]
    if not found:
        known = ", ".join(made.run_id for made in runs[-3:]) or "none yet"
        problem = Problem(run_id, "no such run", f"one of `status`; the last: {known}")
        message = "There is nothing to roll back"
        raise DefinitionError(message, problem)
    if found[0].status not in SENT:
        problem = Problem(run_id, f"{found[0].status.value}: nothing of it was sent")
        message = "There is nothing to roll back"
        raise DefinitionError(message, problem)
    return found[0]


def _state(audit: Audit, runs: Sequence[Run], target: Run) -> DataFrame:
    """The profiles as confirmed before the run.

    Raises:
        SourceError: they are not all known any more.
    """
    at = [made.run_id for made in runs].index(target.run_id)
    pruned = [made.run_id for made in runs[at:] if made.pruned_at]
    state, lost = history.before(audit, runs, target)
    missing = 0 if pruned else lost.count()
    if pruned or missing:
        what = f"lines of {', '.join(pruned)}" if pruned else f"{missing:,} former profiles"
        problem = Problem(
            target.run_id,
            f"{what} were pruned from the audit tables",
            "a run younger than the retention of `maintain`",
            "roll back a later run, or run again with the former definition and sources",
        )
        message = "The state before this run is no longer known; nothing was sent"
        raise SourceError(message, problem)
    return state
