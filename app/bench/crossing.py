"""The demo crowd on its feet: people walk to and fro past each other, for measuring the tracker. Not a source."""

from __future__ import annotations

import math

import numpy as np

from app.domain import Box
from app.sources.demo import CYCLE_FRAMES, WIDTH, DemoCrowd

PEOPLE = 9  # three in each row
MARGIN = 110  # pixels that the neck keeps from the borders
GRID = (np.arange(8) + 0.5) / 8  # where a face is tested for being hidden, shares of its box


class CrossingCrowd(DemoCrowd):
    """Nine people; those of a row walk at the same height, at up to 120 to 300 pixels (1.5 to 4 faces) a second, and hide
    each other in passing."""

    def __init__(self) -> None:
        super().__init__(lambda _: PEOPLE)

    def _pose(self, i: int, frame_id: int) -> tuple[float, float, float]:
        _, y, angle = super()._pose(i, frame_id)
        turns = 2 + (2 * i) % 5 * 0.5  # there and back this many times a cycle, or half as often again
        phase = 2 * math.pi * (i * 0.381966 + turns * (frame_id % CYCLE_FRAMES) / CYCLE_FRAMES)
        return WIDTH / 2 - (WIDTH / 2 - MARGIN) * math.cos(phase), y, angle

    def in_view(self, frame_id: int) -> list[tuple[int, Box, float]]:
        return [(i, box, share * self._uncovered(i, box, frame_id)) for i, box, share in super().in_view(frame_id)]

    def _uncovered(self, i: int, box: Box, frame_id: int) -> float:
        """Share of a face's box that nobody in front hides."""
        x, y = (v.ravel() for v in np.meshgrid(box.x + GRID * box.width, box.y + GRID * box.height))
        hidden = np.zeros(x.shape, bool)
        for j in self._order[self._order.index(i) + 1 :]:
            (px, py, angle), other = self._pose(j, frame_id), self._people[j]
            dx, dy, cos, sin = x - px, y - py, math.cos(angle), math.sin(angle)
            column = np.rint(cos * dx + sin * dy + other.neck[0]).astype(int)
            row = np.rint(-sin * dx + cos * dy + other.neck[1]).astype(int)
            height, width = other.figure.shape[:2]
            there = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (y < other.seat.ledge_y)
            hidden[there] |= other.figure[row[there], column[there], 3] < 128
        return 1 - float(hidden.mean())
