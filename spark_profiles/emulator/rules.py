"""What a command does to a profile: pure rules. One command + the stored profile -> the new one.

What the platform documents is fixed; what it does not is a switch of `Behaviour`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spark_profiles.core.addresses import KINDS, Address

if TYPE_CHECKING:
    from spark_profiles.emulator.behaviour import Behaviour

Json = dict[str, Any]
Key = tuple[str, str]
"""Compartment and account of a profile: what tells it from the others of its user point."""

SYSTEM_FIELDS = ("$creation_ts", "$last_modified_ts")
_ACCOUNT = KINDS[0]
_LEGACY = ("force_replace", "merge_objects")
_STRATEGIES = ("FORCE_REPLACE", "PARTIAL_UPDATE", "PARTIAL_DELETE")
_MEMBERS = {
    "operation", "compartment_id", *KINDS, "update_strategy", "user_profile", *_LEGACY,
}  # fmt: skip


class Rejected(Exception):  # noqa: N818  a verdict, not a fault
    """A command that cannot be applied: a failed record of its execution."""


@dataclass(frozen=True)
class Identifier:
    """How a line names its user point: a kind and a value, such as ('account', '1606/c1')."""

    kind: str
    value: str


def account_identifier(compartment: str, account: object) -> Identifier:
    """The identifier of an account in a compartment."""
    return Identifier("account", f"{compartment}/{account}")


def known_compartment(named: object, behaviour: Behaviour) -> str:
    """The compartment of this name, or the default one where there is no name.

    Raises:
        Rejected: the compartment is unknown.
    """
    compartment = behaviour.default_compartment if named in (None, "") else str(named)
    known = {*behaviour.compartments, behaviour.default_compartment}
    is_strict = behaviour.compartments and behaviour.unknown_compartment == "rejected"
    if is_strict and compartment not in known:
        message = "unknown compartment"
        raise Rejected(message)
    return compartment


def command_address(command: Json, behaviour: Behaviour) -> Address:
    """Where the profile of a command lies: in the default compartment where it names none.

    Raises:
        Rejected: it has no identifier, more than one, or an unknown compartment.
    """
    if behaviour.identifiers_of_a_line == "first of several":
        several = [kind for kind in KINDS if command.get(kind) is not None][1:]
        command = {name: value for name, value in command.items() if name not in several}
    try:
        named = Address.of_command(command)
    except ValueError as problem:
        raise Rejected(str(problem)) from None
    inner = known_compartment(named.compartment, behaviour)
    if named.kind != _ACCOUNT:
        return replace(named, compartment=inner)
    outer = known_compartment(named.outer_compartment, behaviour)
    return replace(named, outer_compartment=outer, compartment=inner)


def identifiers(address: Address, behaviour: Behaviour) -> list[Identifier]:
    """The identifier of a line; after it, the one that an UPSERT links with it, if any."""
    own = Identifier(address.kind, address.value)
    if address.kind == _ACCOUNT:
        own = account_identifier(address.outer_compartment, address.value)
    if behaviour.upsert_links == "account inside" and address.account:
        return [own, account_identifier(address.compartment, address.account)]
    return [own]


def deleted_keys(
    stored: list[Key], command: Json, address: Address, behaviour: Behaviour
) -> list[Key]:
    """The keys, among those `stored` at the user point, of the profiles that a DELETE removes."""
    profile = command.get("user_profile") or {}
    names_nothing = not ({"$compartment_id", "$user_account_id"} & profile.keys())
    extent = "" if address.account else behaviour.delete_without_account
    if names_nothing and behaviour.delete_without_keys == "all profiles":
        extent = "all profiles"
    if extent == "all profiles":
        return stored
    if extent == "profiles of the compartment":
        return [key for key in stored if key[0] == address.compartment]
    return [key for key in stored if key == (address.compartment, address.account)]


def checked(line: Any, behaviour: Behaviour) -> Json:
    """The line as a command.

    Raises:
        Rejected: it has no known operation, or an UPSERT has no profile or no known strategy.
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
    if line["operation"] == "UPSERT":
        _strategy(line, behaviour)
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
    else:  # SHALLOW_MERGE
        after = {**before, **sent}
    if behaviour.nulls == "remove":
        after = {name: value for name, value in after.items() if value is not None}
    created = (stored or {}).get("$creation_ts", now)
    return {**after, "$creation_ts": created, "$last_modified_ts": now}


def _strategy(command: Json, behaviour: Behaviour) -> str:
    """The strategy of either generation of the API; legacy flags have names of their own here.

    Raises:
        Rejected: the strategy is unknown, or the flags are not accepted.
    """
    is_legacy = any(name in command for name in _LEGACY)
    is_both = is_legacy and "update_strategy" in command
    if (is_legacy and behaviour.legacy_flags == "rejected") or (
        is_both and behaviour.both_generations == "rejected"
    ):
        message = "the legacy flags are not accepted here"
        raise Rejected(message)
    if is_legacy and "update_strategy" not in command:
        if command.get("force_replace"):
            return "FORCE_REPLACE"
        return "DEEP_MERGE" if command.get("merge_objects") else "SHALLOW_MERGE"
    strategy = str(command.get("update_strategy", behaviour.omitted_strategy))
    if strategy not in _STRATEGIES:
        message = "unknown update_strategy"
        raise Rejected(message)
    return strategy


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
