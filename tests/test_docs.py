"""What the documents say is what the code does."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from spark_profiles import cli, errors
from spark_profiles.audit import schemas
from spark_profiles.definition import loader

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

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


@pytest.mark.jvm  # they start a session of their own, of Spark
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.py")), ids=lambda p: p.name)
def test_notebooks_run(path: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(path))
    assert "Ada" in capsys.readouterr().out
