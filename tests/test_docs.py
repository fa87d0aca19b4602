"""What the documents say is what the code does."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shop
import typer

from spark_profiles import cli, errors
from spark_profiles.audit import guard, schemas
from spark_profiles.definition import loader

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from spark_profiles.emulator.server import Emulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_definition_of_the_readme_is_one() -> None:
    text = next(block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
    assert loader.parse_yaml(text).name == "cdnow"


def test_the_profile_of_the_readme_is_json() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert json.loads(text)["$compartment_id"] == 1606


def test_every_exit_code_is_in_the_readme_and_in_the_tree() -> None:
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SparkProfilesError)
    }
    for code in codes - {1}:
        assert re.search(rf"^\| {code} \| ", README, re.MULTILINE)
        assert re.search(rf" {code}  ", errors.__doc__ or "")


def test_every_command_and_every_table_is_in_the_readme() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for name in [*commands, *schemas.TABLES]:
        assert f"`{name}`" in README or f"spark-profiles {name}" in README or name == "demo"


def test_every_limit_is_in_the_readme_with_its_default() -> None:
    for limit in dataclasses.fields(guard.Limits):
        default = "none" if limit.default is None else f"{limit.default:g}"
        assert f"`{limit.name}={default}`" in README


@pytest.mark.sail
def test_the_example_of_the_fixture_runs(
    spark: SparkSession,
    datamart_emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manual = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import.*?)```", manual, re.DOTALL)
    tables = tmp_path / "tests" / "data"
    person = {"customer_id": "c1", "first_name": "Ada"}
    shop.customers(spark, person).write.parquet(str(tables / "customers"))
    shop.purchases(spark, {"customer_id": "c1"}).write.parquet(str(tables / "purchases"))
    text = re.sub(r"table: (\w+)", r"path: \1\n    format: parquet", shop.DEFINITION)
    (tmp_path / "profiles.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    names["test_our_definition"](datamart_emulator, spark, tmp_path, monkeypatch)


@pytest.mark.jvm  # they start a session of their own, of Spark
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.name)
def test_notebooks_run(path: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path))
    assert "Ada" in capsys.readouterr().out
