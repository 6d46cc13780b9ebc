"""A place for every label: a pure step between what is to be said and the painting of it. Pixels of a canvas; NumPy only.

A label never covers another label or an area that is taken, and never leaves the area that it may use: one for which
no such spot is left is not shown. Faces are kept clear as far as there is room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.domain import Box

Size = tuple[float, float]
Point = tuple[float, float]
Corners = NDArray[np.float64]  # (n, 2): left, top; or (n, 4): left, top, right, bottom

# What a face that is covered costs; of the smaller of the two, label or face, or a large card would hide a small face.
COVERS_FACE, COVERS_OWN = 6.0, 9.0
MOVES = 0.35  # what a label's leaving the spot where it is costs, likewise: labels that jump cannot be read
ABOVE = 0.5  # what a large card costs above its face, where it covers hair and reaches the picture's edge
REACH = 3.5  # heights of a label between it and its face; further off nobody would know whose it is
STAYS, CROWDED = 0.45, 0.8  # up to the one a label stays without looking further; above the other it looks everywhere
FREE_FACES = 0.1  # share of a face that a label may cover before everybody's labels become shorter


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
    faces = corners(boxes)
    blocked = np.empty((len(taken) + len(sizes), 4))
    blocked[: len(taken)] = corners(taken)
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
    labels, faces = corners([s for s in spots if s is not None]), corners(boxes)
    if not len(labels) or not len(faces):
        return 0.0
    areas = np.maximum(np.prod(faces[:, 2:] - faces[:, :2], axis=1), 1.0)
    return float((overlap(faces, labels).sum(axis=1) / areas).max())


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
    away = distances(rects, faces[label.own : label.own + 1])
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
    costs = overlap(rects, faces) @ weights + 0.25 * away / height
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


def corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """(n, 4): left, top, right, bottom."""
    out = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    out[:, 2:] += out[:, :2]
    return out


def overlap(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """(len(one), len(two)): pixels that two rectangles share."""
    across, down = (
        np.minimum(one[:, None, s + 2], two[None, :, s + 2]) - np.maximum(one[:, None, s], two[None, :, s])
        for s in (0, 1)
    )
    shared: NDArray[np.float64] = np.maximum(across, 0) * np.maximum(down, 0)
    return shared


def distances(rects: Corners, faces: Corners) -> NDArray[np.float64]:
    """Pixels between each rectangle and its face (or the one face of all), 0 where they touch."""
    across = np.maximum(rects[:, 0] - faces[:, 2], faces[:, 0] - rects[:, 2])
    down = np.maximum(rects[:, 1] - faces[:, 3], faces[:, 1] - rects[:, 3])
    gaps: NDArray[np.float64] = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
    return gaps
