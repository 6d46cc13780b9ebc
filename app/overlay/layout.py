"""Labels over time: they stay with their faces, and become shorter and longer together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from app.domain import Box
from app.overlay.colours import Colours
from app.overlay.placing import (
    COVERS_OWN,
    FREE_FACES,
    MOVES,
    PLAIN,
    STAYS,
    Point,
    Rules,
    Size,
    corners,
    covered,
    distances,
    overlap,
    place,
)

HOME, HOME_S = 0.08, 1.0  # what leaving a spot costs once in each period, when labels that were driven off go home
FEW = 2  # up to this many people keep their full labels, whatever these cover, while their faces are larger
LENGTHEN_S = 0.8  # how long longer labels must have fitted before they are taken
PROBE_S, RAREST_PROBE_S = 0.2, 3.2  # how often to look: it takes 12 ms with 32 faces, so less often while it is in vain
FULL = 0.75  # share of the picture that labels and faces may take together; beyond it nobody need try


class Arrangement(NamedTuple):
    level: int  # index of the label's length that everybody has
    spots: list[Box | None]


class Labels:
    """Labels over time: each stays at its place beside its face while that is possible, and all have the same length,
    which becomes shorter at once where they do not fit and longer only when that would have fitted for a while."""

    def __init__(self) -> None:
        self.colours = Colours()
        self._held: dict[int, Box] = {}  # where each was, from its face's corner
        self._home_s = -math.inf
        self._level = 0
        self._fits_since_s: float | None = None
        self._probed_s, self._probe_s, self._crowd = -math.inf, PROBE_S, 0

    def arrange(
        self,
        people: Sequence[int],
        levels: int,
        sizes_at: Callable[[int], Sequence[Size]],
        boxes: Sequence[Box],
        area: Box,
        taken: Sequence[Box] = (),
        now_s: float = 0.0,
        rules: Rules = PLAIN,
    ) -> Arrangement:
        """`sizes_at` gives everybody's size at each length of label, 0 the longest."""
        go_home = not 0 <= now_s - self._home_s < HOME_S
        self._home_s = now_s if go_home else self._home_s
        larger = all(b.width * b.height >= w * h for b, (w, h) in zip(boxes, sizes_at(0), strict=True))
        last = 0 if len(people) <= FEW and larger else levels - 1
        level = min(self._level, last)

        def spots_at(level: int) -> list[Box | None]:
            """Everybody's spot, or None for all where labels of this length do not fit and others are shorter."""
            sizes = sizes_at(level)
            held = [
                _moved(box, self._held.get(person), size)
                for person, box, size in zip(people, boxes, sizes, strict=True)
            ]
            now = rules._replace(moves=HOME if go_home else MOVES)
            if (
                level == self._level
                and not go_home
                and (still := _all_stay(sizes, boxes, area, taken, held, rules.gap))
            ):
                return still
            if level == last:
                return place(sizes, boxes, area, taken, held, now)
            used = sum(w * h for w, h in sizes) + sum(b.width * b.height for b in boxes)
            if used > FULL * area.width * area.height:
                return [None] * len(boxes)
            spots = place(sizes, boxes, area, taken, held, now, all_or_none=True)
            return spots if covered(spots, boxes) <= FREE_FACES else [None] * len(boxes)

        if len(people) != self._crowd:
            self._crowd, self._probe_s = len(people), PROBE_S
        spots = spots_at(level)
        while level < last and None in spots:
            level += 1
            spots = spots_at(level)
        level, spots = self._longer(level, spots, spots_at, now_s)
        self._level = level
        self._held = {
            person: Box(spot.x - box.x, spot.y - box.y, spot.width, spot.height)
            for person, spot, box in zip(people, spots, boxes, strict=True)
            if spot is not None
        }
        return Arrangement(level, list(spots))

    def _longer(
        self, level: int, spots: list[Box | None], spots_at: Callable[[int], list[Box | None]], now_s: float
    ) -> tuple[int, list[Box | None]]:
        """Level and spots of longer labels where those have fitted for a while, else as they are."""
        if level > self._level or not level:
            self._fits_since_s = None
            return level, spots
        if 0 <= now_s - self._probed_s < self._probe_s:
            return level, spots
        self._probed_s, longer = now_s, spots_at(level - 1)
        if None in longer:
            self._fits_since_s, self._probe_s = None, min(2 * self._probe_s, RAREST_PROBE_S)
            return level, spots
        self._probe_s = PROBE_S
        self._fits_since_s = now_s if self._fits_since_s is None else self._fits_since_s
        if now_s - self._fits_since_s < LENGTHEN_S:
            return level, spots
        self._fits_since_s = None
        return level - 1, longer


def _all_stay(
    sizes: Sequence[Size],
    boxes: Sequence[Box],
    area: Box,
    taken: Sequence[Box],
    held: Sequence[Point | None],
    gap: float,
) -> list[Box | None] | None:
    """Everybody's label where it is, if that is as good as any; the usual case, and quick to check."""
    there = [corner for corner in held if corner is not None]
    if not there or len(there) < len(held):
        return None
    shapes, faces = np.array(sizes), corners(boxes)
    low = np.array([area.x, area.y])
    lefts = np.clip(np.array(there), low, low + np.array([area.width, area.height]) - shapes)
    rects = np.concatenate([lefts, lefts + shapes], axis=1)
    wide = rects + np.array([-gap, -gap, gap, gap])
    between = overlap(wide, np.concatenate([rects, corners(taken)]))
    np.fill_diagonal(between, 0.0)
    smallest = min(shapes.prod(axis=1).min(), np.prod(faces[:, 2:] - faces[:, :2], axis=1).min())
    fits = (shapes <= [area.width, area.height]).all() and not between.any()
    near = distances(rects, faces) <= 0.5 * shapes[:, 1]
    if not (fits and near.all() and overlap(rects, faces).max() <= STAYS / COVERS_OWN * smallest):
        return None
    return [Box(x, y, *size) for (x, y), size in zip(lefts.tolist(), sizes, strict=True)]


def _moved(box: Box, held: Box | None, size: Size) -> Point | None:
    """Where a label is now that its face has moved; one of another size stays as close to its face."""
    if held is None:
        return None
    x = held.x + (held.width - size[0] if held.x + held.width <= 0 else 0)
    y = held.y + (held.height - size[1] if held.y + held.height <= 0 else 0)
    return box.x + x, box.y + y
