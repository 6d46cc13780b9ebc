"""Face detectors behind one seam. All of them speak of a face's box as Viola-Jones draws it (Viola & Jones, 2001).

Where to look, at what scale and when is `scan.py`'s business; a detector only looks at the picture that it is given.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from app.domain import Box
from app.errors import ModelError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# alt2 gives fewest false faces of the frontal cascades. A coarse search takes 0.6 of the fine one's time over the demo
# crowd, finds as much of it, and more false faces, which a fine search at a better scale then rejects.
CASCADE = "haarcascade_frontalface_alt2.xml"
FINE_STEP, FINE_NEIGHBOURS = 1.1, 3
COARSE_STEP, COARSE_NEIGHBOURS = 1.25, 1
WINDOW = 20  # pixels; the cascade's own


class Detector(Protocol):
    """Looks for faces in one picture: (h, w) grey, or (h, w, 3) BGR where `in_colour`."""

    in_colour: bool
    scan_px: float  # a scan is made at the scale at which the smallest face wanted is this wide
    near_px: float  # a local search is made at the scale at which the face looked for is this wide

    def __call__(
        self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf, *, fine: bool = True
    ) -> list[Box]:
        """Faces from `smallest` to `largest` pixels wide, largest first, boxes as Viola-Jones would draw them.

        Without `fine` it may be quicker and more of them may be false.
        """
        ...


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


def open_detector(spec: str) -> Detector:
    """`viola-jones`, `dlib-hog` or `yunet:PATH`. Raises UsageError, or ModelError for a file that is no such network."""
    from app.other_detectors import DlibHog, YuNet

    name, _, path = spec.partition(":")
    if name == "yunet" and path:
        return YuNet(Path(path))
    if spec not in ("viola-jones", "dlib-hog"):
        raise UsageError(f"--detector must be viola-jones, dlib-hog or yunet:PATH, got {spec!r}")
    return ViolaJones() if spec == "viola-jones" else DlibHog()


def largest_first(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=lambda b: (-b.width * b.height, b.x, b.y))
