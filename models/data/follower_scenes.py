"""What the follower network is trained on: crops as far astray as moving heads make them, spoilt as cameras spoil them.

One scene is a (64, 64) grey crop, 47 landmarks in its pixels, and whether it shows a face. A fifth shows none: crops that
drifted off a face or lie at another scale, faces that something covers, and pictures of other things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from align.follow_crop import CROP_PX, follow_matrix
from align.geometry import Points, apply_similarity
from align.landmarks import face_box, mirrored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.data.taught import Taught

    Gray = NDArray[np.uint8]

# Normal deviates by which crops stray: shift (shares of the box), logarithm of the scale, turn in degrees; and how often.
STRAYS = ((0.04, 0.06, 6.0), (0.09, 0.13, 14.0), (0.15, 0.22, 28.0))
STRAY_UP_TO = (0.55, 0.87, 1.0)  # cumulated
CALM_UP_TO = (0.82, 0.96, 1.0)  # the same for the later part of training, in which fine differences are learned
NO_FACE = 0.22
THING_PX = 320  # largest piece of a picture without a face
# (least, most) error of a crop's centre, in shares of the box, and of its scale, as a factor. Below the first a crop shows
# its face, above the second it does not. In between nothing is learned of presence.
CENTRE, FACTOR = (0.32, 0.55), (1.5, 2.1)
# Side of the face's box in the camera's picture, pixels.
FACE_PX = (12.0, 64.0)


# Pictures without a face that come with scikit-image: used for backgrounds, and as crops that show no face.
THINGS = (
    "coffee", "camera", "chelsea", "rocket", "brick", "grass", "gravel", "coins", "text", "page", "clock", "moon",
    "checkerboard", "horse", "hubble_deep_field", "immunohistochemistry", "retina",
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """`crops` (n, 64, 64) uint8; `landmarks` (n, 47, 2) in crop pixels; `present` (n,) 1, 0, or nan where unclear;
    `placed` (n,) whether the landmarks are to be learned."""

    crops: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    present: NDArray[np.float32]
    placed: NDArray[np.bool_]


def read_things() -> list[Gray]:
    """The pictures named above, grey, none larger than 640 px or so."""
    from skimage import data

    out = []
    for name in THINGS:
        picture = np.asarray(getattr(data, name)())
        picture = (picture * 255).astype(np.uint8) if picture.dtype == bool else picture
        gray = (
            picture if picture.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)
        )
        out.append(
            gray if min(gray.shape) < 640 else cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        )
    return out


def make_batch(
    sets: Sequence[Taught],
    shares: Sequence[float],
    things: Sequence[Gray],
    size: int,
    rng: np.random.Generator,
    *,
    calm: bool = False,
) -> Batch:
    """`shares`: of each set among the faces; `things`: pictures without faces, for backgrounds and as such; `calm`: few crops
    are far astray."""
    crops = np.empty((size, CROP_PX, CROP_PX), np.uint8)
    landmarks = np.zeros((size, 47, 2), np.float32)
    present, placed = np.empty(size, np.float32), np.zeros(size, bool)
    up_to = np.cumsum(shares) / np.sum(shares)
    for i in range(size):
        faces = sets[int(np.searchsorted(up_to, rng.random()))]
        k = int(rng.integers(len(faces)))
        if rng.random() < NO_FACE:
            crops[i] = _no_face(faces, k, things, rng)
            present[i] = 0.0
        else:
            crops[i], landmarks[i], present[i] = face_scene(
                faces.pixels[k], faces.landmarks[k], things, rng, CALM_UP_TO if calm else STRAY_UP_TO
            )
            placed[i] = present[i] != 0
    return Batch(crops, landmarks, present, placed)


def face_scene(
    picture: Gray,
    points: NDArray[np.float32],
    things: Sequence[Gray],
    rng: np.random.Generator,
    up_to: Sequence[float] = STRAY_UP_TO,
) -> tuple[Gray, Points, float]:
    """Crop, landmarks in it, and presence."""
    landmarks = points.astype(np.float64)
    if rng.random() < 0.5:
        picture, landmarks = np.ascontiguousarray(picture[:, ::-1]), mirrored(landmarks, picture.shape[1])
    shift, zoom, turn = STRAYS[int(np.searchsorted(up_to, rng.random()))]
    matrix = _astray(landmarks, rng.normal(0, shift, 2), float(rng.normal(0, zoom)), float(rng.normal(0, turn)))
    if rng.random() < 0.3:
        matrix = _turned_away(matrix, rng)
    crop, landmarks = _cut(picture, matrix, landmarks, things, rng)
    (x, y, side, _), _ = face_box(landmarks)
    off = np.hypot(x + side / 2 - CROP_PX / 2, y + side / 2 - CROP_PX / 2) / side
    factor = float(np.exp(abs(np.log(side / (0.76 * CROP_PX)))))
    present = 1.0 if off < CENTRE[0] and factor < FACTOR[0] else np.nan
    if off > CENTRE[1] or factor > FACTOR[1]:
        present = 0.0
    if rng.random() < 0.25:
        covered = _cover(crop, (x, y, side), things, rng, rng.uniform(0.1, 0.55))
        if covered > 0.6:
            present = np.nan
    return spoilt(crop, rng), landmarks, present


def _astray(landmarks: Points, shift: NDArray[np.float64], zoom: float, turn_deg: float) -> NDArray[np.float64]:
    (x, y, w, h), roll = face_box(landmarks)
    k = float(np.exp(zoom))
    cx, cy = x + w / 2 + shift[0] * w, y + h / 2 + shift[1] * h
    return follow_matrix((cx - w * k / 2, cy - h * k / 2, w * k, h * k), roll + float(np.deg2rad(turn_deg)))


def _turned_away(matrix: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Squeezes and slants the crop, roughly as a head looks that turns or nods."""
    middle = CROP_PX / 2
    slant = np.array([[rng.uniform(0.72, 1.04), rng.normal(0, 0.05)], [rng.normal(0, 0.08), rng.uniform(0.85, 1.1)]])
    return np.column_stack([slant @ matrix[:, :2], slant @ (matrix[:, 2] - middle) + middle])


def _cut(
    picture: Gray, matrix: NDArray[np.float64], landmarks: Points, things: Sequence[Gray], rng: np.random.Generator
) -> tuple[Gray, Points]:
    """The crop, taken at the resolution of a camera's picture of the face and then enlarged, its surroundings filled."""
    (_, _, side, _), _ = face_box(apply_similarity(matrix, landmarks))
    native = float(np.exp(rng.uniform(*np.log(FACE_PX)))) if rng.random() < 0.6 else FACE_PX[1]
    size = int(np.clip(round(CROP_PX * native / max(side, 1.0)), 14, CROP_PX))
    scaled = matrix * (size / CROP_PX)
    scaled[:, 2] += 0.5 * size / CROP_PX - 0.5
    scale = float(np.sqrt(abs(np.linalg.det(scaled[:, :2]))))
    source = picture
    if scale < 0.5:  # averaged down, as a lens and a sensor do
        factor = int(1 / scale)
        source = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        k = picture.shape[1] / source.shape[1]
        scaled = scaled @ np.array([[k, 0, 0.5 * k - 0.5], [0, k, 0.5 * k - 0.5], [0, 0, 1]])
    crop = cv2.warpAffine(source, scaled, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        inside = np.full(source.shape[:2], 255, np.uint8)
        mask = cv2.warpAffine(inside, scaled, (size, size), flags=cv2.INTER_LINEAR)
        if mask.min() == 0:
            mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.3, 2.5))[..., None].astype(np.float32) / 255
            behind = _thing(things, size, rng).astype(np.float32)
            mask = mask[..., 0]
            crop = np.rint(crop * mask + behind * (1 - mask)).astype(np.uint8)
    if rng.random() < 0.5:
        crop = _camera(crop, rng)
    if size != CROP_PX:
        crop = cv2.resize(crop, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR)
    return crop, apply_similarity(matrix, landmarks)


def _thing(things: Sequence[Gray], size: int, rng: np.random.Generator) -> Gray:
    """A square piece of a picture without faces, or a made-up pattern."""
    kind = rng.random()
    if kind < 0.12:
        plain = np.full((size, size), rng.uniform(0, 255)) + rng.normal(0, 1, (size, size)) * rng.uniform(0, 30)
        return np.clip(plain, 0, 255).astype(np.uint8)
    if kind < 0.24:
        coarse = rng.integers(0, 256, (int(rng.integers(2, 9)),) * 2).astype(np.uint8)
        return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    picture = things[int(rng.integers(len(things)))]
    side = int(np.exp(rng.uniform(np.log(24), np.log(min(THING_PX, *picture.shape)))))
    y, x = (int(rng.integers(0, n - side + 1)) for n in picture.shape)
    piece = cv2.resize(picture[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
    return piece if rng.random() < 0.5 else np.ascontiguousarray(piece[:, ::-1])


def _no_face(faces: Taught, k: int, things: Sequence[Gray], rng: np.random.Generator) -> Gray:
    kind = rng.random()
    if kind < 0.4:
        return spoilt(_thing(things, CROP_PX, rng), rng)
    picture, landmarks = faces.pixels[k], faces.landmarks[k].astype(np.float64)
    if kind < 0.9:
        angle = rng.uniform(0, 2 * np.pi)
        way = rng.uniform(0.6, 1.3) if rng.random() < 0.65 else rng.uniform(0, 0.3)
        zoom = float(rng.normal(0, 0.25)) if way >= 0.6 else float(rng.choice([-1, 1]) * rng.uniform(0.8, 1.4))
        matrix = _astray(landmarks, way * np.array([np.cos(angle), np.sin(angle)]), zoom, float(rng.normal(0, 25)))
        return spoilt(_cut(picture, matrix, landmarks, things, rng)[0], rng)
    crop, moved = _cut(picture, _astray(landmarks, rng.normal(0, 0.05, 2), 0.0, 0.0), landmarks, things, rng)
    (x, y, side, _), _ = face_box(moved)
    _cover(crop, (x, y, side), things, rng, 1.0)
    return spoilt(crop, rng)


def _cover(
    crop: Gray, box: tuple[float, float, float], things: Sequence[Gray], rng: np.random.Generator, share: float
) -> float:
    """Lays something over about `share` of the face's box, from a random side; returns how much of it is hidden."""
    x, y, side = box
    x0, y0, x1, y1 = (int(np.clip(v, 0, CROP_PX)) for v in (x, y, x + side, y + side))
    if x1 <= x0 or y1 <= y0:
        return 0.0
    mask = np.zeros((CROP_PX, CROP_PX), np.uint8)
    if share >= 1:
        mask[:] = 1
    elif rng.random() < 0.75:  # from a side
        across, edge = share * side, int(rng.integers(4))
        if edge == 0:
            mask[:, : int(x + across)] = 1
        elif edge == 1:
            mask[:, max(0, int(x + side - across)) :] = 1
        elif edge == 2:
            mask[: int(y + 0.8 * across)] = 1
        else:
            mask[max(0, int(y + side - across)) :] = 1
    else:  # a hand, a cup
        centre = (int(rng.uniform(x0, x1)), int(rng.uniform(y0, y1)))
        axes = (max(1, int(side * rng.uniform(0.1, 0.3))), max(1, int(side * rng.uniform(0.1, 0.35))))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    over = _thing(things, CROP_PX, rng)
    crop[:] = np.where(mask > 0, over, crop)
    return float(mask[y0:y1, x0:x1].mean())


def _camera(crop: Gray, rng: np.random.Generator) -> Gray:
    """Blur by motion or defocus, noise, and a poor JPEG, at the camera's own resolution."""
    if rng.random() < 0.45:
        if rng.random() < 0.5:
            length = int(rng.integers(2, max(3, len(crop) // 7)))
            angle = rng.uniform(0, np.pi)
            kernel = np.zeros((length, length), np.float32)
            middle = (length - 1) / 2
            end = (middle * np.cos(angle), middle * np.sin(angle))
            cv2.line(
                kernel,
                (round(middle - end[0]), round(middle - end[1])),
                (round(middle + end[0]), round(middle + end[1])),
                1.0,
            )
            crop = cv2.filter2D(crop, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
        else:
            crop = cv2.GaussianBlur(crop, (0, 0), len(crop) * rng.uniform(0.006, 0.03))
    if rng.random() < 0.5:
        noise = rng.standard_normal(crop.shape, np.float32) * np.float32(rng.uniform(2, 22))
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        _, code = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(10, 70))])
        crop = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)
    return crop


_RAMP = (np.mgrid[:CROP_PX, :CROP_PX].astype(np.float32) - CROP_PX / 2) / CROP_PX


def spoilt(crop: Gray, rng: np.random.Generator) -> Gray:
    """Another exposure, contrast and side light."""
    if rng.random() < 0.25:
        return crop
    light = crop.astype(np.float32) / 255
    if rng.random() < 0.5:
        light = light ** np.float32(np.exp(rng.normal(0, 0.35)))
    light = light * np.float32(np.exp(rng.normal(-0.2, 0.4))) + np.float32(rng.normal(0, 0.06))
    if rng.random() < 0.4:
        angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.9)
        light *= (1 + strength * (np.cos(angle) * _RAMP[1] + np.sin(angle) * _RAMP[0])).astype(np.float32)
    return np.clip(light * 255, 0, 255).astype(np.uint8)
