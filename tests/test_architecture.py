"""The structure, kept true: imports point one way, lazy modules start nothing, names are listed."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import spark_profiles

PACKAGE = Path(spark_profiles.__file__).parent
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.stem not in {"__init__", "__main__"}
)

# Package, or module beside the packages -> what of ours it may import: lower layers only.
ALLOWED = {
    "errors": set(),
    "progress": set(),
    "stores": {"errors"},
    "meanwhile": {"progress"},
    "definition": {"errors"},
    "engine": {"errors", "progress"},
    "rows": {"definition", "engine", "errors"},
    "profiles": {"definition", "errors", "rows"},
    "audit": {"definition", "engine", "errors", "rows", "stores"},
    "lines": {"audit", "definition", "rows"},
    "planning": {"audit", "definition", "engine", "errors", "lines", "profiles", "rows"},
    "files": {"audit", "definition", "engine", "errors", "lines", "progress", "stores"},
    "delivery": {"audit", "errors", "progress", "stores"},
    "running": {
        "audit", "definition", "delivery", "engine", "errors", "files", "lines", "planning",
        "profiles", "progress", "rows", "stores",
    },
    "aftercare": {
        "audit", "definition", "delivery", "engine", "errors", "files", "lines", "planning",
        "progress", "rows", "running", "stores",
    },
    "emulator": {"errors"},
    "demo": {
        "audit", "definition", "delivery", "emulator", "engine", "errors", "planning", "progress",
        "running",
    },
}  # fmt: skip
STAGES = ("rows", "profiles", "lines", "planning")
"""Lazy, but for what says in its first word that it is an EDGE: nothing in them starts a job."""

ACTIONS = {
    "collect", "toPandas", "show", "cache", "persist", "isEmpty", "foreach", "rdd", "checkpoint",
    "sparkContext", "_jvm", "_jdf", "toLocalIterator", "write", "udf", "pandas_udf", "current_date",
    "current_timestamp", "now",
}  # fmt: skip
BY_SPARK = {"audit.history", "audit.migrations", "audit.places", "audit.runs", "audit.stats",
            "audit.tables", "audit.views", "files.fileplan", "files.spark_files"}  # fmt: skip
"""What needs Spark in packages that are else of use without it: deliver, verify, check, send."""


def name_of(path: Path) -> str:
    """The name of a module below ours: `files.packing`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, with those for types only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & OUR_NAMES or {node.module}
    return found


OUR_NAMES = {f"spark_profiles.{name_of(path)}" for path in MODULES}


def ours(path: Path) -> set[str]:
    """Names, below ours, of our modules that a file imports."""
    return {name.removeprefix("spark_profiles.") for name in imports(path) & OUR_NAMES}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    paths = [path for path in MODULES if name_of(path).split(".")[0] == package]
    assert paths
    found = {name.split(".")[0] for path in paths for name in ours(path)}
    assert found - {package} <= ALLOWED[package]


def test_no_module_needs_itself() -> None:
    graphlib.TopologicalSorter(ALLOWED).prepare()
    graphlib.TopologicalSorter({name_of(path): ours(path) for path in MODULES}).prepare()


def test_every_package_has_its_place() -> None:
    assert {name_of(path).split(".")[0] for path in MODULES} == ALLOWED.keys() | {"cli"}


@pytest.mark.parametrize("package", STAGES)
def test_stages_start_nothing(package: str) -> None:
    for path in (PACKAGE / package).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not (ast.get_docstring(tree) or "").startswith("EDGE."):
            used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            assert not used & ACTIONS, path


def test_what_needs_no_spark_does_not_import_it() -> None:
    free = {"errors", "progress", "stores", "meanwhile", "definition", "delivery", "audit", "files"}
    asking = {
        name_of(path)
        for path in MODULES
        if name_of(path).split(".")[0] in free
        and any(name.startswith("pyspark") for name in imports(path))
    }
    assert asking == BY_SPARK


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
    mapped = [path for path in MODULES if path.parent.name not in {"cli", "emulator", "demo"}]
    for path in mapped:
        first = _first_line(path)
        assert page.count(f"| `{path.stem}` | {first} |") == 1, path
    assert page.count("\n| `") == len(mapped)
    for package in {path.parent for path in mapped} - {PACKAGE}:
        title = f"## `{package.name}`\n\n{_first_line(package / '__init__.py')}\n\n| "
        assert page.count(title) == 1, package


def _first_line(path: Path) -> str:
    """What the module or package says of itself in its first sentence."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
