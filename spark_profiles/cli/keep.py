"""Commands for afterwards: undo, erase, explain, maintain."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from spark_profiles import meanwhile
from spark_profiles.cli import options, show
from spark_profiles.cli.app import app
from spark_profiles.delivery.datamart import Token
from spark_profiles.errors import NotFoundError, SparkProfilesError, UnconfirmedError


@app.command()
def rollback(
    run_id: Annotated[str, typer.Argument(help="The first run to undo.", show_default=False)],
    datamart: options.DatamartId,
    output: options.Output = "import",
    audit: options.AuditAt = "audit",
    max_bytes: options.MaxBytes = 95_000_000,
    accept: options.Accept = None,
    why: options.Why = "",
    by: options.By = "",
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Restore every profile to what was confirmed before a run; undoes later runs with it.

    A run like any other: recorded, checked against the limits, confirmed. The next `run` brings
    what the sources ask for again, so mend the definition or the source first.
    """
    from spark_profiles.aftercare import rollback as rollbacks  # noqa: PLC0415

    options.require_audit(audit)
    accepted = options.acceptance(accept, by, why)
    with (
        meanwhile.Progress(quiet=as_json) as listener,
        options.datamart_client(api, datamart, token) as client,
    ):
        job = options.job(output, audit, listener, engine, max_bytes=max_bytes)
        done = rollbacks.rollback(job, run_id, client, accepted=accepted)
    show.run(done, as_json=as_json)


_Users = Annotated[
    list[str] | None,
    typer.Option(
        "--user",
        help="A key, account id, e-mail address or its hash, or a value of a property that is"
        " marked `personal: identifying`. Repeatable.",
    ),
]
_File = Annotated[
    Path | None,
    typer.Option(help="One identifier a line: nothing personal lands in the shell's history."),
]
_SentTo = Annotated[
    str | None,
    typer.Option(help="Id of the datamart for the DELETE.", envvar="SPARK_PROFILES_DATAMART"),
]
_NoSend = Annotated[bool, typer.Option("--no-send", help="The platform is told in another way.")]
_VacuumNow = Annotated[
    bool,
    typer.Option(
        "--vacuum-now",
        help="Remove old table files at once; nothing else may be using the tables. Without, the"
        " values lie in them until `maintain` vacuums.",
    ),
]
_Document = Annotated[
    Path | None,
    typer.Option(
        help="Also write a USER_POINTS_DELETION document here, to delete the whole user points."
        " It names the persons: remove it when it is sent."
    ),
]
_Receipt = Annotated[
    Path | None, typer.Option(help="Where to write the receipt.", show_default="printed only")
]
_KeepSuccessors = Annotated[
    bool,
    typer.Option(
        "--keep-successors",
        help="Users who have an address of these persons now are other persons. Without, a person"
        " whose address belongs to another key now is not erased: it may be their new key.",
    ),
]
_HashKey = Annotated[
    str | None,
    typer.Option(help="A secret for the receipt's hashes: env:NAME or file:PATH."),
]


@app.command()
def erase(
    datamart: _SentTo = None,
    users: _Users = None,
    file: _File = None,
    no_send: _NoSend = False,
    vacuum_now: _VacuumNow = False,
    document: _Document = None,
    receipt: _Receipt = None,
    hash_key: _HashKey = None,
    keep_successors: _KeepSuccessors = False,
    output: options.Output = "import",
    audit: options.AuditAt = "audit",
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Remove persons from the platform, the audit tables and the kept import files.

    Stopped half-way, the same command without users finishes it. A person who is still in the
    sources comes back with the next run: erase there first.
    """
    from spark_profiles.aftercare import erase as erasures  # noqa: PLC0415

    options.require_audit(audit)
    if datamart is None and not no_send:
        message = "give --datamart, or --no-send if the platform is told in another way"
        raise typer.BadParameter(message)
    key = Token.parse(hash_key).read().value if hash_key else ""
    with ExitStack() as stack:
        listener = stack.enter_context(meanwhile.Progress(quiet=as_json))
        client = None
        if datamart and not no_send:
            client = stack.enter_context(options.datamart_client(api, datamart, token))
        missing: SparkProfilesError | None = None
        try:
            done = erasures.erase(
                options.job(output, audit, listener, engine),
                [*(users or ()), *options.keys(file)],
                client,
                key=key,
                vacuum_now=vacuum_now,
                document=(lambda content: _append_private(document, content)) if document else None,
                keep_successors=keep_successors,
            )
        except (NotFoundError, UnconfirmedError) as error:
            missing, done = error, list(error.receipts)
    for one in done:
        show.facts(one, as_json=as_json)
    if receipt and done:
        show.save_json(done, receipt)
    if missing:
        raise missing


def _append_private(path: Path, content: bytes) -> None:
    """Add to a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as stream:
        stream.write(content)


@app.command()
def maintain(
    audit: options.AuditAt = "audit",
    keep_days: Annotated[
        int,
        typer.Option(
            help="Days for which refused rows, rejected lines and former payloads are kept, and"
            " runs can be rolled back.",
            min=1,
        ),
    ] = 90,
    vacuum_hours: Annotated[
        int,
        typer.Option(
            help="Hours for which files of former table versions are kept. Under 168 nothing else"
            " may be using the tables.",
            min=0,
        ),
    ] = 168,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Prune, compact and vacuum the audit tables, and say how large they are."""
    from spark_profiles.aftercare import maintain as upkeep  # noqa: PLC0415

    options.require_audit(audit)
    with meanwhile.Progress(quiet=as_json) as listener:
        tables = options.job("", audit, listener, engine).tables()
        done = upkeep.maintain(
            tables, keep_days=keep_days, vacuum_hours=vacuum_hours, listener=listener
        )
    show.upkeep(done, as_json=as_json)


@app.command()
def explain(
    user: Annotated[
        str,
        typer.Argument(help="A profile key, account id, e-mail address or its hash; - reads it."),
    ],
    path: Annotated[
        str, typer.Argument(help="A property, dotted; its value in every line.", metavar="PROPERTY")
    ] = "",
    audit: options.AuditAt = "audit",
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of relative source paths: tells the rule and the rows behind the value of"
            " PROPERTY."
        ),
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option("--run", help="Of this run.", show_default="the last with a line"),
    ] = None,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Show values; without, only their shape.")
    ] = False,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Tell what was sent about a person: run, file, line, why, and what the platform answered."""
    from spark_profiles.aftercare import explain as explaining  # noqa: PLC0415
    from spark_profiles.aftercare import why  # noqa: PLC0415

    if data is not None and not path:
        message = "--data tells what is behind one value: name its PROPERTY"
        raise typer.BadParameter(message)
    options.require_audit(audit)
    asked = typer.prompt("User", hide_input=True, err=True) if user == "-" else user
    job = options.job("", audit, lambda _: None, engine)
    tables = job.tables()
    accounts = explaining.explain(tables, asked)
    told = [
        explaining.told(account, path, run_id=run_id, show_values=show_values)
        for account in accounts
    ]
    if data is not None:
        for account, one in zip(accounts, told, strict=True):
            made = explaining.asked_run(tables.runs(account.name), account, run_id)
            reason = why.why(
                job.spark, made, account.profile_key, path, data=options.absolute(data)
            )
            one["why"] = why.told(reason, show_values=show_values)
    show.accounts(told, as_json=as_json)


@app.command()
def failures(
    name: Annotated[
        str | None, typer.Argument(help="Name of the definition; without: all.")
    ] = None,
    audit: options.AuditAt = "audit",
    show_values: Annotated[
        bool,
        typer.Option(
            "--show-values", help="Show what the platform says of lines; it may name persons."
        ),
    ] = False,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Count what did not go through, by run and reason: refused rows, rejected lines, limits."""
    from spark_profiles.audit import views  # noqa: PLC0415

    options.require_audit(audit)
    tables = options.job("", audit, lambda _: None, engine).tables()
    found = views.failures(tables, name, with_messages=show_values)
    rows = [row.asDict() for row in found.collect()]
    show.rows(rows, as_json=as_json)
