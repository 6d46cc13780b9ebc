"""Measures a landmark predictor against the teacher on held-out pictures. All errors are mean distances of the 47 points in
eye distances.

Truth is the teacher's answer on the undistorted, enlarged picture, averaged over boxes and mirror images (teacher_truth).
The teacher's disagreement with itself is the distance between its answers for two boxes that each stray from the one
detected by normal deviates of 5 % of the side, in x, y and log size; on the enlarged picture, so that its whole pixels
do not add to it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from align.geometry import Points, apply_similarity, eye_distance
from align.landmark_scenes import ENLARGE, box_of_face, jittered, picture_rng, teacher_truth
from align.landmarks import LandmarkPredictor, TeacherPredictor, face_box, mirrored, teacher_box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from align.landmarks import BoxXYWH
    from align.train_landmarks import Tools

BORDER = 60  # pixels of mirrored surroundings, so that faces that fill the picture are detected too
JITTER = 0.05
STRAY_SHARES = (0.0, 0.05, 0.1, 0.15, 0.2)
TILTS_DEG = (0, 15, 30, 45, 60)
DRIFT_ROUNDS = 10


def distance(a: Points, b: Points, truth: Points) -> float:
    """Mean distance of two (47, 2) sets in eye distances of the true one."""
    return float(np.hypot(*(a - b).T).mean() / eye_distance(truth))


def evaluate_landmarks(
    pictures: Sequence[Path],
    tools: Tools,
    predictor: LandmarkPredictor,
    *,
    seed: int = 2,
    progress: Callable[..., Any] = iter,
) -> dict[str, Any]:
    """Figures over the held-out pictures, ready for JSON; curves and tilts over every fourth of them."""
    teacher, detect, locate = TeacherPredictor(), tools.detector(), tools.locator()
    kept: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        kept.setdefault(name, []).append(value)

    found = read = 0
    for i, path in enumerate(progress(pictures)):
        data = np.fromfile(path, np.uint8)
        picture = cast("NDArray[np.uint8] | None", cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None)
        if picture is None:
            continue
        read += 1
        rng = picture_rng(path.name, seed)
        truth = teacher_truth(picture, locate(picture), teacher, rng).landmarks + BORDER
        gray = cast("NDArray[np.uint8]", cv2.copyMakeBorder(picture, *(BORDER,) * 4, borderType=cv2.BORDER_REFLECT_101))
        box = box_of_face(truth, detect(gray))
        if box is None:
            keep("ours, no face detected", distance(predictor(gray, face_box(truth)[0]), truth, truth))
            continue
        found += 1
        face = _Face(gray, box, truth, rng)
        for name, error in face.errors(predictor, teacher):
            keep(name, error)
        for name, error in face.hard_errors(predictor, teacher, turn=1 if i % 8 else -1) if i % 4 == 0 else ():
            keep(name, error)
    return {
        "pictures": read,
        "found": found,
        "errors": {
            name: {
                "mean": float(np.mean(v)),
                "median": float(np.median(v)),
                "p90": float(np.quantile(v, 0.9)),
                "pictures": len(v),
            }
            for name, v in kept.items()
        },
    }


@dataclass(frozen=True)
class _Face:
    """A detected face of one picture, and the errors of every predictor on it, by name."""

    gray: NDArray[np.uint8]
    box: BoxXYWH
    truth: Points
    rng: np.random.Generator

    def errors(self, predictor: LandmarkPredictor, teacher: TeacherPredictor) -> Iterator[tuple[str, float]]:
        gray, box, truth = self.gray, self.box, self.truth
        ours = predictor(gray, box)
        yield "ours", distance(ours, truth, truth)
        yield "teacher", distance(teacher(gray, teacher_box(box)), truth, truth)
        a, b = (_sharp(teacher, gray, jittered(teacher_box(box), self.rng, JITTER)) for _ in range(2))
        yield "teacher against itself", distance(a, b, truth)
        c, d = (predictor(gray, jittered(box, self.rng, JITTER)) for _ in range(2))
        yield "ours against itself", distance(c, d, truth)
        flipped = np.ascontiguousarray(gray[:, ::-1])
        x, y, w, h = box
        back = mirrored(predictor(flipped, (gray.shape[1] - x - w, y, w, h)), gray.shape[1])
        yield "ours, mirrored picture", distance(back, ours, truth)
        yield f"ours, after {DRIFT_ROUNDS} rounds", distance(_rounds(predictor, gray, ours), ours, truth)

    def hard_errors(
        self, predictor: LandmarkPredictor, teacher: TeacherPredictor, turn: int
    ) -> Iterator[tuple[str, float]]:
        """Errors with boxes that stray, and with the head tilted; the sign of `turn` says to which side."""
        gray, truth = self.gray, self.truth
        for share in STRAY_SHARES:
            stray = jittered(self.box, self.rng, share)
            yield f"ours, box astray {share:.0%}", distance(predictor(gray, stray), truth, truth)
            yield f"teacher, box astray {share:.0%}", distance(teacher(gray, teacher_box(stray)), truth, truth)
        for tilt in TILTS_DEG:
            turned, points = _turned(gray, truth, turn * tilt)
            upright = face_box(points)[0]
            yield f"ours, tilted {tilt}", distance(predictor(turned, upright), points, points)
            yield f"teacher, tilted {tilt}", distance(teacher(turned, teacher_box(upright)), points, points)


def _sharp(teacher: TeacherPredictor, gray: NDArray[np.uint8], box: BoxXYWH) -> Points:
    big = cast("NDArray[np.uint8]", cv2.resize(gray, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC))
    x, y, w, h = box
    points: Points = (teacher(big, (ENLARGE * x, ENLARGE * y, ENLARGE * w, ENLARGE * h)) + 0.5) / ENLARGE - 0.5
    return points


def _rounds(predictor: LandmarkPredictor, gray: NDArray[np.uint8], points: Points) -> Points:
    """Box from landmarks, landmarks from box, several times: shows whether a predictor drifts."""
    for _ in range(DRIFT_ROUNDS):
        points = predictor(gray, face_box(points)[0])
    return points


def _turned(gray: NDArray[np.uint8], points: Points, degrees: float) -> tuple[NDArray[np.uint8], Points]:
    height, width = gray.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turned = cv2.warpAffine(gray, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cast("NDArray[np.uint8]", turned), apply_similarity(matrix, points)


def time_landmarks(manifest: Path, gray: NDArray[np.uint8], box: BoxXYWH, rounds: int = 40) -> dict[str, float]:
    """Load time and time per face of the predictor and of the teacher. They take turns at ten faces, each turned a little
    further: one face again and again would only touch the same leaves of the trees. The best of the rounds counts: other
    work on the machine only adds."""
    loads = []
    for _ in range(5):
        started = time.perf_counter()
        predictor = LandmarkPredictor(manifest)
        loads.append(time.perf_counter() - started)
    teacher = TeacherPredictor()
    turns = [
        cv2.getRotationMatrix2D((box[0] + box[2] / 2, box[1] + box[3] / 2), 3.0 * i - 13.5, 1.0) for i in range(10)
    ]
    faces = [cast("NDArray[np.uint8]", cv2.warpAffine(gray, turn, gray.shape[::-1])) for turn in turns]
    ours_s, teacher_s = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        for face in faces:
            predictor(face, box)
        between = time.perf_counter()
        for face in faces:
            teacher(face, teacher_box(box))
        ours_s.append((between - started) / 10)
        teacher_s.append((time.perf_counter() - between) / 10)
    ours, theirs = min(ours_s), min(teacher_s)
    return {
        "load_ms": min(loads) * 1e3,
        "ours_ms": ours * 1e3,
        "teacher_ms": theirs * 1e3,
        "ratio": ours / theirs,
    }
