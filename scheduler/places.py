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
from functools import cached_property
from typing import TYPE_CHECKING

from scheduler.latency import LatencyModel, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.latency import OperatingPoint
    from scheduler.policy import Decision, Load, Policy

SERVER = "server"  # the engine of its operating points
FADING = 0.97  # a frame; half is left after 23
STEP, STEPS = 1.15, (-10, 26)  # a quarter to 38 times as slow


class Here(Profile):
    """All points, of which those of this machine alone are worth choosing."""

    @cached_property
    def front(self) -> tuple[OperatingPoint, ...]:
        mine = tuple(p for p in self.points if p.point.engine != SERVER)
        return replace(self, points=mine).front if len(mine) < len(self.points) else super().front


class Places(LatencyModel):
    """The profile as it holds here, and as it holds at the server."""

    def __init__(self, profile: Profile, **numbers: float) -> None:
        """`numbers` as LatencyModel takes them."""
        super().__init__(profile, **numbers)
        self._given, self._here = profile, Here(**{f.name: getattr(profile, f.name) for f in fields(profile)})
        self._here.choices  # noqa: B018 - as in _slower
        # All at once: one takes some milliseconds, which no frame has.
        self._by_step = {step: _slower(profile, STEP**step) for step in range(STEPS[0], STEPS[1] + 1)}
        self._away = LatencyModel(profile, **numbers)
        self._tail = self._away.first_tail
        self._there = True

    def server(self, there: bool) -> None:
        """Whether the server's points may be chosen from now on."""
        self._there = there
        self._turn()

    def here(self, decision: Decision, probe: float) -> Decision:
        """The decision, or the same exit on this machine where a rule has no other choice than a server that is not there."""
        if self._there or decision.point.engine != SERVER:
            return decision
        twin = self.twin(decision.point)
        return decision._replace(point=twin, predicted_ms=self.predict_ms(twin, decision.serve, probe))

    def twin(self, point: OperatingPoint) -> OperatingPoint:
        """The same exit and size on this machine."""
        return next(p.point for p in self._given.points if p.point[:2] == point[:2] and p.point.engine != SERVER)

    @property
    def cheapest_here(self) -> OperatingPoint:
        return self._here.front[0]

    def observe(
        self, point: OperatingPoint, faces: int, measured_ms: float, further: bool = False, probe: float = 0.0
    ) -> None:
        if point.engine == SERVER:
            self._away.observe(point, faces, measured_ms)
        else:
            super().observe(point, faces, measured_ms, further, probe)
            if not further:
                self._away.slowdown = 1 + FADING * (self._away.slowdown - 1)
                self._away.first_tail = self._tail + FADING * (self._away.first_tail - self._tail)
        self._turn()

    def _turn(self) -> None:
        """Shows the profile that holds now."""
        if not self._there:
            self.profile = self._here
            return
        slower = self._away.slowdown * self._away.first_tail / (self.slowdown * self.first_tail)
        step = min(max(math.ceil(math.log(slower, STEP) - 1e-9), STEPS[0]), STEPS[1])
        self.profile = self._by_step[step]


def _slower(profile: Profile, times: float) -> Profile:
    """The server so many times as slow, with all that a decision looks at."""
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
    return latency.here(decision, load.probe) if isinstance(latency, Places) else decision


def offer(latency: LatencyModel, there: bool) -> None:
    """Tells a model of two places whether the server is there."""
    if isinstance(latency, Places):
        latency.server(there)
