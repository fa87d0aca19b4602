"""The audit tables as people ask for them: DataFrames to look at in a notebook. Lazy but `history`.

from spark_profiles.audit import views
views.latest(job.tables(), "shop").show()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from spark_profiles.audit import history as histories

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from spark_profiles.audit.tables import Audit


def latest(audit: Audit, name: str) -> DataFrame:
    """The profiles as the platform has them; one row is a profile.

    Columns: profile_key, identifier, payload, payload_hash, run_id of its delivery, the run's as_of
    and kind (null: from the sources).
    """
    runs = audit.read("runs").select("run_id", "as_of", "kind")
    return (
        audit.delivered(name).drop("name").join(F.broadcast(runs), on="run_id", how="left")
    ).select("profile_key", "identifier", "payload", "payload_hash", "run_id", "as_of", "kind")


def history(audit: Audit, name: str) -> DataFrame:
    """Every line that was to be sent, with its fate; one row is a line.

    Columns: profile_key, run_number (0 is the oldest run), run_id, change, properties, operation,
    payload, file, file_status and is_confirmed. For one profile: `.where("profile_key = 'c1'")`.
    """
    return histories.sent(audit, audit.runs(name)).select(
        "profile_key", "run_number", "run_id", "change", "properties", "operation", "payload",
        "file", "file_status", "is_confirmed",
    )  # fmt: skip


def failures(audit: Audit, name: str | None = None, *, with_messages: bool = False) -> DataFrame:
    """What did not go through, and why; one row is a run, a place and a reason.

    Columns: run_id, what (`refused row`, `rejected line`, `tripped limit`), place (source, file
    or null), reason, and rows: how many source rows, lines, or 1. What the platform says of a
    rejected line may name a person: only `with_messages` it is the reason.
    """
    said = F.col("message") if with_messages else F.lit("see rejected_lines")
    runs = audit.read("runs")
    runs = runs if name is None else runs.where(F.col("name") == name)
    of_runs = F.broadcast(runs.select("run_id"))
    refused = audit.read("refused_rows").select(
        "run_id",
        F.lit("refused row").alias("what"),
        F.col("source").alias("place"),
        F.explode("reasons").alias("reason"),
    )
    rejected = audit.read("rejected_lines").select(
        "run_id",
        F.lit("rejected line").alias("what"),
        F.col("file").alias("place"),
        F.when(F.col("message").isNull(), "no message").otherwise(said).alias("reason"),
    )
    tripped = runs.where(F.col("tripped").isNotNull()).select(
        "run_id",
        F.lit("tripped limit").alias("what"),
        F.lit(None).cast("string").alias("place"),
        F.explode(F.split("tripped", ", ")).alias("reason"),
    )
    every = refused.unionByName(rejected).unionByName(tripped)
    return (
        every.join(of_runs, on="run_id", how="left_semi")
        .groupBy("run_id", "what", "place", "reason")
        .agg(F.count("*").alias("rows"))
        .orderBy("run_id", "what", "place", "reason")
    )


def churn(audit: Audit, name: str) -> DataFrame:
    """How often each top-level property changed, and how often it alone; most first.

    Columns: property, changed and alone: numbers of lines.
    """
    lines = audit.read("lines").where((F.col("name") == name) & F.col("properties").isNotNull())
    return (
        lines.select(F.explode("properties").alias("property"), F.size("properties").alias("n"))
        .groupBy("property")
        .agg(F.count("*").alias("changed"), F.count(F.when(F.col("n") == 1, 1)).alias("alone"))
        .orderBy(F.desc("changed"), "property")
    )
