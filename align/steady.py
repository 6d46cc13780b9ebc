"""Landmarks of a head that keeps still are averaged over time, those of one that moves are not. NumPy only.

Landmarks jitter from frame to frame, and the jitter would move the crop and the network's answer. A head that moves is
followed at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from align.geometry import Points

# A still head's landmarks are averaged over about so long; from a mean movement of MOVED eye distances on, not at all. What is
# older than FORGET_S has nothing to do with the present.
OVER_S, MOVED, FORGET_S = 0.12, 0.07, 0.4


class Steady:
    """Keeps everybody's landmarks of the last frame."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, Points]] = {}

    def __call__(self, people: Sequence[int], landmarks: Points, eyes: NDArray[np.float64], time_s: float) -> Points:
        """(n, 47, 2) landmarks of these people, (n,) `eyes` apart, in the frame of `time_s`, averaged."""
        before = [self._last.get(person, (-math.inf, face)) for person, face in zip(people, landmarks, strict=True)]
        passed_s = time_s - np.array([then_s for then_s, _ in before])
        apart = landmarks - np.stack([last for _, last in before])
        moved = np.hypot(apart[..., 0], apart[..., 1]).mean(axis=1) / np.maximum(eyes, 1e-6)
        recent = (passed_s > 0) & (passed_s < FORGET_S)
        still = np.where(
            recent, np.exp(-np.maximum(passed_s, 0.0) / OVER_S) * np.maximum(0.0, 1 - (moved / MOVED) ** 2), 0.0
        )
        landmarks = landmarks - still[:, None, None] * apart
        self._last.update((person, (time_s, face)) for person, face in zip(people, landmarks, strict=True))
        return landmarks

    def keep(self, people: Collection[int]) -> None:
        """Forgets everybody else."""
        self._last = {person: kept for person, kept in self._last.items() if person in people}
