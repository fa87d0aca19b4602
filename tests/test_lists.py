"""Lists of persons, as editors and spreadsheets save them: nobody in them is missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_profiles.cli import options
from spark_profiles.errors import DefinitionError

PERSONS = ["c1", "zoë@x.io", "o'\"brien", "a b", "line\u2028separator"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("between", ["", "  \t"])
def test_every_person_of_a_list_is_read(
    tmp_path: Path, ending: str, mark: str, between: str
) -> None:
    lines = [line for person in PERSONS for line in (f" {person}\t", between)]
    for last in ("", ending):
        path = tmp_path / "persons.txt"
        path.write_bytes((mark + ending.join(lines) + last).encode())
        assert options.keys(path) == PERSONS
    assert options.keys(None) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "cp1252", "utf-32"])
def test_a_list_of_another_encoding_is_refused_and_not_repeated(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "persons.txt"
    path.write_bytes("c1\nzoë@x.io\n".encode(encoding))
    with pytest.raises(DefinitionError) as caught:
        options.keys(path)
    assert caught.value.exit_code == 3
    assert "UTF-8" in str(caught.value)
    assert not any(part in str(caught.value) for part in ("c1\n", "zo", "x.io"))


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no such file"):
        options.keys(tmp_path / "none.txt")
