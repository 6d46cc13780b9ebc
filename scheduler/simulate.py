"""Simulates a frame's path through a machine: a crowd, a profile and noise go in, what a rule makes of them comes out.

The machine is the application's: frames are born at a steady rate, the front end prepares them, a place for one frame
holds the newest of those prepared, and the network's loop takes it as soon as it is free. What it takes is the true
median of the point chosen for the faces served, times that frame's moment (a recorded ratio measured / median): every
rule meets the same moments at the same frames. Further batches of a frame meet its moment too, or one of their own where
the world has such. What a frame's batches gave is shown when the last of them is done, as in the application. Chance comes
from outside; the same world gives the same outcome, bit for bit.

What is on screen is judged at every instant, whether frames came in time, late, or not at all (screen.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scheduler.fairness import wait_bound_ms
from scheduler.load import Load
from scheduler.profile import OperatingPoint, quantile
from scheduler.screen import ModelScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scheduler.latency import LatencyModel
    from scheduler.load import Decision
    from scheduler.policy import Rule
    from scheduler.screen import Screen
    from scheduler.world import World

MEMORY_S = 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """One decided frame. Times in milliseconds."""

    frame: int
    faces: int
    point: OperatingPoint | None  # of the first batch; None where nobody was in view, or the rule let the frame pass
    served: int  # in all its batches
    left_ms: float
    predicted_ms: float
    took_ms: float
    age_ms: float  # from birth to result
    batches: tuple[tuple[OperatingPoint, int], ...] = ()
    due: int = 0  # faces that the rule called worth a reading


@dataclass(frozen=True)
class Outcome:
    """What a rule made of a world, in figures. Shares are of all frames, or of all faces in all frames."""

    rule: str
    frames: int
    late: int
    dropped: int  # never decided: a newer one was there
    age_p50_ms: float
    age_p95_ms: float
    age_p99_ms: float
    faces: int
    served: int
    delivered_mae: float  # of the points used, over the faces served; nan where nobody was
    streaming_mae: float
    streaming_error: float  # the same with the relative error over all tasks
    longest_wait_ms: float  # of anybody in view between two readings, or until the first
    wait_bound_ms: float  # what that cannot exceed, by the fewest served in a frame (fairness.py)
    left_unread: int  # people who went away without having been read
    switches_per_minute: float
    points: dict[str, int] = field(default_factory=dict)

    @property
    def misses(self) -> int:
        """Frames without a result in time."""
        return self.late + self.dropped

    @property
    def miss_share(self) -> float:
        return self.misses / self.frames

    def to_json(self) -> dict[str, Any]:
        figures = {k: v for k, v in vars(self).items() if not (isinstance(v, float) and math.isnan(v))}
        return {**figures, "misses": self.misses}


class Tally:
    """Counts what became of the frames."""

    def __init__(self) -> None:
        self.late, self.dropped, self.served, self.switches = 0, 0, 0, 0
        self.ages, self.busy_ms = list[float](), 0.0
        self.used = dict[OperatingPoint, list[int]]()  # batches and faces
        self.turns = list[tuple[float, int, int]]()  # born, faces in view, faces served: every frame
        self._last: OperatingPoint | None = None

    def drop(self, born_ms: float, faces: int) -> None:
        self.dropped += 1
        self.turns.append((born_ms, faces, 0))

    def decided(self, born_ms: float, step: Step, late: bool) -> None:
        for point, count in step.batches:
            used = self.used.setdefault(point, [0, 0])
            used[0] += 1
            used[1] += count
        if step.point:
            self.switches += self._last is not None and step.point != self._last
            self._last = step.point
        self.late += late
        self.served += step.served
        self.ages.append(step.age_ms)
        self.busy_ms += step.took_ms
        self.turns.append((born_ms, step.faces, step.served))


def simulate(
    world: World,
    rule: Rule,
    latency: LatencyModel,
    name: str = "",
    memory_s: float = MEMORY_S,
    on_step: Callable[[Step], object] | None = None,
) -> Outcome:
    """Leads a rule through a world. `latency` is what the rule believes and learns; `on_step` sees every decided frame."""
    screen = ModelScreen(world, memory_s)
    return _outcome(name, world, screen, walk(world, rule, latency, screen, on_step))


def walk(
    world: World,
    rule: Rule,
    latency: LatencyModel,
    screen: Screen,
    on_step: Callable[[Step], object] | None = None,
) -> Tally:
    """The same on a screen of one's own."""
    tally, free_ms, missed = Tally(), 0.0, False
    final = len(world.born_ms) - 1
    each = zip(world.born_ms, world.ready_ms, world.faces, world.budget_ms, strict=True)
    for frame, (born, ready, faces, budget) in enumerate(each):
        screen.show(frame)
        if frame < final and world.ready_ms[frame + 1] <= free_ms:
            tally.drop(born, faces)
            missed = True
            continue
        started = max(ready, free_ms)
        left = budget - (started - born)
        point, predicted, took, due, batches = None, 0.0, 0.0, 0, list[tuple[OperatingPoint, int]]()
        if faces:
            probe = world.probes[frame] if world.probes else 0.0
            load = screen.load(frame, rule)._replace(left_ms=left, late=missed, probe=probe)
            decision = rule(load, latency)
            due = faces if decision.due is None else decision.due
            batches, took = _carry_out(rule, decision, load, latency, world)
            for part, count in batches:
                screen.serve(frame, part, count, started + took)
            if batches:
                point, predicted = decision.point, decision.predicted_ms
        free_ms = started + took
        age = free_ms - born
        missed = age > budget
        served = sum(count for _, count in batches)
        step = Step(frame, faces, point, served, left, predicted, took, age, tuple(batches), due)
        tally.decided(born, step, missed)
        if on_step:
            on_step(step)
    screen.close(final)
    return tally


def _outcome(name: str, world: World, screen: ModelScreen, tally: Tally) -> Outcome:
    profile = world.profile
    on_screen_ms = sum(n * (b - a) for n, (a, b) in zip(world.faces, pairwise(world.born_ms), strict=False))
    shown = {p.point: float(w) for p, w in zip(profile.points, screen.by_point, strict=True)}
    p50, p95, p99 = _quantiles(tally.ages)
    minutes = (world.born_ms[-1] - world.born_ms[0] + world.period_ms) / 60_000
    delivered = sum(profile.mae(p) * n for p, (_, n) in tally.used.items())
    return Outcome(
        rule=name,
        frames=len(world.born_ms),
        late=tally.late,
        dropped=tally.dropped,
        age_p50_ms=p50,
        age_p95_ms=p95,
        age_p99_ms=p99,
        faces=sum(world.faces),
        served=tally.served,
        delivered_mae=delivered / tally.served if tally.served else math.nan,
        streaming_mae=_streaming(on_screen_ms, profile.blank_mae, ((w, profile.mae(p)) for p, w in shown.items())),
        streaming_error=_streaming(
            on_screen_ms, profile.blank_error, ((w, profile.error(p)) for p, w in shown.items())
        ),
        longest_wait_ms=screen.longest_wait_ms,
        wait_bound_ms=wait_bound_ms(tally.turns, world.arrivals),
        left_unread=screen.left_unread,
        switches_per_minute=tally.switches / minutes,
        points={str(p): n for p, (n, _) in sorted(tally.used.items(), key=lambda u: profile.cost(u[0]))},
    )


def _carry_out(
    rule: Rule, decision: Decision, load: Load, latency: LatencyModel, world: World
) -> tuple[list[tuple[OperatingPoint, int]], float]:
    """A frame's batches, and the milliseconds that they took. The rule is asked again after each batch."""
    ahead = [(decision.point, decision.serve), *decision.also]
    batches, took, rest = list[tuple[OperatingPoint, int]](), 0.0, load.faces
    while ahead:
        point, count = ahead.pop(0)
        if not count:
            continue
        further = bool(batches)
        moments = world.further_moments if further and world.further_moments else world.moments
        ms = world.profile.median_ms(point, count) * moments[load.frame]
        now = load.after(load.faces - rest, load.left_ms - took, len(batches)) if further else load
        latency.observe(point, count, ms, now)
        batches.append((point, count))
        took += ms
        rest -= count
        if not ahead and rest:
            again = rule.again(load.after(load.faces - rest, load.left_ms - took, len(batches)), latency)
            ahead = [(again.point, again.serve)] if again else []
    return batches, took


def _streaming(faces_ms: float, blank: float, shown: Iterable[tuple[float, float]]) -> float:
    """Mean error on screen, from the worth that was shown of each point."""
    return blank - sum(worth * (blank - error) for worth, error in shown) / faces_ms if faces_ms else math.nan


def _quantiles(ages: list[float]) -> tuple[float, float, float]:
    ordered = sorted(ages) or [0.0]
    return quantile(ordered, 0.5), quantile(ordered, 0.95), quantile(ordered, 0.99)
