"""Sessions that are built here: what is left to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spark_profiles.engine import session

if TYPE_CHECKING:
    from pathlib import Path

OPTION = "-Xmn1g -XX:+UseG1GC"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS",
        "PYSPARK_SUBMIT_ARGS", "SPARK_HOME", "SPARK_CONF_DIR",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def test_we_choose_a_collector_where_nobody_did() -> None:
    assert not session._names_a_collector({})
    assert not session._names_a_collector({"spark.driver.extraJavaOptions": "-Xmn1g -Dgc=UseG1GC"})


@pytest.mark.parametrize("name", ["extraJavaOptions", "defaultJavaOptions"])
def test_a_collector_of_the_settings_is_kept(name: str) -> None:
    assert session._names_a_collector({f"spark.driver.{name}": OPTION})


@pytest.mark.parametrize("name", ["JDK_JAVA_OPTIONS", "PYSPARK_SUBMIT_ARGS"])
def test_so_is_one_of_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, OPTION)
    assert session._names_a_collector({})


@pytest.mark.parametrize("variable", ["SPARK_HOME", "SPARK_CONF_DIR"])
def test_so_is_one_of_the_files_of_spark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    folder = tmp_path / "conf" if variable == "SPARK_HOME" else tmp_path
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv(variable, str(tmp_path))
    assert not session._names_a_collector({})
    (folder / "spark-defaults.conf").write_text(f"spark.driver.extraJavaOptions {OPTION}\n")
    assert session._names_a_collector({})
