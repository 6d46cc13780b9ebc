"""Two places to be read at: this machine, and a server elsewhere.

Another program on this machine slows all of its points down, and none of the server's; other kiosks slow the server's down, and
none of this machine's. So each place has a latency model of its own. Rules know one: in its profile the server's points take as
much longer as that place is slower than this one just now, tail included, rounded up to the next STEP.

A server that was slow is not chosen, and so nothing more would be heard of it. Therefore what was learnt of it fades with each
frame that is read here: after a second or so it is tried again.

A server may be out. Then the front has this machine's points alone, and a fixed point of the server's is read here.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from scheduler.latency import LatencyModel
from scheduler.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.load import Decision, Load
    from scheduler.policy import Policy
    from scheduler.profile import OperatingPoint

SERVER = "server"  # the engine of its operating points
FADING = 0.97  # a frame; half is left after 23
LEAST_SHARE, MARGIN = 0.5, 1.1  # of a batch's time, what the server has at least; of what is kept to read here instead
STEP, STEPS = 1.15, (-10, 26)  # a quarter to 38 times as slow


class Here(Profile):
    """All points, of which those of this machine alone are worth choosing."""

    @cached_property
    def front(self) -> tuple[OperatingPoint, ...]:
        mine = tuple(p for p in self.points if p.point.engine != SERVER)
        return replace(self, points=mine).front if len(mine) < len(self.points) else super().front


class Places(LatencyModel):
    """The profile as it holds here, and as it holds at the server."""

    one_place: type[LatencyModel] = LatencyModel

    def __init__(self, profile: Profile, **numbers: float) -> None:
        """`numbers` as LatencyModel takes them."""
        super().__init__(profile, **numbers)
        self._given, self._here = profile, _only_here(profile)
        self._by_step = _every_step(profile)
        self._away = self.one_place(profile, **numbers)
        self._tail = self._away.tail
        self._there = True

    def server(self, there: bool) -> None:
        """Whether the server's points may be chosen from now on."""
        self._there = there
        self._turn()

    def here(self, decision: Decision, load: Load) -> Decision:
        """The decision, or the same exit on this machine where a rule has no other choice than a server that is not there."""
        if self._there or decision.point.engine != SERVER:
            return decision
        twin = self.twin(decision.point)
        return decision._replace(point=twin, predicted_ms=self.predict_ms(twin, decision.serve, load))

    def twin(self, point: OperatingPoint) -> OperatingPoint:
        """The same exit and size on this machine."""
        return next(p.point for p in self._given.points if p.point[:2] == point[:2] and p.point.engine != SERVER)

    @property
    def cheapest_here(self) -> OperatingPoint:
        return self._here.front[0]

    def limit_ms(self, decision: Decision, load: Load) -> float:
        """How long the server has for a batch: what is left, less what reading all of it here would take; but no less than
        what was predicted, as long as somebody can still be read here."""
        left_ms = load.left_ms
        if decision.point.engine != SERVER or math.isinf(left_ms):
            return left_ms
        fixed = decision.load is None
        instead = self.twin(decision.point) if fixed else self.cheapest_here
        every = MARGIN * self.predict_ms(instead, decision.serve, load)
        one = every if fixed else MARGIN * self.predict_ms(instead, 1, load)
        return max(left_ms - every, min(decision.predicted_ms, left_ms - one), LEAST_SHARE * left_ms)

    def unanswered(self, point: OperatingPoint, faces: int, waited_ms: float) -> float:
        """How long a batch counts to have taken that the server did not read: as long as was waited, and no less than usual."""
        return max(waited_ms, self._given.median_ms(point, faces) * self._away.slowdown)

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float, load: Load) -> None:
        if point.engine == SERVER:
            self._away.observe(point, faces, measured_ms, load._replace(batches=0, probe=0.0))
        else:
            super().observe(point, faces, measured_ms, load)
            if not load.batches:
                self._away.slowdown = 1 + FADING * (self._away.slowdown - 1)
                self._away.tail = self._tail + FADING * (self._away.tail - self._tail)
        self._turn()

    def _turn(self) -> None:
        """Shows the profile that holds now."""
        if not self._there:
            self.profile = self._here
            return
        slower = self._away.slowdown * self._away.tail / (self.slowdown * self.tail)
        step = min(max(math.ceil(math.log(slower, STEP) - 1e-9), STEPS[0]), STEPS[1])
        self.profile = self._by_step[step]


@lru_cache(maxsize=4)
def _only_here(profile: Profile) -> Here:
    here = Here(**{f.name: getattr(profile, f.name) for f in fields(profile)})
    here.choices  # noqa: B018 - as in _slower
    return here


@lru_cache(maxsize=4)
def _every_step(profile: Profile) -> Mapping[int, Profile]:
    """All at once: one takes some milliseconds, which no frame has. A thousand simulated kiosks share them."""
    return {step: _slower(profile, STEP**step) for step in range(STEPS[0], STEPS[1] + 1)}


def _slower(profile: Profile, times: float) -> Profile:
    """The server, slowed down by a factor, with all that a decision looks at."""
    points = tuple(
        replace(p, median_ms=tuple(ms * times for ms in p.median_ms)) if p.point.engine == SERVER else p
        for p in profile.points
    )
    slower = replace(profile, points=points)
    slower.choices  # noqa: B018 - computed once, and kept
    return slower


def latency_model(profile: Profile, numbers: Mapping[str, float] | None = None) -> LatencyModel:
    """The model of a profile, with a server's place where it has such points."""
    away = any(p.point.engine == SERVER for p in profile.points)
    return (Places if away else LatencyModel)(profile, **(numbers or {}))


def decide(policy: Policy, load: Load, latency: LatencyModel) -> Decision:
    """What a rule says, as far as the server is there."""
    decision = policy(load, latency)
    return latency.here(decision, load) if isinstance(latency, Places) else decision


def offer(latency: LatencyModel, there: bool) -> None:
    """Tells a model of two places whether the server is there."""
    if isinstance(latency, Places):
        latency.server(there)
