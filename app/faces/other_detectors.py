"""Detectors that may take Viola-Jones' place: dlib's HOG (Dalal & Triggs, 2005) and YuNet (Wu et al., 2023).

Their boxes are turned into those that Viola-Jones would draw, for which everything behind them was trained.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from align.landmarks import detector_box
from app.domain import Box
from app.errors import ModelError
from app.faces.detector import Sighting, by_features, largest_first

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOG_WINDOW = 80  # pixels; the smallest face that dlib's detector was trained for
YUNET_SCORE, YUNET_OVERLAP = 0.7, 0.3
YUNET_SMALLEST = 20.0


class DlibHog:
    """dlib's frontal face detector. Holds the GIL while it looks."""

    in_colour, scan_px = False, float(HOG_WINDOW)

    def __init__(self) -> None:
        import dlib

        self._detector = dlib.get_frontal_face_detector()

    def __call__(self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf) -> list[Sighting]:
        found = (viola_jones_box(r.left(), r.top(), r.width()) for r in self._detector(np.ascontiguousarray(picture)))
        return largest_first(Sighting(b) for b in found if 0.8 * smallest <= b.width <= 1.25 * largest)


def viola_jones_box(x: float, y: float, side: float) -> Box:
    """The box that Viola-Jones draws for a face that dlib's detector finds."""
    return Box(*detector_box((x, y, side, side)))


class YuNet:
    """OpenCV's FaceDetectorYN with a network file of the user's; none is shipped."""

    in_colour, scan_px = True, YUNET_SMALLEST

    def __init__(self, path: Path) -> None:
        """Raises ModelError."""
        if not path.is_file():
            raise ModelError(
                f"--detector yunet: there is no file {path}. Get face_detection_yunet_2023mar.onnx from OpenCV's model zoo "
                "(opencv/opencv_zoo, models/face_detection_yunet), or leave out --detector"
            )
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (96, 96), YUNET_SCORE, YUNET_OVERLAP)
            self._network.detect(np.zeros((96, 96, 3), np.uint8))
        except cv2.error as error:
            raise ModelError(
                f"--detector yunet: {path} is not a YuNet network ({str(error).strip().splitlines()[-1]}). "
                "face_detection_yunet_2023mar.onnx from OpenCV's model zoo is one"
            ) from error

    def __call__(self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf) -> list[Sighting]:
        height, width = picture.shape[:2]
        self._network.setInputSize((width, height))
        found = self._network.detect(np.ascontiguousarray(picture))[1]
        seen = [by_features(row[4:14].reshape(5, 2), float(row[14])) for row in (() if found is None else found)]
        return largest_first(s for s in seen if 0.8 * smallest <= s.box.width <= 1.25 * largest)
