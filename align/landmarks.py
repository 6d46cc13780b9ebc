"""Landmark prediction by dlib's ensemble of regression trees (Kazemi & Sullivan, 2014)."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.geometry import LANDMARKS_47

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGE = "face_recognition_models"
_FILE = "models/shape_predictor_68_face_landmarks.dat"
_SHA256 = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"


class LandmarkModelError(RuntimeError):
    """The landmark model is missing or cannot be read."""


def find_model_file() -> Path:
    """dlib's 68-point predictor inside its wheel, found without importing the package.

    Importing it fails with new setuptools: it asks for pkg_resources.
    """
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _FILE
        if path.is_file():
            return path
    raise LandmarkModelError(
        f"the landmark model is missing: package {_PACKAGE} is not installed for {sys.executable}. "
        "Run `pip install -r requirements.txt`, or `make run`, which does so."
    )


def _verified(path: Path) -> Path:
    """dlib's reader trusts what it reads."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LandmarkModelError(f"landmark model {path} cannot be read: {error.strerror or error}") from error
    if digest != _SHA256:
        raise LandmarkModelError(
            f"landmark model {path} is not dlib's 68-point model (sha256 differs): it was changed or cut short. "
            f"Run `pip install --force-reinstall {_PACKAGE}`"
        )
    return path


class LandmarkPredictor:
    """Finds the 47 landmarks of faces in known boxes. Takes about 2.6 ms a face and holds the GIL meanwhile."""

    def __init__(self, path: Path | None = None) -> None:
        import dlib

        path = path or _verified(find_model_file())
        self._rectangle = dlib.rectangle
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise LandmarkModelError(f"landmark model {path} cannot be read: {error}") from error
        self._indices = LANDMARKS_47

    def __call__(self, gray: NDArray[np.uint8], box: Sequence[float]) -> NDArray[np.float64]:
        """(47, 2) landmarks, image pixels, of the face in `box` (x, y, width, height) of an (h, w) grey image."""
        x, y, w, h = box
        shape = self._predictor(gray, self._rectangle(round(x), round(y), round(x + w) - 1, round(y + h) - 1))
        part = shape.part
        return np.array([(p.x, p.y) for p in map(part, self._indices)], np.float64)
