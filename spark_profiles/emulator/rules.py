"""What a command does to a profile: pure rules. One command + the stored profile -> the new one.

What the platform documents is fixed; what it does not is a switch of `Behaviour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

SYSTEM_FIELDS = ("$creation_ts", "$last_modified_ts")


@dataclass(frozen=True)
class Behaviour:
    """What the documentation leaves open. None of it may be relied on."""

    default_compartment: str = "1000"
    """The compartment of a line or profile that names none."""
    omitted_strategy: str = "FORCE_REPLACE"
    """What an UPSERT does that names no strategy."""
    delete_of_missing_fails: bool = False
    """Whether deleting a profile that is not there is a failed record."""


class Rejected(Exception):  # noqa: N818  a verdict, not a fault
    """A command that cannot be applied: a failed record of its execution."""


@dataclass(frozen=True)
class Identifier:
    """How a line names its user point: a kind and a value, such as ('account', '1606/c1')."""

    kind: str
    value: str


def identifier(command: Json, behaviour: Behaviour) -> Identifier:
    """The one identifier of a command.

    Raises:
        Rejected: there is none, or more than one.
    """
    found = []
    if command.get("user_account_id") is not None:
        compartment = command.get("compartment_id") or behaviour.default_compartment
        found.append(Identifier("account", f"{compartment}/{command['user_account_id']}"))
    found += [
        Identifier(name, str(command[name]))
        for name in ("email_hash", "user_agent_id")
        if command.get(name) is not None
    ]
    if len(found) != 1:
        message = f"{len(found)} identifiers; exactly one is needed"
        raise Rejected(message)
    return found[0]


def profile_key(command: Json, behaviour: Behaviour) -> tuple[str, str]:
    """Compartment and account of the profile, from inside it; nothing is inherited."""
    profile = command.get("user_profile") or {}
    compartment = profile.get("$compartment_id")
    account = profile.get("$user_account_id")
    return str(compartment or behaviour.default_compartment), str(account or "")


def checked(line: Any) -> Json:
    """The line as a command.

    Raises:
        Rejected: it has no known operation, or an UPSERT has no profile.
    """
    if not isinstance(line, dict) or line.get("operation") not in ("UPSERT", "DELETE"):
        message = "operation must be UPSERT or DELETE"
        raise Rejected(message)
    if line["operation"] == "UPSERT" and not isinstance(line.get("user_profile"), dict):
        message = "UPSERT needs user_profile"
        raise Rejected(message)
    return line


def upserted(stored: Json | None, command: Json, behaviour: Behaviour, *, now: int) -> Json:
    """The profile after an UPSERT at the time `now` (epoch milliseconds).

    Raises:
        Rejected: the strategy is unknown.
    """
    sent = {k: v for k, v in command["user_profile"].items() if k not in SYSTEM_FIELDS}
    before = {k: v for k, v in (stored or {}).items() if k not in SYSTEM_FIELDS}
    strategy = _strategy(command, behaviour)
    if strategy == "FORCE_REPLACE":
        after = sent
    elif strategy == "PARTIAL_UPDATE":
        after = merged(before, sent)
    elif strategy == "PARTIAL_DELETE":
        after = without(before, sent)
    elif strategy == "SHALLOW_MERGE":
        after = {**before, **sent}
    else:
        message = f"unknown update_strategy {strategy}"
        raise Rejected(message)
    created = (stored or {}).get("$creation_ts", now)
    return {**after, "$creation_ts": created, "$last_modified_ts": now}


def _strategy(command: Json, behaviour: Behaviour) -> str:
    """The strategy of either generation of the API."""
    if "update_strategy" in command:
        return str(command["update_strategy"])
    if "force_replace" in command:
        if command["force_replace"]:
            return "FORCE_REPLACE"
        return "PARTIAL_UPDATE" if command.get("merge_objects") else "SHALLOW_MERGE"
    return behaviour.omitted_strategy


def merged(before: Json, sent: Json) -> Json:
    """Objects merged deeply, all else replaced."""
    after = dict(before)
    for name, value in sent.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            after[name] = merged(old, value)
        else:
            after[name] = value
    return after


def without(before: Json, sent: Json) -> Json:
    """The profile without what the payload names; its two `$` keys name the profile itself."""
    after = dict(before)
    for name, value in sent.items():
        old = before.get(name)
        if name.startswith("$"):
            continue
        if isinstance(old, dict) and isinstance(value, dict) and value:
            after[name] = without(old, value)
        else:
            after.pop(name, None)
    return after
