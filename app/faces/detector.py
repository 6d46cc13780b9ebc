"""What every face detector is. All give a face's box as Viola-Jones draws it (Viola & Jones, 2001).

Where to look, at what scale and when is the business of search.py and second_look.py; a detector only looks at the picture
that it is given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from app.domain import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from align.geometry import Points

# The box that Viola-Jones draws, from the eyes and the mouth, medians over 407 UTKFace pictures: its side in (distance
# between the eyes + from between them to the mouth's middle), spread 8 %; its centre on the way from the eyes to the mouth,
# spread 0.06.
SIDE_BY_FEATURES, CENTRE_TO_MOUTH = 1.036, 0.30


# Two boxes are one face's where their centres, x and y added, are less than this apart, in widths of the smaller one.
NEAR = 0.4


class Sighting(NamedTuple):
    """What a detector takes for a face."""

    box: Box
    score: float = 0.0  # 0..1, as the detector has it; 0 where it has none
    roll: float = 0.0  # the head's turn in radians, clockwise in the picture, where the detector can tell


class Detector(Protocol):
    """Looks for faces in one picture: (h, w) grey, or (h, w, 3) BGR where `in_colour`."""

    in_colour: bool
    scan_px: float  # a picture is looked at at the scale at which the smallest face wanted is this wide

    def __call__(self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf) -> list[Sighting]:
        """Faces from `smallest` to `largest` pixels wide, largest first, boxes as Viola-Jones would draw them."""
        ...


def largest_first(found: Iterable[Sighting]) -> list[Sighting]:
    return sorted(found, key=lambda s: (-s.box.width * s.box.height, s.box.x, s.box.y))


def by_features(points: Points, score: float, side_by: float = SIDE_BY_FEATURES) -> Sighting:
    """From (5, 2) eye and eye, nose, corner and corner of the mouth, the picture's left one of each pair first. `side_by`: see
    SIDE_BY_FEATURES; detectors differ in where they put the points."""
    left_eye, right_eye, _, left_mouth, right_mouth = np.asarray(points, np.float64)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    side = side_by * (np.hypot(*(right_eye - left_eye)) + np.hypot(*(mouth - eyes)))
    x, y = eyes + CENTRE_TO_MOUTH * (mouth - eyes) - side / 2
    # Both the line between the eyes and that down to the mouth tell the turn; the latter also of a head seen from the side.
    across, down = right_eye - left_eye, mouth - eyes
    roll = math.atan2(across[1] - down[0], across[0] + down[1])
    return Sighting(Box(float(x), float(y), float(side), float(side)), score, roll)


def distinct(boxes: Sequence[Box]) -> list[int]:
    """Indices of the boxes that do not repeat the face of an earlier box."""
    if not boxes:
        return []
    array = np.array(boxes)
    centres, widths = array[:, :2] + array[:, 2:] / 2, array[:, 2]
    apart = np.abs(centres[:, None] - centres[None]).sum(axis=2)
    same = apart < NEAR * np.minimum(widths[:, None], widths[None])
    kept: list[int] = []
    for i in range(len(boxes)):
        if not same[i, kept].any():
            kept.append(i)
    return kept


def same_place(a: Box, b: Box) -> bool:
    """Whether two boxes are of one face."""
    return abs(a.centre[0] - b.centre[0]) + abs(a.centre[1] - b.centre[1]) < NEAR * min(a.width, b.width)
