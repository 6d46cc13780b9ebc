"""What scheduler and network did for a round, and what the latency log keeps of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from app.domain import DropCause
from scheduler.log import FrameRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.camera import Camera
    from app.domain import Stats
    from app.faces.front_end import FrameFaces
    from app.totals import Totals
    from scheduler.load import Decision, Load
    from scheduler.log import Batch


class Seen(NamedTuple):
    """One camera's frame in a round."""

    camera: Camera
    found: FrameFaces
    born_s: float


@dataclass
class Served:
    """What scheduler and network did for a round: one frame of each camera that had one."""

    load: Load
    decision: Decision | None = None
    slowdown: float = 1.0  # as believed before the round
    tail: float = 1.0
    order: tuple[int, ...] = ()  # everybody, in the order of their turns
    people: set[int] = field(default_factory=set)  # who was read
    measured_ms: float = 0.0  # the first batch, cropping included
    further: tuple[Batch, ...] = ()  # what was decided after it

    def of(self, found: FrameFaces) -> set[int]:
        """Who was read in one of its frames."""
        return {f.person for f in found.faces if f.person in self.people}

    def unserved(self, found: FrameFaces) -> dict[DropCause, int]:
        """Faces of a frame that were not read, by cause."""
        if not self.decision:
            return dict(found.unserved)
        asked = len(self.order) if self.decision.due is None else self.decision.due
        due, read = {*self.order[: max(asked, len(self.people))]}, len(self.of(found))
        mine = sum(face.person in due for face in found.faces)
        waiting = {DropCause.NO_BUDGET: mine - read, DropCause.SETTLED: len(found.faces) - mine}
        return {**found.unserved, **{cause: n for cause, n in waiting.items() if n}}


def count(totals: Totals, found: FrameFaces, served: Served, age_ms: float, now_s: float) -> None:
    """Adds a frame whose result is there to the run's or a camera's totals."""
    totals.frames += 1
    totals.faces += len(found.faces) + sum(found.unserved.values())
    totals.read += len(served.of(found))
    totals.misses += age_ms > found.frame.budget_ms
    totals.slow += served.load.probe > 0
    totals.ages_ms.append(age_ms)
    totals.drops.update(served.unserved(found))
    totals.first_result_s, totals.last_result_s = totals.first_result_s or now_s, now_s
    if served.decision and found.faces:
        totals.exits[str(served.decision.point)] += served.decision.serve > 0


def round_record(number: int, seen: Sequence[Seen], served: Served, stats: Sequence[Stats], bucket: int) -> FrameRecord:
    """What the latency log keeps of a round: of one camera its frame, of several their sum, with a line of each."""
    unserved = Counter[str]()
    for one in seen:
        unserved.update({cause.name.lower(): n for cause, n in served.unserved(one.found).items()})
    n, load = sum(len(one.found.faces) for one in seen), served.load
    # Times are those of the frame that has waited longest: it has the least left.
    oldest = max(range(len(seen)), key=lambda i: stats[i].frame_age_ms - stats[i].budget_ms)
    several, frame, figures = bool(seen[0].camera.name), seen[oldest].found.frame, stats[oldest]
    return FrameRecord(
        id=number if several else frame.id,
        time_s=frame.time_s,
        faces=n + sum(sum(one.found.unserved.values()) for one in seen),
        wanted=n,
        new=load.new,
        served=served.decision.serve if served.decision else 0,
        exit=figures.exit,
        size=figures.input_size,
        bucket=bucket,
        budget_ms=figures.budget_ms,
        left_ms=figures.left_ms,
        probe=load.probe,
        predicted_ms=figures.predicted_ms,
        measured_ms=figures.measured_ms,
        slowdown=served.slowdown,
        tail=served.tail,
        age_ms=figures.frame_age_ms,
        miss=any(s.frame_age_ms > s.budget_ms for s in stats),
        provider=figures.provider,
        stages_ms=seen[oldest].found.stages_ms,
        unserved=unserved,
        engine=served.decision.point.engine if served.decision and served.decision.serve else "",
        people=load.people,
        further=served.further,
        cameras=tuple(_line(one, served, s) for one, s in zip(seen, stats, strict=True)) if several else (),
    )


def _line(one: Seen, served: Served, stats: Stats) -> dict[str, object]:
    """A camera's part in a round."""
    return {
        "camera": one.camera.name,
        "id": one.found.frame.id,
        "faces": len(one.found.faces) + sum(one.found.unserved.values()),
        "wanted": len(one.found.faces),
        "read": len(served.of(one.found)),
        "age_ms": stats.frame_age_ms,
        "miss": stats.frame_age_ms > stats.budget_ms,
    }
