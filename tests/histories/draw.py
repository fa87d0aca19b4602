"""Draws histories. They shrink to the fewest steps and faults with which the law breaks."""

from __future__ import annotations

from hypothesis import strategies as st

from histories import days
from histories.days import Day, Shape
from histories.play import EXECUTIONS, FAULTS, History, Step

LAST_BOUNDARY = 80
LAST_REQUEST = 14

a_day = st.builds(
    Day,
    joined=st.integers(0, 3),
    renamed=st.integers(0, 4),
    left=st.sampled_from((0, 0, 1, 2, 8)),
    bought=st.integers(0, 5),
    dirt=st.booleans(),
)
a_shape = st.builds(
    Shape, with_city=st.booleans(), with_amount=st.booleans(), window=st.sampled_from((30, 7))
)
a_fault = st.tuples(st.integers(1, LAST_REQUEST), st.sampled_from(FAULTS))
a_step = st.builds(
    Step,
    day=st.none() | a_day,
    shape=a_shape,
    source=st.sampled_from(("whole",) * 5 + tuple(days.SOURCES)),
    accept=st.sampled_from((True, True, False)),
    kill=st.none() | st.integers(1, LAST_BOUNDARY),
    faults=st.lists(a_fault, max_size=4, unique_by=lambda fault: fault[0]).map(tuple),
    executions=st.lists(st.sampled_from(("well", *EXECUTIONS)), max_size=4).map(tuple),
    rejects=st.sampled_from((0, 0, 0, 5, 2)),
    lose_error_files=st.booleans(),
)
histories = st.builds(History, steps=st.lists(a_step, min_size=1, max_size=5).map(tuple))
