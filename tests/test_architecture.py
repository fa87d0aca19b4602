"""The structure, kept true: imports point one way, lazy modules start nothing, names are listed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import spark_profiles

PACKAGE = Path(spark_profiles.__file__).parent
MODULES = sorted(PACKAGE.glob("*.py"))

# Module -> what of ours it may import. Stages meet only in `pipeline`, effects only in `run`.
ALLOWED = {
    "errors": set(),
    "progress": set(),
    "meanwhile": {"progress"},
    "profiling": {"errors", "progress"},
    "windows": set(),
    "schemas": {"records", "states"},
    "states": {"errors"},
    "sql": set(),
    "language": {"sql"},
    "source": {"language", "sql"},
    "operations": {"language", "windows"},
    "definition": {"delivery", "language", "operations", "source"},
    "values": {"definition", "operations", "sql"},
    "documents": {"definition", "errors", "language"},
    "consistency": {"definition", "delivery", "errors", "language", "operations", "sql", "values"},
    "loader": {
        "consistency",
        "definition",
        "delivery",
        "documents",
        "json_schema",
        "errors",
        "language",
        "source",
    },
    "json_schema": {"definition"},
    "salvage": {"consistency", "definition", "errors", "operations", "values"},
    "expressions": {"errors", "language", "sql"},
    "keys": set(),
    "frames": set(),
    "side_by_side": set(),
    "watching": {"progress"},
    "columns": {"sql"},
    "stores": {"errors"},
    "guard": {"errors"},
    "sources": {"definition", "errors", "language", "side_by_side", "source"},
    "fit": {
        "columns",
        "consistency",
        "definition",
        "errors",
        "expressions",
        "keys",
        "language",
        "operands",
        "operations",
        "source",
        "sql",
    },
    "conform": {"columns", "keys", "source", "sql"},
    "users": {"columns", "definition", "keys", "sql", "values"},
    "accounting": {"conform", "definition", "sql", "users"},
    "arithmetic": set(),
    "sheets": {"arithmetic", "columns", "source", "sql", "windows"},
    "folds": {"arithmetic", "operations", "sheets"},
    "histories": {"arithmetic", "folds", "operations", "sheets", "sql", "errors"},
    "operands": {"errors", "histories", "language", "operations", "sheets", "values"},
    "aggregates": {
        "arithmetic",
        "folds",
        "histories",
        "sheets",
        "sql",
        "windows",
        "values",
        "operations",
        "source",
    },
    "population": {"errors"},
    "shapes": {"columns", "sql"},
    "consents": {"definition", "errors", "values"},
    "profiles": {
        "columns",
        "consents",
        "expressions",
        "population",
        "shapes",
        "sql",
        "values",
        "definition",
        "operations",
        "errors",
    },
    "changes": {"columns", "keys", "schemas"},
    "delivery": set(),
    "places": set(),
    "commands": {"delivery", "places", "schemas"},
    "patches": {"columns", "delivery", "sql"},
    "packing": set(),
    "fileplan": {"frames", "packing", "places", "schemas", "errors"},
    "digests": set(),
    "manifest": set(),
    "contract": {"manifest"},
    "spark_files": {"commands", "fileplan", "frames", "places", "stores"},
    "arrow_files": {"delivery", "digests", "errors", "fileplan", "places", "stores"},
    "files": {"digests", "fileplan", "manifest", "schemas", "stores", "errors"},
    "verify": {"contract", "digests", "manifest", "progress", "stores", "errors"},
    "statements": set(),
    "runs": {"columns", "delivery", "guard", "schemas", "states"},
    "audit": {
        "arrow_files",
        "delta_rs",
        "frames",
        "guard",
        "places",
        "runs",
        "schemas",
        "side_by_side",
        "slices",
        "statements",
        "states",
        "stores",
    },
    "leases": {"errors"},
    "stats": {"guard", "schemas"},
    "sdl": {"errors"},
    "sdl_fit": {"errors", "guard", "language", "schemas", "sdl", "sql"},
    "slices": set(),
    "attribution": {"slices", "upload"},
    "journal": {"slices", "upload"},
    "tokens": {"errors"},
    "outcomes": set(),
    "retry": set(),
    "channel": {"outcomes", "retry", "tokens", "errors"},
    "datamart": {"channel", "outcomes", "retry", "tokens", "errors"},
    "records": set(),
    "matching": {"datamart", "records"},
    "results": {"datamart", "records", "errors"},
    "interrupts": set(),
    "reading": {"records", "errors"},
    "telling": {"records", "progress"},
    "sending": {
        "datamart",
        "interrupts",
        "matching",
        "progress",
        "reading",
        "records",
        "results",
        "telling",
        "errors",
    },
    "upload": {"datamart", "progress", "records", "sending", "errors"},
    "delta_rs": {"errors"},
    "courier": {
        "datamart",
        "journal",
        "leases",
        "progress",
        "records",
        "slices",
        "states",
        "stores",
        "upload",
        "errors",
    },
    "trial_line": {"courier", "datamart", "records", "results", "errors"},
    "metrics": {"channel", "progress", "records"},
    "session": {"errors", "jars", "jdk"},
    "jars": {"errors"},
    "jdk": set(),
    "history": {"frames", "audit", "places", "runs", "schemas", "attribution", "upload"},
    "removal": {"audit"},
    "views": {"audit", "history"},
    "explain": {"audit", "history", "persons", "runs", "errors"},
    "dictionary": {"schemas"},
    "migrations": {"audit", "schemas", "side_by_side", "errors"},
    "kept": {"files", "stores"},
    "receipts": set(),
    "persons": {"frames", "audit", "receipts"},
    "maintain": {
        "audit",
        "runs",
        "columns",
        "history",
        "leases",
        "removal",
        "progress",
        "schemas",
        "states",
        "stores",
        "errors",
    },
}
LAZY = {
    "conform",
    "accounting",
    "users",
    "keys",
    "fit",
    "arithmetic",
    "sheets",
    "folds",
    "histories",
    "operands",
    "aggregates",
    "population",
    "shapes",
    "consents",
    "profiles",
    "changes",
    "places",
    "commands",
    "patches",
    "columns",
    "expressions",
}
ACTIONS = {
    "collect", "toPandas", "show", "cache", "persist", "isEmpty", "foreach", "rdd", "checkpoint",
    "sparkContext", "_jvm", "_jdf", "toLocalIterator", "write", "udf", "pandas_udf", "current_date",
    "current_timestamp", "now",
}  # fmt: skip
NO_SPARK = {"errors", "progress", "windows", "sql", "language", "source", "operations",
            "definition", "documents", "json_schema", "consistency", "loader", "salvage", "values",
            "schemas", "states", "guard", "stores", "tokens", "outcomes", "retry", "channel",
            "datamart", "records", "matching", "results", "reading", "telling", "sending",
            "upload", "interrupts", "delta_rs", "courier", "trial_line", "metrics", "leases",
            "slices", "attribution", "sdl",
            "journal", "receipts", "kept", "dictionary",
            "delivery", "packing", "digests", "manifest", "contract", "verify"}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, with those for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "spark_profiles":
            found |= {f"spark_profiles.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("module", sorted(ALLOWED))
def test_imports_point_one_way(module: str) -> None:
    ours = {
        name.split(".")[1]
        for name in imports(PACKAGE / f"{module}.py")
        if name.startswith("spark_profiles.")
    }
    assert ours <= ALLOWED[module]


def test_every_module_has_its_place() -> None:
    orders = {
        "cold_start",
        "pipeline",
        "recording",
        "settling",
        "run",
        "rollback",
        "erase",
        "why",
        "show",
        "__init__",
    }
    assert {path.stem for path in MODULES} == ALLOWED.keys() | orders


@pytest.mark.parametrize("module", sorted(LAZY))
def test_lazy_modules_start_nothing(module: str) -> None:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & ACTIONS


@pytest.mark.parametrize("module", sorted(NO_SPARK))
def test_what_needs_no_spark_does_not_import_it(module: str) -> None:
    assert not {name for name in imports(PACKAGE / f"{module}.py") if name.startswith("pyspark")}


def test_no_module_is_long() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert max(lengths.values()) <= 400, max(lengths, key=lambda name: lengths[name])


def test_functions_fit_a_screen() -> None:
    long = [
        f"{path.name}:{node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]
    assert not long


def test_the_public_names_are_listed_and_load() -> None:
    assert spark_profiles.__all__ == sorted(spark_profiles.__all__)
    for name in spark_profiles.__all__:
        assert getattr(spark_profiles, name).__name__ == name


def test_checking_a_definition_loads_no_spark() -> None:
    script = (
        "import sys, spark_profiles as sp; sp.load_definition('tests/contract.yaml');"
        "assert not {m for m in sys.modules if m.startswith('pyspark')}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_map_of_modules_says_what_each_is_for() -> None:
    page = (PACKAGE.parent / "docs" / "modules.md").read_text(encoding="utf-8")
    for path in MODULES:
        if path.stem == "__init__":
            continue
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        assert page.count(f"| `{path.stem}` | {first} |") == 1, path.stem
    assert page.count("\n| `") == len(MODULES) - 1
