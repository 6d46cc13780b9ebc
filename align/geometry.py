"""Similarity alignment of facial landmarks to a symmetric template.

Coordinates are (x, y) with x to the right and y downwards. An image's pixel centres sit at whole numbers, as in
OpenCV. A template lives in the unit square, which spans the network's input from edge to edge.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

# Of the usual 68 landmarks: no jaw line (0-16) and none of the four outermost brow points (17, 18, 25, 26).
LANDMARKS_47 = (*range(19, 25), *range(27, 68))

_MIRROR_68 = {
    **{a: 16 - a for a in range(17)},
    **{a: 43 - a for a in range(17, 27)},
    **{a: a for a in range(27, 31)},
    **{a: 66 - a for a in range(31, 36)},
    **dict(
        zip(
            (36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47),
            (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
            strict=True,
        )
    ),
    **{a: 102 - a for a in range(48, 55)},
    **{a: 114 - a for a in range(55, 60)},
    **{a: 124 - a for a in range(60, 65)},
    **{a: 132 - a for a in range(65, 68)},
}
# MIRROR_47[i] is the place, among the 47, of the landmark opposite to landmark i on the other half of the face.
MIRROR_47 = tuple(LANDMARKS_47.index(_MIRROR_68[a]) for a in LANDMARKS_47)

_EYES_47 = (
    tuple(LANDMARKS_47.index(a) for a in range(36, 42)),
    tuple(LANDMARKS_47.index(a) for a in range(42, 48)),
)


class AlignmentError(ValueError):
    """No similarity can be fitted to the landmarks: too few, all in one place, or not finite."""


def fit_similarity(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Least-squares rotation, uniform scale and shift that takes `source` points to `target` points.

    Both are (n, 2), n >= 2. Returns the 2x3 matrix [[a, -b, tx], [b, a, ty]] with a = s cos t, b = s sin t. Two rows per
    point are stacked and solved together: x' = a x - b y + tx and y' = a y + b x + ty. This is eq. (4) of Bai et al. 2018
    with the sign of its first row put right: eq. (2) gives [-y, -x, 0, -1] with right side -y', where +1 is printed.

    Raises AlignmentError where the points do not determine a similarity.
    """
    src, dst = np.ascontiguousarray(source, np.float64), np.ascontiguousarray(target, np.float64)
    if src.shape != dst.shape or src.ndim != 2 or src.shape[1] != 2 or len(src) < 2:
        raise AlignmentError(f"need two matching sets of at least 2 points, got shapes {src.shape} and {dst.shape}")
    if not (np.isfinite(src).all() and np.isfinite(dst).all()):
        raise AlignmentError("landmarks are not finite")
    # Centred, the normal equations of those rows are diagonal, which is exact and spares a general solver per face. As
    # complex numbers x + iy they take a quarter of the time: a similarity multiplies by a + ib, then shifts.
    p, q = _complex(src), _complex(dst)
    p_mean, q_mean = complex(p.sum()) / len(p), complex(q.sum()) / len(q)
    p, q = p - p_mean, q - q_mean
    spread = float(np.vdot(p, p).real)
    if spread <= 1e-12 * max(1.0, abs(p_mean) ** 2):
        raise AlignmentError("all landmarks fall in one place")
    turn = complex(np.vdot(p, q)) / spread
    shift = q_mean - turn * p_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def fit_similarities(sources: Points, target: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`fit_similarity` and `residual` of many sets at once: (m, n, 2) points to the same (n, 2). Returns (m, 2, 3) matrices and
    (m,) residuals, which are infinite where the points do not determine a similarity."""
    p, q = np.ascontiguousarray(sources).view(np.complex128)[..., 0], _complex(np.ascontiguousarray(target))
    p_mean, q_mean = p.mean(axis=1), q.mean()
    p, q = p - p_mean[:, None], q - q_mean
    spread = (p.real**2 + p.imag**2).sum(axis=1)
    fits = spread > 1e-12 * np.maximum(1.0, np.abs(p_mean) ** 2)  # not so where points are not finite
    turn = np.divide(p.conj() @ q, spread, out=np.zeros(len(p), np.complex128), where=fits)
    shift = q_mean - turn * p_mean
    error = turn[:, None] * p - q
    residuals = np.sqrt((error.real**2 + error.imag**2).mean(axis=1))
    matrices = np.stack([turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag], axis=1).reshape(-1, 2, 3)
    return matrices, np.where(fits & np.isfinite(residuals), residuals, math.inf)


def _complex(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    """(n,) view of (n, 2) contiguous points."""
    return points.view(np.complex128)[:, 0]


def apply_similarity(matrix: ArrayLike, points: ArrayLike) -> Points:
    """Takes (n, 2) points through a 2x3 matrix."""
    m = np.asarray(matrix, np.float64)
    moved: Points = np.asarray(points, np.float64) @ m[:, :2].T + m[:, 2]
    return moved


def residual(matrix: ArrayLike, source: ArrayLike, target: ArrayLike) -> float:
    """Root mean square distance left after the fit, in the target's unit."""
    error = apply_similarity(matrix, source) - np.asarray(target, np.float64)
    return math.sqrt(np.vdot(error, error) / len(error))


def eye_distance(landmarks: ArrayLike) -> float:
    """Distance between the centres of the two eyes of a (47, 2) set, in its unit."""
    points = np.asarray(landmarks, np.float64)
    left, right = (points[list(eye)].mean(axis=0) for eye in _EYES_47)
    return float(np.hypot(*(right - left)))


def to_pixels(matrix: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """2x3 matrix into the unit square to one into the pixels of a size x size crop."""
    scaled: NDArray[np.float64] = matrix * size
    scaled[:, 2] -= 0.5
    return scaled


def mean_shape(shapes: ArrayLike, rounds: int = 5) -> Points:
    """Procrustes mean of (n, 47, 2) landmark sets: each is fitted to the running mean by similarity, then averaged.

    Returned upright as in the first guess (the plain mean), centred, with eyes one unit apart.
    """
    sets = np.asarray(shapes, np.float64)
    mean = sets.mean(axis=0)
    for _ in range(rounds):
        mean = mean - mean.mean(axis=0)
        mean /= eye_distance(mean)
        mean = np.mean([apply_similarity(fit_similarity(s, mean), s) for s in sets], axis=0)
    mean = mean - mean.mean(axis=0)
    normed: Points = mean / eye_distance(mean)
    return normed


def symmetrised(shape: ArrayLike) -> Points:
    """A left-right symmetric copy: the two points of a pair get their mean height and mean distance from x = 0."""
    points = np.asarray(shape, np.float64)
    points = points - [points[:, 0].mean(), 0.0]
    flipped = points[list(MIRROR_47)] * [-1.0, 1.0]
    both: Points = (points + flipped) / 2
    return both


@dataclass(frozen=True)
class Margins:
    """Share of the crop that is left free beside the landmarks at each edge."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if (
            min(self.left, self.top, self.right, self.bottom) < 0
            or max(self.left + self.right, self.top + self.bottom) >= 1
        ):
            raise ValueError(f"margins must be at least 0 and leave room for the face: {self}")


PAPER_MARGINS = Margins(left=0.2, top=0.2, right=0.2, bottom=0.1)


@dataclass(frozen=True)
class Template:
    """Where the 47 landmarks of an upright face belong in the crop, in the unit square."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        array = np.asarray(self.points, np.float64)
        if array.shape != (len(LANDMARKS_47), 2) or not np.isfinite(array).all():
            raise ValueError(f"a template has {len(LANDMARKS_47)} finite (x, y) points, got shape {array.shape}")
        if np.abs(array - 0.5).max() > 1.0:
            raise ValueError("template points must lie in or near the unit square")
        if eye_distance(array) < 1e-3:
            raise ValueError("the template's eyes fall in one place")

    @classmethod
    def from_shape(cls, shape: ArrayLike, margins: Margins) -> Template:
        """Scales a (47, 2) shape uniformly to the tighter of the two directions that `margins` leave, and centres it."""
        points = symmetrised(shape)
        low, high = points.min(axis=0), points.max(axis=0)
        room = np.array([1 - margins.left - margins.right, 1 - margins.top - margins.bottom])
        scale = float((room / (high - low)).min())
        centre = np.array([(1 + margins.left - margins.right) / 2, (1 + margins.top - margins.bottom) / 2])
        points = (points - (low + high) / 2) * scale + centre
        return cls(tuple((round(float(x), 6), round(float(y), 6)) for x, y in points))

    @cached_property
    def array(self) -> Points:
        """(47, 2) in the unit square."""
        return np.asarray(self.points, np.float64)

    def at(self, size: int) -> Points:
        """(47, 2) in pixels of a size x size crop; the crop's edges lie half a pixel outside its outer pixel centres."""
        return self.array * size - 0.5

    def fit(self, landmarks: ArrayLike) -> NDArray[np.float64]:
        """2x3 matrix from image pixels to the unit square; `to_pixels` makes it one for a crop of some size."""
        return fit_similarity(landmarks, self.array)

    def fit_all(self, landmarks: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same for (n, 47, 2), and (n,) residuals as shares of the crop's side; infinite where there is no fit."""
        return fit_similarities(landmarks, self.array)


def load_mean_shape(path: Path | None = None) -> Points:
    """The (47, 2) mean shape that comes with the project; mean_shape.json names the data that it was measured on."""
    with open(path or Path(__file__).with_name("mean_shape.json"), encoding="utf-8") as file:
        return np.asarray(json.load(file)["points"], np.float64)
