"""What was sent and confirmed, by run: the recorded lines with their files -> former states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_profiles.audit import places
from spark_profiles.audit.attribution import Evidence
from spark_profiles.audit.records import FileRecord, FileStatus
from spark_profiles.audit.schemas import NEW, UPSERT
from spark_profiles.engine import frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from spark_profiles.audit.runs import Run
    from spark_profiles.audit.tables import Audit

PAYLOAD = ("profile_key", "identifier", "payload", "payload_hash")


def sent(audit: Audit, runs: Sequence[Run]) -> DataFrame:
    """The recorded lines of these runs that were to be sent; one row is a line.

    Beside the columns of `lines`: run_number (its place in `runs`), file and file_status (null
    where no file was written) and is_confirmed: whether the platform took the line for certain.
    """
    named = [(run.run_id, number) for number, run in enumerate(runs)]
    numbers = frames.of(audit.spark, named, "run_id string, run_number int")
    lines = audit.read("lines").where(F.col("operation").isNotNull())
    lines = lines.join(F.broadcast(numbers), on="run_id", how="inner")
    told = places.placed(lines, _files(audit), on=("run_id", "operation"), how="left")
    rejected = (
        audit.read("rejected_lines")
        .where(F.col("profile_key").isNotNull())
        .select("run_id", "profile_key", F.lit(True).alias("is_rejected"))
        .distinct()
    )
    is_confirmed = F.coalesce("is_certain", F.lit(False)) & F.col("is_rejected").isNull()
    return (
        told.join(rejected, on=["run_id", "profile_key"], how="left")
        .withColumn("is_confirmed", is_confirmed)
        .drop("is_certain", "is_rejected")
    )


def _files(audit: Audit) -> DataFrame:
    """The import files, without their parts; is_certain: all that was not rejected arrived."""
    by_run: dict[str, list[dict[str, Any]]] = {}
    for row in audit.read("files").collect():
        by_run.setdefault(row["run_id"], []).append(row.asDict())
    certain = set()
    for run_id, rows in by_run.items():
        arrived = Evidence([_record(row) for row in rows]).outcome().arrived
        certain |= {(run_id, part.file) for part in arrived}
    found = [
        (
            row["run_id"],
            row["operation"],
            row["ranges"],
            row["first_bucket"],
            row["last_bucket"],
            row["file"],
            row["status"],
            (run_id, row["file"]) in certain,
        )
        for run_id, rows in by_run.items()
        for row in rows
        if "#" not in row["file"]
    ]
    columns = (
        "run_id string, operation string, ranges string, first_bucket int, last_bucket int,"
        " file string"
    )
    return frames.of(audit.spark, found, f"{columns}, file_status string, is_certain boolean")


def _record(row: dict[str, Any]) -> FileRecord:
    names = FileRecord.__dataclass_fields__.keys() - {"name", "status"}
    facts = {name: row[name] for name in names}
    return FileRecord(name=row["file"], status=FileStatus(row["status"]), **facts)


def newest(lines: DataFrame) -> DataFrame:
    """The last of these lines of each profile; one row is a profile."""
    window = Window.partitionBy("profile_key").orderBy(F.col("run_number").desc())
    ranked = lines.withColumn("sp_rank", F.row_number().over(window))
    return ranked.where(F.col("sp_rank") == 1).drop("sp_rank")


def before(audit: Audit, runs: Sequence[Run], target: Run) -> tuple[DataFrame, DataFrame]:
    """What was confirmed before a run, and what of it is no longer known.

    A profile that neither the run nor a later one has a line of is as it is delivered now. Of the
    others, the last line confirmed before the run says what they were, and the first line since
    says whether they were there at all.

    Args:
        audit: the tables.
        runs: all runs of one definition, oldest first.
        target: one of them.

    Returns:
        profile_key, identifier, payload, payload_hash: one row a profile of that state; and
        profile_key of the profiles that were there but whose lines were pruned.
    """
    at = [run.run_id for run in runs].index(target.run_id)
    since = sent(audit, runs).where(F.col("run_number") >= at)
    first = Window.partitionBy("profile_key").orderBy("run_number")
    touched = (
        since.withColumn("sp_rank", F.row_number().over(first))
        .where(F.col("sp_rank") == 1)
        .select("profile_key", (F.col("change") != NEW).alias("was_there"))
    )
    former = newest(sent(audit, runs).where((F.col("run_number") < at) & F.col("is_confirmed")))
    there = former.where(F.col("operation") == UPSERT).select(*PAYLOAD)
    untouched = audit.delivered(target.name).join(touched, on="profile_key", how="left_anti")
    restored = touched.where("was_there").select("profile_key")
    lost = restored.join(there, on="profile_key", how="left_anti")
    state = untouched.select(*PAYLOAD).unionByName(
        there.join(restored, on="profile_key", how="left_semi").select(*PAYLOAD)
    )
    return state, lost
