"""Which execution is which file: by evidence, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from spark_profiles.audit.records import FileRecord
from spark_profiles.delivery.datamart import Execution
from spark_profiles.delivery.matching import Matched, match

if TYPE_CHECKING:
    from collections.abc import Sequence


def file(name: str, lines: int = 3) -> FileRecord:
    return FileRecord(name, "UPSERT", lines, 10, f"sha-of-{name}")


def execution(number: int, total: int | None = None) -> Execution:
    return Execution(str(number), "PENDING" if total is None else "SUCCEEDED", total, 0)


def matched(
    files: Sequence[FileRecord],
    executions: Sequence[Execution],
    contents: dict[str, str] | None = None,
    accounted: Sequence[str] = (),
    doubtful: Sequence[str] = (),
) -> Matched:
    def content(one: Execution) -> str | None:
        name = (contents or {}).get(one.id)
        return f"sha-of-{name}" if name else None

    known = frozenset(f"sha-of-{name}" for name in accounted)
    return match(files, executions, accounted=known, doubtful=frozenset(doubtful), content=content)


def pairs(of: Matched) -> dict[str, str]:
    return {one.name: execution.id for one, execution in of.found}


def names(files: Sequence[FileRecord]) -> list[str]:
    return [one.name for one in files]


A, B, C = file("a"), file("b"), file("c", lines=5)


def test_no_execution_is_left_so_nothing_arrived() -> None:
    assert names(matched([A, B], []).absent) == ["a", "b"]


def test_content_tells() -> None:
    found = matched([A, B, C], [execution(1), execution(2)], {"1": "c", "2": "a"})
    assert pairs(found) == {"c": "1", "a": "2"}
    assert names(found.absent) == ["b"]


def test_one_and_one_are_each_other_where_content_cannot_be_had() -> None:
    assert pairs(matched([A], [execution(1)])) == {"a": "1"}


def test_another_content_is_never_taken_for_the_file() -> None:
    found = matched([A], [execution(1)], {"1": "stranger"})
    assert names(found.unclear) == ["a"]
    assert not found.found


def test_a_second_execution_of_a_known_file_is_nobodys() -> None:
    found = matched([A], [execution(1)], {"1": "z"}, accounted=["z"])
    assert names(found.absent) == ["a"]
    assert [one.id for one in found.nobodys] == ["1"]


def test_two_executions_of_one_file_are_one_match() -> None:
    found = matched([A, B], [execution(2), execution(1)], {"1": "a", "2": "a"})
    assert pairs(found) == {"a": "2"}
    assert names(found.absent) == ["b"]


def test_a_file_that_went_twice_may_be_any_execution_that_shows_late() -> None:
    assert names(matched([A], [execution(1)], doubtful=["b"]).unclear) == ["a"]
    assert pairs(matched([A], [execution(1)], doubtful=["a"])) == {"a": "1"}
    assert pairs(matched([A], [execution(1)], {"1": "a"}, doubtful=["b"])) == {"a": "1"}


def test_totals_tell_nothing() -> None:
    """A platform that counts a line too few would otherwise confirm a file that never arrived."""
    assert names(matched([A, C], [execution(1, 5)]).unclear) == ["a", "c"]
    assert not matched([A, C], [execution(1, 5), execution(2, 3)]).found


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.booleans(),
    st.none() | st.integers(0, 3),
)
def test_what_is_matched_is_right_whatever_arrived(
    lines: list[int], arrived: list[bool], is_readable: bool, told: int | None
) -> None:
    """Drawn truths: some files arrived. No wrong pair, no wrong absence, ever."""
    files = [file(f"f{n}", lines=count) for n, count in enumerate(lines)]
    truth = {one.name: str(n) for n, one in enumerate(files) if arrived[n]}
    executions = [execution(n, told) for n, one in enumerate(files) if one.name in truth]
    contents = {number: name for name, number in truth.items()} if is_readable else None
    found = matched(files, executions, contents)
    assert pairs(found).items() <= truth.items()
    assert not {one.name for one in found.absent} & truth.keys()
    everybody = [*names([f for f, _ in found.found]), *names(found.absent), *names(found.unclear)]
    assert sorted(everybody) == sorted(names(files))
    if is_readable:
        assert pairs(found) == truth
