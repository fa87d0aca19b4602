"""The JSON Schema of a definition's file, for editors that complete and check while one writes."""

from __future__ import annotations

from typing import Any

from spark_profiles.definition.model import Definition

_VARIABLE = {"type": "string", "pattern": r"\$\{[^{}]+\}"}
_PURPOSE = {
    "description": "What all of the section is for: a name of `consents`, or several.",
    "type": ["string", "array"],
    "items": {"type": "string"},
}
_FILE = {
    "include": {
        "description": "YAML files to start from, relative to this file; what is here wins.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    },
    "variables": {
        "description": "Values that ${name} stands for, anywhere in this file and its includes.",
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
}


def schema() -> dict[str, Any]:
    """The schema: draft 2020-12, with a description of every member.

    A file that includes others may lack members, and a variable may stand for any plain value.
    """
    whole: dict[str, Any] = _with_variables(Definition.model_json_schema(by_alias=True))
    required = whole.pop("required")
    section = whole["$defs"]["Section"]
    section["properties"] = {"purpose": {"anyOf": [_PURPOSE, section["additionalProperties"]]}}
    properties = {**_FILE, **whole.pop("properties")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Definition of user profiles",
        **{key: value for key, value in whole.items() if key != "title"},
        "properties": properties,
        "anyOf": [{"required": ["include"]}, {"required": required}],
    }


def _with_variables(node: Any) -> Any:
    """The schema, in which a plain value that is no free text may also be a variable."""
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _with_variables(value) for key, value in node.items()}
    is_plain = node.get("type") in ("integer", "number", "boolean")
    if is_plain or "enum" in node or "const" in node or ("pattern" in node and "type" in node):
        told = {key: inner.pop(key) for key in ("description", "default", "title") if key in inner}
        return {**told, "anyOf": [inner, _VARIABLE]}
    return inner
