"""What the platform's documentation leaves open: each a switch with a default, none to rely on."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _switch(default: Any, choices: str, meaning: str) -> Any:
    return field(default=default, metadata={"choices": choices, "meaning": meaning})


@dataclass(frozen=True)
class Behaviour:
    """The switches. `as_markdown` prints them with their defaults and choices."""

    datamarts: tuple[str, ...] = _switch(
        (), "ids", "the known datamarts, 404 for any other; none: each that is named is known"
    )
    default_compartment: str = _switch(
        "1000", "any id", "compartment of a line or profile that names none"
    )
    compartments: tuple[str, ...] = _switch(
        (), "ids", "the known compartments; none: each that is named is known"
    )
    unknown_compartment: str = _switch(
        "accepted", "accepted, rejected", "a line that names a compartment that is not known"
    )
    identifiers_of_a_line: str = _switch(
        "exactly one", "exactly one, first of several", "a line with several identifiers"
    )
    unknown_members: str = _switch("ignored", "ignored, rejected", "members that no page documents")
    omitted_strategy: str = _switch(
        "FORCE_REPLACE",
        "FORCE_REPLACE, PARTIAL_UPDATE, PARTIAL_DELETE, REJECTED",
        "an UPSERT that names no strategy, of either generation",
    )
    legacy_flags: str = _switch(
        "accepted", "accepted, rejected", "`force_replace` and `merge_objects`"
    )
    both_generations: str = _switch(
        "newer wins", "newer wins, rejected", "`update_strategy` beside legacy flags"
    )
    arrays_in_partial_update: str = _switch(
        "replaced", "replaced, appended", "an array on both sides of PARTIAL_UPDATE"
    )
    nulls: str = _switch("stored", "stored, remove", "an explicit null in a sent profile")
    delete_without_keys: str = _switch(
        "default profile",
        "default profile, all profiles",
        "a DELETE whose `user_profile` names no compartment and no account; `all profiles` wins"
        " over `delete_without_account`",
    )
    delete_without_account: str = _switch(
        "anonymous profile",
        "anonymous profile, profiles of the compartment, all profiles",
        "what a DELETE removes at its user point if its `user_profile` names no account",
    )
    delete_of_missing_fails: bool = _switch(
        False, "yes, no", "deleting a profile that is not there is a failed record"
    )
    upsert_links: str = _switch(
        "nothing",
        "nothing, account inside",
        "what an UPSERT links with its identifier: both name one user point afterwards",
    )
    point_without_profile: str = _switch(
        "stays", "stays, removed", "a user point whose last profile was deleted"
    )
    upload_check: str = _switch(
        "every line", "every line, first line, nothing", "what an upload refuses at once, with 400"
    )
    most_upload_bytes: int = _switch(0, "bytes; 0: any", "larger uploads are refused with 413")
    execution_order: str = _switch(
        "oldest first",
        "oldest first, newest first, drawn",
        "which of the executions that wait at the same time is processed first",
    )
    no_line_succeeds: str = _switch(
        "SUCCEEDED", "SUCCEEDED, FAILED", "status of an execution none of whose lines succeeded"
    )
    cancel_running: bool = _switch(False, "yes, no", "a running execution can be cancelled")
    error_file: str = _switch(
        "json lines", "json lines, text", "form of an error file; text names no line"
    )
    input_file_readable: bool = _switch(
        True, "yes, no", "the input of an execution can be fetched by its URI"
    )
    totals_in_lists: bool = _switch(True, "yes, no", "lists say `total`")
    page_size: int = _switch(20, "items", "`max_results` where the request names none")
    largest_page: int = _switch(1000, "items", "the most that `max_results` can ask for")
    applies: bool = _switch(
        True, "yes, no", "lines are applied; no: they are counted only, to measure uploads"
    )


def as_markdown() -> str:
    """The table as the manual prints it."""
    rows = ["| switch | default | choices | of what |", "| --- | --- | --- | --- |"]
    for one in fields(Behaviour):
        default = {"True": "yes", "False": "no", "()": "none"}.get(str(one.default), one.default)
        told = one.metadata
        rows.append(f"| `{one.name}` | {default} | {told['choices']} | {told['meaning']} |")
    return "\n".join(rows) + "\n"


def parse(settings: list[str]) -> Behaviour:
    """The behaviour of `NAME=VALUE` texts.

    Raises:
        ValueError: a name or a value is unknown; the message says which.
    """
    known = {one.name: one for one in fields(Behaviour)}
    chosen: dict[str, Any] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            message = f"{name}: no such switch; they are {', '.join(known)}"
            raise ValueError(message)
        chosen[name] = _value(known[name].default, known[name].metadata["choices"], name, text)
    return Behaviour(**chosen)


def _value(default: Any, choices: str, name: str, text: str) -> Any:
    if isinstance(default, bool) and text in ("yes", "no"):
        return text == "yes"
    if isinstance(default, int) and not isinstance(default, bool) and text.isdigit():
        return int(text)
    if isinstance(default, tuple):
        return tuple(part for part in text.split(",") if part)
    if isinstance(default, str) and text and (choices == "any id" or text in choices.split(", ")):
        return text
    message = f"{name}: {text!r}; choices are {choices}"
    raise ValueError(message)
