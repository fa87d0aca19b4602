"""The contract of a line: one model of an import command, and the JSON Schema that it gives.

Any reader can check lines by the schema (json_schemas/command.schema.json); we use the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from spark_profiles.files.manifest import Manifest

_Text = Annotated[str, StringConstraints(min_length=1)]
IDENTIFIERS = ("user_account_id", "email_hash", "user_agent_id")

_ONE_IDENTIFIER: dict[str, Any] = {
    "oneOf": [{"required": [name]} for name in IDENTIFIERS],
    "dependentRequired": {"compartment_id": ["user_account_id"]},
}


class _NoNulls(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def _left_out_not_null(cls, members: Any) -> Any:
        known = {field.alias or name for name, field in cls.model_fields.items()}
        if isinstance(members, dict) and any(members.get(name, 0) is None for name in known):
            message = "null where a member must have a value or be left out"
            raise ValueError(message)
        return members


class ProfileName(_NoNulls):
    """The members of a profile that name it; all others are the client's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    compartment_id: Annotated[int | None, Field(alias="$compartment_id", default=None)]
    user_account_id: Annotated[_Text | None, Field(alias="$user_account_id", default=None)]


class UserProfile(ProfileName):
    """A profile: system members, beside any others."""

    model_config = ConfigDict(extra="allow", strict=True)

    last_modified_ts: Annotated[int | None, Field(alias="$last_modified_ts", default=None)]
    creation_ts: Annotated[int | None, Field(alias="$creation_ts", default=None)]


class _Command(_NoNulls):
    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_ONE_IDENTIFIER)

    compartment_id: _Text | None = None
    """With user_account_id: a string here, an integer inside the profile; they may differ."""
    user_account_id: _Text | None = None
    email_hash: _Text | None = None
    user_agent_id: _Text | None = None

    @model_validator(mode="after")
    def _one_identifier(self) -> _Command:
        given = [name for name in IDENTIFIERS if name in self.model_fields_set]
        if len(given) != 1:
            message = f"{len(given)} identifiers"
            raise ValueError(message)
        if "compartment_id" in self.model_fields_set and given != ["user_account_id"]:
            message = "compartment_id without user_account_id"
            raise ValueError(message)
        return self


class Upsert(_Command):
    """Create or update one profile: with a strategy, or in the older form with flags."""

    model_config = ConfigDict(
        json_schema_extra={
            **_ONE_IDENTIFIER,
            "not": {"required": ["update_strategy", "force_replace"]},
            "dependentRequired": {
                "compartment_id": ["user_account_id"],
                "merge_objects": ["force_replace"],
            },
        }
    )

    operation: Literal["UPSERT"]
    update_strategy: Literal["FORCE_REPLACE", "PARTIAL_UPDATE", "PARTIAL_DELETE"] | None = None
    force_replace: bool | None = None
    merge_objects: bool | None = None
    user_profile: UserProfile

    @model_validator(mode="after")
    def _one_form(self) -> Upsert:
        given = self.model_fields_set
        if {"update_strategy", "force_replace"} <= given:
            message = "a strategy and flags"
            raise ValueError(message)
        if "merge_objects" in given and "force_replace" not in given:
            message = "merge_objects without force_replace"
            raise ValueError(message)
        return self


class Delete(_Command):
    """Delete one profile, named by its two `$` members."""

    operation: Literal["DELETE"]
    user_profile: ProfileName


Command = Annotated[Upsert | Delete, Field(discriminator="operation")]
_COMMAND: TypeAdapter[Upsert | Delete] = TypeAdapter(Command)


def command(line: bytes) -> dict[str, Any]:
    """The command that a line (without its end) holds.

    Raises:
        ValueError: it is not strict JSON, or no command; the message repeats nothing of the line.
    """
    try:
        content = json.loads(
            line.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_members
        )
    except UnicodeDecodeError as error:
        message = "not UTF-8"
        raise ValueError(message) from error
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at character {error.pos}"
        raise ValueError(message) from error
    except RecursionError as error:
        message = "nested too deeply to be read"
        raise ValueError(message) from error
    try:
        _COMMAND.validate_python(content)
    except ValidationError as error:
        told = error.errors(include_input=False, include_url=False, include_context=False)
        message = "; ".join(sorted({_in_words(fault) for fault in told}))
        raise ValueError(message) from None
    parsed: dict[str, Any] = content
    return parsed


def _in_words(fault: Any) -> str:
    """Where and what, of known members only: the names of others may be data."""
    known = {"UPSERT", "DELETE", "operation", "update_strategy", "force_replace", "merge_objects",
             "user_profile", "compartment_id", "$compartment_id", "$user_account_id",
             "$last_modified_ts", "$creation_ts", *IDENTIFIERS}  # fmt: skip
    where = ".".join(str(part) if part in known else "…" for part in fault["loc"])
    text = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else str(text)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "a member is written twice in one object"
        raise ValueError(message)
    return found


def _no_constant(name: str) -> None:
    message = f"{name} is no JSON number"
    raise ValueError(message)


def json_schemas() -> dict[str, dict[str, Any]]:
    """File name -> JSON Schema, of the line and of the manifest."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    line = {"title": "ImportCommand", **_COMMAND.json_schema()}
    return {
        "command.schema.json": {**dialect, **_without_nulls(line)},
        "manifest.schema.json": {**dialect, **Manifest.model_json_schema()},
    }


def _without_nulls(node: Any) -> Any:
    """The schema without `null`: a member that a command lacks is left out, never null."""
    if isinstance(node, list):
        return [_without_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _without_nulls(item) for name, item in node.items()}
    if kept.get("default", ...) is None:
        del kept["default"]
        options = [item for item in kept.pop("anyOf", []) if item != {"type": "null"}]
        kept.update(options[0] if options else {})
    return kept


if __name__ == "__main__":  # writes the schemas that are shipped
    for file, schema in json_schemas().items():
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        (Path(__file__).parent / "json_schemas" / file).write_text(text, encoding="utf-8")
