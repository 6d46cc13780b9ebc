"""Finding the one labelled face of a training picture: slower and more patient than the application's detector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from align.geometry import mean_shape, symmetrised
from align.landmarks import LandmarkPredictor, TeacherPredictor, detector_box
from models.data.sets.base import DataError, read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from models.data.sets.base import Placing, Sample

    Box = tuple[float, float, float, float]
    Detector = Callable[[NDArray[np.uint8], int], tuple[float, Box] | None]

# The detector wants faces of 80 px: small pictures are enlarged first, and large ones made smaller, for time.
WORKING_SIZE = 200
MAX_WORKING_SIZE = 640
# Turns that are tried for difficult poses, in degrees; dlib's detector bears about 20 to either side.
TURNS_DEG = (0.0, 30.0, -30.0, 60.0, -60.0, 90.0, -90.0)
# A face with this score in the upright picture ends the search.
SURE_SCORE = 1.0
# dlib's own threshold is 0. Every picture here shows a face, so a lower one is safe.
SCORE_AMONG_POSES, SCORE_OF_A_CROP = 0.0, -0.6
# How far around the region that a data set names its face is looked for, as a share of the region.
AROUND_REGION = 0.5


class HogDetector:
    """dlib's HOG detector; of several faces the one with the highest score."""

    def __init__(self, threshold: float) -> None:
        import dlib

        self._detector, self._threshold = dlib.get_frontal_face_detector(), threshold

    def __call__(self, gray: NDArray[np.uint8], enlarged: int = 0) -> tuple[float, Box] | None:
        """Score and (x, y, width, height) of the best face in an (h, w) image that is doubled `enlarged` times first."""
        boxes, scores, _ = self._detector.run(gray, enlarged, self._threshold)
        if not boxes:
            return None
        best = int(np.argmax(scores))
        return float(scores[best]), _xywh(boxes[best])


class CnnDetector:
    """dlib's CNN detector (max-margin object detection) from a file such as mmod_human_face_detector.dat."""

    def __init__(self, path: Path) -> None:
        import dlib

        try:
            self._detector = dlib.cnn_face_detection_model_v1(str(path))
        except RuntimeError as error:
            raise DataError(f"detector {path} cannot be read as dlib's CNN detector: {error}") from error

    def __call__(self, gray: NDArray[np.uint8], enlarged: int = 0) -> tuple[float, Box] | None:
        """As HogDetector."""
        found = self._detector(gray, enlarged)
        best = max(found, key=lambda one: one.confidence, default=None)
        return None if best is None else (float(best.confidence), _xywh(best.rect))


def _xywh(box: object) -> Box:
    return box.left(), box.top(), box.width(), box.height()


class Found(NamedTuple):
    """A face in a picture that was turned: `matrix` (2x3) leads from the picture's pixels to those of `gray`."""

    score: float
    box: Box
    gray: NDArray[np.uint8]
    matrix: NDArray[np.float64] | None


def find_face(detect: Detector, gray: NDArray[np.uint8], poses: bool) -> Found | None:
    """The face with the highest score: in the picture as it is, or with `poses` turned every way, and then enlarged too.

    With `poses` an upright face of SURE_SCORE ends the search, and the enlarged picture is asked only where the other
    gave nothing.
    """
    best: Found | None = None
    for enlarged in (0, 1) if poses else (0,):
        for angle in TURNS_DEG if poses else (0.0,):
            turned, matrix = (gray, None) if not angle else _turned(gray, angle)
            found = detect(turned, enlarged)
            if found and (best is None or found[0] > best.score):
                best = Found(*found, turned, matrix)
            if best and not angle and best.score >= SURE_SCORE:
                return best
        if best:
            return best
    return None


def _turned(gray: NDArray[np.uint8], angle_deg: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The picture turned about its centre, nothing cut off, and the matrix that did it."""
    h, w = gray.shape
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle_deg, 1.0)
    c, s = abs(matrix[0, 0]), abs(matrix[0, 1])
    width, height = round(h * s + w * c), round(h * c + w * s)
    matrix[:, 2] += (width - w) / 2, (height - h) / 2
    return cv2.warpAffine(gray, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), matrix


@dataclass(frozen=True)
class Located:
    """Landmarks of one picture, (47, 2) in its own pixels, and how they were found."""

    landmarks: NDArray[np.float64]
    found: bool
    box: Box | None  # shares of the picture's side; None where the face lies turned


class Locator:
    """Finds the landmarks of the one face of a data-set picture, by our predictor or, to compare, by its teacher."""

    def __init__(self, placing: Placing, detect: Detector | None = None, teacher: bool = False) -> None:
        self._placing = placing
        threshold = SCORE_AMONG_POSES if placing.poses else SCORE_OF_A_CROP
        self._detect = detect or (CnnDetector(placing.detector) if placing.detector else HogDetector(threshold))
        if teacher:
            self._predict: Callable[[NDArray[np.uint8], Box], NDArray[np.float64]] = TeacherPredictor()
        else:
            # Our predictor was trained on Viola-Jones' boxes; dlib's differ.
            ours = LandmarkPredictor()
            self._predict = lambda gray, box: ours(gray, detector_box(box))

    def __call__(self, image: NDArray[np.uint8], region: Box | None = None) -> Located | None:
        """Landmarks in an (h, w, 3) BGR picture, near `region` where one is given; None where no face is found."""
        if region is None:
            return self._locate(image)
        x, y, w, h = region
        left, top = max(0, round(x - AROUND_REGION * w)), max(0, round(y - AROUND_REGION * h))
        part = image[top : round(y + h + AROUND_REGION * h), left : round(x + w + AROUND_REGION * w)]
        located = self._locate(part) if min(part.shape[:2]) > 1 else None
        return located and Located(located.landmarks + np.array([left, top]), located.found, None)

    def _locate(self, image: NDArray[np.uint8]) -> Located | None:
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        side = max(gray.shape)
        scale = max(1.0, WORKING_SIZE / side) if side <= MAX_WORKING_SIZE else MAX_WORKING_SIZE / side
        if scale != 1:
            how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=how)
        pad = round(self._placing.frame * max(gray.shape))
        if pad:
            gray = cv2.copyMakeBorder(gray, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
        face = find_face(self._detect, gray, self._placing.poses)
        if face is None and self._placing.usual_box is None:
            return None
        if face is None:
            x, y, w, h = self._placing.usual_box
            box = (x * side * scale + pad, y * side * scale + pad, w * side * scale, h * side * scale)
            points, matrix = self._predict(gray, box), None
        else:
            box, matrix = face.box, face.matrix
            points = self._predict(face.gray, box)
        if matrix is not None:
            points = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        points = (points - pad + 0.5) / scale - 0.5
        x, y, w, h = box
        share = ((x - pad) / (side * scale), (y - pad) / (side * scale), w / (side * scale), h / (side * scale))
        return Located(points, face is not None, share if matrix is None else None)


def _locate_one(placing: Placing, sample: Sample) -> Located | None:
    locator = _LOCATORS.get(placing)
    if locator is None:
        cv2.setNumThreads(1)
        locator = _LOCATORS[placing] = Locator(placing)
    image = read_picture(sample.path)
    return None if image is None else locator(image, sample.region)


_LOCATORS: dict[Placing, Locator] = {}


def locate_all(
    samples: Sequence[Sample], placing: Placing, workers: int = 2, progress: Callable = iter
) -> list[Located | None]:
    """Landmarks of every sample, in order, over several processes; None for no picture and for a picture without a face."""
    if placing.detector:
        CnnDetector(
            placing.detector
        )  # here a file that cannot be read is one clear error; there it would be one from each process
    with get_context("spawn").Pool(workers) as pool:
        return list(progress(pool.imap(partial(_locate_one, placing), samples, chunksize=64)))


def measure_mean_shape(
    samples: Sequence[Sample], placing: Placing, workers: int = 2, progress: Callable = iter
) -> NDArray[np.float64]:
    """Symmetric (47, 2) mean shape over the samples whose face is detected; eyes one unit apart."""
    located = locate_all(samples, placing, workers, progress)
    return symmetrised(mean_shape([place.landmarks for place in located if place and place.found]))
