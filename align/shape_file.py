"""Shape predictors in dlib's file format: read into arrays, written back with rounded leaf values.

In that format an integer is a byte that holds its length and sign, then its magnitude, low byte first. A float is two
integers, mantissa and exponent (value = mantissa * 2 ** exponent), where zero bytes at the mantissa's low end are left out:
a float of 24 bits takes six bytes, one rounded to 8 bits four, which dlib reads as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable


_ZERO_EXPONENT = 40  # what dlib writes beside a mantissa of 0


class ShapeFileError(ValueError):
    """Not a shape predictor in the format that is known here."""


@dataclass
class Level:
    """One level of the cascade: `trees` regression trees of `splits` + 1 leaves, and where their features are read.

    Feature i lies at `offsets`[i] (x, y; shares of the box, in the frame of the mean shape) from landmark `anchors`[i]. A
    split sends a face left where feature `first` minus feature `second` is above `threshold`; node k's children are 2k + 1
    and 2k + 2, and past the splits come the leaves.
    """

    first: NDArray[np.int64]  # (trees, splits)
    second: NDArray[np.int64]
    threshold: NDArray[np.float32]
    leaves: NDArray[np.float32]  # (trees, splits + 1, 2 * points): x0, y0, x1, ... in shares of the box
    anchors: NDArray[np.int64]  # (features,)
    offsets: NDArray[np.float32]  # (features, 2)


@dataclass
class ShapeModel:
    """A shape predictor: the mean shape, (2 * points,) in shares of the box, and the levels that move it."""

    mean: NDArray[np.float32]
    levels: list[Level]


def read_shape_model(content: bytes) -> ShapeModel:
    """Raises ShapeFileError where `content` is not dlib's version 1 format with trees of one depth."""
    numbers = iter(_integers(content))
    take = numbers.__next__

    def values(count: int) -> NDArray[np.float64]:
        pairs = np.array([take() for _ in range(2 * count)], np.int64).reshape(count, 2)
        return np.ldexp(pairs[:, 0].astype(np.float64), pairs[:, 1])

    def tree() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        splits = np.array([[take(), take(), values(1)[0]] for _ in range(take())])
        leaves = np.array([values(take() * take()) for _ in range(take())])
        if not len(splits) or len(leaves) != len(splits) + 1:
            raise ShapeFileError("a tree of the shape predictor has not one leaf more than splits")
        return splits, leaves

    try:
        if take() != 1:
            raise ShapeFileError("not a version 1 shape predictor of dlib's")
        mean = values(take() * take()).astype(np.float32)
        forests = [[tree() for _ in range(take())] for _ in range(take())]
        anchors = [np.array([take() for _ in range(take())], np.int64) for _ in range(take())]
        offsets = [np.array([values(2) for _ in range(take())], np.float32) for _ in range(take())]
        levels = []
        for forest, a, o in zip(forests, anchors, offsets, strict=True):
            splits, leaves = np.stack([t[0] for t in forest]), np.stack([t[1] for t in forest]).astype(np.float32)
            first, second = splits[..., 0].astype(np.int64), splits[..., 1].astype(np.int64)
            levels.append(Level(first, second, splits[..., 2].astype(np.float32), leaves, a, o))
    except (StopIteration, ValueError) as error:
        raise ShapeFileError(f"the shape predictor cannot be read: {error or 'it ends early'}") from error
    return ShapeModel(mean, levels)


def write_shape_model(model: ShapeModel, leaf_bits: int = 8) -> bytes:
    """dlib's file; leaf values are rounded to mantissas of `leaf_bits` bits, all else is kept as it is."""
    out = bytearray()

    def integers(values: Iterable[int]) -> None:
        for value in values:
            magnitude = abs(value)
            length = max(1, (magnitude.bit_length() + 7) // 8)
            out.append(length | (0x80 if value < 0 else 0))
            out.extend(magnitude.to_bytes(length, "little"))

    def floats(values: NDArray[np.float32], bits: int = 24) -> None:
        fractions, exponents = np.frexp(values.astype(np.float64).ravel())
        mantissas = np.rint(np.ldexp(fractions, bits)).astype(np.int64).tolist()
        for mantissa, exponent in zip(mantissas, (exponents - bits).tolist(), strict=True):
            while mantissa and mantissa & 0xFF == 0:
                mantissa, exponent = mantissa >> 8, exponent + 8
            integers((mantissa, exponent if mantissa else _ZERO_EXPONENT))

    integers((1, -len(model.mean), -1))
    floats(model.mean)
    integers([len(model.levels)])
    for level in model.levels:
        integers([len(level.first)])
        for first, second, threshold, leaves in zip(
            level.first.tolist(), level.second.tolist(), level.threshold, level.leaves, strict=True
        ):
            integers([len(first)])
            for a, b, t in zip(first, second, threshold, strict=True):
                integers((a, b))
                floats(np.array(t))
            integers([len(leaves)])
            for leaf in leaves:
                integers((-len(leaf), -1))
                floats(leaf, leaf_bits)
    integers([len(model.levels)])
    for level in model.levels:
        integers([len(level.anchors), *level.anchors.tolist()])
    integers([len(model.levels)])
    for level in model.levels:
        integers([len(level.offsets)])
        floats(level.offsets)
    return bytes(out)


def _integers(content: bytes) -> Iterable[int]:
    at = 0
    while at < len(content):
        head = content[at]
        length = head & 0x0F
        if not 1 <= length <= 8 or head & 0x70 or at + length >= len(content):
            raise ValueError(f"byte {at} is not an integer's length")
        value = int.from_bytes(content[at + 1 : at + 1 + length], "little")
        yield -value if head & 0x80 else value
        at += 1 + length
