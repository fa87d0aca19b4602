"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spark_profiles.audit.guard import Acceptance, Limits
from spark_profiles.delivery.datamart import Connection, Datamart, RetryPolicy, Token
from spark_profiles.errors import DefinitionError, PlatformError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from spark_profiles.running.profiling import Profile
    from spark_profiles.running.run import Job

DefinitionFile = Annotated[
    Path, typer.Argument(help="The definition, a YAML file.", show_default=False)
]
Name = Annotated[str, typer.Argument(help="Name of the definition.", show_default=False)]
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
    typer.Option(help="Folder of relative source paths.", show_default="beside the definition"),
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
MaxLines = Annotated[
    int | None, typer.Option(help="Most lines of one import file.", show_default="any", min=1)
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        help="What tripped and is right this time, by the name that the message gives it, such as"
        " deletes or shrunken:SOURCE; recorded. Repeatable."
    ),
]
Why = Annotated[
    str, typer.Option(help="Why the accepted limits may be passed; recorded with --accept.")
]
By = Annotated[
    str,
    typer.Option(help="Who accepts.", show_default="the user of this machine", envvar="USER"),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=VALUE of a limit, such as deleted_share=0.3; VALUE none: no limit. Repeatable."
    ),
]
KeepGone = Annotated[
    str,
    typer.Option(
        help="Days for which users must be gone before their profiles are deleted; or: forever."
    ),
]
Quiet = Annotated[
    list[str] | None,
    typer.Option(
        help="Dotted path of a property that alone is no reason to send a profile. Repeatable."
    ),
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option(
        help="PATH=NUMBER: by how much a number may differ from what was delivered. Repeatable."
    ),
]
Resend = Annotated[
    Path | None,
    typer.Option(help="File of profile keys, one a line, to send whether they changed or not."),
]
ResendAll = Annotated[bool, typer.Option(help="Send every profile, whether it changed or not.")]
Remove = Annotated[
    Path | None, typer.Option(help="File of profile keys, one a line, to delete in this run.")
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
        help="Where the API token is: env:NAME, file:PATH, databricks:SCOPE/KEY or"
        " aws:SECRET#MEMBER. Never the token itself.",
        envvar="SPARK_PROFILES_TOKEN_AT",
    ),
]
SchemaFile = Annotated[
    Path | None,
    typer.Option(
        "--schema",
        help="The datamart's own schema (GraphQL text), which the profiles have to fit: names,"
        " types, and no null where it has `!`. Checked before anything is sent.",
        show_default=False,
    ),
]
Engine = Annotated[
    Literal["spark", "sail"],
    typer.Option(
        help="Sail is an engine without a JVM, for one machine; values are equal, how they"
        " are spelt is not in every case.",
        envvar="SPARK_PROFILES_ENGINE",
    ),
]
ProfileFile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        help="File for what each step cost: seconds, and of Spark rows, bytes, spills and shuffle;"
        " JSON.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]

API = "https://api.mediarithmics.com"
RETRY = RetryPolicy()
TOKEN_AT = "env:MEDIARITHMICS_TOKEN"  # noqa: S105  a reference, not a token


def require_audit(audit: str) -> None:
    """Refuse a folder without audit tables: a wrong one must not become a new one.

    Where only Spark knows what is there (a catalog schema, a path on a cluster, a store that this
    process may not look into) the location is taken at its word.

    Raises:
        DefinitionError: nothing is there.
    """
    from spark_profiles import stores  # noqa: PLC0415
    from spark_profiles.engine import session  # noqa: PLC0415

    location = audit_location(audit)
    if session.is_platform() or "/" not in location:
        return
    try:
        is_there = stores.folder(location).exists("runs")
    except (OSError, PlatformError):
        return
    if not is_there:
        problem = Problem(location, "no audit tables", "the --audit given to build or run")
        message = "No run was ever recorded there; nothing was done"
        raise DefinitionError(message, problem)


def spark(engine: str, settings: Mapping[str, str] | None = None) -> SparkSession:
    """The session of the platform, or a new one on this machine, with more `settings`."""
    from spark_profiles.engine import session  # noqa: PLC0415

    if engine == "sail":
        return session.embedded_session()
    return session.current_session("spark-profiles", settings)


def job(
    output: str,
    audit: str,
    listener: Any,
    engine: str,
    profile: Profile | None = None,
    **choices: Any,
) -> Job:
    """What every step of a run needs, with locations made absolute."""
    from spark_profiles.running import run as runs  # noqa: PLC0415

    session = profile.watch(spark(engine, profile.settings)) if profile else spark(engine)
    return runs.Job(
        spark=session,
        output=absolute(output),
        audit=audit_location(audit),
        listener=listener,
        **choices,
    )


def limits(given: list[str] | None) -> Limits:
    """The limits, with those given changed.

    Raises:
        DefinitionError: a name or value is none.
    """
    changed: dict[str, float | None] = {}
    problems = []
    known = [field.name for field in fields(Limits)]
    for text in given or ():
        name, _, value = text.partition("=")
        try:
            changed[name] = None if value == "none" else float(value)
        except ValueError:
            problems.append(Problem(f"--limit {text}", "no number", "NAME=NUMBER or NAME=none"))
        if name not in known:
            problems.append(Problem(f"--limit {text}", "no such limit", ", ".join(known)))
    if problems:
        message = "A limit cannot be read; nothing was read"
        raise DefinitionError(message, *problems)
    return replace(Limits(), **changed)  # type: ignore[arg-type]


def schema(path: Path | None) -> Any:
    """The datamart's schema in a file, where one is named."""
    from spark_profiles.planning import sdl  # noqa: PLC0415  an extra

    return sdl.read(path) if path else None


def acceptance(names: list[str] | None, by: str, why: str) -> Acceptance:
    """The trips that are right this time; who lets a limit pass says why.

    Raises:
        DefinitionError: no reason is given.
    """
    if names and not why.strip():
        problem = Problem("--accept", "no reason", "--why '…'", "it is recorded with the run")
        message = "A limit is passed for a reason only; nothing was read"
        raise DefinitionError(message, problem)
    return Acceptance(tuple(names or ()), by, why)


def choices(
    max_bytes: int,
    limit: list[str] | None,
    keep_gone: str,
    quiet: list[str] | None,
    tolerance: list[str] | None,
    *,
    resend_all: bool,
) -> dict[str, Any]:
    """The members of `Job` that decide what a run sends.

    Raises:
        DefinitionError: a limit, the days or a tolerance are no number.
    """
    from spark_profiles.lines.changes import Policy  # noqa: PLC0415

    if keep_gone != "forever" and not keep_gone.isdigit():
        problem = Problem("--keep-gone", repr(keep_gone), "a number of days, or forever")
        message = "The retention of profiles cannot be read; nothing was read"
        raise DefinitionError(message, problem)
    policy = Policy(
        keep_gone_days=None if keep_gone == "forever" else int(keep_gone),
        resend_all=resend_all,
        quiet=tuple(quiet or ()),
        tolerance=_tolerances(tolerance or []),
    )
    return {"max_bytes": max_bytes, "limits": limits(limit), "policy": policy}


def _tolerances(given: list[str]) -> dict[str, Decimal]:
    found = {}
    for text in given:
        path, _, value = text.partition("=")
        try:
            found[path] = Decimal(value)
        except InvalidOperation as error:
            problem = Problem(f"--tolerance {text}", "no number", "PATH=NUMBER")
            message = "A tolerance cannot be read; nothing was read"
            raise DefinitionError(message, problem) from error
    return found


def wish(
    as_of: str,
    data: str | None,
    definition: Path,
    accept: list[str] | None,
    why: str,
    by: str,
    resend: Path | None,
    remove: Path | None,
) -> dict[str, Any]:
    """What one run is asked for: the members of `run.Wish`."""
    return {
        "as_of": as_of,
        "data": data_folder(data, definition),
        "accepted": acceptance(accept, by, why),
        "resend": keys(resend),
        "remove": keys(remove),
    }


def keys(path: Path | None) -> list[str]:
    """The names of persons in a file, one a line: UTF-8, with or without byte order mark.

    Raises:
        DefinitionError: the file cannot be read, or is of another encoding.
    """
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        found = (error.strerror or type(error).__name__).lower()
        raise _unreadable(path, found) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8 at byte {error.start:,}") from None
    if "\0" in text:  # UTF-16 of plain letters is UTF-8 with zeros between them
        raise _unreadable(path, f"not UTF-8 text: a zero at character {text.index(chr(0)):,}")
    # Only line ends part lines: a name may hold other white space that `splitlines` would cut at.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.strip() for line in lines if line.strip()]


def _unreadable(path: Path, found: str) -> DefinitionError:
    problem = Problem(str(path), found, "a person a line", "save it as UTF-8 text")
    message = "A list of persons cannot be read; nothing was done"
    return DefinitionError(message, problem)


def absolute(location: str) -> str:
    """A local path made absolute; addresses as they are."""
    return str(Path(location).absolute()) if location and ":/" not in location else location


def audit_location(audit: str) -> str:
    """The same of audit tables; a catalog schema (`catalog.schema`) as it is."""
    is_schema = "." in audit and "/" not in audit
    return audit if is_schema else absolute(audit)


def data_folder(data: str | None, definition: Path) -> str:
    """The folder of relative source paths: as given, or beside the definition."""
    return absolute(data) if data else str(definition.absolute().parent)


def datamart_client(api: str, datamart: str, token: str, **more: Any) -> Datamart:
    """A client of the API of one datamart; `more` are options of `channel.Channel`."""
    return Datamart(Connection(api, datamart, Token.parse(token)), retry=RETRY, **more)
