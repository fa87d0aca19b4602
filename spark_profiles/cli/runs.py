"""Commands that make runs, and tell of them."""

from __future__ import annotations

from typing import Annotated

import typer

from spark_profiles import loader, show
from spark_profiles.cli import options
from spark_profiles.cli.app import app
from spark_profiles.errors import DefinitionError, Problem


@app.command()
def build(
    definition: options.DefinitionFile,
    as_of: options.AsOf,
    data: options.Data = None,
    output: options.Output = "import",
    audit: options.AuditAt = "audit",
    max_bytes: options.MaxBytes = 95_000_000,
    accept: options.Accept = None,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Compute the profiles and write the import files of what changed. Sends nothing."""
    from spark_profiles import run as runs  # noqa: PLC0415

    loaded = loader.load_definition(definition)
    with show.Progress(quiet=as_json) as listener:
        job = options.job(output, audit, max_bytes, listener, engine)
        done = runs.build(
            job,
            loaded,
            as_of=as_of,
            data=options.data_folder(data, definition),
            accepted=accept or (),
        )
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
    accept: options.Accept = None,
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Build and upload in one go; settles a former run first. Safe to repeat after any stop."""
    from spark_profiles import run as runs  # noqa: PLC0415

    loaded = loader.load_definition(definition)
    with (
        show.Progress(quiet=as_json) as listener,
        options.datamart_client(api, datamart, token) as client,
    ):
        job = options.job(output, audit, max_bytes, listener, engine)
        folder = options.data_folder(data, definition)
        done = runs.run(job, loaded, client, as_of=as_of, data=folder, accepted=accept or ())
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
    if not options.audit_exists(audit):
        problem = Problem(audit, "no audit tables", "the folder given to build or run")
        message = "There is nothing to tell"
        raise DefinitionError(message, problem)
    job = options.job("", audit, 95_000_000, lambda _: None, engine)
    show.status(job.tables().runs(name)[-last:], as_json=as_json)
