"""Viola-Jones: OpenCV's cascade of boosted Haar features (Viola & Jones, 2001)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from app.domain import Box
from app.errors import ModelError
from app.faces.detector import Sighting, largest_first

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# alt2 gives fewest false faces of the frontal cascades. Coarse steps find as much of the demo crowd as fine ones in half of the
# time, and more false faces, which the follower then rejects.
CASCADE = "haarcascade_frontalface_alt2.xml"
STEP, NEIGHBOURS = 1.25, 1
WINDOW = 20  # pixels; the cascade's own


class ViolaJones:
    """OpenCV's cascade of boosted Haar features."""

    in_colour, scan_px = False, float(WINDOW)

    def __init__(self, step: float = STEP, neighbours: int = NEIGHBOURS) -> None:
        self._step, self._neighbours = step, neighbours
        path = Path(cv2.data.haarcascades) / CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise ModelError(f"the face cascade {path} cannot be read: reinstall opencv-python-headless below 5")

    def __call__(self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf) -> list[Sighting]:
        low = max(WINDOW, int(smallest))
        high = max(low, int(min(largest, *picture.shape)))
        if min(picture.shape) < low:
            return []
        found = self._cascade.detectMultiScale(
            picture, self._step, self._neighbours, minSize=(low, low), maxSize=(high, high)
        )
        return largest_first(Sighting(Box(*(float(v) for v in b))) for b in found)
