"""What scheduler and network did for one frame, and what the latency log keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.domain import DropCause
from scheduler.log import FrameRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.domain import Stats
    from app.faces.front_end import FrameFaces
    from app.totals import Totals
    from scheduler.load import Decision, Load
    from scheduler.log import Batch


@dataclass
class Served:
    """What scheduler and network did for one frame."""

    load: Load
    decision: Decision | None = None
    slowdown: float = 1.0  # as believed before the frame
    tail: float = 1.0
    people: set[int] = field(default_factory=set)  # who was read
    measured_ms: float = 0.0  # the first batch, cropping included
    further: tuple[Batch, ...] = ()  # what was decided after it

    def unserved(self, found: FrameFaces) -> dict[DropCause, int]:
        """Faces that were not read in this frame, by cause."""
        if not self.decision:
            return dict(found.unserved)
        faces, read = len(found.faces), len(self.people)
        due = max(faces if self.decision.due is None else self.decision.due, read)
        waiting = {DropCause.NO_BUDGET: due - read, DropCause.SETTLED: faces - due}
        return {**found.unserved, **{cause: n for cause, n in waiting.items() if n}}


def count(
    totals: Totals, found: FrameFaces, served: Served, unserved: Mapping[DropCause, int], age_ms: float, now_s: float
) -> None:
    """Adds a frame whose result is there to the run's totals."""
    totals.frames += 1
    totals.faces += len(found.faces) + sum(found.unserved.values())
    totals.read += len(served.people)
    totals.misses += age_ms > found.frame.budget_ms
    totals.slow += served.load.probe > 0
    totals.ages_ms.append(age_ms)
    totals.drops.update(unserved)
    totals.first_result_s, totals.last_result_s = totals.first_result_s or now_s, now_s
    if served.decision:
        totals.exits[str(served.decision.point)] += served.decision.serve > 0


def frame_record(
    found: FrameFaces, served: Served, stats: Stats, unserved: Mapping[DropCause, int], bucket: int
) -> FrameRecord:
    """What the latency log keeps of a frame."""
    n, load = len(found.faces), served.load
    return FrameRecord(
        id=found.frame.id,
        time_s=found.frame.time_s,
        faces=n + sum(found.unserved.values()),
        wanted=n,
        new=load.new,
        served=served.decision.serve if served.decision else 0,
        exit=stats.exit,
        size=stats.input_size,
        bucket=bucket,
        budget_ms=stats.budget_ms,
        left_ms=stats.left_ms,
        probe=load.probe,
        predicted_ms=stats.predicted_ms,
        measured_ms=stats.measured_ms,
        slowdown=served.slowdown,
        tail=served.tail,
        age_ms=stats.frame_age_ms,
        miss=stats.frame_age_ms > stats.budget_ms,
        provider=stats.provider,
        stages_ms=found.stages_ms,
        unserved={cause.name.lower(): count for cause, count in unserved.items()},
        engine=served.decision.point.engine if served.decision and served.decision.serve else "",
        people=load.people,
        further=served.further,
    )
