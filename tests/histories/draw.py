"""Draws histories: each number gives one.

They are drawn by `random` and not by Hypothesis, which likes to repeat what it has drawn before: a
history takes seconds, so each has to be another one. What fails is printed; shorten it by hand.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from histories import days
from histories.days import Day, Shape
from histories.play import EXECUTIONS, FAULTS, History, Step
from spark_profiles.emulator.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Sequence

LAST_BOUNDARY = 100
LAST_REQUEST = 14
FEW = (0, 0, 0, 1, 2)
LINKING = "account inside"
WAYS = {
    "nothing": (tuple(days.WAYS),),
    LINKING: (
        (days.ACCOUNT, days.NUMBER_INSIDE),
        (days.ACCOUNT, days.E_MAIL, days.CARD_OR_E_MAIL),
    ),
}
"""`upsert_links` -> sets of ways of which one history takes its own.

Where an account inside links user points, people who ever had one e-mail address share a user
point, and of two anonymous profiles the platform can hold one there: no order of lines helps.
"""
COMPARTMENTS = (1606, 1606, 1606, 1607)
BEHAVIOUR = {
    "upsert_links": ("nothing", LINKING),
    "delete_without_account": (
        "anonymous profile", "profiles of the compartment", "all profiles",
    ),
    "delete_without_keys": ("default profile", "all profiles"),
    "execution_order": ("oldest first", "newest first", "drawn"),
    "point_without_profile": ("stays", "removed"),
}  # fmt: skip
"""Switch of the emulator -> its settings."""
DAY = {
    "joined": range(4),
    "renamed": range(5),
    "left": (0, 0, 1, 2, 8),
    "bought": range(6),
    "dirt": (False, True),
    "moved": (*FEW, 5),
    "swapped": FEW,
    "passed_on": FEW,
    "chained": (*FEW, 4),
    "rekeyed": FEW,
    "recarded": (*FEW, 5),
    "cards_swapped": FEW,
    "merged": FEW,
    "contested": FEW,
}
KINDS = ("run",) * 5 + ("rollback", "erase")
SOURCES = ("whole",) * 18 + tuple(days.SOURCES)
TROUBLES = (
    (), ("kill",), ("kill",), ("faults",), ("executions",), ("rejects",),
    ("kill", "faults", "executions", "rejects"),
)  # fmt: skip
"""What may happen to a step: members of `Step`."""


def history(number: int) -> History:
    """The history of this number."""
    dice = Random(number)
    behaviour = Behaviour(**{name: dice.choice(to) for name, to in BEHAVIOUR.items()})
    ways = dice.choice(WAYS[behaviour.upsert_links])
    # Mostly the same shape: a change of it moves everybody.
    first = a_shape(dice, ways)
    shapes = (first, first, first, a_shape(dice, ways))
    steps = [a_step(dice, shapes) for _ in range(dice.randint(1, 5))]
    # Mostly something is delivered before anything happens.
    opening = [Step(shape=first)] if dice.random() < 0.8 else []
    return History(steps=(*opening, *steps), behaviour=behaviour)


def a_shape(dice: Random, ways: Sequence[str]) -> Shape:
    """A definition that addresses profiles in one of these ways."""
    return Shape(
        with_city=dice.random() < 0.5,
        with_amount=dice.random() < 0.5,
        window=dice.choice((30, 7)),
        way=dice.choice(ways),
        inside=dice.choice(COMPARTMENTS),
        outside=dice.choice(COMPARTMENTS),
    )


def a_step(dice: Random, shapes: Sequence[Shape]) -> Step:
    """A start of the job."""
    step = Step(
        dice.choice(KINDS),
        **{name: _trouble(dice, name) for name in dice.choice(TROUBLES)},
        lose_error_files=dice.random() < 0.3,
    )
    if step.kind == "rollback":
        return step
    if step.kind == "erase":
        by = dice.choice(("customer_id", *days.NAMES))
        return replace(step, whom=dice.randrange(13), by=by)
    day = Day(**{name: dice.choice(numbers) for name, numbers in DAY.items()})
    return replace(
        step,
        day=day if dice.random() < 0.8 else None,
        shape=dice.choice(shapes),
        source=dice.choice(SOURCES),
        accept=dice.random() < 0.85,
    )


def _trouble(dice: Random, member: str) -> Any:
    if member == "kill":
        return dice.randint(1, LAST_BOUNDARY)
    if member == "rejects":
        return dice.choice((5, 2))
    if member == "executions":
        return tuple(dice.choice(("well", *EXECUTIONS)) for _ in range(dice.randint(1, 4)))
    requests = sorted(dice.sample(range(1, LAST_REQUEST + 1), dice.randint(1, 4)))
    return tuple((request, dice.choice(FAULTS)) for request in requests)
