"""EDGE. A plan -> a recorded run: lines, refused rows, counts, figures; and its files, planned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_profiles.audit import guard, schemas, stats
from spark_profiles.audit.runs import Run
from spark_profiles.audit.states import SENT, RunStatus
from spark_profiles.engine import session, side_by_side, watching
from spark_profiles.errors import IntegrityError, Problem
from spark_profiles.files import fileplan, packing
from spark_profiles.lines import commands
from spark_profiles.profiles import nesting
from spark_profiles.progress import Event
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession

    from spark_profiles.audit.tables import Audit
    from spark_profiles.definition.delivery import Delivery
    from spark_profiles.planning import sdl_fit
    from spark_profiles.planning.pipeline import Plan
    from spark_profiles.progress import Listener

VERSION = "0.1.0"


@dataclass(frozen=True)
class Recorded:
    """A recorded run, and what its lines are like."""

    run: Run
    lines: DataFrame
    """All lines, those of which nothing is sent too."""
    to_send: DataFrame
    """The lines that carry an operation; one row is a line."""
    stats: tuple[guard.PropertyStats, ...]
    files: fileplan.Plan
    """Which files there will be."""


def record(
    spark: SparkSession,
    audit: Audit,
    plan: Plan,
    history: Sequence[Run],
    *,
    output: str,
    limits: packing.Limits,
    compression: fileplan.Compression,
    now: Callable[[], datetime],
    listener: Listener,
) -> Recorded:
    """Write lines, refused rows, counts and figures, the run from here on; and plan its files.

    Raises:
        IntegrityError: rows or profiles are missing from the counts, or lines fit into no file.
    """
    run = audit.put_run(_begun(spark, plan, history, output=output, now=now))
    named = plan.lines.withColumn("name", F.lit(run.name))
    told = Event("record", "computing profiles, recording lines and refused rows, counting")
    with watching.watched(spark, listener, told):
        _, counts, warnings, consents = side_by_side.done(
            spark,
            lambda: audit.put("lines", run.run_id, named),
            lambda: _counted(audit, plan, run.run_id),
            lambda: _warnings(plan),
            lambda: _consents(plan),
        )
        before = audit.delivered_after(history, run.name)
        lines = audit.of_run("lines", run.run_id)
        if before is not None and _is_any_sent(history):
            _resend(audit, run, lines, before, plan.definition.delivery)
    profiles = sum(count.users for count in counts)
    lines = audit.of_run("lines", run.run_id)
    to_send = lines.where(F.col("operation").isNotNull())
    figures, measured, files = side_by_side.done(
        spark,
        lambda: _figures(lines, before, counts, limits.bytes),
        lambda: _measure(audit, plan, run, lines, before, profiles),
        lambda: fileplan.planned(to_send, limits, compression),
    )
    if figures["refused_lines"]:
        too_long = fileplan.too_long(lines, limits.bytes)
        audit.put("refused_rows", run.run_id, plan.refused.unionByName(too_long))
    recorded = audit.put_run(
        run,
        status=RunStatus.RECORDED,
        counts=counts,
        warnings=warnings,
        consents=consents,
        **figures,
    )
    return Recorded(recorded, lines, to_send, measured, files)


def unfit(
    lines: DataFrame, shape: T.StructType, asked: Sequence[sdl_fit.Asked]
) -> list[guard.Trip]:
    """What of the profiles to be sent does not fit the datamart; one look at the lines.

    Args:
        lines: the recorded lines of the run.
        shape: the type of the profile.
        asked: what its schema asks of the data.
    """
    sent = lines.where(F.col("operation") == schemas.UPSERT)
    profiles = sent.select(F.from_json("payload", shape).alias("p"))
    counts = [F.count(F.expr(f"case when {one.condition} then 1 end")) for one in asked]
    every = [F.count("*").alias("n"), *[c.alias(f"c{n}") for n, c in enumerate(counts)]]
    (row,) = profiles.agg(*every).collect()
    return [
        guard.Trip(
            f"schema:{one.place}", f"{count:,} of {row['n']:,} profiles {one.found}", one.limit
        )
        for one, count in zip(asked, row[1:], strict=True)
        if count
    ]


def _is_any_sent(history: Sequence[Run]) -> bool:
    return any(run.status in SENT for run in history)


def _resend(
    audit: Audit, run: Run, lines: DataFrame, before: DataFrame, delivery: Delivery
) -> None:
    """Record lines for the unchanged profiles that a DELETE of the run may remove."""
    if lines.where(F.col("operation") == schemas.DELETE).limit(1).count() == 0:
        return
    resent = commands.resent(lines, before, delivery).withColumn("name", F.lit(run.name))
    if resent.limit(1).count():
        audit.add("lines", run.run_id, resent)


def _begun(
    spark: SparkSession,
    plan: Plan,
    history: Sequence[Run],
    *,
    output: str,
    now: Callable[[], datetime],
) -> Run:
    definition = plan.definition
    run_id = _run_id(plan, history)
    return Run(
        run_id=run_id,
        name=definition.name,
        status=RunStatus.PLANNED,
        as_of=plan.as_of,
        definition_hash=definition.definition_hash,
        definition=definition.model_dump_json(by_alias=True, exclude_defaults=True),
        library_version=VERSION,
        engine=session.engine(spark),
        output=f"{output.rstrip('/')}/{definition.name}/run_id={run_id}",
        sources=tuple((t.name, t.location, t.version) for t in plan.tables.values()),
        started_at=now(),
        kind=plan.kind,
    )


def _counted(audit: Audit, plan: Plan, run_id: str) -> tuple[guard.SourceCounts, ...]:
    """The counts; refused rows are looked for, and recorded, where there are any."""
    counts = _counts(plan)
    if named := [count.source for count in counts if count.refused]:
        audit.put("refused_rows", run_id, plan.refused.where(F.col("source").isin(*named)))
    return counts


def _counts(plan: Plan) -> tuple[guard.SourceCounts, ...]:
    """Where the rows of each source went, in the order of the definition."""
    found = {}
    for row in plan.counts.withColumn("newest", F.unix_micros("newest")).collect():
        newest = row["newest"]
        moment = None if newest is None else columns.instant_of(newest)
        found[row["source"]] = guard.SourceCounts(**{**row.asDict(), "newest": moment})
    return tuple(found[name] for name in plan.definition.sources if name in found)


def _warnings(plan: Plan) -> tuple[guard.RuleCount, ...]:
    rows = plan.warnings.orderBy("source", "rule").collect() if plan.warnings else ()
    return tuple(guard.RuleCount(**row.asDict()) for row in rows)


def _consents(plan: Plan) -> tuple[guard.ConsentCount, ...]:
    """For each purpose: how many users consented, how many did not, of how many it is unknown."""
    if plan.consents is None:
        return ()
    answers = {"granted": "{0}", "refused": "not {0}", "unknown": "{0} is null"}
    purposes = list(plan.definition.consents)
    counted = [
        F.expr(f"count(case when {condition.format(purpose)} then 1 end)").alias(
            f"{purpose}_{word}"
        )
        for purpose in purposes
        for word, condition in answers.items()
    ]
    row = plan.consents.agg(*counted).collect()[0]
    return tuple(
        guard.ConsentCount(purpose, **{word: row[f"{purpose}_{word}"] for word in answers})
        for purpose in purposes
    )


def _run_id(plan: Plan, history: Sequence[Run]) -> str:
    """`name-1998-04-01-01`: definition, as-of in its own zone, and how many times by now."""
    local = plan.as_of.astimezone(ZoneInfo(plan.definition.time_zone))
    is_midnight = (local.hour, local.minute, local.second) == (0, 0, 0)
    day = local.strftime("%Y-%m-%d" if is_midnight else "%Y-%m-%dT%H%M%S")
    prefix = f"{plan.definition.name}-{day}-"
    taken = sum(run.run_id.startswith(prefix) for run in history)
    return f"{prefix}{taken + 1:02d}"


def _twice(lines: DataFrame) -> int:
    """How many addresses have two lines: one of which nothing is sent, and one to send again."""
    there = lines.where(F.col("delivered_hash").isNotNull()).groupBy("address").count()
    return there.where(F.col("count") > 1).count()


_CHANGES = (*schemas.UPSERTED, *schemas.DELETED, *schemas.NOT_SENT)
_COUNTED_AS = {schemas.LEFT: "left_addresses"}
"""The column of `runs` that counts a change, where it is not its name."""


def _figures(
    lines: DataFrame,
    before: DataFrame | None,
    counts: Sequence[guard.SourceCounts],
    max_bytes: int,
) -> dict[str, int]:
    """Counts of the recorded lines; what stayed the same follows from what was delivered."""
    rows = (
        lines.groupBy("change")
        .agg(
            F.count("*").alias("n"),
            F.count("delivered_hash").alias("delivered"),
            F.count("since").alias("missed"),
            F.count("operation").alias("sent"),
            F.count(F.when(F.col("bytes") > max_bytes, 1)).alias("too_long"),
            F.count("saved").alias("patches"),
            F.sum("saved").alias("saved"),
        )
        .collect()
    )
    found = {row["change"]: row["n"] for row in rows}
    # What is not sent for its own sake may be sent again: it has two lines.
    twice = _twice(lines) if found.get(schemas.RESENT) else 0
    named = {_COUNTED_AS.get(change, change): found.get(change, 0) for change in _CHANGES}
    same = (0 if before is None else before.count()) - sum(row["delivered"] for row in rows) + twice
    too_long = sum(row["too_long"] for row in rows)
    profiles = sum(count.users for count in counts)
    # Of what differs, all is wanted but what is not wanted since some day.
    wanted = sum(row["n"] - row["missed"] for row in rows) - twice
    problems = [
        Problem(f"sources.{c.source}", f"the parts of {c.rows:,} rows do not add up", str(c))
        for c in counts
        if not c.adds_up
    ]
    if profiles != wanted + same:
        parts = [f"{named[name]:,} {name}" for name in (*schemas.UPSERTED, schemas.HELD)]
        text = " + ".join([*parts, f"{same:,} same"])
        problems.append(Problem("profiles", text, f"{profiles:,} users"))
    if problems:
        message = "The counts of the run do not add up; nothing was sent"
        raise IntegrityError(message, *problems)
    return {
        **named, "profiles": profiles, "same": same,
        "lines": sum(row["sent"] for row in rows) - too_long,
        "refused_lines": too_long, "patches": sum(row["patches"] for row in rows),
        "saved": sum(row["saved"] or 0 for row in rows),
    }  # fmt: skip


def _measure(
    audit: Audit,
    plan: Plan,
    run: Run,
    lines: DataFrame,
    before: DataFrame | None,
    profiles: int,
) -> tuple[guard.PropertyStats, ...]:
    shape = nesting.shape(plan.profiles)
    row = stats.measured(lines, before, shape, total=profiles).collect()[0]
    measured = stats.read(row.asDict(), shape)
    audit.put_records("property_stats", run.run_id, [asdict(stat) for stat in measured])
    return measured
