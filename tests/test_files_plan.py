"""Which line lies in which file: within the limit, in order, every line once, few files."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_profiles import files
from spark_profiles.errors import SourceError
from spark_profiles.files import Grain

GRAINS = st.dictionaries(
    st.tuples(st.sampled_from(["UPSERT", "DELETE"]), st.integers(0, 16_383)),
    st.tuples(st.integers(1, 50), st.integers(1, 1_000)),
    max_size=60,
).map(lambda d: [Grain(op, b, lines, size, 1) for (op, b), (lines, size) in d.items()])


@given(GRAINS, st.integers(1_000, 5_000))
def test_every_grain_lies_in_one_file_within_the_limit(grains: list[Grain], limit: int) -> None:
    planned = files.plan(grains, max_bytes=limit)
    for grain in grains:
        holding = [
            f
            for f in planned
            if f.operation == grain.operation and f.first_bucket <= grain.bucket <= f.last_bucket
        ]
        assert len(holding) == 1
    assert all(0 < f.bytes <= limit and f.lines > 0 for f in planned)
    assert sum(f.bytes for f in planned) == sum(g.bytes for g in grains)
    assert sum(f.lines for f in planned) == sum(g.lines for g in grains)


@given(GRAINS, st.integers(1_000, 5_000))
def test_neighbouring_files_would_not_fit_into_one(grains: list[Grain], limit: int) -> None:
    planned = files.plan(grains, max_bytes=limit)
    by_bucket = {(g.operation, g.bucket): g.bytes for g in grains}
    for left, right in itertools.pairwise(planned):
        if left.operation == right.operation:
            assert left.bytes + by_bucket[right.operation, right.first_bucket] > limit


@given(GRAINS, st.randoms())
def test_the_order_of_the_grains_does_not_matter(grains: list[Grain], random) -> None:
    shuffled = random.sample(grains, len(grains))
    assert files.plan(shuffled, max_bytes=2_000) == files.plan(grains, max_bytes=2_000)


def test_names_count_the_files_of_each_operation() -> None:
    grains = [
        Grain("UPSERT", 1, 1, 60, 60),
        Grain("UPSERT", 2, 1, 60, 60),
        Grain("DELETE", 1, 1, 10, 10),
    ]
    assert [f.path for f in files.plan(grains, max_bytes=100)] == [
        "operation=UPSERT/profiles-00001-of-00002.ndjson",
        "operation=UPSERT/profiles-00002-of-00002.ndjson",
        "operation=DELETE/profiles-00001-of-00001.ndjson",
    ]


def test_lines_too_big_for_a_file_are_refused_not_cut() -> None:
    with pytest.raises(SourceError, match="bucket 7"):
        files.plan([Grain("UPSERT", 7, 2, 101, 60)], max_bytes=100)


def test_a_line_longer_than_a_file_is_refused() -> None:
    with pytest.raises(SourceError, match="a line of 101 bytes"):
        files.plan([Grain("UPSERT", 7, 1, 101, 101)], max_bytes=100)


def test_no_lines_no_files() -> None:
    assert files.plan([], max_bytes=100) == []
