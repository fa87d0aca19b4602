"""EDGE. How far Spark is with a long step: tasks done of those it knows of, told to a listener.

Spark is asked each second beside the work, for a few numbers that it keeps anyway. It plans as it
goes, so more tasks may become known; what is told is never a promise of time. An engine behind
Connect, and Sail, tell nothing here.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from spark_profiles.progress import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from spark_profiles.progress import Listener


@dataclass
class Tally:
    """Tasks by stage, as they were seen last."""

    stages: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Stage -> tasks done, tasks in all."""
    former: frozenset[int] = frozenset()
    """Stages of other work that was going on before: not ours."""

    def see(self, active: dict[int, tuple[int, int]]) -> tuple[int, int]:
        """Tasks done and known by now, of the stages that are at work and those that were."""
        for stage, (_, tasks) in self.stages.items():
            if stage not in active:
                self.stages[stage] = (tasks, tasks)
        self.stages |= {stage: seen for stage, seen in active.items() if stage not in self.former}
        done, known = zip(*self.stages.values(), strict=True) if self.stages else ((), ())
        return sum(done), sum(known)


@contextlib.contextmanager
def watched(
    spark: SparkSession, listener: Listener, event: Event, *, every: float = 1.0
) -> Iterator[None]:
    """Tell the event, and while the body works again and again with the tasks that are done."""
    listener(event)
    tracker = tally = None
    # A platform may bar the question; Connect does not know it. The work goes on untold.
    with contextlib.suppress(Exception):
        tracker = cast("Any", spark.sparkContext).statusTracker()
        tally = Tally(former=frozenset(tracker.getActiveStageIds()))
    if tally is None:
        yield
        return
    over = threading.Event()

    def tell() -> None:
        told = (0, 0)
        with contextlib.suppress(Exception):  # of the platform, or since Spark is gone
            while not over.wait(every):
                now = tally.see(_active(tracker))
                if now != told:
                    told = now
                    listener(Event(event.step, event.message, *now, unit="tasks"))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if tally.stages:
            listener(event)  # the last word is not how far it was


def _active(tracker: Any) -> dict[int, tuple[int, int]]:
    stages = (tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds())
    return {s.stageId: (s.numCompletedTasks, s.numTasks) for s in stages if s is not None}
