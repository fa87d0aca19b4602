"""Which lines share a file: within both limits, each once, in order, few files. Pure."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spark_profiles.errors import IntegrityError
from spark_profiles.files import fileplan, packing
from spark_profiles.files.packing import Grain, Limits

LIMIT = 1_000
# One byte to over the limit, most of them small, some just under a half or a third of a file.
SIZES = st.one_of(
    st.integers(1, 40),
    st.integers(1, LIMIT + 200),
    st.sampled_from([LIMIT, LIMIT - 1, LIMIT // 2, LIMIT // 2 + 1, LIMIT // 3, LIMIT // 3 + 1]),
)


def grains(sizes: list[int], operation: str = "UPSERT") -> list[Grain]:
    """One line a grain, at the places 10, 20, …"""
    return [Grain(operation, 10 * n, 10 * n, 1, size, size) for n, size in enumerate(sizes)]


def optimum(sizes: list[int], limits: Limits) -> int:
    """The fewest packs, by dynamic programming over all subsets: (packs, fill of the last)."""
    best = [(0, 0, 0)] + [(99, 0, 0)] * ((1 << len(sizes)) - 1)
    for subset in range(1, 1 << len(sizes)):
        for n, size in enumerate(sizes):
            if subset >> n & 1:
                packs, fill, count = best[subset ^ (1 << n)]
                is_new = packs == 0 or fill + size > limits.bytes or count == limits.lines
                after = (packs + 1, size, 1) if is_new else (packs, fill + size, count + 1)
                best[subset] = min(best[subset], after)
    return best[-1][0]


@given(st.lists(SIZES, max_size=60), st.one_of(st.none(), st.integers(1, 9)))
def test_no_file_passes_a_limit_and_each_line_is_in_one(
    sizes: list[int], most_lines: int | None
) -> None:
    given_grains = grains(sizes) + grains(sizes[::2], "DELETE")
    planned = fileplan.plan(given_grains, Limits(LIMIT, most_lines))
    fitting = [grain for grain in given_grains if grain.bytes <= LIMIT]
    assert planned.refused_lines == len(given_grains) - len(fitting)
    held = []
    for file in planned.files:
        ranges = [tuple(map(int, part.split(".."))) for part in file.ranges.split(" ")]
        assert ranges == sorted(ranges)
        inside = [
            grain
            for grain in given_grains
            if grain.operation == file.operation
            and any(first <= grain.first <= last for first, last in ranges)
        ]
        assert 0 < file.bytes == sum(grain.bytes for grain in inside) <= LIMIT
        assert 0 < file.lines == len(inside) <= (most_lines or len(inside))
        held += inside
    assert sorted(held, key=hash) == sorted(fitting, key=hash)


@given(st.lists(st.integers(1, LIMIT), min_size=1, max_size=9), st.sampled_from([None, 2, 3]))
@settings(max_examples=60)
def test_few_lines_lie_in_as_few_files_as_can_be(sizes: list[int], most_lines: int | None) -> None:
    limits = Limits(LIMIT, most_lines)
    assert len(packing.packs(grains(sizes), limits)) <= optimum(sizes, limits)


@given(st.lists(st.lists(st.integers(1, LIMIT - 1), max_size=5), min_size=1, max_size=40))
def test_files_cut_into_lines_are_packed_to_within_a_tenth(cuts: list[list[int]]) -> None:
    pieces = []
    for cut in cuts:  # a full file in a handful of lines: the optimum is one file for each
        edges = sorted({0, *cut, LIMIT})
        pieces += [after - before for before, after in itertools.pairwise(edges)]
    found = len(packing.packs(grains(pieces), Limits(LIMIT)))
    assert len(cuts) <= found <= -(-11 * len(cuts) // 10)


@given(st.lists(SIZES.filter(lambda size: size <= LIMIT), max_size=9), st.integers(1, 4))
@settings(max_examples=40)
def test_the_bound_is_never_above_the_optimum(sizes: list[int], most_lines: int) -> None:
    assume(sizes)
    limits = Limits(LIMIT, most_lines)
    assert packing.fewest(grains(sizes), limits) <= optimum(sizes, limits)


@given(st.lists(SIZES, max_size=40), st.randoms())
def test_the_order_of_the_grains_does_not_matter(sizes: list[int], random) -> None:
    in_order = grains(sizes) + grains(sizes, "DELETE")
    shuffled = random.sample(in_order, len(in_order))
    assert fileplan.plan(shuffled, Limits(LIMIT)) == fileplan.plan(in_order, Limits(LIMIT))


def test_names_count_the_files_of_each_operation() -> None:
    planned = fileplan.plan(grains([600, 600]) + grains([10], "DELETE"), Limits(LIMIT))
    assert [(file.path, file.ranges) for file in planned.files] == [
        ("operation=UPSERT/profiles-00001-of-00002.ndjson", "0..0"),
        ("operation=UPSERT/profiles-00002-of-00002.ndjson", "10..10"),
        ("operation=DELETE/profiles-00001-of-00001.ndjson", "0..0"),
    ]


def test_no_range_covers_a_line_that_is_too_long() -> None:
    planned = fileplan.plan(grains([1, 1, LIMIT + 1, 1]), Limits(LIMIT))
    assert [file.ranges for file in planned.files] == ["0..10 30..30"]
    assert planned.refused_lines == 1


def test_lines_of_one_hash_that_do_not_fit_are_refused() -> None:
    with pytest.raises(IntegrityError, match="2 lines, 1,200 bytes"):
        fileplan.plan([Grain("UPSERT", 7, 7, 2, 1_200, 600)], Limits(LIMIT))


def test_no_lines_no_files() -> None:
    assert fileplan.plan([]).files == ()


def test_thousands_of_large_lines_among_small_ones_are_packed() -> None:
    sizes = [700 if n % 7 == 0 else 3 for n in range(20_000)]
    found = packing.packs(grains(sizes), Limits(LIMIT))
    assert len(found) <= 1.1 * packing.fewest(grains(sizes), Limits(LIMIT))
