"""Raw tables to confirmed user profiles: build, deliver and explain, on Spark."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spark_profiles.definition import (
        Definition,
        Derived,
        Identifier,
        OwnValue,
        ProfileKeys,
        Survivor,
    )
    from spark_profiles.errors import SparkProfilesError
    from spark_profiles.loader import load_definition, parse_definition
    from spark_profiles.operations import Aggregate
    from spark_profiles.pipeline import Plan, plan
    from spark_profiles.source import Rule, Source

__all__ = [
    "Aggregate",
    "Definition",
    "Derived",
    "Identifier",
    "OwnValue",
    "Plan",
    "ProfileKeys",
    "Rule",
    "Source",
    "SparkProfilesError",
    "Survivor",
    "load_definition",
    "parse_definition",
    "plan",
]

_HOMES = {
    "Aggregate": "operations",
    "Definition": "definition",
    "Derived": "definition",
    "Identifier": "definition",
    "OwnValue": "definition",
    "Plan": "pipeline",
    "ProfileKeys": "definition",
    "Rule": "source",
    "Source": "source",
    "Survivor": "definition",
    "SparkProfilesError": "errors",
    "load_definition": "loader",
    "parse_definition": "loader",
    "plan": "pipeline",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded when they are asked for: checking a definition needs no Spark."""
    if name not in _HOMES:
        message = f"module 'spark_profiles' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"spark_profiles.{_HOMES[name]}"), name)
