"""Commands that send what was built."""

from __future__ import annotations

from typing import Annotated

import typer

from spark_profiles import show
from spark_profiles.cli import options
from spark_profiles.cli.app import app


@app.command()
def upload(
    name: Annotated[str, typer.Argument(help="Name of the definition.", show_default=False)],
    datamart: options.DatamartId,
    audit: options.AuditAt = "audit",
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Send the files of the built run, follow them to their end and confirm what arrived."""
    from spark_profiles import run as runs  # noqa: PLC0415

    with (
        show.Progress(quiet=as_json) as listener,
        options.datamart_client(api, datamart, token) as client,
    ):
        done = runs.deliver(options.job("", audit, listener, engine), name, client)
    if done is None:
        show.facts({"definition": name, "waiting": 0}, as_json=as_json)
    else:
        show.run(done, as_json=as_json)


@app.command()
def retry(
    name: Annotated[str, typer.Argument(help="Name of the definition.", show_default=False)],
    datamart: options.DatamartId,
    audit: options.AuditAt = "audit",
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Send the unconfirmed files of the last run once more, without computing anything anew."""
    from spark_profiles import run as runs  # noqa: PLC0415

    with (
        show.Progress(quiet=as_json) as listener,
        options.datamart_client(api, datamart, token) as client,
    ):
        done = runs.retry(options.job("", audit, listener, engine), name, client)
    if done is None:
        show.facts({"definition": name, "unconfirmed": 0}, as_json=as_json)
    else:
        show.run(done, as_json=as_json)
