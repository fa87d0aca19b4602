"""Raw tables to confirmed user profiles: build, deliver and explain, on Spark."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spark_profiles.definition.loader import load_definition, parse_definition
    from spark_profiles.definition.model import (
        Definition,
        Derived,
        Identifier,
        OwnValue,
        ProfileKeys,
        Survivor,
    )
    from spark_profiles.definition.operations import Aggregate
    from spark_profiles.definition.source import Rule, Source
    from spark_profiles.errors import SparkProfilesError
    from spark_profiles.planning.pipeline import Plan, plan

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
    "Aggregate": "definition.operations",
    "Definition": "definition.model",
    "Derived": "definition.model",
    "Identifier": "definition.model",
    "OwnValue": "definition.model",
    "Plan": "planning.pipeline",
    "ProfileKeys": "definition.model",
    "Rule": "definition.source",
    "Source": "definition.source",
    "Survivor": "definition.model",
    "SparkProfilesError": "errors",
    "load_definition": "definition.loader",
    "parse_definition": "definition.loader",
    "plan": "planning.pipeline",
}


def __getattr__(name: str) -> Any:
    """The public names, loaded when they are asked for: checking a definition needs no Spark."""
    if name not in _HOMES:
        message = f"module 'spark_profiles' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"spark_profiles.{_HOMES[name]}"), name)
