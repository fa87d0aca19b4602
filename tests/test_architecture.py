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

LAYERS = """
errors progress core
stores meanwhile
definition engine emulator
rows
profiles audit
lines delivery
planning files
running
aftercare demo
cli
"""
"""Packages, and the modules beside them: each may import from the lines above its own at most."""

# And of these only what stands here.
ALLOWED = {
    "errors": set(),
    "progress": set(),
    "core": set(),
    "stores": {"errors"},
    "meanwhile": {"progress"},
    "definition": {"errors"},
    "engine": {"errors", "progress"},
    "rows": {"core", "definition", "engine", "errors"},
    "profiles": {"definition", "errors", "rows"},
    "audit": {"core", "definition", "engine", "errors", "rows", "stores"},
    "lines": {"audit", "core", "definition", "rows"},
    "planning": {"definition", "engine", "errors", "lines", "profiles", "rows"},
    "files": {
        "audit", "core", "definition", "engine", "errors", "lines", "progress", "stores",
    },
    "delivery": {"audit", "errors", "progress", "stores"},
    "running": {
        "audit", "definition", "delivery", "engine", "errors", "files", "lines", "planning",
        "profiles", "progress", "rows", "stores",
    },
    "aftercare": {
        "audit", "core", "definition", "delivery", "engine", "errors", "files", "lines",
        "planning", "progress", "rows", "running", "stores",
    },
    "emulator": {"core", "errors"},
    "demo": {
        "audit", "definition", "delivery", "emulator", "engine", "errors", "planning", "progress",
        "running",
    },
}  # fmt: skip
STAGES = ("rows", "profiles", "lines", "planning")
"""Lazy: nothing in them starts a job."""
NOT_LAZY = {"rows.sources"}

ACTIONS = {
    "collect", "toPandas", "show", "cache", "persist", "isEmpty", "foreach", "rdd", "checkpoint",
    "sparkContext", "_jvm", "_jdf", "toLocalIterator", "write", "udf", "pandas_udf", "current_date",
    "current_timestamp", "now",
}  # fmt: skip
BY_SPARK = {"audit.history", "audit.migrations", "audit.places", "audit.runs", "audit.stats",
            "audit.tables", "audit.views", "files.fileplan", "files.spark_files"}  # fmt: skip
"""What needs Spark in packages that are else of use without it: deliver, verify, check, send."""
SPARK_FREE = {"core", "errors", "progress", "stores", "meanwhile", "definition", "delivery",
              "audit", "files", "planning.sdl", "aftercare.kept", "aftercare.receipts"}  # fmt: skip


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
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in OUR_NAMES else node.module for name in names}
    return found


OUR_NAMES = {f"spark_profiles.{name_of(path)}" for path in MODULES}


def ours(path: Path) -> set[str]:
    """Names, below ours, of what a file imports of us; empty: the public names."""
    return {
        name.removeprefix("spark_profiles").lstrip(".")
        for name in imports(path)
        if name.split(".")[0] == "spark_profiles"
    }


def package_of(path: Path) -> str:
    return name_of(path).split(".")[0]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    paths = [path for path in MODULES if package_of(path) == package]
    assert paths
    found = {name.split(".")[0] for path in paths for name in ours(path)}
    assert found - {package} <= ALLOWED[package]
    above = LAYERS[: LAYERS.index(f"\n{layer_of(package)}\n")].split()
    assert ALLOWED[package] <= set(above)


def layer_of(package: str) -> str:
    (line,) = (line for line in LAYERS.split("\n") if package in line.split())
    return line


def test_no_module_needs_itself() -> None:
    graphlib.TopologicalSorter({name_of(path): ours(path) for path in MODULES}).prepare()


def test_every_package_has_its_place() -> None:
    assert {package_of(path) for path in MODULES} == ALLOWED.keys() | {"cli"}
    assert set(LAYERS.split()) == ALLOWED.keys() | {"cli"}


def test_packages_import_nothing_by_themselves() -> None:
    for package in ALLOWED.keys() - {"emulator"}:
        for path in (PACKAGE / package).glob("__init__.py"):
            assert imports(path) <= {"__future__"}, path


def test_the_layers_are_those_of_the_decision() -> None:
    page = PACKAGE.parent / "docs" / "decisions" / "0004-packages-in-layers.md"
    drawn = [
        line[:39].replace(",", "").split()
        for line in page.read_text(encoding="utf-8").split("\n")
        if line.startswith("    ")
    ]
    assert drawn == [line.split() for line in LAYERS.strip().split("\n")]


def test_stages_start_nothing() -> None:
    lazy = {path for path in MODULES if package_of(path) in STAGES} | {PACKAGE / "audit/places.py"}
    starting = set()
    for path in lazy:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if ACTIONS & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}:
            starting.add(name_of(path))
    assert starting == NOT_LAZY


def test_what_needs_no_spark_does_not_import_it() -> None:
    asking = {
        name_of(path)
        for path in MODULES
        if {name_of(path), package_of(path)} & SPARK_FREE
        and any(name.startswith("pyspark") for name in imports(path))
    }
    assert asking == BY_SPARK


def test_no_module_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
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
    assert page.count("\n| `") == len(mapped)
    parts = {part.split("\n")[0].strip("`"): part for part in page.split("\n## ")}
    for path in mapped:
        part = parts["Beside the packages" if path.parent == PACKAGE else path.parent.name]
        assert f"\n| `{path.stem}` | {_first_line(path)} |\n" in part, path
    for package in {path.parent for path in mapped} - {PACKAGE}:
        said = _first_line(package / "__init__.py")
        assert parts[package.name].startswith(f"`{package.name}`\n\n{said}\n\n| "), package


def _first_line(path: Path) -> str:
    """What the module or package says of itself in its first sentence."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
