"""Whether a crop can be read: its misfit, its size, how much of it lies outside the frame. NumPy only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from align.geometry import LANDMARKS_47

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from align.geometry import Points

_SHIFT = 0.08  # of the box: about what a detector's boxes stray by
_GRID = (np.stack(np.meshgrid(*[np.arange(12)] * 2), axis=-1).reshape(-1, 2) + 0.5) / 12


def unsteadiness(predict: Callable[[Sequence[float]], Points], box: Sequence[float], enough: float = math.inf) -> float:
    """How far landmarks move when their (x, y, width, height) box does: root mean square, in widths of the box.

    On a face they stay where the face is, on anything else they go along. Costs three predictions. Median on UTKFace
    0.005; of 51 things that Viola-Jones took for faces the least was 0.015 and the median 0.09. Where it is sure to be above
    `enough` after two of them, the third is spared and the least that it can be is returned.
    """
    x, y, width, height = box
    there = predict(box)
    total = 0.0
    for s in (-_SHIFT, _SHIFT):
        apart = predict((x + s * width, y + s * height, width, height)) - there
        total += math.sqrt((apart * apart).sum() / len(apart)) / width / 2
        if total > enough:
            break
    return total


def crop_side(matrix: NDArray[np.float64]) -> float:
    """Side of the crop in pixels of the frame, for a 2x3 matrix into the unit square."""
    return 1 / math.hypot(matrix[0, 0], matrix[1, 0])


def roll(matrix: NDArray[np.float64]) -> float:
    """The head's tilt in degrees, clockwise as seen in the frame."""
    return math.degrees(math.atan2(-matrix[1, 0], matrix[0, 0]))


# A face in distances between the eyes, x to the right, y downwards, z towards the camera: outer eye corners, mouth corners,
# tip of the nose. x and y are those of align/mean_shape.json; the nose stands 0.48 of the width between the outer corners
# before the plane of the other four. That is between two answers and sets the scale of the yaw: 0.43 in the mean 3-D landmarks
# of OpenFace, and 0.52 by the prepared landmarks of 18,484 UTKFace training pictures, from how far the corners move together
# as the nose leaves the middle (a line through width^2 over offset^2, in distances from eyes to mouth).
_FEATURES = [LANDMARKS_47.index(i) for i in (36, 45, 48, 54, 30)]
_SOLID = ((-0.695, -0.506, 0), (0.695, -0.506, 0), (-0.454, 0.508, 0), (0.454, 0.508, 0), (0, 0.036, 0.667))
_FIT = np.linalg.pinv(np.column_stack([_SOLID, np.ones(len(_SOLID))]))[:3]


def yaw(landmarks: Points) -> float:
    """By how many degrees a head is turned to the right of the picture; negative to its left. A rough measure.

    The five points are taken for an affine picture of a face like all others. The direction in which such a picture loses
    depth is the camera's as the head sees it, whatever the head's roll and pitch.
    """
    (a, d), (b, e), (c, f) = (_FIT @ landmarks[_FEATURES]).tolist()
    return math.degrees(math.atan2(c * e - b * f, a * e - b * d))


def share_outside(matrix: NDArray[np.float64], width: int, height: int) -> float:
    """Share of the crop that lies outside a frame of this size."""
    (a, _, tx), (b, _, ty) = matrix.tolist()
    scale = a * a + b * b
    # Usually the circle around the crop lies inside, and nothing needs to be counted.
    x, y, reach = 0.5 - tx, 0.5 - ty, math.sqrt(0.5 / scale)
    x, y = (a * x + b * y) / scale, (a * y - b * x) / scale
    if reach <= x <= width - 1 - reach and reach <= y <= height - 1 - reach:
        return 0.0
    turn = matrix[:, :2].T / scale  # the inverse of a similarity
    points = (_GRID - matrix[:, 2]) @ turn.T
    return float(((points < -0.5) | (points > np.array([width, height]) - 0.5)).any(axis=1).mean())


# From where on a crop is not read. Measured on UTKFace's training pictures (`main.py bench alignment`): how much larger the
# age's error is. Outside of the frame: 1.1 times with 20 % of the crop, 1.4 with 30 %. Small crops: 1.1 times with 48 px,
# 1.4 with 32, 1.6 with 24, 1.7 with 20, 2.3 with 16, which is still two thirds of a constant guess's; the interval that is
# shown says so. Misfit: no larger up to 0.06; one crop in 850 lies above, none of an upright face above 0.08. There is no
# limit on the yaw: the error does not grow up to 45 degrees, and profiles get landmarks of a face that is turned half as
# far (docs/reference/people.md).
TURNED_AWAY, AT_THE_EDGE, TOO_SMALL = "turned away", "at the edge", "too small"
MAX_MISFIT, MAX_OUTSIDE, MIN_SIDE = 0.08, 0.25, 16.0


def unfit(matrix: NDArray[np.float64], misfit: float, width: int, height: int) -> str | None:
    """Why the crop that a 2x3 matrix cuts from a frame of this size is not to be read; None where it is fit.

    `misfit` is the fit's residual, a share of the crop's side.
    """
    if crop_side(matrix) < MIN_SIDE:
        return TOO_SMALL
    if share_outside(matrix, width, height) > MAX_OUTSIDE:
        return AT_THE_EDGE
    return TURNED_AWAY if misfit > MAX_MISFIT else None
