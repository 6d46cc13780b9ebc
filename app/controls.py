"""What of a run may be changed while it goes on: the budget, and the rule that picks operating points.

A frame has one budget and one rule from its preparation to its result: the pipeline takes both up where it begins a
frame, and notes a new rule in the latency log before the first frame that it decides, so that replay stays exact.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.policy import DeepestThatFits, Fixed, Policy
from scheduler.profile import OperatingPoint
from scheduler.rules import policy_from_json

AUTO = "auto"
LEAST_MS, MOST_MS = 1.0, 10_000.0


@dataclass(frozen=True, slots=True)
class Operation:
    """What holds for a frame."""

    budget_ms: float  # inf: no deadline, as frames of a file have none
    policy: Policy | None  # None until there is a network
    exit: str  # "auto", or the operating point that is always taken


class Controls:
    """The operation from the next frame on. Any thread may read and change it.

    `exit` is "auto" (the rule of `--exit auto`), "deepest-that-fits" (the plain one), or an operating point.
    """

    def __init__(self, budget_ms: float) -> None:
        self._rules: dict[str, dict[str, object]] = {}
        self._points: dict[str, OperatingPoint] = {}
        self._lock = threading.Lock()
        self.now = Operation(budget_ms, None, AUTO)

    def offer(self, policy: Policy, points: Sequence[OperatingPoint]) -> None:
        """`points` are those that the engine has loaded: with a fixed exit it has no others, and there is no auto."""
        fixed, plain = isinstance(policy, Fixed), DeepestThatFits()
        rules = {} if fixed else {AUTO: policy.to_json(), str(plain.to_json()["name"]): plain.to_json()}
        with self._lock:
            self._rules = rules
            self._points = {str(point): point for point in sorted(points)}
            self.now = Operation(self.now.budget_ms, policy, str(policy.point) if isinstance(policy, Fixed) else AUTO)

    @property
    def exits(self) -> tuple[str, ...]:
        """None before `offer`."""
        return (*self._rules, *self._points)

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
        rule = self._rules.get(exit)
        policy = policy_from_json(rule) if rule else Fixed(self._points[exit])
        with self._lock:
            self.now = dataclasses.replace(self.now, policy=policy, exit=exit)
