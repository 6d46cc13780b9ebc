"""How often newcomers are looked for: seldom while nobody is known and nothing moves, as in an empty room at night.

Whoever comes moves, and is looked for at the full pace within LOOK_S. Only for live sources: a kiosk idles for hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from app.domain import Box, Image

LOOK_S = 0.075  # from one picture that is looked at to the next: every other one of a camera
STEP, CELL = 4, 16  # every fourth pixel; pixels to a cell's side: their mean hides a sensor's noise
# Movement is this many cells that differ by this many of 255 levels, and by this many times the median difference.
CELLS, MOVED, OVER_NOISE = 2, 4.0, 8.0
REFERENCE_S = 1.0  # what is compared with is at most so old: slow movement adds up
STAYS_S = 3.0  # of full pace after the last movement: some looks at whoever came and stands still
SLOW = 0.1


@dataclass
class Pace:
    """Share of the full pace at which newcomers are looked for. One object sets it, others read it."""

    now: float = 1.0


class Calm:
    """Tells the pace, frame by frame."""

    def __init__(self) -> None:
        self._reference: NDArray[np.float32] | None = None
        self._reference_s = self._moved_s = self._last_s = -math.inf

    def __call__(self, image: Image, time_s: float, people: Sequence[Box]) -> float:
        """`people`: the faces that are followed in the picture. They may move."""
        size = max(1, image.shape[1] // CELL), max(1, image.shape[0] // CELL)
        same = self._reference is not None and self._reference.shape == size[::-1]
        if same and 0 <= time_s - self._last_s < LOOK_S:
            return self._pace(self._last_s)
        self._last_s = time_s
        green = np.ascontiguousarray(image[::STEP, ::STEP, 1])
        cells = cv2.resize(green, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        old = self._reference
        if old is None or not same or time_s < self._reference_s:
            self._reference, self._reference_s, self._moved_s = cells, time_s, time_s
            return 1.0
        change = cells - old
        change = np.abs(change - np.median(change))  # a lamp or the exposure changes all of it
        moved = change > max(MOVED, OVER_NOISE * float(np.median(change)))
        for box in people:
            moved[_body(box)] = False
        if np.count_nonzero(moved) >= CELLS:
            self._moved_s = time_s
        if time_s - self._reference_s >= REFERENCE_S:
            self._reference, self._reference_s = cells, time_s
        return self._pace(time_s)

    def _pace(self, time_s: float) -> float:
        return 1.0 if time_s - self._moved_s < STAYS_S else SLOW


def _body(face: Box) -> tuple[slice, slice]:
    """Rows and columns of the cells that somebody's head and body may take."""
    left, top, side = face.x / CELL, face.y / CELL, face.width / CELL
    columns = slice(max(0, math.floor(left - side)), max(0, math.ceil(left + 2 * side)))
    return slice(max(0, math.floor(top - side / 2)), None), columns
