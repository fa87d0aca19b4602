"""What a command does to a profile: pure rules. One command + the stored profile -> the new one.

What the platform documents is fixed; what it does not is a switch of `Behaviour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spark_profiles.emulator.behaviour import Behaviour

Json = dict[str, Any]

SYSTEM_FIELDS = ("$creation_ts", "$last_modified_ts")
_LEGACY = ("force_replace", "merge_objects")
_MEMBERS = {
    "operation", "compartment_id", "user_account_id", "email_hash", "user_agent_id",
    "update_strategy", "user_profile", *_LEGACY,
}  # fmt: skip


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
        compartment = str(command.get("compartment_id") or behaviour.default_compartment)
        found.append(Identifier("account", f"{compartment}/{command['user_account_id']}"))
        _known(compartment, behaviour)
    found += [
        Identifier(name, str(command[name]))
        for name in ("email_hash", "user_agent_id")
        if command.get(name) is not None
    ]
    if not found or (len(found) > 1 and behaviour.identifiers_of_a_line == "exactly one"):
        message = f"{len(found)} identifiers; exactly one is needed"
        raise Rejected(message)
    return found[0]


def _known(compartment: str, behaviour: Behaviour) -> None:
    known = {*behaviour.compartments, behaviour.default_compartment}
    is_strict = behaviour.compartments and behaviour.unknown_compartment == "rejected"
    if is_strict and compartment not in known:
        message = "unknown compartment"
        raise Rejected(message)


def profile_key(command: Json, behaviour: Behaviour) -> tuple[str, str]:
    """Compartment and account of the profile, from inside it; nothing is inherited."""
    profile = command.get("user_profile") or {}
    named, account = (profile.get(name) for name in ("$compartment_id", "$user_account_id"))
    compartment = behaviour.default_compartment if named is None else str(named)
    _known(compartment, behaviour)
    return compartment, "" if account is None else str(account)


def names_no_profile(command: Json) -> bool:
    """Whether a command says nothing of which profile of its user point it means."""
    profile = command.get("user_profile") or {}
    return not ({"$compartment_id", "$user_account_id"} & profile.keys())


def checked(line: Any, behaviour: Behaviour) -> Json:
    """The line as a command.

    Raises:
        Rejected: it has no known operation, or an UPSERT has no profile.
    """
    if not isinstance(line, dict) or line.get("operation") not in ("UPSERT", "DELETE"):
        message = "operation must be UPSERT or DELETE"
        raise Rejected(message)
    profile = line.get("user_profile")
    if not isinstance(profile, dict) and (line["operation"] == "UPSERT" or profile is not None):
        message = "user_profile must be an object"
        raise Rejected(message)
    if behaviour.unknown_members == "rejected" and line.keys() - _MEMBERS:
        message = "a member that is not documented"
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
        after = merged(before, sent, append=behaviour.arrays_in_partial_update == "appended")
    elif strategy == "DEEP_MERGE":
        after = merged(before, sent)
    elif strategy == "PARTIAL_DELETE":
        after = without(before, sent)
    elif strategy == "SHALLOW_MERGE":
        after = {**before, **sent}
    else:
        message = "unknown update_strategy"
        raise Rejected(message)
    if behaviour.nulls == "remove":
        after = {name: value for name, value in after.items() if value is not None}
    created = (stored or {}).get("$creation_ts", now)
    return {**after, "$creation_ts": created, "$last_modified_ts": now}


def _strategy(command: Json, behaviour: Behaviour) -> str:
    """The strategy of either generation of the API."""
    is_legacy = any(name in command for name in _LEGACY)
    is_both = is_legacy and "update_strategy" in command
    if (is_legacy and behaviour.legacy_flags == "rejected") or (
        is_both and behaviour.both_generations == "rejected"
    ):
        message = "the legacy flags are not accepted here"
        raise Rejected(message)
    if "update_strategy" in command:
        strategy = str(command["update_strategy"])
        # The other names here are ways to say what the legacy flags do.
        return strategy if strategy.startswith(("FORCE_", "PARTIAL_")) else ""
    if is_legacy:
        if command.get("force_replace"):
            return "FORCE_REPLACE"
        return "DEEP_MERGE" if command.get("merge_objects") else "SHALLOW_MERGE"
    return behaviour.omitted_strategy


def merged(before: Json, sent: Json, *, append: bool = False) -> Json:
    """Objects merged deeply, all else replaced; arrays lengthened if `append`."""
    after = dict(before)
    for name, value in sent.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            after[name] = merged(old, value, append=append)
        elif append and isinstance(old, list) and isinstance(value, list):
            after[name] = old + [one for one in value if one not in old]
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
