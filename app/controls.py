"""What of a run may change while it goes on: the budget, the rule that picks operating points, and the points that it may pick.

A frame has one budget and one rule from its preparation to its result: the pipeline takes all of it up where it begins a
frame, and notes what is new in the latency log before the first frame that it holds for, so that replay stays exact.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Collection
from dataclasses import dataclass

from scheduler.policy import DeepestThatFits, Fixed, Policy
from scheduler.profile import OperatingPoint, Profile
from scheduler.rules import policy_from_json

AUTO = "auto"
LEAST_MS, MOST_MS = 1.0, 10_000.0


@dataclass(frozen=True, slots=True)
class Operation:
    """What holds for a frame."""

    budget_ms: float  # inf: no deadline, as frames of a file have none
    policy: Policy | None  # None until there is a network
    exit: str  # "auto", or the operating point that is always taken
    profile: Profile | None = None  # of all points, as measured
    points: tuple[OperatingPoint, ...] = ()  # those that may be chosen


class Controls:
    """The operation from the next frame on. Any thread may read and change it.

    `exit` is "auto" (the rule of `--exit auto`), "deepest-that-fits" (the plain one), or an operating point.
    """

    def __init__(self, budget_ms: float) -> None:
        self._rules: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()
        self.now = Operation(budget_ms, None, AUTO)

    def offer(self, policy: Policy, profile: Profile, points: Collection[OperatingPoint]) -> None:
        """`points` are those of the profile that are ready. With a fixed exit there is one, and no auto."""
        fixed, plain = isinstance(policy, Fixed), DeepestThatFits()
        rules = {} if fixed else {AUTO: policy.to_json(), str(plain.to_json()["name"]): plain.to_json()}
        exit = str(policy.point) if isinstance(policy, Fixed) else AUTO
        with self._lock:
            self._rules = rules
            self.now = Operation(self.now.budget_ms, policy, exit, profile, tuple(points))

    def allow(self, points: Collection[OperatingPoint], profile: Profile | None = None) -> None:
        """These may be chosen, too. `profile`: one that was measured anew."""
        with self._lock:
            profile = profile or self.now.profile
            allowed = {*self.now.points, *points}
            kept = tuple(p.point for p in profile.points if p.point in allowed) if profile else ()
            self.now = dataclasses.replace(self.now, profile=profile, points=kept)

    def withdraw(self, points: Collection[OperatingPoint]) -> None:
        """These may not be chosen any more, until they are allowed again. Raises ValueError where none would be left."""
        with self._lock:
            left = tuple(p for p in self.now.points if p not in points)
            if not left:
                raise ValueError("no operating point would be left to choose")
            self.now = dataclasses.replace(self.now, points=left)

    @property
    def exits(self) -> tuple[str, ...]:
        """None before `offer`."""
        return (*self._rules, *map(str, sorted(self.now.points)))

    @property
    def budget_ms(self) -> float:
        return self.now.budget_ms

    @budget_ms.setter
    def budget_ms(self, budget_ms: float) -> None:
        """Raises ValueError for a budget that --budget-ms would refuse. Without a deadline there is none to change."""
        if math.isinf(self.now.budget_ms):
            return
        if not LEAST_MS <= budget_ms <= MOST_MS:
            raise ValueError(f"a budget is from {LEAST_MS:g} to {MOST_MS:g} ms, got {budget_ms:g}")
        with self._lock:
            self.now = dataclasses.replace(self.now, budget_ms=budget_ms)

    def lift_deadline(self) -> None:
        """For a file: nobody waits for its frames."""
        with self._lock:
            self.now = dataclasses.replace(self.now, budget_ms=math.inf)

    @property
    def exit(self) -> str:
        return self.now.exit

    @exit.setter
    def exit(self, exit: str) -> None:
        """One of `exits`. Raises ValueError for another one."""
        if exit not in self.exits:
            raise ValueError(f"unknown exit {exit!r}; known: {', '.join(self.exits)}")
        with self._lock:
            named = {str(point): point for point in self.now.points}
            rule = self._rules.get(exit)
            policy = policy_from_json(rule) if rule else Fixed(named[exit])
            self.now = dataclasses.replace(self.now, policy=policy, exit=exit)
