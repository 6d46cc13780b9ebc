"""How long an operating point takes for n faces: a measured profile, corrected while the program runs.

    prediction = profile's median(point, faces) x slowdown x probe x tail

- slowdown: another program or a hot chip slows all points by about the same factor, so one filtered ratio measured / profiled
  moves the whole table. The median of the last three lets a stall pass; a lasting change is known after three frames.
- probe: what slows a single frame is over before a filter can follow. A fixed piece of work is timed before the decision
  (app/network/probe.py); where it takes longer than usual, so will the network. Up to BRIEF such frames in a row do not
  move the slowdown.
- tail: what may come on top. It follows by steps that balance where one frame in 200 is late through its first batch,
  although half of such batches would have been in time. A surprise that costs no deadline does not move it, so where there
  is time it is used. Further batches do not move it either: by then the frame's pace is known, so they hardly surprise.
- within a frame its last batch has shown how fast the machine is: the slowdown or that, whichever is more.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from scheduler.load import Load
    from scheduler.profile import OperatingPoint, Profile

SLOWDOWN_GAIN = 0.7
BRIEF = 4
EQUAL = 1 + 1e-9  # equal but for rounding is not longer
TAIL_QUANTILE, TAIL_STEP, TAIL_LIMIT = 0.995, 0.5, 20.0
# A profile that was measured on a busy machine has a long tail, which must not hold for ever.
LONGEST_PROFILED_TAIL = 1.3


class LatencyModel:
    """The profile as it holds at this moment. Numbers that begin with `tail` say how the tail is followed."""

    def __init__(
        self,
        profile: Profile,
        tail_quantile: float = TAIL_QUANTILE,
        tail_step: float = TAIL_STEP,
        tail_limit: float = TAIL_LIMIT,
    ) -> None:
        self.profile, self.slowdown = profile, 1.0
        self._whole = profile
        self.by_all = (
            False  # whether every batch that takes longer than predicted moves the tail, as in logs of schema 6
        )
        self.tail = min(profile.tail, LONGEST_PROFILED_TAIL)
        self._up, self._down = 1 + tail_step * tail_quantile, 1 + tail_step * (tail_quantile - 1)
        self._ratios: deque[float] = deque(maxlen=3)
        self._now = 0.0  # what the frame's last batch showed
        self._slow = 0  # frames in a row that the probe called slow
        self._numbers = {"tail_quantile": tail_quantile, "tail_step": tail_step, "tail_limit": tail_limit}

    def to_json(self) -> dict[str, float]:
        """The numbers that `__init__` takes beside the profile."""
        return dict(self._numbers)

    def offer(self, points: Collection[OperatingPoint], profile: Profile | None = None) -> None:
        """From now on only these points may be chosen. `profile` is one that was measured anew: what was learnt of the former
        one's errors is no longer true."""
        if profile:
            self._whole, self.slowdown = profile, 1.0
            self._ratios.clear()
        self.profile = self._whole.only(points)

    def pace(self, load: Load) -> float:
        """How many times the profile's median half of the batches take. Within a frame its last batch has shown it."""
        return max(self.slowdown, self._now) if load.batches else self.slowdown * max(load.probe, 1.0)

    def predict_ms(self, point: OperatingPoint, faces: int, load: Load) -> float:
        """Milliseconds that all but few batches stay under: more than half where surprises cost deadlines."""
        return self.profile.median_ms(point, faces) * self.pace(load) * self.tail

    def most_faces(self, point: OperatingPoint, ms: float, load: Load) -> int:
        """How many of the faces are predicted to be done in `ms`."""
        return self.profile.most_faces(point, ms / (self.pace(load) * self.tail), load.faces)

    def observe(self, point: OperatingPoint, faces: int, measured_ms: float, load: Load) -> None:
        """Learns from one batch; `load` is what was decided on."""
        usual_ms = self.profile.median_ms(point, faces)
        ratio = measured_ms / usual_ms
        if self.by_all or not load.batches:
            expected = self.pace(load)
            late = expected * usual_ms <= load.left_ms < measured_ms
            longer = ratio > expected * self.tail * EQUAL if self.by_all else late
            self.tail = min(max(self.tail * (self._up if longer else self._down), 1.0), self._numbers["tail_limit"])
        self._now = ratio
        if load.batches:
            return
        self._slow = self._slow + 1 if load.probe else 0
        if 0 < self._slow <= BRIEF:
            return
        self._ratios.append(ratio / (max(load.probe, 1.0)))
        self.slowdown += SLOWDOWN_GAIN * (sorted(self._ratios)[len(self._ratios) // 2] - self.slowdown)
