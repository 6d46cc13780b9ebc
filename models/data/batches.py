"""Training batches, each a pure function of (seed, step): a resumed training sees exactly what an unbroken one would."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from align.crop import crop_face
from models.data.spoil import KINDS, as_a_camera, spoilt
from models.data.views import VIEW_SIZE, VIEW_ZOOM, Views

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future


# How wide the faces of spoilt training pictures are, in pixels of the camera.
FACE_PX = (24, 160)


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures are changed. Angles are in degrees; zoom and shift are shares of the crop's side; grey, coarse,
    erase and spoil are the shares of pictures that are changed so, spoil: as cameras do (spoil.py).
    """

    zoom: float = 0.15
    shift: float = 0.05
    rotate_deg: float = 10.0
    light: float = 0.3
    grey: float = 0.25
    coarse: float = 0.3
    erase: float = 0.2
    spoil: float = 0.0


def crop_matrix(
    size: int,
    zoom: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    angle_deg: float = 0.0,
    mirror: bool = False,
    view_size: int = VIEW_SIZE,
) -> NDArray[np.float64]:
    """2x3 matrix from a prepared view's pixels to the network's crop. With the defaults: exactly what `align` would cut.

    A view shows the template from VIEW_ZOOM times as far, about the crop's centre.
    """
    scale = size * VIEW_ZOOM / view_size * zoom
    c, s = scale * np.cos(np.radians(angle_deg)), scale * np.sin(np.radians(angle_deg))
    linear = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if mirror else 1.0, 1.0])
    view_centre = np.full(2, view_size / 2 - 0.5)
    target = np.full(2, size / 2 - 0.5) + np.asarray(shift) * size
    return np.column_stack([linear, target - linear @ view_centre])


def plain_crops(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(n, size, size, 3) RGB crops of (n, v, v[, 3]) views, cut as the application does: what the network is judged on."""
    matrix = crop_matrix(size, view_size=pixels.shape[1])
    return np.stack([_rgb(crop_face(v, matrix, size)) for v in pixels])


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def augmented(view: NDArray[np.uint8], size: int, how: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One changed (size, size, 3) crop of a view.

    Every set gets the same shares of grey and coarse pictures, so that the network cannot tell the sets apart.
    """
    if how.spoil and rng.random() < how.spoil:
        view = seen_by_a_camera(view, rng)
    matrix = crop_matrix(
        size,
        zoom=float(np.exp(rng.uniform(-how.zoom, how.zoom))),
        shift=tuple(rng.uniform(-how.shift, how.shift, 2)),
        angle_deg=float(rng.normal(0, how.rotate_deg / 2)),
        mirror=bool(rng.random() < 0.5),
        view_size=len(view),
    )
    crop = _rgb(crop_face(view, matrix, size))
    if rng.random() < how.coarse:
        small = int(rng.integers(36, 64))
        crop = cv2.resize(
            cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=cv2.INTER_LINEAR
        )
    if rng.random() < how.grey:
        crop = _rgb(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY))
    # One look-up table does brightness, contrast and gamma; a gain per channel does the colour of the light.
    gain, lift = np.exp(rng.uniform(-how.light, how.light)), rng.uniform(-how.light, how.light) * 80
    gamma = np.exp(rng.uniform(-how.light, how.light))
    tint = np.exp(rng.uniform(-0.06, 0.06, 3))
    ramp = 255 * (np.arange(256) / 255) ** gamma
    table = np.clip((ramp[:, None] - 127.5) * gain * tint + 127.5 + lift, 0, 255).astype(np.uint8)
    if how.light:
        crop = cv2.LUT(crop, table[None])
    if rng.random() < how.erase:
        w, h = rng.integers(size // 8, size // 3, 2)
        x, y = rng.integers(0, size - w), rng.integers(0, size - h)
        crop[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return crop


def seen_by_a_camera(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A (v, v[, 3]) view as a camera would take it: (w, w, 3), its face FACE_PX wide, and spoilt."""
    face_px = float(np.exp(rng.uniform(*np.log(FACE_PX))))
    side = min(round(face_px * VIEW_ZOOM), len(view))
    small = _rgb(cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA))
    return as_a_camera(small, side / VIEW_ZOOM, rng)


def spoilt_views(pixels: NDArray[np.uint8]) -> list[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """(n, v, v[, 3]) views, each spoilt in one way and strength in turn, to fit intervals that hold on camera pictures.

    Two arrays with the places of their faces among the views: of faces of 60 px and of 30 px. The same views give the same
    pictures.
    """
    places, kinds, out = np.arange(len(pixels)), list(KINDS), []
    for face_px, chosen in ((60, places[places // 2 % 2 == 0]), (30, places[places // 2 % 2 == 1])):
        side = round(face_px * VIEW_ZOOM)
        small = [_rgb(cv2.resize(pixels[i], (side, side), interpolation=cv2.INTER_AREA)) for i in chosen]
        levels = chosen // len(kinds) % 3
        ways = zip(small, chosen % len(kinds), levels, chosen, strict=True)
        pictures = [spoilt(p, kinds[kind], int(level), face_px, int(i)) for p, kind, level, i in ways]
        out += [(chosen, np.stack(pictures))] if pictures else []
    return out


class TrainingBatches:
    """Item `step` is the whole batch of that step: crops (n, size, size, 3) uint8 RGB, the three labels, and FER+'s `shares`.

    One batch has one size, drawn anew for every step by the shares in `sizes`.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Views, NDArray[np.int64], int]],
        sizes: Mapping[int, float],
        seed: int,
        how: Augmentation,
        answers: Sequence[Mapping[str, NDArray[np.float16]]] = (),
    ) -> None:
        """`parts`: views, the indices of those to train on, and how many of each batch come from there. `answers`: per part
        a teacher's probabilities by head, which then come with each batch as `teacher_age` and so on."""
        self._parts, self._seed, self._how, self._answers = list(parts), seed, how, list(answers)
        self._sizes, shares = list(sizes), np.array(list(sizes.values()), np.float64)
        self._shares = shares / shares.sum()
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __getitem__(self, step: int) -> dict[str, NDArray]:
        rng = np.random.default_rng((self._seed, 1, step))
        size = int(np.random.default_rng((self._seed, 3, step)).choice(self._sizes, p=self._shares))
        crops, labels, shares = [], {"age": [], "gender": [], "expression": []}, []
        taught: dict[str, list[NDArray[np.float16]]] = {}
        for part, (views, usable, count) in enumerate(self._parts):
            for position in range(step * count, (step + 1) * count):
                i = self._shuffled(part, usable, position)
                crops.append(augmented(views.pixels[i], size, self._how, rng))
                for name, values in labels.items():
                    values.append(getattr(views, name)[i])
                shares.append(views.shares[i])
                for head, p in self._answers[part].items() if self._answers else ():
                    taught.setdefault(f"teacher_{head}", []).append(p[i])
        known = {k: np.asarray(v, np.int64) for k, v in labels.items()}
        known["shares"] = np.stack(shares)
        return {"crops": np.stack(crops), **known, **{k: np.asarray(v, np.float32) for k, v in taught.items()}}

    def _shuffled(self, part: int, usable: NDArray[np.int64], position: int) -> int:
        """The index at a position of an endless sequence of shuffles of `usable`."""
        epoch, place = divmod(position, len(usable))
        known, order = self._orders.get(part, (-1, usable))
        if known != epoch:
            order = np.random.default_rng((self._seed, 2, part, epoch)).permutation(usable)
            self._orders[part] = (epoch, order)
        return int(order[place])


def prefetched(
    batches: TrainingBatches, steps: range, workers: int = 1, ahead: int = 4
) -> Iterator[dict[str, NDArray]]:
    """The batches of `steps`, in order, made on threads a few steps ahead.

    Threads, not processes: OpenCV, which does nearly all of the work, releases the GIL, and its own threads do not
    survive a fork.
    """
    cv2.setNumThreads(1)
    with ThreadPoolExecutor(workers) as pool:
        coming: deque[Future[dict[str, NDArray]]] = deque()
        for step in steps:
            coming.append(pool.submit(batches.__getitem__, step))
            if len(coming) > ahead:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def to_input(crops: torch.Tensor) -> torch.Tensor:
    """(n, s, s, 3) uint8 RGB to (n, 3, s, s) float in [-1, 1], channels last in memory."""
    return crops.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
