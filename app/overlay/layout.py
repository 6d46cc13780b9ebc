"""Where labels go: a step of its own between what is to be said and the painting of it. Pixels of a canvas; NumPy only.

A label never covers another label or an area that is taken, and never leaves the area that it may use: one for which
no such spot is left is not shown. Faces are kept clear as far as there is room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain import Box
from app.overlay.colours import Colours

Size = tuple[float, float]
Point = tuple[float, float]
Corners = NDArray[np.float64]  # (n, 2): left, top; or (n, 4): left, top, right, bottom

# What a face that is covered costs; of the smaller of the two, label or face, or a large card would hide a small face.
COVERS_FACE, COVERS_OWN = 6.0, 9.0
MOVES = 0.35  # what a label's leaving the spot where it is costs, likewise: labels that jump cannot be read
ABOVE = 0.5  # what a large card costs above its face, where it covers hair and reaches the picture's edge
HOME, HOME_S = 0.08, 1.0  # the same every so many seconds, when labels that were driven off go home
REACH = 3.5  # heights of a label between it and its face; further off nobody would know whose it is
STAYS, CROWDED = 0.45, 0.8  # up to the one a label stays without looking further; above the other it looks everywhere
FREE_FACES = 0.1  # share of a face that a label may cover before everybody's labels become shorter
FEW = 2  # so many people keep their full labels, whatever these cover, while their faces are larger
LENGTHEN_S = 0.8  # how long longer labels must have fitted before they are taken
PROBE_S, RAREST_PROBE_S = 0.2, 3.2  # how often to look: it takes 12 ms with 32 faces, so less often while it is in vain
FULL = 0.75  # share of the picture that labels and faces may take together; beyond it nobody need try


class Rules(NamedTuple):
    """How labels are placed: how far apart, what leaving a spot costs, and whether beside a face rather than above."""

    gap: float = 4.0  # pixels
    moves: float = MOVES
    beside: bool = False


PLAIN = Rules()


class Wanted(NamedTuple):
    """A label that wants a place."""

    size: Size
    box: Box  # its face
    own: int  # the face's row among the faces
    now: Point | None  # the corner where it is, if it is anywhere


class Room(NamedTuple):
    """What labels have to live with."""

    area: Box
    faces: Corners
    blocked: Corners
    rules: Rules


def place(
    sizes: Sequence[Size],
    boxes: Sequence[Box],
    area: Box,
    taken: Sequence[Box] = (),
    held: Sequence[Point | None] | None = None,
    rules: Rules = PLAIN,
    *,
    all_or_none: bool = False,
) -> list[Box | None]:
    """A spot for the label (width, height) of each face box, None where there is none. Greedy, in the order given.

    `held` are corners where labels are now and would best stay. With `all_or_none` the first label without a spot that
    leaves the faces free makes all None.
    """
    faces = _corners(boxes)
    blocked = np.empty((len(taken) + len(sizes), 4))
    blocked[: len(taken)] = _corners(taken)
    count, spots = len(taken), list[Box | None]()
    for i, (size, box, now) in enumerate(zip(sizes, boxes, held or [None] * len(sizes), strict=True)):
        spot, cost = _spot(Wanted(size, box, i, now), Room(area, faces, blocked[:count], rules))
        share = box.width * box.height / min(size[0] * size[1], box.width * box.height)
        if all_or_none and cost > FREE_FACES * COVERS_FACE * share + 1.5:
            return [None] * len(sizes)
        if spot is not None:
            blocked[count] = spot[0], spot[1], spot[0] + size[0], spot[1] + size[1]
            count += 1
        spots.append(None if spot is None else Box(*spot, *size))
    return spots


def covered(spots: Sequence[Box | None], boxes: Sequence[Box]) -> float:
    """The largest share of a face that lies under labels."""
    labels, faces = _corners([s for s in spots if s is not None]), _corners(boxes)
    if not len(labels) or not len(faces):
        return 0.0
    areas = np.maximum(np.prod(faces[:, 2:] - faces[:, :2], axis=1), 1.0)
    return float((_overlap(faces, labels).sum(axis=1) / areas).max())


def _spot(label: Wanted, room: Room) -> tuple[Point | None, float]:
    """The cheapest allowed corner of a label and its cost, in labels' areas; infinite where there is none."""
    size, now = label.size, label.now
    if size[0] > room.area.width or size[1] > room.area.height:
        return None, math.inf

    def cheapest(tried: Corners) -> tuple[Point | None, float]:
        spots, costs = _judge(tried, label, room)
        if not len(spots):
            return None, math.inf
        best = int(np.argmin(costs))
        return (float(spots[best, 0]), float(spots[best, 1])), float(costs[best])

    if now is not None:
        spot, cost = cheapest(np.array([now]))
        if cost <= STAYS and room.rules.moves == MOVES:
            return spot, cost
    near = _near(size, label.box, room.rules.gap)
    spot, cost = cheapest(near if now is None else np.concatenate([np.array([now]), near]))
    if cost > CROWDED:  # nothing, or only over a face: look along the borders of what is in the way
        spot, cost = min((spot, cost), cheapest(_along(label, room)), key=lambda found: found[1])
    return spot, cost


def _judge(tried: Corners, label: Wanted, room: Room) -> tuple[Corners, NDArray[np.float64]]:
    """Those of the corners that are allowed, and what each costs in areas of the label."""
    (width, height), box, area, faces = label.size, label.box, room.area, room.faces
    low, shape = np.array([area.x, area.y]), np.array(label.size)
    tried = np.clip(tried, low, low + np.array([area.width, area.height]) - shape)
    rects = np.concatenate([tried, tried + shape], axis=1)
    away = _distances(rects, faces[label.own : label.own + 1])
    allowed = away <= REACH * height
    tried, rects, away = tried[allowed], rects[allowed], away[allowed]
    if len(room.blocked) and len(rects):
        over = np.ones((len(rects), len(room.blocked)), bool)
        for side in (0, 1):
            over &= rects[:, None, side] < room.blocked[None, :, side + 2] + room.rules.gap
            over &= rects[:, None, side + 2] > room.blocked[None, :, side] - room.rules.gap
        allowed = np.logical_not(over.any(axis=1))
        tried, rects, away = tried[allowed], rects[allowed], away[allowed]
    areas = np.prod(faces[:, 2:] - faces[:, :2], axis=1)
    weights = COVERS_FACE / np.maximum(np.minimum(areas, width * height), 1.0)
    weights[label.own] *= COVERS_OWN / COVERS_FACE
    costs = _overlap(rects, faces) @ weights + 0.25 * away / height
    aside = 0.15 * np.abs(rects[:, 0] - box.x) / max(width, box.width)  # flush left over its face where that is free
    above, below = rects[:, 3] <= box.y + 1, rects[:, 1] >= box.y + box.height - 1
    if room.rules.beside:
        costs += np.where(
            above, ABOVE + aside, np.where(below, 0.12 + aside, 0.15 * np.abs(rects[:, 1] - box.y) / height)
        )
    else:
        costs += aside + np.where(above, 0.0, 0.12)
    if label.now is not None:
        costs += room.rules.moves * (np.abs(tried - np.array(label.now)).max(axis=1) > 2.0)
    return tried, costs


def _near(size: Size, box: Box, gap: float) -> NDArray[np.float64]:
    """Corners of a label around its face."""
    (width, height), (left, top, right, bottom) = size, (box.x, box.y, box.x + box.width, box.y + box.height)
    across = (left, right - width, (left + right - width) / 2, right + gap, left - width - gap)
    down = (top - height - gap, bottom + gap, top, bottom - height, (top + bottom - height) / 2)
    return np.array([(x, y) for y in down for x in across])


def _along(label: Wanted, room: Room) -> Corners:
    """Corners that touch what is in the way."""
    size, box, gap = label.size, label.box, room.rules.gap
    things = np.concatenate([room.faces, room.blocked])
    reach = REACH * size[1]
    around = np.array([box.x - reach - size[0], box.y - reach - size[1]])
    until = np.array([box.x + box.width + reach + size[0], box.y + box.height + reach + size[1]])
    things = things[(things[:, 2:] > around).all(axis=1) & (things[:, :2] < until).all(axis=1)]
    pad = 1.01 * gap  # rounding must not turn touching into overlapping
    columns = np.concatenate([[box.x, box.x + box.width - size[0]], things[:, 2] + pad, things[:, 0] - size[0] - pad])
    lines = np.concatenate(
        [[box.y - size[1] - gap, box.y + box.height + gap], things[:, 3] + pad, things[:, 1] - size[1] - pad]
    )
    grid = np.stack(np.meshgrid(columns, lines), axis=-1).reshape(-1, 2)
    return grid[(grid > around).all(axis=1) & (grid < until).all(axis=1)]


def _corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """(n, 4): left, top, right, bottom."""
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def _overlap(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """(len(one), len(two)): pixels that two rectangles share."""
    across, down = (
        np.minimum(one[:, None, s + 2], two[None, :, s + 2]) - np.maximum(one[:, None, s], two[None, :, s])
        for s in (0, 1)
    )
    shared: NDArray[np.float64] = np.maximum(across, 0) * np.maximum(down, 0)
    return shared


def _distances(rects: Corners, faces: Corners) -> NDArray[np.float64]:
    """Pixels between each rectangle and its face (or the one face of all), 0 where they touch."""
    across = np.maximum(rects[:, 0] - faces[:, 2], faces[:, 0] - rects[:, 2])
    down = np.maximum(rects[:, 1] - faces[:, 3], faces[:, 1] - rects[:, 3])
    gaps: NDArray[np.float64] = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return gaps


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
        """`sizes_at` gives everybody's size at each of so many lengths, 0 the longest."""
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
    """Everybody's label where it is, if that is as good as any; the usual case, and quickly told."""
    corners = [corner for corner in held if corner is not None]
    if not corners or len(corners) < len(held):
        return None
    shapes, faces = np.array(sizes), _corners(boxes)
    low = np.array([area.x, area.y])
    lefts = np.clip(np.array(corners), low, low + np.array([area.width, area.height]) - shapes)
    rects = np.concatenate([lefts, lefts + shapes], axis=1)
    wide = rects + np.array([-gap, -gap, gap, gap])
    between = _overlap(wide, np.concatenate([rects, _corners(taken)]))
    np.fill_diagonal(between, 0.0)
    smallest = min(shapes.prod(axis=1).min(), np.prod(faces[:, 2:] - faces[:, :2], axis=1).min())
    fits = (shapes <= [area.width, area.height]).all() and not between.any()
    near = _distances(rects, faces) <= 0.5 * shapes[:, 1]
    if not (fits and near.all() and _overlap(rects, faces).max() <= STAYS / COVERS_OWN * smallest):
        return None
    return [Box(x, y, *size) for (x, y), size in zip(lefts.tolist(), sizes, strict=True)]


def _moved(box: Box, held: Box | None, size: Size) -> Point | None:
    """Where a label is now that its face has moved; one of another size stays as close to its face."""
    if held is None:
        return None
    x = held.x + (held.width - size[0] if held.x + held.width <= 0 else 0)
    y = held.y + (held.height - size[1] if held.y + held.height <= 0 else 0)
    return box.x + x, box.y + y


class View(NamedTuple):
    """How a picture lies on a canvas: `picture` is where all of it would be, `area` what is seen of it."""

    picture: Box
    area: Box
    across: float  # canvas pixels per pixel of the frame
    down: float
    mirrored: bool = False

    @classmethod
    def of(
        cls, frame: Size, canvas: Size, *, mirrored: bool = False, fill: bool = False, focus: Box | None = None
    ) -> View:
        """The whole picture in the middle, as large as it goes; `fill`: the whole canvas, the picture's edges cut off, but
        as little as shows all of `focus`, in pixels of the frame."""
        least, most = min(canvas[0] / frame[0], canvas[1] / frame[1]), max(canvas[0] / frame[0], canvas[1] / frame[1])
        scale, (x, y) = most if fill else least, (frame[0] / 2, frame[1] / 2)
        if fill and focus:
            scale = max(least, min(most, canvas[0] / max(focus.width, 1.0), canvas[1] / max(focus.height, 1.0)))
            x, y = focus.centre
            x = frame[0] - x if mirrored else x
        width, height = max(1, round(frame[0] * scale)), max(1, round(frame[1] * scale))
        left, top = _start(x * scale, width, canvas[0]), _start(y * scale, height, canvas[1])
        area = Box(max(0, left), max(0, top), min(width, canvas[0]), min(height, canvas[1]))
        return cls(Box(left, top, width, height), area, width / frame[0], height / frame[1], mirrored)

    def box(self, box: Box) -> Box:
        """From pixels of the frame to pixels of the canvas."""
        width, height = box.width * self.across, box.height * self.down
        x = box.x * self.across
        if self.mirrored:
            x = self.picture.width - x - width
        return Box(self.picture.x + x, self.picture.y + box.y * self.down, width, height)


def _start(middle: float, length: float, room: float) -> int:
    """Where a picture's side begins, so that `middle` of it comes to the middle and no more stays empty than must."""
    if length <= room:
        return int(room - length) // 2
    return round(min(0.0, max(room - length, room / 2 - middle)))
