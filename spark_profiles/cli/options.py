"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spark_profiles.datamart import Connection, Datamart, RetryPolicy, Token

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_profiles.run import Job

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
Engine = Annotated[
    Literal["spark", "sail"],
    typer.Option(
        help="Sail is an engine without a JVM, for one machine; values are equal, the text of"
        " some numbers is not.",
        envvar="SPARK_PROFILES_ENGINE",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]

API = "https://api.mediarithmics.com"
RETRY = RetryPolicy()
TOKEN_AT = "env:MEDIARITHMICS_TOKEN"  # noqa: S105  a reference, not a token


def audit_exists(audit: str) -> bool:
    """Whether audit tables may be at a location; a catalog schema is taken at its word."""
    from spark_profiles import stores  # noqa: PLC0415

    return ("/" not in audit and not Path(audit).exists()) or stores.folder(audit).exists("runs")


def spark(engine: str) -> SparkSession:
    """The session of the platform, or a new one on this machine."""
    from spark_profiles import session  # noqa: PLC0415

    if engine == "sail":
        return session.embedded_session()
    return session.current_session("spark-profiles")


def job(output: str, audit: str, max_bytes: int, listener: Any, engine: str) -> Job:
    """What every step of a run needs, with locations made absolute."""
    from spark_profiles import run as runs  # noqa: PLC0415

    return runs.Job(
        spark=spark(engine),
        output=absolute(output),
        audit=absolute(audit),
        max_bytes=max_bytes,
        listener=listener,
    )


def absolute(location: str) -> str:
    """A local path made absolute; addresses and catalog names as they are."""
    is_local = ":/" not in location and ("/" in location or "." not in location)
    return str(Path(location).absolute()) if location and is_local else location


def data_folder(data: str | None, definition: Path) -> str:
    """The folder of relative source paths: as given, or beside the definition."""
    return absolute(data) if data else str(definition.absolute().parent)


def datamart_client(api: str, datamart: str, token: str) -> Datamart:
    """A client of the API of one datamart."""
    return Datamart(Connection(api, datamart, Token.parse(token)), retry=RETRY)
