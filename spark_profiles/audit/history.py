"""What was sent and confirmed, by run: the recorded lines with their files -> former states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_profiles.audit import places
from spark_profiles.audit.attribution import Evidence
from spark_profiles.audit.records import FileRecord
from spark_profiles.audit.schemas import DELETE, KEPT, NEW, REPLACED, UPSERT
from spark_profiles.audit.states import RunStatus
from spark_profiles.engine import frames
from spark_profiles.rows import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit

PAYLOAD = ("profile_key", "identifier", "address", "payload", "payload_hash")


def sent(audit: Audit, runs: Sequence[Run]) -> DataFrame:
    """The recorded lines of these runs that were to be sent; one row is a line.

    Beside the columns of `lines`: run_number (its place in `runs`), file and file_status (null
    where no file was written), was_sent (the platform may have the file), is_rejected (the platform
    did not take the line for certain) and is_confirmed (it took it for certain).
    """
    named = [(run.run_id, number) for number, run in enumerate(runs)]
    numbers = frames.of(audit.spark, named, "run_id string, run_number int")
    lines = audit.read("lines").where(F.col("operation").isNotNull())
    lines = lines.join(F.broadcast(numbers), on="run_id", how="inner")
    told = places.placed(lines, _files(audit), on=("run_id", *places.KIND), how="left")
    rejected = (
        audit.read("rejected_lines")
        .where(F.col("address").isNotNull())
        .select("run_id", "address", F.lit(True).alias("is_rejected"))
        .distinct()
    )
    is_confirmed = F.coalesce("is_certain", F.lit(False)) & ~F.col("is_rejected")
    return (
        told.join(rejected, on=["run_id", "address"], how="left")
        .withColumn("is_rejected", F.coalesce("is_rejected", F.lit(False)))
        .withColumn("is_confirmed", is_confirmed)
        .drop("is_certain")
    )


def _files(audit: Audit) -> DataFrame:
    """The import files, without their parts; is_certain: all that was not rejected arrived."""
    by_run: dict[str, list[dict[str, Any]]] = {}
    for row in audit.read("files").collect():
        by_run.setdefault(row["run_id"], []).append(row.asDict())
    certain = set()
    for run_id, rows in by_run.items():
        arrived = Evidence([FileRecord.of_row(row) for row in rows]).outcome().arrived
        certain |= {(run_id, part.file) for part in arrived}
    found = [
        (
            row["run_id"],
            row["operation"],
            row["phase"],
            row["ranges"],
            row["first_bucket"],
            row["last_bucket"],
            row["file"],
            row["status"],
            FileRecord.of_row(row).was_sent,
            (run_id, row["file"]) in certain,
        )
        for run_id, rows in by_run.items()
        for row in rows
        if "#" not in row["file"]
    ]
    columns = (
        "run_id string, operation string, phase int, ranges string, first_bucket int,"
        " last_bucket int, file string"
    )
    return frames.of(
        audit.spark, found, f"{columns}, file_status string, was_sent boolean, is_certain boolean"
    )


def newest(lines: DataFrame) -> DataFrame:
    """The last of these lines at each address; one row is an address."""
    # Before addresses a run could have two lines for one; see `migrations`.
    window = Window.partitionBy("address").orderBy(
        F.col("run_number").desc(), F.col("change") == REPLACED
    )
    ranked = lines.withColumn("sp_rank", F.row_number().over(window))
    return ranked.where(F.col("sp_rank") == 1).drop("sp_rank")


def strays(audit: Audit, runs: Sequence[Run], name: str) -> DataFrame | None:
    """Delivered profiles at addresses that their users have left; None: there can be none.

    Of the profiles of one user, the last that a run brought is the current one. A user has several
    only where a line of a run was not confirmed or was held, or where the tables are older than
    addresses.

    Args:
        audit: the tables.
        runs: all runs of one definition, oldest first.
        name: of the definition.
    """
    unconfirmed = RunStatus.UNCONFIRMED
    if not any(r.held or r.is_before_addresses or r.status is unconfirmed for r in runs):
        return None
    named = [(run.run_id, number) for number, run in enumerate(runs)]
    numbers = frames.of(audit.spark, named, "run_id string, run_number int")
    delivered = audit.delivered(name).join(F.broadcast(numbers), on="run_id", how="left")
    last = Window.partitionBy("profile_key").orderBy(F.desc_nulls_last("run_number"), "address")
    ranked = delivered.withColumn("sp_rank", F.row_number().over(last))
    return ranked.where(F.col("sp_rank") > 1).drop("sp_rank", "run_number")


def last_arrivals(audit: Audit, runs: Sequence[Run]) -> DataFrame:
    """The lines that may decide what the platform holds; one row is a line.

    At each address: the last line that was confirmed, and all lines since that may have arrived.
    `is_last` marks the last of them.

    Args:
        audit: the tables.
        runs: all runs of one definition, oldest first.
    """
    lines = sent(audit, runs).where(F.col("was_sent") & ~F.col("is_rejected"))
    # Before addresses a run could have two lines for one; see `migrations`.
    order = F.struct("run_number", F.col("change") != REPLACED)
    here = Window.partitionBy("address")
    ordered = lines.withColumns(
        {
            "sp_last": F.max(order).over(here),
            "sp_confirmed": F.max(F.when(F.col("is_confirmed"), order)).over(here),
        }
    )
    since = F.col("sp_confirmed").isNull() | (order >= F.col("sp_confirmed"))
    found = ordered.where(since).withColumn("is_last", order == F.col("sp_last"))
    return found.drop("sp_last", "sp_confirmed")


def may_be_there(audit: Audit, runs: Sequence[Run]) -> DataFrame:
    """The lines that brought profiles which the platform has or may have; one row is a line."""
    is_deleted = (F.col("operation") == DELETE) & F.col("is_confirmed")
    return last_arrivals(audit, runs).where(~is_deleted)


def before(audit: Audit, runs: Sequence[Run], target: Run) -> tuple[DataFrame, DataFrame]:
    """What was confirmed before a run, and what of it is no longer known.

    An address that neither the run nor a later one has a line of holds what is delivered there
    now. Of the others, the last line confirmed before the run says what they held, and the first
    line since says whether they held anything at all.

    Args:
        audit: the tables.
        runs: all runs of one definition, oldest first.
        target: one of them.

    Returns:
        profile_key, identifier, address, payload, payload_hash: one row an address of that state;
        and the addresses that held a profile whose lines were pruned.
    """
    at = [run.run_id for run in runs].index(target.run_id)
    since = sent(audit, runs).where(F.col("run_number") >= at)
    first = Window.partitionBy("address").orderBy("run_number")
    touched = (
        since.withColumn("sp_rank", F.row_number().over(first))
        .where(F.col("sp_rank") == 1)
        .select("address", _was_there().alias("was_there"))
    )
    former = newest(sent(audit, runs).where((F.col("run_number") < at) & F.col("is_confirmed")))
    there = former.where(F.col("operation") == UPSERT).select(*PAYLOAD)
    untouched = audit.delivered(target.name).join(touched, on="address", how="left_anti")
    restored = touched.where("was_there").select("address")
    lost = restored.join(there, on="address", how="left_anti")
    state = untouched.select(*PAYLOAD).unionByName(
        there.join(restored, on="address", how="left_semi").select(*PAYLOAD)
    )
    return state, lost


def _was_there() -> Column:
    """Whether the address of a line held a profile before; older lines only say it of users."""
    is_older = F.col("phase").isNull() & (F.col("change") != NEW)
    return F.col("delivered_hash").isNotNull() | is_older


def rejected(audit: Audit, name: str) -> DataFrame:
    """How many runs had a line rejected; one row is an operation with a payload at an address."""
    of_name = (F.col("name") == name) & F.col("operation").isNotNull()
    lines = audit.read("rejected_lines").where(of_name)
    rows = lines.groupBy("address", "operation", "payload_hash")
    return rows.agg(F.countDistinct("run_id").alias("times"))


def kept(audit: Audit, run_id: str) -> DataFrame:
    """Who was gone but kept in a run, and since when; one row is a profile."""
    lines = audit.of_run("lines", run_id).where(F.col("change") == KEPT)
    return lines.select("profile_key", "since")


def is_any_erased_since(audit: Audit, run: Run) -> bool:
    """Whether an erasure was requested since the run began: its files may have lost lines."""
    assert run.started_at is not None  # noqa: S101  it is recorded
    since = F.col("requested_at") > columns.at(run.started_at)
    return audit.read("erasures").where(since).limit(1).count() > 0
