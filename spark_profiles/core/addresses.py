"""A platform address: under what the platform stores a profile. Pure.

The platform keeps a profile at a user point, in a compartment, for an account. A line names the
user point by one identifier, outside the profile; compartment and account are members inside it:

    {"operation": "UPSERT", "compartment_id": "1606", "user_account_id": "c1",
     "user_profile": {"$compartment_id": 1606, "$user_account_id": "c1", ...}}

As text an address has five fields, separated by `|`: value, kind and compartment of the
identifier, then compartment and account of the profile. The value comes first because files are
sorted by this text, and a sort compares the first bytes first. A field that is left out is empty:
it means the platform's default (compartment) or an anonymous profile (account).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("user_account_id", "email_hash", "user_agent_id")
"""The members of a line that can name a user point; a line has exactly one of them."""
SEPARATOR = "|"
_ESCAPES = {"%": "%25", SEPARATOR: "%7C"}
"""In this order, so that the escapes themselves are escaped first."""


@dataclass(frozen=True)
class Address:
    """Where the platform stores one profile."""

    kind: str
    """One of `KINDS`."""
    value: str
    """Account, e-mail hash or user agent of the user point."""
    outer_compartment: str = ""
    """Compartment of the identifying account; empty: the platform's default, or another kind."""
    compartment: str = ""
    """`$compartment_id` inside the profile; empty: the platform's default."""
    account: str = ""
    """`$user_account_id` inside the profile; empty: the profile is anonymous."""

    @classmethod
    def of_command(cls, command: Mapping[str, Any]) -> Address:
        """The address that an import command names.

        Raises:
            ValueError: the command has no identifier, or several.
        """
        kinds = [kind for kind in KINDS if command.get(kind) is not None]
        if len(kinds) != 1:
            message = f"{len(kinds)} identifiers; exactly one is needed"
            raise ValueError(message)
        profile = command.get("user_profile") or {}
        return cls(
            kinds[0],
            str(command[kinds[0]]),
            _text(command.get("compartment_id")) if kinds[0] == KINDS[0] else "",
            _text(profile.get("$compartment_id")),
            _text(profile.get("$user_account_id")),
        )

    def __str__(self) -> str:
        fields = (self.value, self.kind, self.outer_compartment, self.compartment, self.account)
        return SEPARATOR.join(map(_encoded, fields))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _encoded(field: str) -> str:
    for plain, escaped in _ESCAPES.items():
        field = field.replace(plain, escaped)
    return field


def sql(
    identifiers: Mapping[str, str], *, outer_compartment: str, compartment: str, account: str
) -> str:
    """SQL of the text of an address; null where no identifier has a value.

    Args:
        identifiers: kind -> SQL of its value, text; at most one of them has a value in a row.
        outer_compartment: SQL of the compartment of the identifying account, text or null.
        compartment: SQL of `$compartment_id`, text or null.
        account: SQL of `$user_account_id`, text or null.
    """
    value = f"coalesce({', '.join(identifiers.values())})"
    kind = " ".join(f"when {text} is not null then '{kind}'" for kind, text in identifiers.items())
    fields = [_encoded_sql(value), f"case {kind} end"]
    fields += [
        f"coalesce({_encoded_sql(f)}, '')" for f in (outer_compartment, compartment, account)
    ]
    return f"concat({f', {SEPARATOR!r}, '.join(fields)})"


def _encoded_sql(text: str) -> str:
    for plain, escaped in _ESCAPES.items():
        text = f"replace({text}, '{plain}', '{escaped}')"
    return text


def identifier_sql(address: str) -> str:
    """SQL of the part of an address that names the user point."""
    return f"substring_index({address}, '{SEPARATOR}', 3)"


def account_sql(address: str) -> str:
    """SQL of the part of an address that names compartment and account; null if anonymous."""
    part = f"substring_index({address}, '{SEPARATOR}', -2)"
    return f"case when {part} not like '%{SEPARATOR}' then {part} end"


def identifying_account_sql(address: str) -> str:
    """SQL of compartment and account by which an address names the user point; null otherwise."""
    value, kind, outer = (f"split_part({address}, '{SEPARATOR}', {n})" for n in (1, 2, 3))
    account = f"concat({outer}, '{SEPARATOR}', {value})"
    return f"case when {kind} = '{KINDS[0]}' then {account} end"


def json_sql(identifier: str, payload: str) -> str:
    """SQL of the text of an address, of the JSON texts of a line's identifier and profile."""
    members = f"from_json({identifier}, 'compartment_id string, {' string, '.join(KINDS)} string')"
    inside = f"from_json({payload}, '`$compartment_id` string, `$user_account_id` string')"
    return sql(
        {kind: f"{members}.{kind}" for kind in KINDS},
        outer_compartment=f"{members}.compartment_id",
        compartment=f"{inside}.`$compartment_id`",
        account=f"{inside}.`$user_account_id`",
    )
