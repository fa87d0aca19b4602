"""Commands that make runs, and tell of them."""

from __future__ import annotations

from typing import Annotated

import typer

from spark_profiles import meanwhile
from spark_profiles.cli import options, show
from spark_profiles.cli.app import app
from spark_profiles.running import profiling


@app.command()
def build(
    definition: options.DefinitionFile,
    as_of: options.AsOf,
    data: options.Data = None,
    output: options.Output = "import",
    audit: options.AuditAt = "audit",
    max_bytes: options.MaxBytes = 95_000_000,
    max_lines: options.MaxLines = None,
    accept: options.Accept = None,
    why: options.Why = "",
    by: options.By = "",
    limit: options.Limit = None,
    keep_gone: options.KeepGone = "0",
    quiet: options.Quiet = None,
    tolerance: options.Tolerance = None,
    resend: options.Resend = None,
    remove: options.Remove = None,
    schema: options.SchemaFile = None,
    engine: options.Engine = "spark",
    profile: options.ProfileFile = None,
    *,
    resend_all: options.ResendAll = False,
    gzip: Annotated[
        bool, typer.Option("--gzip", help="Compress the files, for other targets than the API.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Compute the profiles and write the import files of what changed. Sends nothing."""
    from spark_profiles.definition import loader  # noqa: PLC0415  the models take their time
    from spark_profiles.running import run as runs  # noqa: PLC0415

    loaded = loader.load_definition(definition)
    choices = options.choices(max_bytes, limit, keep_gone, quiet, tolerance, resend_all=resend_all)
    wish = options.wish(as_of, data, definition, accept, why, by, resend, remove)
    choices |= {"max_lines": max_lines, "compression": "gzip" if gzip else "none"}
    choices["schema"] = options.schema(schema)
    with (
        meanwhile.Progress(quiet=as_json) as listener,
        profiling.Profile(profile, listener) as steps,
    ):
        job = options.job(output, audit, steps.listen, engine, steps, **choices)
        done = runs.build(job, loaded, **wish)
    show.run(done, as_json=as_json)


@app.command()
def run(
    definition: options.DefinitionFile,
    as_of: options.AsOf,
    datamart: options.DatamartId,
    data: options.Data = None,
    output: options.Output = "import",
    audit: options.AuditAt = "audit",
    max_bytes: options.MaxBytes = 95_000_000,
    max_lines: options.MaxLines = None,
    accept: options.Accept = None,
    why: options.Why = "",
    by: options.By = "",
    limit: options.Limit = None,
    keep_gone: options.KeepGone = "0",
    quiet: options.Quiet = None,
    tolerance: options.Tolerance = None,
    resend: options.Resend = None,
    remove: options.Remove = None,
    schema: options.SchemaFile = None,
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    profile: options.ProfileFile = None,
    *,
    resend_all: options.ResendAll = False,
    as_json: options.AsJson = False,
) -> None:
    """Build and upload in one go; settles a former run first. Safe to repeat after any stop."""
    from spark_profiles.definition import loader  # noqa: PLC0415  the models take their time
    from spark_profiles.running import run as runs  # noqa: PLC0415

    loaded = loader.load_definition(definition)
    choices = options.choices(max_bytes, limit, keep_gone, quiet, tolerance, resend_all=resend_all)
    choices |= {"max_lines": max_lines, "schema": options.schema(schema)}
    wish = options.wish(as_of, data, definition, accept, why, by, resend, remove)
    with (
        meanwhile.Progress(quiet=as_json) as listener,
        profiling.Profile(profile, listener) as steps,
        options.datamart_client(api, datamart, token) as client,
    ):
        job = options.job(output, audit, steps.listen, engine, steps, **choices)
        done = runs.run(job, loaded, client, **wish)
    show.run(done, as_json=as_json)


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(help="Name of the definition; without: all.")
    ] = None,
    audit: options.AuditAt = "audit",
    last: Annotated[int, typer.Option(help="So many runs at most.", min=1)] = 10,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Say where the runs stand and what the next command will do. Changes nothing."""
    options.require_audit(audit)
    job = options.job("", audit, lambda _: None, engine)
    show.status(job.tables().runs(name)[-last:], as_json=as_json)


@app.command()
def abandon(
    name: options.Name,
    audit: options.AuditAt = "audit",
    engine: options.Engine = "spark",
    dead: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PROCESS",
            help="A run on another machine that is known to be dead: its lease is ended now. Of a"
            " process of this machine we see it ourselves.",
        ),
    ] = None,
    *,
    as_json: options.AsJson = False,
) -> None:
    """Give up what was built but not sent, and free the definition of a run that died.

    Refused while another run is at work.
    """
    from spark_profiles.running import run as runs  # noqa: PLC0415

    options.require_audit(audit)
    given_up = runs.abandon(options.job("", audit, lambda _: None, engine), name, dead=dead)
    show.facts({"definition": name, "abandoned": [run.run_id for run in given_up]}, as_json=as_json)


@app.command()
def churn(
    name: options.Name,
    audit: options.AuditAt = "audit",
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Name the properties that cause most of what is sent, over the runs that are recorded."""
    from spark_profiles.audit import views  # noqa: PLC0415

    options.require_audit(audit)
    job = options.job("", audit, lambda _: None, engine)
    rows = [row.asDict() for row in views.churn(job.tables(), name).collect()]
    show.churn(rows, as_json=as_json)
