"""Landmarks of a head that keeps still are averaged over time, those of one that moves are not. NumPy only.

What the landmarks err by from frame to frame moves the crop, and with it the network's answer. Nothing is gained by following
that; a head that moves is followed at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from align.geometry import Points

# A still head's landmarks are averaged over about so long; from a mean movement of MOVED eye distances on, not at all. What is
# older than FORGET_S has nothing to do with the present.
OVER_S, MOVED, FORGET_S = 0.12, 0.07, 0.4


class Steady:
    """Keeps everybody's landmarks of the last frame."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, Points]] = {}

    def __call__(self, person: int, landmarks: Points, eyes: float, time_s: float) -> Points:
        """(47, 2) landmarks of the person, `eyes` apart, in the frame of `time_s`, averaged."""
        then_s, last = self._last.get(person, (-math.inf, landmarks))
        passed_s = time_s - then_s
        if 0 < passed_s < FORGET_S:
            apart = landmarks - last
            moved = float(np.hypot(apart[:, 0], apart[:, 1]).mean()) / max(eyes, 1e-6)
            still = math.exp(-passed_s / OVER_S) * max(0.0, 1 - (moved / MOVED) ** 2)
            landmarks = last + (1 - still) * apart
        self._last[person] = time_s, landmarks
        return landmarks

    def keep(self, people: Collection[int]) -> None:
        """Forgets everybody else."""
        self._last = {person: kept for person, kept in self._last.items() if person in people}
