"""Landmark prediction by ensembles of regression trees (Kazemi & Sullivan, 2014), run by dlib.

Our own predictor works in two steps. A small one, `coarse`, finds five points in the detector's box and so the face's place,
size and turn; a larger one, `fine`, finds the 47 points in a patch that is cut upright around it. So neither a shifted box
nor a tilted head reaches the fine one. Both are given patches of one size whatever the face's, since dlib returns whole
pixels. dlib's 68-point model, from which ours was trained, is here for training and comparison only.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align.crop import crop_face, doubled_crop
from align.geometry import (
    LANDMARKS_47,
    MIRROR_47,
    Points,
    apply_similarity,
    fit_similarity,
    load_mean_shape,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

BoxXYWH = tuple[float, float, float, float]

MANIFEST = Path(__file__).with_name("weights") / "landmarks_47.json"

# Where the detector puts its box: from the landmarks' mean to its centre, and its side, in eye distances of an upright face.
# Medians of UTKFace, measured by `main.py train-landmarks`.
BOX_CENTRE, BOX_SIDE = (0.007, -0.226), 2.544
# Side of the face box as a share of the patch that a predictor is given.
PATCH_SHARE = 0.7
# Patches in pixels. The fine trees are grown on patches of TRAINING_PX and used on larger ones, where whole pixels are finer.
# These are cut half as large and doubled, which takes half of the time; below 256 px dlib's answers are read quickly.
COARSE_PX, TRAINING_PX, FINE_PX = 101, 201, 242

# The coarse points: eyes, tip of the nose, corners of the mouth, each the mean of these of the 47.
COARSE_POINTS = tuple(
    tuple(LANDMARKS_47.index(i) for i in members) for members in (range(36, 42), range(42, 48), (30,), (48,), (54,))
)

_MIRROR = np.array(MIRROR_47)

_TEACHER_PACKAGE = "face_recognition_models"
_TEACHER_FILE = "models/shape_predictor_68_face_landmarks.dat"
_TEACHER_SHA256 = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"


class LandmarkModelError(RuntimeError):
    """The landmark model is missing, was changed, or cannot be read."""


def coarse_points(landmarks: Points) -> Points:
    """The 5 coarse points, (5, 2), of (47, 2) landmarks."""
    return np.array([landmarks[list(members)].mean(axis=0) for members in COARSE_POINTS])


@cache
def centred_mean_shape() -> Points:
    """The (47, 2) mean shape about its mean, eyes one unit apart."""
    shape = load_mean_shape()
    centred: Points = shape - shape.mean(axis=0)
    return centred


@cache
def _coarse_mean_shape() -> Points:
    return coarse_points(centred_mean_shape())


@cache
def _box_fit(points: int) -> NDArray[np.float64]:
    """(4, 2 * points): what takes 47 landmarks or 5 coarse points, x0, y0, x1, ..., to (a, b, x, y): the first column of
    the similarity that fits the mean shape to them, and the box's centre. All four are linear in the points."""
    mean = centred_mean_shape() if points == len(LANDMARKS_47) else _coarse_mean_shape()
    units = np.eye(2 * points).reshape(-1, points, 2)
    fits = [fit_similarity(mean, unit) for unit in units]
    return np.array([[*fit[:, 0], *apply_similarity(fit, [BOX_CENTRE])[0]] for fit in fits]).T


def face_box(points: Points) -> tuple[BoxXYWH, float]:
    """The box (x, y, width, height) in which the detector would find the face with these (47, 2) landmarks or (5, 2) coarse
    points if it were turned upright, and its turn in radians, clockwise in the picture."""
    a, b, x, y = (_box_fit(len(points)) @ points.ravel()).tolist()
    side = BOX_SIDE * math.hypot(a, b)
    return (x - side / 2, y - side / 2, side, side), math.atan2(b, a)


def patch_matrix(box: Sequence[float], roll: float, size: int) -> NDArray[np.float64]:
    """2x3 matrix from image pixels to a (size, size) patch with the box in its middle, for a face that is turned by `roll`
    radians (clockwise in the picture): in the patch it is upright."""
    x, y, w, h = box
    scale = PATCH_SHARE * (size - 1) / max(1e-6, (w + h) / 2)
    a, b = scale * math.cos(roll), scale * math.sin(roll)
    cx, cy, middle = x + w / 2, y + h / 2, (size - 1) / 2
    return np.array([[a, b, middle - a * cx - b * cy], [-b, a, middle + b * cx - a * cy]])


def box_in_patch(size: int) -> tuple[float, float]:
    """Place of the box's left upper corner, on both axes, and its side, in pixels of a patch."""
    side = PATCH_SHARE * (size - 1)
    return (size - 1 - side) / 2, side


def mirrored(points: Points, width: int) -> Points:
    """(47, 2) landmarks of the mirror image of a picture `width` pixels wide."""
    flipped = points.take(_MIRROR, axis=0)
    np.subtract(width - 1, flipped[:, 0], out=flipped[:, 0])
    return flipped


class LandmarkPredictor:
    """Finds the 47 landmarks of faces in boxes like those of Viola-Jones. Holds the GIL most of the time; `main.py
    train-landmarks --evaluate` measures how long."""

    def __init__(self, manifest: Path = MANIFEST) -> None:
        """Raises LandmarkModelError, also where a file is not the one that the manifest names."""
        coarse, fine = verified_files(manifest)
        self._coarse, self._fine = _Trees(coarse, COARSE_PX), _Trees(fine, FINE_PX)

    def __call__(self, gray: NDArray[np.uint8], box: Sequence[float], roll: float = 0.0) -> Points:
        """(47, 2) landmarks, image pixels, of the face in `box` (x, y, width, height) of an (h, w) grey image.

        `roll`, in radians and clockwise, says how far the head is turned where that is known already; up to 45 degrees
        it need not be.
        """
        matrix = patch_matrix(box, roll, COARSE_PX)
        points = _into_image(matrix, self._coarse(crop_face(gray, matrix, COARSE_PX)))
        matrix = patch_matrix(*face_box(points), FINE_PX)
        return _into_image(matrix, self._fine(doubled_crop(gray, matrix, FINE_PX)))


class _Trees:
    """One of dlib's shape predictors: a square patch of one size to its (points, 2) landmarks, whole pixels of the patch."""

    def __init__(self, path: Path, size: int) -> None:
        import dlib

        corner, side = box_in_patch(size)
        low, high = round(corner), round(corner + side)
        self._box = dlib.rectangle(low, low, high, high)
        self._predict = _load(path)

    def __call__(self, patch: NDArray[np.uint8]) -> Points:
        return _array(self._predict(patch, self._box).parts())


def _array(parts: Any) -> Points:
    """(n, 2) of dlib's points. To ask each for its coordinates takes 60 us for 47 of them, their pickled form 4: every number
    is its length in bytes and these, so where all are from 0 to 255 every other byte is one."""
    raw, count = parts.__getstate__()[0], 2 * len(parts)
    if len(raw) == 2 + 2 * count and raw[2::2] == b"\x01" * count:
        return np.frombuffer(raw, np.uint8, offset=3)[::2].astype(np.float64).reshape(-1, 2)
    return np.array([(p.x, p.y) for p in parts], np.float64)


def _into_image(matrix: NDArray[np.float64], points: Points) -> Points:
    """From a patch back into the image that the (similarity) matrix cut it from."""
    a, b = matrix[:, 0].tolist()
    a, b = (v / (a * a + b * b) for v in (a, b))
    back: Points = (points - matrix[:, 2]) @ np.array([[a, -b], [b, a]])
    return back


def verified_files(manifest: Path) -> list[Path]:
    """The predictor's two files, coarse and fine, with their hashes checked against the manifest."""
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        files = [
            (manifest.parent / Path(entries[k]["file"]).name, str(entries[k]["sha256"])) for k in ("coarse", "fine")
        ]
    except OSError as error:
        raise LandmarkModelError(
            f"the landmark model's manifest {manifest} cannot be read: {error.strerror}"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise LandmarkModelError(f"{manifest} is not a landmark model's manifest: {error!r}") from error
    for path, expected in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise LandmarkModelError(f"landmark model {path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise LandmarkModelError(
                f"landmark model {path} is not the file that {manifest.name} names: its SHA-256 differs. "
                "Restore it from the repository, or write both anew with `main.py train-landmarks`."
            )
    return [path for path, _ in files]


def _load(path: Path) -> Any:
    import dlib

    try:
        return dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise LandmarkModelError(f"landmark model {path} cannot be read: {error}") from error


def find_teacher_file() -> Path:
    """dlib's 68-point predictor inside its wheel, found without importing the package.

    Importing it fails with new setuptools: it asks for pkg_resources.
    """
    spec = find_spec(_TEACHER_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _TEACHER_FILE
        if path.is_file():
            return path
    raise LandmarkModelError(
        f"dlib's 68-point landmark model is missing: package {_TEACHER_PACKAGE} is not installed for {sys.executable}. "
        "Run `pip install -r models/requirements.txt`."
    )


def _verified_teacher(path: Path) -> Path:
    """Checks the file's hash: dlib's reader trusts what it reads."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LandmarkModelError(f"landmark model {path} cannot be read: {error.strerror or error}") from error
    if digest != _TEACHER_SHA256:
        raise LandmarkModelError(
            f"landmark model {path} is not dlib's 68-point model (sha256 differs): it was changed or cut short. "
            f"Run `pip install --force-reinstall {_TEACHER_PACKAGE}`"
        )
    return path


class TeacherPredictor:
    """dlib's 68-point predictor, of which 47 points are used. It expects the boxes of dlib's own detector."""

    def __init__(self) -> None:
        import dlib

        self._rectangle = dlib.rectangle
        self._predict = _load(_verified_teacher(find_teacher_file()))

    def __call__(self, gray: NDArray[np.uint8], box: Sequence[float]) -> Points:
        """(47, 2) landmarks, whole image pixels, of the face in `box` (x, y, width, height) of an (h, w) grey image."""
        x, y, w, h = box
        shape = self._predict(gray, self._rectangle(round(x), round(y), round(x + w) - 1, round(y + h) - 1))
        return _array(shape.parts())[list(LANDMARKS_47)]


# dlib's detector puts its box lower than Viola-Jones, and makes it smaller. Shift and scale in shares of the box: medians
# over 314 UTKFace pictures that both find.
_TEACHER_SHIFT_Y, _TEACHER_SCALE = 0.11, 0.905


def teacher_box(box: Sequence[float]) -> BoxXYWH:
    """The box that dlib's detector would give for a face that Viola-Jones found in `box`."""
    x, y, w, h = box
    side = w * _TEACHER_SCALE
    return x + (w - side) / 2, y + h / 2 + _TEACHER_SHIFT_Y * h - side / 2, side, side


def detector_box(box: Sequence[float]) -> BoxXYWH:
    """The box that Viola-Jones would give for a face that dlib's detector found in `box`."""
    x, y, w, h = box
    side = w / _TEACHER_SCALE
    return x + (w - side) / 2, y + h / 2 - _TEACHER_SHIFT_Y * side - side / 2, side, side
