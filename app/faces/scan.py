"""When and where to look for faces, so that looking fits into a frame's time.

Everybody known is looked for in a small window around where they are expected, in turn, at most NEAR_PER_S people a
second, which is six a frame at 25 frames a second. Newcomers are looked for in one part of the picture after another: all
parts within a sweep. A part is searched coarsely with the known faces painted over, and whatever turns up is looked at
again, finely and at a better scale.

All of it goes by the source's own time and by counts, so that a file gives the same answer however fast it is run.
Only with `scan_share` sweeps slow down, up to SLOWEST_SWEEP_S, where a part costs more than that share of the budget or than
PART_SHARE of the time between frames; and no local search but the first is begun that would be done after NEAR_SHARE of that
time, or would leave less than the parts that are due will take until CANDIDATES_SHARE of it is over, after which no candidate
but the first is looked at. In a moment in which the probe says that everything takes several times as long (probe.py), the part
that is due waits for the next frame.

Bounds: somebody who walks in is looked for within a sweep, 0.25 s (with `scan_share` up to 1 s, four times as long while the
probe says nothing else than slow). A frame costs at most so many local searches (two for a person who is missed), the parts
that are due (one at 25 frames a second), and for each part NEW_MAX looks at candidates.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from app.domain import Box
from app.faces.detector import largest_first
from app.faces.tilt import TILTED, find_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from app.faces.detector import Detector

SWEEP_S, SLOWEST_SWEEP_S = 0.25, 1.0
STRIPS = 5
SPAN = 2.5  # strips look for faces from the smallest to so many times it; larger ones are cheap, all in one part

NEAR_PER_S, NEAR_MIN = 150, 6  # and so many in any frame
# With `scan_share`: looking for faces must leave time for their landmarks. Of the time between frames: local searches for known
# people and what a part may take on average; looks at candidates, since the scan began.
NEAR_SHARE, PART_SHARE, CANDIDATES_SHARE = 0.2, 0.15, 0.3
# With `scan_share`: times slower than usual from which a part waits, and for how many frames in a row.
PUT_OFF, PUT_OFF_MOST = 2.0, 3
NEW_MAX = 8
# A window reaches this much of a face's width beyond its box, sizes this factor from its own: around a known face, one that
# was lost, and a candidate of a coarse search.
KNOWN, LOST, CANDIDATE = (0.3, 1.2), (0.9, 1.5), (0.4, 1.3)

DEFAULT_SHARE = 1 / 20  # smallest face wanted, of the frame's longer side
SMALLEST_DEFAULT = 24.0  # pixels; smaller ones only where asked for
PAINTED = 0.8  # of a known face's box


@dataclass(frozen=True, slots=True)
class Scan:
    """What looking at one frame gave."""

    faces: list[Box]  # largest first
    looked_for: set[int]  # the known people among whom it was looked; the others are taken to be where expected
    suspects: list[Box] = field(default_factory=list)  # what looked like a face at the first glance, faces or not


class Part(NamedTuple):
    """A piece of the frame, looked at in one go."""

    area: tuple[int, int, int, int]  # x0, y0, x1, y1
    smallest: float  # faces of the frame, pixels
    largest: float


class Scanner:
    """Looks for faces in one frame after another.

    `min_face` is the width in pixels of the smallest face wanted; the default is a twentieth of the frame's longer side.
    With `every_frame` each sweep is made in one frame, whatever it costs, so that nobody is in view before they are found.
    """

    def __init__(
        self,
        detector: Detector,
        min_face: float | None = None,
        scan_share: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        every_frame: bool = False,
        probe: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._detector, self._min_face, self._scan_share, self._clock = detector, min_face, scan_share, clock
        self._scan_ms = math.inf if scan_share else None  # of this frame
        self._every_frame, self._suspects, self._probe = every_frame, list[Box](), probe
        self._put_off = 0  # frames in a row
        self._shape, self._parts = (0, 0), list[Part]()
        self._next, self._credit, self._last_s = 0, 0.0, math.nan
        self._began_s = 0.0  # this frame's scan
        self._part_ms = self._near_ms = 0.0  # what a part, and a local search for one person, took of late
        self._interval_s = math.nan  # between frames of late
        self._turn, self._looked = 0, dict[int, int]()  # person to the turn in which they were looked for last
        self._lost: set[int] = set()

    def __call__(
        self,
        image: NDArray[np.uint8],
        gray: NDArray[np.uint8],
        time_s: float,
        known: Mapping[int, Box],
        rolls: Mapping[int, float] | None = None,
        budget_ms: float = math.inf,
    ) -> Scan:
        """`image` is (h, w, 3) BGR and `gray` the same in grey; `known` says where people are expected, `rolls` by how many
        degrees their heads were tilted."""
        picture = image if self._detector.in_colour else gray
        self._scan_ms = self._scan_share and self._scan_share * budget_ms
        due, passed_s = self._due(gray.shape, time_s)
        if not self._parts:
            return Scan([], set(known))
        self._suspects, self._began_s = [], self._clock()
        most = max(NEAR_MIN, round(NEAR_PER_S * passed_s))
        found, looked_for = self._known(picture, known, most, rolls or {}, len(due) * self._part_ms)
        painted = [box for person, box in known.items() if person not in self._lost]
        for part in due:
            started = self._clock()
            for box in self._newcomers(picture, part, painted):
                if not any(same_place(box, other) for other in found):
                    found.append(box)
            self._part_ms += 0.2 * ((self._clock() - started) * 1e3 - self._part_ms)
        return Scan(largest_first(found), looked_for, self._suspects)

    def _known(
        self,
        picture: NDArray[np.uint8],
        known: Mapping[int, Box],
        most: int,
        rolls: Mapping[int, float],
        then_ms: float,
    ) -> tuple[list[Box], set[int]]:
        """`then_ms`: what the parts that are due after this will probably take."""
        self._turn += 1
        self._looked = {person: turn for person, turn in self._looked.items() if person in known}
        self._lost &= known.keys()
        found, looked_for = list[Box](), set[int]()
        before = self._clock()
        for person in sorted(known, key=lambda p: self._looked.get(p, 0))[:most]:
            if looked_for and (self._late(NEAR_SHARE) or self._late(CANDIDATES_SHARE, then_ms)):
                break
            looked_for.add(person)
            self._looked[person] = self._turn
            tilted = abs(rolls.get(person, 0.0)) >= TILTED
            box = find_at(self._detector, picture, known[person], rolls[person]) if tilted else None
            box = box or (None if person in self._lost else self._near(picture, known[person], KNOWN))
            box = box or self._near(picture, known[person], LOST)
            (self._lost.discard if box else self._lost.add)(person)
            if box and not any(same_place(box, other) for other in found):
                found.append(box)
            now = self._clock()
            self._near_ms += 0.2 * ((now - before) * 1e3 - self._near_ms)
            before = now
        return found, looked_for

    def _late(self, share: float, then_ms: float = 0.0) -> bool:
        """Whether one more local search, and then so much, would be done when more than that share of the time between frames
        is over."""
        if self._scan_ms is None or math.isnan(self._interval_s):
            return False
        return (self._clock() - self._began_s) * 1e3 + self._near_ms + then_ms > share * self._interval_s * 1e3

    def _near(self, picture: NDArray[np.uint8], box: Box, window: tuple[float, float]) -> Box | None:
        """The face nearest to `box`, at about its size."""
        reach, sizes = window
        margin, scale = reach * box.width, self._detector.near_px / box.width
        area = (box.x - margin, box.y - margin, box.x + box.width + margin, box.y + box.height + margin)
        hits = self._look(picture, area, scale, box.width / sizes, box.width * sizes)
        x, y = box.centre
        return min(hits, key=lambda b: math.hypot(b.centre[0] - x, b.centre[1] - y), default=None)

    def _newcomers(self, picture: NDArray[np.uint8], part: Part, painted: list[Box]) -> list[Box]:
        scale = self._detector.scan_px / part.smallest
        found = self._look(picture, part.area, scale, part.smallest, part.largest, painted, fine=False)
        self._suspects += found
        fresh = [box for box in found if not any(same_place(box, other) for other in painted)]
        faces = list[Box]()
        for i, candidate in enumerate(fresh[:NEW_MAX]):
            if i and self._late(CANDIDATES_SHARE):
                break
            if box := self._near(picture, candidate, CANDIDATE):
                faces.append(box)
        return faces

    def _look(
        self,
        picture: NDArray[np.uint8],
        area: tuple[float, float, float, float],
        scale: float,
        smallest: float,
        largest: float,
        painted: list[Box] | None = None,
        *,
        fine: bool = True,
    ) -> list[Box]:
        """Faces in a piece of the picture, searched at `scale`; sizes and boxes are pixels of the picture."""
        x0, y0 = max(0, int(area[0])), max(0, int(area[1]))
        piece = picture[y0 : max(0, math.ceil(area[3])), x0 : max(0, math.ceil(area[2]))]
        if min(piece.shape[:2]) < smallest:
            return []
        size = max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale))
        small = cv2.resize(piece, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        fx, fy = size[0] / piece.shape[1], size[1] / piece.shape[0]
        for box in painted or ():
            _paint(small, Box((box.x - x0) * fx, (box.y - y0) * fy, box.width * fx, box.height * fy))
        found = self._detector(small, smallest * fx, largest * fx, fine=fine)
        return [Box(x0 + b.x / fx, y0 + b.y / fy, b.width / fx, b.height / fy) for b in found]

    def _due(self, shape: tuple[int, ...], time_s: float) -> tuple[list[Part], float]:
        """The parts to scan in this frame: all in the first, then as many as the time since the last one asks for; and
        that time, in seconds."""
        if shape != self._shape:
            self._shape, self._parts = shape, parts(shape, self._min_face)
            self._next, self._credit, self._last_s = 0, 0.0, math.nan
        count = len(self._parts)
        if math.isnan(self._last_s):
            self._last_s = time_s
            return list(self._parts), 0.0
        passed_s, self._last_s = max(time_s - self._last_s, 0.0), time_s
        if math.isnan(self._interval_s):
            self._interval_s = passed_s
        self._interval_s += 0.2 * (passed_s - self._interval_s)
        if self._every_frame:
            return list(self._parts), passed_s
        before = self._credit
        self._credit = min(self._credit + passed_s * count / self._sweep_s(count), count)
        slow = self._scan_ms is not None and self._credit >= 1 and self._probe() >= PUT_OFF
        self._put_off = self._put_off + 1 if slow and self._put_off < PUT_OFF_MOST else 0
        if self._put_off:
            self._credit = before  # what was put off is not made up for: two parts in one frame would be no better
            return [], passed_s
        due = [self._parts[(self._next + i) % count] for i in range(int(self._credit))]
        self._next, self._credit = self._next + len(due), self._credit - len(due)
        return due, passed_s

    def _sweep_s(self, count: int) -> float:
        """So long that a frame's parts cost `scan_share`, within limits."""
        if self._scan_ms is None:
            return SWEEP_S
        per_ms = max(self._interval_s / self._scan_ms, 1e-3 / PART_SHARE)
        return min(max(SWEEP_S, count * self._part_ms * per_ms), SLOWEST_SWEEP_S)


def parts(shape: tuple[int, ...], min_face: float | None = None) -> list[Part]:
    """The pieces of an (h, w) frame that make up a sweep; none where it is too small for any face."""
    height, width = shape[:2]
    smallest = min_face or max(max(height, width) * DEFAULT_SHARE, SMALLEST_DEFAULT)
    if min(height, width) < smallest:
        return []
    longer = max(height, width)
    cuts = [round(longer * i / STRIPS) for i in range(STRIPS + 1)]
    strips = [(low, min(longer, math.ceil(high + SPAN * smallest))) for low, high in itertools.pairwise(cuts)]
    areas = [(low, 0, high, height) if width >= height else (0, low, width, high) for low, high in strips]
    large = [Part((0, 0, width, height), SPAN * smallest, math.inf)] if min(height, width) >= SPAN * smallest else []
    return [Part(area, smallest, SPAN * smallest) for area in areas] + large


def same_place(a: Box, b: Box) -> bool:
    """Two searches have found one face."""
    return abs(a.centre[0] - b.centre[0]) + abs(a.centre[1] - b.centre[1]) < 0.4 * min(a.width, b.width)


def _paint(picture: NDArray[np.uint8], box: Box) -> None:
    """Covers a face with its own mean, so that it costs the search nothing and is not found once more."""
    (x, y), half = box.centre, PAINTED * box.width / 2
    x0, y0, x1, y1 = (max(0, round(v)) for v in (x - half, y - half, x + half, y + half))
    if (face := picture[y0:y1, x0:x1]).size:
        face[:] = face.mean(axis=(0, 1))
