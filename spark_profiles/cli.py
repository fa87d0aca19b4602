"""The command line: the same functions as the jobs and notebooks use, with words and exit codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from spark_profiles import loader, show
from spark_profiles.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.errors import DefinitionError, Problem, SparkProfilesError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_profiles.run import Job

app = typer.Typer(
    name="spark-profiles",
    help="Raw tables to confirmed user profiles: build, deliver, explain.",
    epilog=(
        "Exit codes: 0 done, 1 fault of this program, 2 wrong command line, 3 mend the definition"
        " or a setting, 4 mend the data, 5 set up the machine, 6 stopped by a limit, 7 try again"
        " later, 8 the API refused, 9 not all confirmed: run again, 10 settle a former run first,"
        " 11 counts or bytes do not add up."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DefinitionFile = Annotated[
    Path, typer.Argument(help="The definition, a YAML file.", show_default=False)
]
AsOf = Annotated[
    str,
    typer.Option(
        "--as-of",
        help="Date or time at which all windows end; a date means the midnight that begins it,"
        " in the definition's time zone.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="Folder of relative source paths.  [default: beside the definition]"),
]
Output = Annotated[
    str, typer.Option(help="Folder of the import files.", envvar="SPARK_PROFILES_OUTPUT")
]
AuditAt = Annotated[
    str,
    typer.Option(
        help="Folder or catalog schema of the audit tables.", envvar="SPARK_PROFILES_AUDIT"
    ),
]
MaxBytes = Annotated[int, typer.Option(help="Most bytes of one import file.", min=1)]
Accept = Annotated[
    list[str] | None,
    typer.Option(help="Name of a limit that may be passed this time; recorded. Repeatable."),
]
Api = Annotated[
    str,
    typer.Option(
        help="Base URL of the bulk-import API.",
        envvar="SPARK_PROFILES_API",
    ),
]
DatamartId = Annotated[
    str,
    typer.Option("--datamart", help="Id of the datamart.", envvar="SPARK_PROFILES_DATAMART"),
]
TokenAt = Annotated[
    str,
    typer.Option(
        "--token",
        help="Where the API token is: env:NAME or file:PATH. Never the token itself.",
        envvar="SPARK_PROFILES_TOKEN_AT",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]

API = "https://api.mediarithmics.com"
_RETRY = RetryPolicy()
TOKEN_AT = "env:MEDIARITHMICS_TOKEN"  # noqa: S105  a reference, not a token


@app.command()
def validate(definition: DefinitionFile, data: Data = None, *, as_json: AsJson = False) -> None:
    """Check a definition, and with --data also that it fits the tables. Writes nothing."""
    loaded = loader.load_definition(definition)
    if data is not None:
        from spark_profiles import pipeline  # noqa: PLC0415  Spark only where it is needed

        pipeline.plan(_spark(), loaded, as_of="2000-01-01", data=data)
    facts = {
        "definition": loaded.name,
        "definition_hash": loaded.definition_hash,
        "sources": list(loaded.sources),
        "properties": sum(1 for _ in loaded.properties()),
        "checked_against_tables": data is not None,
    }
    show.facts(facts, as_json=as_json)


@app.command()
def build(
    definition: DefinitionFile,
    as_of: AsOf,
    data: Data = None,
    output: Output = "import",
    audit: AuditAt = "audit",
    max_bytes: MaxBytes = 95_000_000,
    accept: Accept = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Compute the profiles and write the import files of what changed. Sends nothing."""
    from spark_profiles import run as runs  # noqa: PLC0415

    loaded = loader.load_definition(definition)
    with show.Progress(quiet=as_json) as listener:
        job = _job(output, audit, max_bytes, listener)
        done = runs.build(
            job, loaded, as_of=as_of, data=_data(data, definition), accepted=accept or ()
        )
    show.run(done, as_json=as_json)


@app.command()
def upload(
    name: Annotated[str, typer.Argument(help="Name of the definition.", show_default=False)],
    datamart: DatamartId,
    audit: AuditAt = "audit",
    api: Api = API,
    token: TokenAt = TOKEN_AT,
    *,
    as_json: AsJson = False,
) -> None:
    """Send the files of the built run, follow them to their end and confirm what arrived."""
    from spark_profiles import run as runs  # noqa: PLC0415

    with show.Progress(quiet=as_json) as listener, _datamart(api, datamart, token) as client:
        done = runs.deliver(_job("", audit, 95_000_000, listener), name, client)
    if done is None:
        show.facts({"definition": name, "waiting": 0}, as_json=as_json)
    else:
        show.run(done, as_json=as_json)


@app.command()
def run(
    definition: DefinitionFile,
    as_of: AsOf,
    datamart: DatamartId,
    data: Data = None,
    output: Output = "import",
    audit: AuditAt = "audit",
    max_bytes: MaxBytes = 95_000_000,
    accept: Accept = None,
    api: Api = API,
    token: TokenAt = TOKEN_AT,
    *,
    as_json: AsJson = False,
) -> None:
    """Build and upload in one go; settles a former run first. Safe to repeat after any stop."""
    from spark_profiles import run as runs  # noqa: PLC0415

    loaded = loader.load_definition(definition)
    with show.Progress(quiet=as_json) as listener, _datamart(api, datamart, token) as client:
        job = _job(output, audit, max_bytes, listener)
        folder = _data(data, definition)
        done = runs.run(job, loaded, client, as_of=as_of, data=folder, accepted=accept or ())
    show.run(done, as_json=as_json)


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(help="Name of the definition; without: all.")
    ] = None,
    audit: AuditAt = "audit",
    last: Annotated[int, typer.Option(help="So many runs at most.", min=1)] = 10,
    *,
    as_json: AsJson = False,
) -> None:
    """Say where the runs stand and what the next command will do. Changes nothing."""
    if not audit_exists(audit):
        problem = Problem(audit, "no audit tables", "the folder given to build or run")
        message = "There is nothing to tell"
        raise DefinitionError(message, problem)
    job = _job("", audit, 95_000_000, lambda _: None)
    show.status(job.tables().runs(name)[-last:], as_json=as_json)


@app.command()
def emulator(
    store: Annotated[Path, typer.Option(help="The SQLite file that holds the datamart.")] = Path(
        "datamart.sqlite"
    ),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 8765,
) -> None:
    """Serve a bulk-import API on this machine, to try everything without the platform."""
    from spark_profiles.emulator import server  # noqa: PLC0415

    server.serve(store, port=port, tell=show.listening)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for all that the demo writes.")] = Path(
        "demo-output"
    ),
) -> None:
    """Two days of a real shop: build, upload to the emulator, compare every profile."""
    from spark_profiles.demo import story  # noqa: PLC0415

    with show.Progress(quiet=False) as listener:
        told = story.tell(output, listener=listener)
    show.story(told)


def main() -> None:
    """Run the command line; every foreseen error becomes one message and its exit code."""
    raise SystemExit(guarded(app))


def guarded(command: Any, arguments: list[str] | None = None) -> int:
    """The exit code of `command`, with errors told on standard error."""
    try:
        command(arguments, standalone_mode=True)
    except SparkProfilesError as error:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(
            f"{type(error).__name__} ({error.code}): {error}"
        )
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. Run the same command again: it continues or settles.\n")
        return 130
    return 0


def audit_exists(audit: str) -> bool:
    """Whether audit tables may be at a location; a catalog schema is taken at its word."""
    from spark_profiles import stores  # noqa: PLC0415

    return ("/" not in audit and not Path(audit).exists()) or stores.folder(audit).exists("runs")


def _spark() -> SparkSession:
    from spark_profiles import session  # noqa: PLC0415

    return session.current_session("spark-profiles")


def _job(output: str, audit: str, max_bytes: int, listener: Any) -> Job:
    from spark_profiles import run as runs  # noqa: PLC0415

    return runs.Job(
        spark=_spark(),
        output=_absolute(output),
        audit=_absolute(audit),
        max_bytes=max_bytes,
        listener=listener,
    )


def _absolute(location: str) -> str:
    """A local path made absolute; addresses and catalog names as they are."""
    is_local = ":/" not in location and ("/" in location or "." not in location)
    return str(Path(location).absolute()) if location and is_local else location


def _data(data: str | None, definition: Path) -> str:
    return _absolute(data) if data else str(definition.absolute().parent)


def _datamart(api: str, datamart: str, token: str) -> Datamart:
    return Datamart(Connection(api, datamart, Token.parse(token)), retry=_RETRY)


if __name__ == "__main__":
    main()
