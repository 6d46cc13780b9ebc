"""Warps faces out of an image to the network's input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from align.geometry import to_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence


def crop_face(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The (size, size, 3) crop of an (h, w, 3) image under a 2x3 matrix; colour order is kept.

    Outside the image its border is mirrored. Bilinear sampling would skip pixels of large faces: one of more than 2.5 times
    the crop's size is cut twice as large and averaged down, one of more than four times is shrunk first.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale <= 0.25:
        image, matrix = _shrunk(image, matrix, size, scale)
    elif scale < 0.4:
        doubled = matrix * 2
        doubled[:, 2] += 0.5  # pixel centres: x_large = (x + 0.5) * 2 - 0.5
        large = crop_face(image, doubled, 2 * size)
        crop = cv2.resize(large, (size, size), dst=out, interpolation=cv2.INTER_AREA)
        return cast("NDArray[np.uint8]", crop)
    crop = cv2.warpAffine(
        image, matrix, (size, size), dst=out, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return cast("NDArray[np.uint8]", crop)


def doubled_crop(gray: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The crop of an (h, w) image, cut at half of `size`, which is even, and doubled."""
    half = matrix / 2
    half[:, 2] -= 0.25  # pixel centres: x_half = (x + 0.5) / 2 - 0.5
    return cast("NDArray[np.uint8]", cv2.resize(crop_face(gray, half, size // 2), (size, size)))


def crop_batch(image: NDArray[np.uint8], matrices: Sequence[NDArray[np.float64]], size: int) -> NDArray[np.uint8]:
    """(n, size, size, 3) RGB crops of an (h, w, 3) BGR image, one per 2x3 matrix into the unit square (Template.fit)."""
    batch = np.empty((len(matrices), size, size, 3), np.uint8)
    for crop, matrix in zip(batch, matrices, strict=True):
        cv2.cvtColor(crop_face(image, to_pixels(matrix, size), size), cv2.COLOR_BGR2RGB, dst=crop)
    return batch


def _shrunk(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of the image that the crop shows, shrunk by a whole factor, with the matrix that fits it."""
    factor = int(1 / scale)
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64) @ inverse[:, :2].T + inverse[:, 2]
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(corners.min(axis=0)).astype(int) - factor, 0, [width - 1, height - 1])
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)).astype(int) + factor, [x0 + 1, y0 + 1], [width, height])
    part = image[y0:y1, x0:x1]
    new_width, new_height = max(1, part.shape[1] // factor), max(1, part.shape[0] // factor)
    small = cast("NDArray[np.uint8]", cv2.resize(part, (new_width, new_height), interpolation=cv2.INTER_AREA))
    fx, fy = part.shape[1] / new_width, part.shape[0] / new_height
    # Pixel centres: x_part = (x_small + 0.5) * fx - 0.5
    to_part = np.array([[fx, 0, 0.5 * fx - 0.5 + x0], [0, fy, 0.5 * fy - 0.5 + y0], [0, 0, 1]])
    return small, matrix @ to_part
