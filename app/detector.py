"""Viola-Jones face detection (Viola & Jones, 2001) with OpenCV's cascades."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from app.domain import Box
from app.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# alt2 gives fewest false faces of the frontal cascades; measured on the clips: 480 px wide and steps of 1.15 find what
# 1.1 finds in half of the time.
CASCADE = "haarcascade_frontalface_alt2.xml"
SCAN_WIDTH = 480
SCALE_STEP = 1.15
MIN_NEIGHBOURS = 3
MIN_FACE = 24  # pixels of the scanned picture

# dlib's landmark model was trained on boxes that sit lower and are smaller than Viola-Jones'. Shift and scale in shares
# of the box, medians over 314 UTKFace pictures that both detectors find; they bring landmarks from Viola-Jones boxes 18 %
# nearer to those from dlib's own (0.0079 instead of 0.0095 eye distances).
LANDMARK_SHIFT_Y, LANDMARK_SCALE = 0.11, 0.905


# Between full scans each known face is looked for in a window this much wider than its box on every side, at sizes
# within this factor of its own.
WINDOW_MARGIN, SIZE_RANGE = 0.4, 1.3


class Detector(Protocol):
    def __call__(self, gray: NDArray[np.uint8]) -> list[Box]:
        """Faces in an (h, w) image, largest first."""
        ...

    def near(self, gray: NDArray[np.uint8], known: list[Box]) -> list[Box]:
        """Those of the known faces that are still about where they were, largest first."""
        ...


class ViolaJones:
    """Scans a frame shrunk to `scan_width` where it is wider, or only windows of it."""

    def __init__(self, scan_width: int = SCAN_WIDTH) -> None:
        path = Path(cv2.data.haarcascades) / CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise ModelError(f"the face cascade {path} cannot be read: reinstall opencv-python-headless below 5")
        self._scan_width = scan_width

    def __call__(self, gray: NDArray[np.uint8]) -> list[Box]:
        height, width = gray.shape
        scale = min(1.0, self._scan_width / width)
        if min(width, height) * scale < MIN_FACE:
            return []
        small = _shrunk(gray, scale)
        found = self._cascade.detectMultiScale(small, SCALE_STEP, MIN_NEIGHBOURS, minSize=(MIN_FACE, MIN_FACE))
        return _largest_first([Box(*(float(v) / scale for v in b)) for b in found])

    def near(self, gray: NDArray[np.uint8], known: list[Box]) -> list[Box]:
        scale, found = min(1.0, self._scan_width / gray.shape[1]), list[Box]()
        for box in known:
            margin = WINDOW_MARGIN * box.width
            x0, y0 = max(0, int(box.x - margin)), max(0, int(box.y - margin))
            window = gray[y0 : int(box.y + box.height + margin), x0 : int(box.x + box.width + margin)]
            if not window.size or min(window.shape) * scale < MIN_FACE:
                continue
            side = box.width * scale
            low, high = max(MIN_FACE, int(side / SIZE_RANGE)), max(MIN_FACE, int(side * SIZE_RANGE))
            hits = self._cascade.detectMultiScale(
                _shrunk(window, scale), SCALE_STEP, MIN_NEIGHBOURS, minSize=(low, low), maxSize=(high, high)
            )
            hits = [Box(x0 + x / scale, y0 + y / scale, w / scale, h / scale) for x, y, w, h in hits]
            if hits:
                x, y = box.centre
                nearest = min(hits, key=lambda b: abs(b.centre[0] - x) + abs(b.centre[1] - y))
                if not any(_same_place(nearest, other) for other in found):
                    found.append(nearest)
        return _largest_first(found)


def _shrunk(gray: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale >= 1:
        return gray
    height, width = gray.shape
    return cv2.resize(gray, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)


def _largest_first(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=lambda b: (-b.width * b.height, b.x, b.y))


def _same_place(a: Box, b: Box) -> bool:
    """Two windows have found one face."""
    return abs(a.centre[0] - b.centre[0]) + abs(a.centre[1] - b.centre[1]) < 0.4 * min(a.width, b.width)


def landmark_box(box: Box) -> Box:
    """The box that the landmark model expects for a face that Viola-Jones found."""
    side = box.width * LANDMARK_SCALE
    x, y = box.centre
    return Box(x - side / 2, y + LANDMARK_SHIFT_Y * box.height - side / 2, side, side)
