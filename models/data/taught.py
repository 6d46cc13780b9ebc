"""What the follower network learns from: dlib's 68-point model's landmarks on pictures of faces, 47 of the 68, averaged.

The teacher's answer moves with its box and differs between a picture and its mirror image. The mean over several boxes
on both is nearer to the truth, and steadier, than any one answer. Pictures on which the answers lie far apart teach
nothing about landmarks and are left out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from align.geometry import eye_distance
from align.landmark_scenes import jittered
from align.landmarks import TeacherPredictor, mirrored
from models.data.locate import SCORE_OF_A_CROP, HogDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.data.sets.base import Placing

# Pictures are enlarged to this side for the teacher, which returns whole pixels and was trained on large faces.
TEACHER_SIDE = 400
DETECTION_SIDE = 200
# Pairs of boxes, one on the mirror image, each astray by this share of the side.
PAIRS, JITTER = 2, 0.04
# Mean distance of the answers to their mean, in eye distances: beyond it there is mostly no readable face.
MAX_SPREAD = 0.05


@dataclass(frozen=True)
class Taught:
    """Pictures with a face: `pixels` holds (side, side) uint8 grey each, `landmarks` (n, 47, 2) in their pixels."""

    pixels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)


class Teacher:
    """Landmarks of the one face of a square picture, and how far the answers lie apart, in eye distances."""

    def __init__(self, placing: Placing) -> None:
        self._detect, self._predict, self._placing = HogDetector(SCORE_OF_A_CROP), TeacherPredictor(), placing

    def __call__(self, gray: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
        """(47, 2) in pixels of the (side, side) picture."""
        side = gray.shape[0]
        scale = TEACHER_SIDE / side
        big = cv2.resize(gray, (TEACHER_SIDE, TEACHER_SIDE), interpolation=cv2.INTER_CUBIC)
        pad = round(TEACHER_SIDE * 0.2)
        big = cv2.copyMakeBorder(big, pad, pad, pad, pad, cv2.BORDER_REFLECT_101)
        flipped, width = np.ascontiguousarray(big[:, ::-1]), big.shape[1]
        box = self._box(big, pad)
        answers = []
        for _ in range(PAIRS):
            answers.append(self._predict(big, jittered(box, rng, JITTER)))
            x, y, w, h = jittered(box, rng, JITTER)
            answers.append(mirrored(self._predict(flipped, (width - x - w, y, w, h)), width))
        mean = np.mean(answers, axis=0)
        spread = np.mean([np.hypot(*(a - mean).T).mean() for a in answers]) / max(eye_distance(mean), 1.0)
        return (mean - pad + 0.5) / scale - 0.5, float(spread)

    def _box(self, padded: NDArray[np.uint8], pad: int) -> tuple[float, float, float, float]:
        """The face's box by dlib's detector, on a smaller picture to save time; else the data set's usual place."""
        factor = len(padded) / DETECTION_SIDE
        small = cv2.resize(padded, (DETECTION_SIDE, DETECTION_SIDE), interpolation=cv2.INTER_AREA)
        if found := self._detect(small):
            x, y, w, h = (factor * v for v in found[1])
            return x, y, w, h
        x, y, w, h = (v * TEACHER_SIDE for v in self._placing.usual_box or (0.0, 0.0, 1.0, 1.0))
        return x + pad, y + pad, w, h


def teach(paths: Sequence[Path], side: int, placing: Placing, out: Path, progress: Callable = iter) -> tuple[int, int]:
    """Writes OUT.npz: pixels (n, side, side) and landmarks of the pictures whose answers agree. Returns how many were
    kept and how many left out; an existing file of the same pictures is kept as it is."""
    key = hashlib.sha256("\n".join(p.name for p in paths).encode()).hexdigest()
    if out.exists():
        with np.load(out) as made:
            if str(made["key"]) == key:
                return len(made["landmarks"]), int(made["left_out"])
    cv2.setNumThreads(1)
    teacher, rng = Teacher(placing), np.random.default_rng(1)
    pixels, landmarks, left_out = [], [], 0
    for path in progress(paths):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if gray is None or gray.shape[0] != gray.shape[1]:
            left_out += 1
            continue
        if gray.shape[0] != side:
            gray = np.asarray(cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
        points, spread = teacher(gray, rng)
        if spread > MAX_SPREAD:
            left_out += 1
            continue
        pixels.append(gray)
        landmarks.append(points.astype(np.float32))
    partial = out.with_suffix(".partial.npz")
    np.savez(partial, key=key, pixels=np.stack(pixels), landmarks=np.stack(landmarks), left_out=left_out)
    partial.replace(out)
    return len(pixels), left_out


def load(path: Path) -> Taught:
    with np.load(path) as made:
        return Taught(made["pixels"], made["landmarks"])
