"""Evaluates a shape predictor on many faces at once, and fits the leaf values of its trees again.

dlib grows one tree after another, each on what the ones before it left over, and each fills its leaves greedily. Given
the trees, the leaf values of a whole level are a linear least-squares problem: the shape's correction is a sum of one leaf per
tree. Solving it for all of a level's trees together, on many more faces than the trees were grown on, makes a small
predictor a good deal better (the "global refinement" of Ren et al., Face Alignment at 3000 FPS, 2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from align.shape_file import Level, ShapeModel

_BLOCK = 2048  # faces at a time


def leaf_numbers(
    level: Level,
    mean: NDArray[np.float32],
    patches: NDArray[np.uint8],
    shapes: NDArray[np.float32],
    corner: float,
    side: float,
) -> NDArray[np.int32]:
    """(n, trees) leaf of each tree that the faces reach.

    `patches` are (n, h, w) grey, `shapes` (n, 2 * points) the landmarks so far, in shares of a box whose upper left corner is
    at (corner, corner) px and whose side measures `side` px.
    """
    height, width = patches.shape[1:]
    points = shapes.reshape(len(shapes), -1, 2)
    linear = _similarities(mean.reshape(-1, 2), points)
    at = level.offsets @ linear.transpose(0, 2, 1) + points[:, level.anchors]
    at = np.floor(at * np.float32(side) + np.float32(corner) + np.float32(0.5)).astype(np.int32)
    inside = (at >= 0).all(axis=2) & (at[..., 0] < width) & (at[..., 1] < height)
    x, y = np.clip(at[..., 0], 0, width - 1), np.clip(at[..., 1], 0, height - 1)
    features = np.where(inside, patches[np.arange(len(patches))[:, None], y, x], 0).astype(np.int16)
    splits = level.first.shape[1]
    node = np.zeros((len(patches), len(level.first)), np.int32)
    trees, rows = np.arange(len(level.first)), np.arange(len(patches))[:, None]
    for _ in range(splits.bit_length()):
        difference = features[rows, level.first[trees, node]] - features[rows, level.second[trees, node]]
        node = 2 * node + np.where(difference > level.threshold[trees, node], 1, 2)
    leaf: NDArray[np.int32] = node - np.int32(splits)
    return leaf


def _similarities(mean: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 2, 2) rotation and scale that best take the mean shape to each of the (n, points, 2) shapes."""
    p = mean - mean.mean(axis=0)
    q = points - points.mean(axis=1, keepdims=True)
    spread = (p * p).sum()
    a = np.einsum("pi,npi->n", p, q) / spread
    b = (p[:, 0] @ q[..., 1].T - p[:, 1] @ q[..., 0].T) / spread
    return np.stack([np.stack([a, -b], axis=-1), np.stack([b, a], axis=-1)], axis=1)


def _in_blocks(n: int) -> Sequence[slice]:
    return [slice(i, min(i + _BLOCK, n)) for i in range(0, n, _BLOCK)]


def predict_shapes(model: ShapeModel, patches: NDArray[np.uint8], corner: float, side: float) -> NDArray[np.float32]:
    """(n, 2 * points) landmarks in shares of the box: what dlib computes, before it rounds to pixels."""
    shapes = np.repeat(model.mean[None], len(patches), axis=0)
    for level in model.levels:
        for block in _in_blocks(len(patches)):
            numbers = leaf_numbers(level, model.mean, patches[block], shapes[block], corner, side)
            shapes[block] += level.leaves[np.arange(len(level.leaves)), numbers].sum(axis=1)
    return shapes


def refit_leaves(
    model: ShapeModel,
    patches: NDArray[np.uint8],
    targets: NDArray[np.float32],
    corner: float,
    side: float,
    ridge: float,
    progress: Callable[..., Any] = iter,
) -> None:
    """Replaces every level's leaf values, in place, by the least-squares ones for (n, 2 * points) `targets`, the levels
    before it being fitted already. `ridge` is the penalty per leaf in faces: a leaf that few faces reach stays near zero."""
    shapes = np.repeat(model.mean[None], len(patches), axis=0)
    for level in progress(model.levels):
        trees, leaves = level.leaves.shape[:2]
        numbers = np.concatenate(
            [leaf_numbers(level, model.mean, patches[b], shapes[b], corner, side) for b in _in_blocks(len(patches))]
        )
        # One row per face, with a 1 for each leaf that it reaches.
        columns = (numbers + np.arange(trees, dtype=np.int32) * leaves).ravel()
        rows = np.arange(0, len(columns) + 1, trees)
        reached = csr_matrix((np.ones(len(columns), np.float32), columns, rows), (len(patches), trees * leaves))
        gram = (reached.T @ reached).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += ridge
        fitted = np.linalg.solve(gram, reached.T @ (targets - shapes))
        level.leaves = fitted.astype(np.float32).reshape(level.leaves.shape)
        shapes += reached @ fitted.astype(np.float32)
