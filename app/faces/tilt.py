"""Tilted heads: a tracked person's last known roll turns the window in which they are looked for upright again.

Viola-Jones finds heads to about 20 degrees of roll; a head that tilts further is followed from there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from align.geometry import apply_similarity
from app.domain import Box

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from align.geometry import Points
    from app.faces.detector import Detector

# From this roll on, degrees, the window is turned. With 12 a head that tilts slowly can be lost on the way there.
TILTED = 8.0
REACH, SIZE_RANGE = 0.5, 1.4  # how far around the box is searched, in widths, and for what sizes


def _upright(
    picture: NDArray[np.uint8], box: Box, roll: float, reach: float, scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The surroundings of a box with its face turned upright, and the 2x3 matrix that led there from the picture."""
    side = max(1, round(box.width * (1 + 2 * reach) * scale))
    matrix = cv2.getRotationMatrix2D(box.centre, roll, scale)
    matrix[:, 2] += side / 2 - np.array(box.centre)
    return cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), matrix


def landmarks_at(
    predict: Callable[[NDArray[np.uint8], Box], Points], gray: NDArray[np.uint8], box: Box, roll: float
) -> Points:
    """Landmarks, in pixels of the picture, of the face in `box` whose head is tilted by `roll` degrees, clockwise."""
    if abs(roll) < TILTED:
        return predict(gray, box)
    upright, matrix = _upright(gray, box, roll, 0.5, 1.0)
    middle, width = len(upright) / 2, box.width
    points = predict(upright, Box(middle - width / 2, middle - width / 2, width, width))
    return apply_similarity(cv2.invertAffineTransform(matrix), points)


def find_at(detector: Detector, picture: NDArray[np.uint8], box: Box, roll: float) -> Box | None:
    """The face nearest to `box`, at about its size, of a head tilted by `roll` degrees."""
    width = detector.near_px
    upright, matrix = _upright(picture, box, roll, REACH, width / box.width)
    found = detector(upright, width / SIZE_RANGE, width * SIZE_RANGE)
    middle = len(upright) / 2
    nearest = min(found, key=lambda b: math.hypot(b.centre[0] - middle, b.centre[1] - middle), default=None)
    if nearest is None:
        return None
    x, y = apply_similarity(cv2.invertAffineTransform(matrix), [nearest.centre])[0]
    side = nearest.width * box.width / width
    return Box(float(x) - side / 2, float(y) - side / 2, side, side)
