"""Training scenes for the landmark predictor: a teacher's landmarks on face pictures, and those pictures as a camera might
show them, cut to the patches that the predictor is given.

A scene is a picture placed on a larger canvas: turned, scaled, mirrored, re-lit, partly blurred or noisy. The application's
own detector is run on it; where it finds nothing, the box is regressed from the landmarks. So the predictor is trained on
the boxes, and on the very patches, that it will meet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from align.crop import crop_face
from align.geometry import Points, apply_similarity, eye_distance
from align.landmarks import COARSE_PX, TRAINING_PX, BoxXYWH, face_box, mirrored, patch_matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    Detect = Callable[[NDArray[np.uint8]], list[BoxXYWH]]
    Predict = Callable[[NDArray[np.uint8], BoxXYWH], Points]

# The teacher returns whole pixels: pictures are enlarged for it, so that this is not seen.
ENLARGE = 3
# Its answer is averaged over this many pairs of boxes, one of each pair on the mirrored picture.
TEACHER_PAIRS, TEACHER_JITTER = 2, 0.04
# Pictures on which these answers differ by more, in eye distances, are left out: mostly they show no readable face.
MAX_SPREAD = 0.06

# Per picture: one scene as it is, one turned a little and mirrored, one turned as far as heads are tilted.
VARIANTS = 3
SMALL_TURN_DEG, LARGE_TURN_DEG = 10.0, 45.0
FACE_PX = (28.0, 200.0)  # width of the face box on the canvas
SCAN_PX = 160  # the detector scans the canvas shrunk to this, as the application scans its frames


@dataclass(frozen=True)
class Truth:
    """A teacher's (47, 2) landmarks on a picture, in its pixels, and how far the averaged answers lie apart (mean
    distance to their mean, in eye distances)."""

    landmarks: Points
    spread: float


def jittered(box: BoxXYWH, rng: np.random.Generator, share: float) -> BoxXYWH:
    """Centre and log size moved by normal deviates of `share` of the box."""
    x, y, w, h = box
    dx, dy, grow = rng.normal(0.0, share, 3)
    k = float(np.exp(grow))
    cx, cy = x + w / 2 + dx * w, y + h / 2 + dy * h
    return cx - w * k / 2, cy - h * k / 2, w * k, h * k


def teacher_truth(gray: NDArray[np.uint8], box: BoxXYWH, teacher: Predict, rng: np.random.Generator) -> Truth:
    """What the teacher says of the face in `box` of an undistorted picture, averaged over boxes and mirror images."""
    big = cast("NDArray[np.uint8]", cv2.resize(gray, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC))
    flipped = np.ascontiguousarray(big[:, ::-1])
    width = big.shape[1]
    box = cast("BoxXYWH", tuple(ENLARGE * v for v in box))
    answers = [teacher(big, box)]
    for _ in range(TEACHER_PAIRS):
        answers.append(teacher(big, jittered(box, rng, TEACHER_JITTER)))
        x, y, w, h = jittered(box, rng, TEACHER_JITTER)
        answers.append(mirrored(teacher(flipped, (width - x - w, y, w, h)), width))
    mean = np.mean(answers, axis=0)
    spread = np.mean([np.hypot(*(a - mean).T).mean() for a in answers]) / eye_distance(mean)
    return Truth((mean + 0.5) / ENLARGE - 0.5, float(spread))


@dataclass(frozen=True)
class Scene:
    """A grey (h, w) canvas with one face; landmarks in its pixels, its turn in degrees, and the detector's box if any."""

    canvas: NDArray[np.uint8]
    landmarks: Points
    turn_deg: float
    found: BoxXYWH | None


def make_scene(
    gray: NDArray[np.uint8],
    landmarks: Points,
    rng: np.random.Generator,
    turn_deg: float,
    mirror: bool,
    detect: Detect | None,
    face_px: tuple[float, float] = FACE_PX,
) -> Scene:
    """Places an (h, w) picture on a canvas. Without `detect` nothing is looked for."""
    if mirror:
        landmarks, gray = mirrored(landmarks, gray.shape[1]), np.ascontiguousarray(gray[:, ::-1])
    box, _ = face_box(landmarks)
    scale = float(np.exp(rng.uniform(*np.log(face_px)))) / box[2]
    side = max(64, round(box[2] * scale * rng.uniform(1.6, 2.2)))
    angle = np.deg2rad(turn_deg)
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    centre = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
    # Anywhere on the canvas where most of the face is still in view: people stand at the border too.
    place = side / 2 + rng.uniform(-0.5, 0.5, 2) * max(0.0, side - 0.9 * box[2] * scale)
    linear = np.array([[a, -b], [b, a]])
    matrix = np.column_stack([linear, place - linear @ centre])
    canvas = relit(crop_face(gray, matrix, side), box[2] * scale, rng)
    points = apply_similarity(matrix, landmarks)
    return Scene(canvas, points, turn_deg, box_of_face(points, _scan(canvas, detect)) if detect else None)


def _scan(canvas: NDArray[np.uint8], detect: Detect) -> list[BoxXYWH]:
    k = max(1.0, max(canvas.shape) / SCAN_PX)
    small = cv2.resize(canvas, None, fx=1 / k, fy=1 / k, interpolation=cv2.INTER_AREA) if k > 1 else canvas
    return [(x * k, y * k, w * k, h * k) for x, y, w, h in detect(cast("NDArray[np.uint8]", small))]


def box_of_face(points: Points, boxes: list[BoxXYWH]) -> BoxXYWH | None:
    """The detected box of this face: the one near the box that its landmarks suggest. None where there is none."""
    (x, y, w, _), _ = face_box(points)
    for box in boxes:
        centre_off = np.hypot(box[0] + box[2] / 2 - x - w / 2, box[1] + box[3] / 2 - y - w / 2)
        if centre_off < 0.3 * w and 0.6 < box[2] / w < 1.6:
            return box
    return None


def relit(gray: NDArray[np.uint8], face_px: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another exposure, contrast and side light; one in three blurred, one in three noisy, one in five as a poor JPEG."""
    picture: NDArray[Any] = gray.astype(np.float32) / 255
    picture = picture ** float(np.exp(rng.normal(0, 0.3)))
    picture = (picture - 0.5) * float(np.exp(rng.normal(0, 0.2))) + 0.5 + float(rng.normal(0, 0.06))
    if rng.random() < 0.5:
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
        yy, xx = np.mgrid[: gray.shape[0], : gray.shape[1]].astype(np.float32)
        ramp = (xx * np.cos(angle) + yy * np.sin(angle)) / max(gray.shape)
        picture *= (1 + strength * (ramp - ramp.mean())).astype(np.float32)
    if rng.random() < 1 / 3:
        picture = cv2.GaussianBlur(picture, (0, 0), face_px * rng.uniform(0.003, 0.02))
    if rng.random() < 1 / 3:
        picture += rng.normal(0, rng.uniform(0.01, 0.05), picture.shape).astype(np.float32)
    out = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    if rng.random() < 0.2:
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        out = cast("NDArray[np.uint8]", cv2.imdecode(code, cv2.IMREAD_GRAYSCALE))
    return out


def coarse_patch(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Points]:
    """What the coarse predictor sees of a scene, and the landmarks in it: the detector's box, or the one regressed from the
    landmarks, jittered. One box in five strays further than detectors do."""
    box = scene.found or face_box(scene.landmarks)[0]
    return _cut(scene, jittered(box, rng, 0.08 if rng.random() < 0.2 else 0.03), 0.0, COARSE_PX)


def fine_patch(scene: Scene, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Points]:
    """What the fine predictor sees: a patch upright around the face, with errors as the coarse predictor makes them."""
    box, roll = face_box(scene.landmarks)
    wide = 2.0 if rng.random() < 0.15 else 1.0
    return _cut(
        scene, jittered(box, rng, 0.025 * wide), roll + float(np.deg2rad(rng.normal(0, 3.0 * wide))), TRAINING_PX
    )


def _cut(scene: Scene, box: BoxXYWH, roll: float, size: int) -> tuple[NDArray[np.uint8], Points]:
    matrix = patch_matrix(box, roll, size)
    return crop_face(scene.canvas, matrix, size), apply_similarity(matrix, scene.landmarks)


def picture_rng(name: str, seed: int) -> np.random.Generator:
    """A random generator for a picture: depends on its name and the seed only, not on order or number of processes."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")])


def picture_turns(rng: np.random.Generator) -> list[tuple[float, bool]]:
    """(turn in degrees, mirrored) of a picture's scenes."""
    mirror = bool(rng.random() < 0.5)
    small = np.clip(rng.normal(0, SMALL_TURN_DEG, 2), -2 * SMALL_TURN_DEG, 2 * SMALL_TURN_DEG)
    large = rng.uniform(-LARGE_TURN_DEG, LARGE_TURN_DEG)
    return [(float(small[0] / 2), mirror), (float(small[1]), not mirror), (float(large), bool(rng.random() < 0.5))]
