"""Commands that send what was built."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from spark_profiles import meanwhile
from spark_profiles.cli import options, show
from spark_profiles.cli.app import app
from spark_profiles.delivery import courier, metrics, trial_line
from spark_profiles.delivery import upload as uploads
from spark_profiles.errors import Problem, UnconfirmedError

if TYPE_CHECKING:
    from spark_profiles.delivery.datamart import Datamart
    from spark_profiles.progress import Listener

Engine = Annotated[
    Literal["spark", "sail", "delta-rs"] | None,
    typer.Option(
        help="What reads and writes the audit tables. delta-rs needs neither Spark nor Java, and"
        " leaves it to the next run, or upload with Spark, to move what is confirmed into"
        " `delivered`.",
        show_default="spark, or delta-rs where there is no Spark",
        envvar=["SPARK_PROFILES_UPLOAD_ENGINE", "SPARK_PROFILES_ENGINE"],
    ),
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--files",
        help="Where the run's files lie now, if not where they were written. The next run, or"
        " upload without it, moves what is confirmed into `delivered`.",
    ),
]
Priority = Annotated[
    Literal["LOW", "MEDIUM", "HIGH"] | None, typer.Option(help="Of the document import.")
]
Parallel = Annotated[int, typer.Option(help="Most files at once.", min=1, max=64)]
Rate = Annotated[
    float | None,
    typer.Option(help="Most requests in a second.", show_default="no limit", min=0.01),
]
Deadline = Annotated[
    float, typer.Option(help="Hours after which it stops; the same command continues.", min=0)
]
Settle = Annotated[
    float,
    typer.Option(help="Seconds that a late execution is given to show after a lost answer.", min=0),
]
Multipart = Annotated[
    bool, typer.Option("--multipart", help="Send files as a form instead of the raw body.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")]
TestLine = Annotated[
    str | None,
    typer.Option(
        help="Send one line in an import of its own and show the answer: `first`, or the account,"
        " email hash or user agent of the user whose line it shall be.",
        show_default=False,
    ),
]
Cancel = Annotated[
    bool,
    typer.Option(
        "--cancel",
        help="Send nothing more, cancel what is pending, follow the rest to its end. The next run,"
        " or upload without it, moves what is confirmed into `delivered`.",
    ),
]


@app.command()
def upload(
    name: options.Name,
    datamart: options.DatamartId,
    audit: options.AuditAt = "audit",
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: Engine = None,
    files: Folder = None,
    priority: Priority = None,
    parallel: Parallel = 4,
    rate: Rate = None,
    deadline: Deadline = 24.0,
    settle: Settle = 5.0,
    test_line: TestLine = None,
    *,
    multipart: Multipart = False,
    dry_run: DryRun = False,
    cancel: Cancel = False,
    as_json: options.AsJson = False,
) -> None:
    """Send the files of the built run, follow them to their end and confirm what arrived.

    Safe to repeat after any stop: what ended is not read again, what may have arrived is looked
    up. With --json, progress is told on standard error, a JSON object a line.
    """
    settings = uploads.Settings(
        priority=priority, multipart=multipart, deadline_s=deadline * 3600, settle_s=settle
    )
    told = metrics.installed()
    observe = {"observe": told.exchange} if told else {}
    client = options.datamart_client(
        api, datamart, token, parallel=parallel, per_second=rate, **observe
    )
    with (
        meanwhile.event_lines() if as_json else meanwhile.Progress(quiet=False) as listener,
        client,
    ):
        options.require_audit(audit)
        asked = _Asked(
            name, audit, _engine(engine), files, settings, client,
            told.listening(listener) if told else listener, as_json,
        )  # fmt: skip
        if not (dry_run or test_line or cancel or files or asked.engine == "delta-rs"):
            asked.deliver()
            return
        tables = asked.tables()
        found = courier.waiting(tables, name, folder=files)
        if found is None:
            asked.nothing()
        elif dry_run:
            plan = (found.files, found.run_id, found.import_name)
            show.sending_plan(*plan, as_json=as_json)
        elif test_line:
            asked.try_line(found, test_line)
        else:
            asked.carry(tables, found, gives_up=cancel)


@app.command()
def retry(
    name: options.Name,
    datamart: options.DatamartId,
    audit: options.AuditAt = "audit",
    api: options.Api = options.API,
    token: options.TokenAt = options.TOKEN_AT,
    engine: options.Engine = "spark",
    *,
    as_json: options.AsJson = False,
) -> None:
    """Send the unconfirmed files of the last run once more, without computing anything anew."""
    from spark_profiles.running import run as runs  # noqa: PLC0415

    with (
        meanwhile.Progress(quiet=as_json) as listener,
        options.datamart_client(api, datamart, token) as client,
    ):
        options.require_audit(audit)
        done = runs.retry(options.job("", audit, listener, engine), name, client)
    if done is None:
        show.facts({"definition": name, "unconfirmed": 0}, as_json=as_json)
    else:
        show.run(done, as_json=as_json)


@dataclass(frozen=True)
class _Asked:
    """What the command line asked for, and the ways to do it."""

    name: str
    audit: str
    engine: str
    files: str | None
    settings: uploads.Settings
    client: Datamart
    listener: Listener
    as_json: bool

    def deliver(self) -> None:
        """The whole of it, with Spark."""
        from spark_profiles.running import run as runs  # noqa: PLC0415  Spark only where it is needed

        job = options.job("", self.audit, self.listener, self.engine, sending=self.settings)
        done = runs.deliver(job, self.name, self.client)
        if done is None:
            self.nothing()
        else:
            show.run(done, as_json=self.as_json)

    def nothing(self) -> None:
        """Nothing is waiting."""
        show.facts({"definition": self.name, "waiting": 0}, as_json=self.as_json)

    def tables(self) -> courier.Tables:
        """The audit tables, without Spark or with it."""
        if self.engine == "delta-rs":
            from spark_profiles.audit.delta_rs import DeltaTables  # noqa: PLC0415  optional

            return DeltaTables(options.audit_location(self.audit))
        return options.job("", self.audit, self.listener, self.engine).tables()

    def carry(self, tables: courier.Tables, found: courier.Waiting, *, gives_up: bool) -> None:
        """Send, or give up, without the merge that follows."""
        ended = courier.deliver(
            tables, found, self.client, settings=self.settings, now=_now,
            listener=self.listener, gives_up=gives_up,
        )  # fmt: skip
        show.files(ended, found.run_id, as_json=self.as_json)

    def try_line(self, found: courier.Waiting, who: str) -> None:
        """Send one line and show the answer."""
        answer = trial_line.send(found, self.client, who=who)
        show.trial_line(answer, as_json=self.as_json)
        if not answer.is_taken:
            problem = Problem(f"{answer.file}:{answer.line_number}", "not taken", "one line taken")
            message = "The platform did not take the test line"
            raise UnconfirmedError(message, problem)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _engine(given: str | None) -> str:
    """The engine that was asked for, or the one that is there."""
    return given or ("spark" if importlib.util.find_spec("pyspark") else "delta-rs")


@app.command()
def verify(
    manifest: Annotated[
        str, typer.Argument(help="Path of a manifest.json, or its folder.", show_default=False)
    ],
    *,
    as_json: options.AsJson = False,
) -> None:
    """Check every file of a manifest again: bytes, hashes, and each line. Needs no Spark."""
    from spark_profiles.files import verify as verifying  # noqa: PLC0415

    with meanwhile.Progress(quiet=as_json) as listener:
        found = verifying.verify(options.absolute(manifest), listener=listener)
    facts = {
        "run_id": found.manifest.run_id,
        "definition_hash": found.manifest.definition_hash,
        "files": found.files,
        "lines": found.lines,
        "bytes": found.bytes,
    }
    show.facts(facts, as_json=as_json)
