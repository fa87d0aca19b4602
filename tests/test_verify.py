"""`verify` finds every way in which files may not be what their manifest says. No Spark."""

from __future__ import annotations

import gzip
import hashlib
import json
import tracemalloc
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_profiles import cli
from spark_profiles.errors import IntegrityError
from spark_profiles.files import contract, verify
from spark_profiles.files.manifest import Manifest, ManifestFile

UPSERTS = "operation=UPSERT/profiles-00001-of-00001.ndjson"
DELETES = "operation=DELETE/profiles-00001-of-00001.ndjson"


def line(account: str, operation: str = "UPSERT", **members: object) -> bytes:
    profile = {"$compartment_id": 7, "$user_account_id": account}
    strategy = {"update_strategy": "FORCE_REPLACE"} if operation == "UPSERT" else {}
    command = {"operation": operation, "compartment_id": "6", "user_account_id": account,
               **strategy, "user_profile": profile} | members  # fmt: skip
    return json.dumps(command, ensure_ascii=False).encode() + b"\n"


def build(folder: Path, files: dict[str, bytes], *, is_gzip: bool = False) -> Path:
    """The files and their manifest, made by hand."""
    listed = []
    for path, content in files.items():
        stored = gzip.compress(content) if is_gzip else content
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(stored)
        listed.append(
            ManifestFile(
                path=path,
                operation="UPSERT" if "UPSERT" in path else "DELETE",
                lines=content.count(b"\n"),
                bytes=len(stored),
                sha256=hashlib.sha256(stored).hexdigest(),
                content_bytes=len(content),
                content_sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    made = Manifest(
        run_id="shop-1", name="shop", as_of="2026-03-31T00:00:00Z", definition_hash="d" * 64,
        library_version="1", max_bytes=10_000, files=tuple(listed),
        compression="gzip" if is_gzip else "none",
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(made.text())
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    upserts = b"".join(line(f"c{n}") for n in range(3))
    return build(tmp_path, {UPSERTS: upserts, DELETES: line("c9", "DELETE")})


def problems(folder: Path) -> list[str]:
    with pytest.raises(IntegrityError) as caught:
        verify.verify(str(folder))
    assert caught.value.exit_code == 11
    return [f"{p.where}: {p.found}" for p in caught.value.problems]


def relist(folder: Path, content: bytes, path: str = UPSERTS) -> None:
    """Replace a file and list it as it is now, so that only its lines can be wrong."""
    rest = {DELETES: (folder / DELETES).read_bytes(), UPSERTS: (folder / UPSERTS).read_bytes()}
    build(folder, {**rest, path: content})


def test_what_is_right_passes_by_folder_and_by_path(files: Path) -> None:
    found = verify.verify(str(files))
    assert (found.files, found.lines) == (2, 4)
    assert verify.verify(str(files / "manifest.json")) == found


def test_compressed_files_pass_and_a_cut_one_does_not(tmp_path: Path) -> None:
    build(tmp_path, {UPSERTS: line("a") + line("b")}, is_gzip=True)
    assert verify.verify(str(tmp_path)).lines == 2
    path = tmp_path / UPSERTS
    path.write_bytes(path.read_bytes()[:-4])
    assert problems(tmp_path) == [f"{UPSERTS}: cannot be read: gzip that is cut off or continued"]


def test_every_problem_is_told_at_once(files: Path) -> None:
    (files / DELETES).unlink()
    (files / "operation=UPSERT/more.ndjson").write_bytes(line("x"))
    (files / "_partial").write_bytes(b"")
    with (files / UPSERTS).open("ab") as stream:
        stream.write(b'{"half":')
    found = problems(files)
    assert [text.partition(" ")[0] for text in found] == [
        "_partial:", "operation=UPSERT/more.ndjson:", f"{UPSERTS}:", f"{UPSERTS}:", f"{UPSERTS}:",
        f"{UPSERTS}:", f"{UPSERTS}:", f"{UPSERTS}:4:", f"{DELETES}:",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (line("c0") + b"\n" + line("c1"), ":2: not JSON"),
        (line("c1") + line("c0"), ":2: not after the line before it"),
        (line("c0") + line("c0"), ":2: not after the line before it"),
        (line("c0", "DELETE"), ":1: operation DELETE in a file of UPSERT"),
        (line("c0", email_hash="e"), ":1: UPSERT: 2 identifiers"),
        (line("c0", compartment_id=6), ":1: UPSERT.compartment_id: Input should be a valid string"),
        (line("c0").replace(b'"$compartment_id": 7', b'"$compartment_id": "7"'), "$compartment_id"),
        (line("c0").replace(b"7", b"NaN"), ":1: NaN is no JSON number"),
        (line("c0").replace(b"7", b'7, "a": 1, "a": 2'), ":1: a member is written twice"),
        (line("c0").replace(b"7", b'7, "a": "\xff"'), ":1: not UTF-8"),
        (line("c0").replace(b"7", b'7, "a": "\x01"'), ":1: not JSON: Invalid control character"),
        (line("c0", secret="Ada"), ":1: UPSERT.…: Extra inputs are not permitted"),
        (line("c0", force_replace=True), ":1: UPSERT: a strategy and flags"),
        (line("c" * 10_000), "bytes"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_found_though_all_hashes_agree(
    files: Path, changed: bytes, told: str
) -> None:
    relist(files, changed)
    found = problems(files)
    assert told in found[0]
    assert not any("Ada" in text for text in found)


def test_a_missing_or_wrong_manifest_is_one_problem(files: Path) -> None:
    (files / "manifest.json").write_text('{"run_id": 3}')
    assert "wrong: as_of, definition_hash" in problems(files)[0]
    (files / "manifest.json").unlink()
    assert problems(files) == ["manifest.json: is not there"]


def test_many_wrong_lines_are_counted_not_listed(files: Path) -> None:
    relist(files, b"[]\n" * 500)
    found = problems(files)
    assert len(found) == 11
    assert found[-1] == f"{UPSERTS}: 490 more lines are wrong"


def test_memory_stays_flat(tmp_path: Path) -> None:
    content = b"".join(line(f"c{n:06d}", user_profile={"t": "x" * 500}) for n in range(20_000))
    build(tmp_path, {UPSERTS: content})
    text = (tmp_path / "manifest.json").read_text().replace('"max_bytes": 10000', '"max_bytes": 1')
    (tmp_path / "manifest.json").write_text(text.replace('"max_bytes": 1', '"max_bytes": 99999999'))
    tracemalloc.start()
    verify.verify(str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content) > 12_000_000
    assert peak < 6_000_000  # some pieces of a megabyte


def test_the_command_ends_with_its_code(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded(cli.app, ["verify", str(files), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == 4
    (files / UPSERTS).unlink()
    assert cli.guarded(cli.app, ["verify", str(files / "manifest.json")]) == 11
    assert "is not there" in capsys.readouterr().err


SCHEMA = json.loads(
    (Path(contract.__file__).parent / "json_schemas" / "command.schema.json").read_text()
)


def test_the_shipped_schemas_are_those_of_the_models() -> None:
    for name, schema in contract.json_schemas().items():
        path = Path(contract.__file__).parent / "json_schemas" / name
        assert json.loads(path.read_text()) == schema, (
            "run: python -m spark_profiles.files.contract"
        )


MEMBERS = {
    "operation": ["UPSERT", "DELETE", "upsert"],
    "compartment_id": ["6", 6, "", None],
    "user_account_id": ["a", 1, ""],
    "email_hash": ["e", None],
    "user_agent_id": ["vec:1"],
    "update_strategy": ["FORCE_REPLACE", "PARTIAL_DELETE", "REPLACE"],
    "force_replace": [True, "true"],
    "merge_objects": [False, 0],
    "user_profile": [
        {}, {"$compartment_id": 7}, {"$compartment_id": "7"}, {"$user_account_id": "a", "x": None},
        {"$user_account_id": None}, {"$creation_ts": 1.5}, [],
    ],
    "other": [1],
}  # fmt: skip
COMMANDS = st.fixed_dictionaries(
    {"operation": st.sampled_from(MEMBERS["operation"])},
    optional={k: st.sampled_from(v) for k, v in MEMBERS.items() if k != "operation"},
)


@given(COMMANDS)
def test_model_and_schema_agree(command: dict[str, object]) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    try:
        contract.command(json.dumps(command).encode())
    except ValueError:
        assert not validator.is_valid(command)
    else:
        validator.validate(command)
