"""Whether what was found is a face whose crop can be read. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from align.geometry import Points

_SHIFT = 0.08  # of the box: about what a detector's boxes stray by
_GRID = (np.stack(np.meshgrid(*[np.arange(12)] * 2), axis=-1).reshape(-1, 2) + 0.5) / 12


def unsteadiness(predict: Callable[[Sequence[float]], Points], box: Sequence[float]) -> float:
    """How far landmarks move when their (x, y, width, height) box does: root mean square, in widths of the box.

    On a face they stay where the face is, on anything else they go along. Costs three predictions. Median on UTKFace
    0.005; of 51 things that Viola-Jones took for faces the least was 0.015 and the median 0.09.
    """
    x, y, width, height = box
    there = predict(box)
    shifted = (predict((x + s * width, y + s * height, width, height)) for s in (-_SHIFT, _SHIFT))
    return float(np.mean([np.sqrt(((other - there) ** 2).sum(axis=1).mean()) for other in shifted]) / width)


def crop_side(matrix: NDArray[np.float64]) -> float:
    """Side of the crop in pixels of the frame, for a 2x3 matrix into the unit square."""
    return 1 / float(np.hypot(matrix[0, 0], matrix[1, 0]))


def roll(matrix: NDArray[np.float64]) -> float:
    """The head's tilt in degrees, clockwise as seen in the frame."""
    return float(np.degrees(np.arctan2(-matrix[1, 0], matrix[0, 0])))


def share_outside(matrix: NDArray[np.float64], width: int, height: int) -> float:
    """Share of the crop that lies outside a frame of this size."""
    turn = matrix[:, :2].T / float(matrix[0, 0] ** 2 + matrix[1, 0] ** 2)  # the inverse of a similarity
    points = (_GRID - matrix[:, 2]) @ turn.T
    return float(((points < -0.5) | (points > np.array([width, height]) - 0.5)).any(axis=1).mean())


# What keeps a crop from being read, and from where on. On UTKFace's training pictures (`main.py bench alignment`) the age's
# error is 1.4 times larger with 30 % of the crop outside of the frame and with crops of 32 px, 1.1 times with 20 % and
# 48 px. On validation pictures it is 5.2 years at 32 px and 6.5 at 24, still of use to somebody with small footage. With the
# misfit it does not grow up to 0.06; one crop in 850 lies above, and none of an upright face above 0.08.
TURNED_AWAY, AT_THE_EDGE, TOO_SMALL = "turned away", "at the edge", "too small"
MAX_MISFIT, MAX_OUTSIDE, MIN_SIDE = 0.08, 0.25, 24.0


def unfit(matrix: NDArray[np.float64], misfit: float, width: int, height: int) -> str | None:
    """Why the crop that a 2x3 matrix cuts from a frame of this size is not to be read; None where it is fit.

    `misfit` is the fit's residual, a share of the crop's side.
    """
    if crop_side(matrix) < MIN_SIDE:
        return TOO_SMALL
    if share_outside(matrix, width, height) > MAX_OUTSIDE:
        return AT_THE_EDGE
    return TURNED_AWAY if misfit > MAX_MISFIT else None
