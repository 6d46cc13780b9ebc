"""Viola-Jones: OpenCV's cascade of boosted Haar features (Viola & Jones, 2001)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from app.domain import Box
from app.errors import ModelError
from app.faces.detector import largest_first

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# alt2 gives fewest false faces of the frontal cascades. A coarse search takes 0.6 of the fine one's time over the demo
# crowd, finds as much of it, and more false faces, which a fine search at a better scale then rejects.
CASCADE = "haarcascade_frontalface_alt2.xml"
FINE_STEP, FINE_NEIGHBOURS = 1.1, 3
COARSE_STEP, COARSE_NEIGHBOURS = 1.25, 1
WINDOW = 20  # pixels; the cascade's own


class ViolaJones:
    """OpenCV's cascade of boosted Haar features."""

    in_colour, scan_px, near_px = False, float(WINDOW), 28.0

    def __init__(self, fine_step: float = FINE_STEP) -> None:
        self._fine_step = fine_step
        path = Path(cv2.data.haarcascades) / CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise ModelError(f"the face cascade {path} cannot be read: reinstall opencv-python-headless below 5")

    def __call__(
        self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf, *, fine: bool = True
    ) -> list[Box]:
        low = max(WINDOW, int(smallest))
        high = max(low, int(min(largest, *picture.shape)))
        if min(picture.shape) < low:
            return []
        step, neighbours = (self._fine_step, FINE_NEIGHBOURS) if fine else (COARSE_STEP, COARSE_NEIGHBOURS)
        found = self._cascade.detectMultiScale(picture, step, neighbours, minSize=(low, low), maxSize=(high, high))
        return largest_first([Box(*(float(v) for v in b)) for b in found])
