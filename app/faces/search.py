"""Looking for newcomers in the frame's path: a strip of the picture at a time, everybody known painted over.

All strips are searched within SWEEP_S, by the source's own time, so that a file gives the same answer however fast it is run.
A detector costs most where faces are: painted over, those that are known cost nothing and are not found again.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import cv2

from app.domain import Box
from app.faces.calm import Pace
from app.faces.detector import largest_first, same_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from app.faces.detector import Detector, Sighting

SWEEP_S = 0.45
STRIPS = 9
SPAN = 2.5  # strips look for faces from the smallest to this many times it; larger ones are cheap, all in one part
# Smallest face wanted, of the frame's longer side: alone, and where a second look finds smaller ones.
ALONE_SHARE, BESIDE_SHARE = 1 / 20, 1 / 12
SMALLEST_DEFAULT = 24.0  # pixels; smaller ones only where asked for
PAINTED = 0.8  # of a known face's box


class Part(NamedTuple):
    """A piece of the frame, looked at in one go."""

    area: tuple[int, int, int, int]  # x0, y0, x1, y1
    smallest: float  # faces of the frame, pixels
    largest: float


class Search:
    """`min_face` is the width in pixels of the smallest face wanted; the default is a `share` of the frame's longer side.
    With `every_frame` the whole picture is searched in every frame, whatever it costs. `pace` slows the sweep down."""

    def __init__(
        self,
        detector: Detector,
        min_face: float | None = None,
        share: float = ALONE_SHARE,
        *,
        every_frame: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._detector, self._min_face, self._share, self._every_frame = detector, min_face, share, every_frame
        self._shape, self._parts = (0, 0), list[Part]()
        self._next, self._credit, self._last_s = 0, 0.0, math.nan

    def __call__(
        self, image: NDArray[np.uint8], gray: NDArray[np.uint8], time_s: float, known: Sequence[Box]
    ) -> list[Sighting]:
        """What looks like a face in the parts that are due; `image` is (h, w, 3) BGR, `gray` the same in grey."""
        picture = image if self._detector.in_colour else gray
        found: list[Sighting] = []
        for part in self._due(gray.shape, time_s):
            for seen in self._look(picture, part, known):
                if not any(same_place(seen.box, other.box) for other in found):
                    found.append(seen)
        return largest_first(found)

    def _due(self, shape: tuple[int, ...], time_s: float) -> list[Part]:
        """All parts in the first frame, then as many as the time since the last one asks for."""
        if shape != self._shape:
            self._shape, self._parts, self._last_s = shape, parts(shape, self._min_face, self._share), math.nan
            self._next, self._credit = 0, 0.0
        passed_s, self._last_s = time_s - self._last_s, time_s
        if self._every_frame or math.isnan(passed_s):
            return list(self._parts)
        count = len(self._parts)
        self._credit = min(self._credit + max(passed_s, 0.0) * self._pace.now * count / SWEEP_S, count)
        due = [self._parts[(self._next + i) % count] for i in range(int(self._credit))]
        self._next, self._credit = self._next + len(due), self._credit - len(due)
        return due

    def _look(self, picture: NDArray[np.uint8], part: Part, known: Sequence[Box]) -> list[Sighting]:
        x0, y0, x1, y1 = part.area
        piece, scale = picture[y0:y1, x0:x1], self._detector.scan_px / part.smallest
        size = max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale))
        small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        fx, fy = size[0] / piece.shape[1], size[1] / piece.shape[0]
        for box in known:
            _paint(small, Box((box.x - x0) * fx, (box.y - y0) * fy, box.width * fx, box.height * fy))
        found = self._detector(small, part.smallest * fx, part.largest * fx)
        return [
            s._replace(box=Box(x0 + s.box.x / fx, y0 + s.box.y / fy, s.box.width / fx, s.box.height / fy))
            for s in found
        ]


def parts(shape: tuple[int, ...], min_face: float | None = None, share: float = ALONE_SHARE) -> list[Part]:
    """The pieces of an (h, w) frame that make up a sweep; none where it is too small for any face."""
    height, width = shape[:2]
    smallest = min_face or max(max(height, width) * share, SMALLEST_DEFAULT)
    if min(height, width) < smallest:
        return []
    longer = max(height, width)
    cuts = [round(longer * i / STRIPS) for i in range(STRIPS + 1)]
    strips = [(low, min(longer, math.ceil(high + SPAN * smallest))) for low, high in itertools.pairwise(cuts)]
    areas = [(low, 0, high, height) if width >= height else (0, low, width, high) for low, high in strips]
    large = [Part((0, 0, width, height), SPAN * smallest, math.inf)] if min(height, width) >= SPAN * smallest else []
    return [Part(area, smallest, SPAN * smallest) for area in areas] + large


def _paint(picture: NDArray[np.uint8], box: Box) -> None:
    """Covers a face with its own mean."""
    (x, y), half = box.centre, PAINTED * box.width / 2
    x0, y0, x1, y1 = (max(0, round(v)) for v in (x - half, y - half, x + half, y + half))
    if (face := picture[y0:y1, x0:x1]).size:
        face[:] = face.mean(axis=(0, 1))
