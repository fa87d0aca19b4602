"""What a person sees when a command is done: on standard output, so that a pipe gets just that."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spark_profiles.audit.records import FileStatus
from spark_profiles.audit.states import IN_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spark_profiles.aftercare.maintain import Upkeep
    from spark_profiles.audit.records import FileRecord
    from spark_profiles.audit.runs import Run
    from spark_profiles.delivery.trial_line import Answer
    from spark_profiles.demo.story import Story

_results = Console(highlight=False)


def facts(content: Mapping[str, Any], *, as_json: bool) -> None:
    """Print names and values: aligned for people, one JSON object for machines."""
    if as_json:
        _results.print(json.dumps(content), markup=False, soft_wrap=True)
        return
    width = max(map(len, content))
    for name, value in content.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else _number(value)
        _results.print(f"{name.replace('_', ' '):<{width}}  {text}", markup=False, soft_wrap=True)


def save_json(content: Any, path: Path) -> None:
    """Write it as a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def accounts(told: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what was sent about persons, and why."""
    if as_json:
        _results.print(json.dumps(told), markup=False, soft_wrap=True)
        return
    for account in told:
        state = "is delivered" if account["is_delivered"] else "is not on the platform"
        _results.print(f"{account['definition']}, {account['profile_key']}: {state}", markup=False)
        for event in account["events"]:
            place = f"{event['file']} line {event['line']}" if event["file"] else "no file"
            what = f"{event['change']} {', '.join(event['properties'])}".strip()
            _results.print(
                f"  {event['run_id']} ({event['kind']}, as of {event['as_of'][:10]}):"
                f" {what}; {place}: {event['answer']}",
                markup=False,
                soft_wrap=True,
            )
            if event["message"]:
                _results.print(f"    platform: {event['message']}", markup=False, soft_wrap=True)
            _results.print(f"    {json.dumps(event['value'])}", markup=False, soft_wrap=True)
        for row in account["refused_rows"]:
            reasons = ", ".join(row["reasons"])
            _results.print(f"  {row['run_id']}: a row of {row['source']} refused: {reasons}")
        _why(account.get("why"))


def _why(reason: Mapping[str, Any] | None) -> None:
    """Print the rule, windows and rows behind a value."""
    if not reason:
        return
    _results.print(f"  rule: {json.dumps(reason['rule'])}", markup=False, soft_wrap=True)
    for name, bound in reason["windows"].items():
        start = bound["start"] or "ever"
        _results.print(f"  {name}: from {start} to {bound['end']}", markup=False, soft_wrap=True)
    for purpose, answer in reason["consents"].items():
        _results.print(f"  consent to {purpose}: {answer}", markup=False, soft_wrap=True)
    for row in reason["rows"]:
        inside = ", ".join(row["windows"]) or "no window"
        meant = "" if row["is_meant"] else ", not meant by where"
        content = json.dumps(row["row"])
        _results.print(
            f"  {row['source']} {row['at'] or ''} {row['status']}{meant}, in {inside}: {content}",
            markup=False,
            soft_wrap=True,
        )


def upkeep(done: Upkeep, *, as_json: bool) -> None:
    """Print what upkeep removed, and how large the tables are."""
    rows = [vars(size) for size in done.sizes]
    if as_json:
        facts({"pruned": vars(done.pruned), "tables": rows}, as_json=True)
        return
    pruned = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in vars(done.pruned).items())
    _results.print(f"Pruned: {pruned}.", markup=False)
    _table(rows)


def rows(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows with the same names, as a table."""
    if as_json:
        _results.print(json.dumps(found), markup=False, soft_wrap=True)
    elif found:
        _table(found)
    else:
        _results.print("Nothing.", markup=False)


def _table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same names: text to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False)
    for name, value in (rows[0] if rows else {}).items():
        is_number = isinstance(value, (int, float))
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*[escape(_number(value)) for value in row.values()])
    _results.print(table)


def run(done: Run, *, as_json: bool) -> None:
    """Print what one run did."""
    if as_json:
        facts(_plain(done), as_json=True)
        return
    _results.print(f"Run {done.run_id}: {IN_WORDS[done.status]}.", markup=False)
    counts(done)
    rare = {
        "moved to another address": done.moved,
        "deleted at a former address": done.left_addresses,
        "former user of an address that has another user": done.replaced,
        "sent again because of a delete": done.resent,
        "gone but kept": done.kept,
        "held": done.held,
        "unusable and left as delivered": done.unusable,
    }
    lines = (
        f"profiles {_number(done.profiles)}: new {_number(done.new)},"
        f" changed {_number(done.changed)}, same {_number(done.same)}, gone {_number(done.gone)}"
        + "".join(f", {what} {_number(count)}" for what, count in rare.items() if count)
    )
    _results.print(lines, markup=False)
    _results.print(
        f"lines    {_number(done.lines)} in {_number(done.files)} files,"
        f" {_number(done.bytes)} bytes; confirmed {_number(done.confirmed)}"
        + (f", rejected {_number(done.rejected)}" if done.rejected else ""),
        markup=False,
    )
    if done.patches:
        told = f"{_number(done.patches)} lines, {_number(done.saved)} bytes saved"
        _results.print(f"patches  {told}", markup=False)
    _results.print(f"files    {done.output}", markup=False, soft_wrap=True)
    _noted(done)
    if done.accepted:
        told = f"{done.accepted}, by {done.accepted_by or '?'}: {done.accepted_why or '?'}"
        _results.print(f"accepted {told}", markup=False, soft_wrap=True)
    if done.message:
        _results.print(f"note     {done.message}", markup=False, soft_wrap=True)


def _noted(done: Run) -> None:
    """Print rules that warn, and who consented."""
    for title, noted in (("warning", done.warnings), ("consent", done.consents)):
        for one in noted:
            told = ", ".join(f"{name} {_number(value)}" for name, value in vars(one).items())
            _results.print(f"{title}  {told}", markup=False, soft_wrap=True)


def counts(done: Run) -> None:
    """Print where the rows of each source went."""
    names = ("source", "rows", "used", "refused", "duplicate", "orphan", "after_as_of")
    table = Table(box=None, pad_edge=False)
    for name in names:
        title = name.replace("_", " ").replace("as of", "as-of")
        table.add_column(title, justify="left" if name == "source" else "right")
    for count in done.counts:
        table.add_row(*[_number(getattr(count, name)) for name in names])
    _results.print(table)


def status(runs: Sequence[Run], *, as_json: bool) -> None:
    """Print where runs stand and what comes next."""
    if as_json:
        _results.print(json.dumps([_plain(run) for run in runs]), markup=False, soft_wrap=True)
        return
    for run in runs:
        _results.print(
            f"{run.run_id}  {run.status.value:<11}  {_number(run.lines)} lines,"
            f" {_number(run.confirmed)} confirmed: {IN_WORDS[run.status]}{_warned(run)}",
            markup=False,
            soft_wrap=True,
        )
    if not runs:
        _results.print("No run yet. `spark-profiles run` starts the first.", markup=False)


def _warned(run: Run) -> str:
    """What rules that only warn found, for a line about the run."""
    rows = sum(warning.rows for warning in run.warnings)
    return f"; {_number(rows)} rows break rules that warn" if rows else ""


def churn(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print how often properties changed."""
    if as_json:
        _results.print(json.dumps(list(rows)), markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("property", "changed lines", "of these alone"):
        table.add_column(title, justify="left" if title == "property" else "right")
    for row in rows:
        table.add_row(*[_number(row[name]) for name in ("property", "changed", "alone")])
    _results.print(table if rows else "No profile has changed yet.")


def _plain(done: Run) -> dict[str, Any]:
    """The run as JSON types; the text of its definition is left to the audit table."""
    record = {f.name: getattr(done, f.name) for f in fields(done) if f.name != "definition"}
    record["status"] = done.status.value
    record["counts"] = [
        {**vars(count), "newest": count.newest and count.newest.isoformat()}
        for count in done.counts
    ]
    for name in ("warnings", "consents"):
        record[name] = [vars(count) for count in record[name]]
    for name, value in record.items():
        if isinstance(value, datetime):
            record[name] = value.isoformat()
    return record


def _number(value: Any) -> str:
    """A value as a person reads it: thousands parted, yes and no, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def files(found: Sequence[FileRecord], run_id: str, *, as_json: bool) -> None:
    """Print how files ended, or stand."""
    counts = {status.value: 0 for status in FileStatus}
    for file in found:
        counts[file.status.value] += 1
    lines = sum(file.lines for file in found if file.status is FileStatus.CONFIRMED)
    told = {"run_id": run_id, "files": len(found), **{k: n for k, n in counts.items() if n}}
    facts({**told, "confirmed_lines": lines}, as_json=as_json)


def sending_plan(
    found: Sequence[FileRecord], run_id: str, import_name: str, *, as_json: bool
) -> None:
    """Print what an upload would do."""
    will = {
        FileStatus.WRITTEN: "send",
        FileStatus.SENDING: "look whether it arrived",
        FileStatus.SENT: "follow to its end",
    }
    plan = [(file, will.get(file.status, "nothing: it ended")) for file in found]
    size = sum(file.bytes for file, what in plan if what == "send")
    if as_json:
        listed = [
            {"file": f.name, "lines": f.lines, "bytes": f.bytes, "status": f.status.value, "do": do}
            for f, do in plan
        ]
        told = {"run_id": run_id, "import": import_name, "bytes_to_send": size, "files": listed}
        _results.print(json.dumps(told), markup=False, soft_wrap=True)
        return
    _results.print(f"Nothing was sent. Document import: {import_name}", markup=False)
    table = Table(box=None, pad_edge=False)
    for title in ("file", "lines", "bytes", "stands at", "would"):
        table.add_column(title, justify="right" if title in ("lines", "bytes") else "left")
    for file, do in plan:
        table.add_row(file.name, _number(file.lines), _number(file.bytes), file.status.value, do)
    _results.print(table)
    _results.print(f"{_number(size)} bytes to send.", markup=False)


def trial_line(answer: Answer, *, as_json: bool) -> None:
    """Print what the platform made of one line."""
    told = {
        "file": answer.file,
        "line": answer.line_number,
        "operation": answer.operation,
        "document_import": answer.document_import_id,
        "execution": answer.execution.id,
        "status": answer.execution.status,
        "succeeded": answer.execution.total_success,
        "failed": answer.execution.total_failure,
        "message": answer.execution.message,
        "rejected": list(answer.rejected),
        "profile_members": None if answer.members is None else list(answer.members),
    }
    facts(told, as_json=as_json)


def listening(url: str) -> None:
    """Say where the emulator listens."""
    _results.print(f"Listening on {url}; Ctrl-C stops it.", markup=False)


def _program() -> str:
    """What a shell has to be told to run this program."""
    name = "spark-profiles"
    return name if shutil.which(name) else str(Path(sys.executable).with_name(name))


def story(told: Story, *, engine: str) -> None:
    """Print what the demo did, and where to look next, in commands that can be copied."""
    program = _program()
    chosen = "" if engine == "spark" else f" --engine {engine}"
    for day in told.days:
        _results.rule(f"[bold]as of {day.as_of}", align="left")
        run(day.run, as_json=False)
        reasons = ", ".join(
            f"{source} {reason} {n:,}"
            for run_id, source, reason, n in told.refused
            if run_id == day.run.run_id
        )
        _results.print(f"refused  {reasons}", markup=False, soft_wrap=True)
        seconds = ", ".join(f"{step} {taken:.1f}" for step, taken in day.seconds)
        _results.print(f"seconds  {seconds}", markup=False, soft_wrap=True)
    _results.rule(align="left")
    _results.print(
        f"All {told.compared:,} profiles in the datamart equal the wanted ones.", markup=False
    )
    last = told.days[-1].run
    _results.print("\nLook at next:", markup=False)
    for what, where in (
        ("the import files", last.output),
        ("their manifest", f"{last.output}/manifest.json"),
        ("where the runs stand", f"{program} status --audit {told.output}/audit{chosen}"),
        ("the emulator, kept", f"{program} emulator --store {told.output}/datamart.sqlite"),
        ("your own tables", "README.md, part `Your own tables`"),
    ):
        _results.print(f"  {what:<22} {where}", markup=False, soft_wrap=True)
