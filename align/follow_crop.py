"""Where the follower network looks: the upright square around a face that its last landmarks or its box suggest. NumPy only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from align.geometry import Points
from align.landmarks import face_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CROP_PX = 64
# Side of the face's box (BOX_SIDE eye distances) as a share of the crop's.
BOX_SHARE = 0.76


def follow_matrix(box: Sequence[float], roll: float = 0.0, size: int = CROP_PX) -> NDArray[np.float64]:
    """2x3 matrix from image pixels to the (size, size) crop around a face's box (x, y, width, height) whose head is turned
    by `roll` radians, clockwise in the picture."""
    x, y, w, h = box
    scale = BOX_SHARE * size / max(1e-6, (w + h) / 2)
    a, b = scale * math.cos(roll), scale * math.sin(roll)
    cx, cy, middle = x + w / 2, y + h / 2, (size - 1) / 2
    return np.array([[a, b, middle - a * cx - b * cy], [-b, a, middle + b * cx - a * cy]])


def matrix_around(landmarks: Points, size: int = CROP_PX) -> NDArray[np.float64]:
    """The same for (47, 2) landmarks, or (5, 2) coarse points."""
    return follow_matrix(*face_box(landmarks), size)
