"""Faces become people: a stable id over frames, also through missed detections, crossings and short occlusions.

Each track is a constant-velocity Kalman filter whose velocity fades while nobody is seen; SciPy's assignment gives every
face to at most one of them (docs/decisions/0007-people.md has the choice and its figures). A new face is held back until
the front end is sure that it is one. All times are the source's own (`Frame.time_s`), so that a file gives the same
answer however fast it is run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.domain import FORGET_S, Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# All of the filter's figures are in widths of the face, so that they hold for near and far people alike.
# Viola-Jones' boxes stray by this much, on the clips.
NOISE = 0.03
# Acceleration's spectral density: a walking head gains or loses some widths a second within a second; and how fast a
# new face may be. These and the figures below that have to do with motion were chosen on the crossing crowd's true boxes.
AGILITY, NEW_SPEED = 3.0, 1.5
# Somebody unseen is assumed to slow down: a prediction reaches no further than this many seconds of their last velocity.
GLIDE_S = 1.0

# A face may be this far from where it is expected, in widths and with the logarithm of the sizes' ratio added, and be the
# same person; further while the prediction is less certain, up to the second figure.
GATE, WIDEST_GATE = 0.5, 1.6
# Detectors jump further than a Gaussian would: in comparing people, predictions count as no more certain than this.
LEAST_SPREAD = 0.2
# A new face so near to a known one that was found in the same frame is that face, found twice.
TWICE = 0.4

# Boxes of people whom the detector misses stay on screen for this long; ids are kept for FORGET_S, or GONE_S where the
# way led out of the picture; faces that were never confirmed go after UNSURE_S.
COAST_S = 0.3
GONE_S = 0.3
UNSURE_S = 0.35
# More than any crowd that can be told apart; the longest unseen go first.
MAX_TRACKS = 128


class _Track:
    """One face over time."""

    def __init__(self, person: int, box: Box, time_s: float) -> None:
        self.person = person
        self.confirmed = False
        self.hits = 1  # frames in which it was found
        self.time_s = self.seen_s = time_s  # of the state; of the last detection
        self.missed_s: float | None = None  # since when it has been looked for in vain
        self._at = _vector(box)  # x and y of the centre in pixels, logarithm of the width
        self._speed = np.zeros(3)
        self._ratio = box.height / box.width
        # Of place and speed, in widths: shared by the three coordinates, as their noises are.
        self._covariance = np.array([[NOISE**2, 0.0], [0.0, NEW_SPEED**2]])

    @property
    def box(self) -> Box:
        width = math.exp(self._at[2])
        height = width * self._ratio
        return Box(float(self._at[0]) - width / 2, float(self._at[1]) - height / 2, width, height)

    @property
    def spread(self) -> float:
        """Standard deviation of the place, in widths."""
        return math.sqrt(self._covariance[0, 0])

    def predict(self, time_s: float) -> None:
        passed = time_s - self.time_s
        if passed <= 0:
            return
        self.time_s = time_s
        slower = math.exp(-passed / GLIDE_S)
        reach = GLIDE_S * (1 - slower)
        self._at = self._at + reach * self._speed
        self._speed = slower * self._speed
        step = np.array([[1.0, reach], [0.0, slower]])
        grown = AGILITY * np.array([[passed**3 / 3, passed**2 / 2], [passed**2 / 2, passed]])
        self._covariance = step @ self._covariance @ step.T + grown

    def put(self, box: Box) -> None:
        """Begins anew in this box, at rest."""
        self._at, self._speed = _vector(box), np.zeros(3)

    def correct(self, box: Box) -> None:
        """Takes in a detection at the time that was predicted to."""
        gain = self._covariance[:, 0] / (self._covariance[0, 0] + NOISE**2)
        innovation = _vector(box) - self._at
        self._at = self._at + gain[0] * innovation
        self._speed = self._speed + gain[1] * innovation
        self._ratio += float(gain[0]) * (box.height / box.width - self._ratio)
        self._covariance = self._covariance - np.outer(gain, self._covariance[0])
        self.seen_s, self.missed_s = self.time_s, None
        self.hits += 1


class Tracker:
    """Who is who. Ids are given in the order of coming; those of faces that were never confirmed are left out."""

    def __init__(self, first: int = 1, step: int = 1) -> None:
        """Ids are first, first + step, ...: so that those of several cameras differ."""
        self._tracks: list[_Track] = []
        self._next_id, self._step = first, step

    def expected(self, time_s: float) -> dict[int, Box]:
        """Where to look for everybody at `time_s`, the unconfirmed too."""
        self._predict(time_s)
        return {t.person: t.box for t in self._tracks}

    def update(
        self,
        boxes: Sequence[Box],
        time_s: float,
        frame: tuple[float, float] | None = None,
    ) -> list[tuple[int, Box]]:
        """(id, shown box) of each of `boxes`, in their order. Confirmed people are assigned first.

        `frame`: its width and height; who walked out of it is forgotten sooner.
        """
        self._predict(time_s)
        for track in self._tracks:
            if track.missed_s is None:
                track.missed_s = time_s
        found: dict[int, _Track] = {}
        for sure in (True, False):
            left = [i for i in range(len(boxes)) if i not in found]
            found |= _match(boxes, left, [t for t in self._tracks if t.confirmed == sure])
        for i, track in found.items():
            track.correct(boxes[i])
        seen = list(found.values())
        for i in range(len(boxes)):
            if i not in found:
                found[i] = _Track(self._next_id, boxes[i], time_s)
                self._next_id += self._step
                if not any(distance(boxes[i], t.box) < TWICE for t in seen):
                    self._tracks.append(found[i])
        self._tracks = [t for t in self._tracks if t.missed_s is None or time_s - t.seen_s <= _patience_s(t, frame)]
        if len(self._tracks) > MAX_TRACKS:
            self._tracks = sorted(self._tracks, key=lambda t: (not t.confirmed, -t.seen_s))[:MAX_TRACKS]
        return [(found[i].person, found[i].box) for i in range(len(boxes))]

    def unconfirmed(self) -> dict[int, int]:
        """Faces that are held back, and how often each was found."""
        return {t.person: t.hits for t in self._tracks if not t.confirmed}

    def confirm(self, person: int) -> None:
        """Marks somebody as a face, for as long as they are followed."""
        for track in self._tracks:
            track.confirmed |= track.person == person

    def put(self, person: int, box: Box) -> None:
        """Sets somebody's box to this one, whatever was predicted."""
        for track in self._tracks:
            if track.person == person:
                track.put(box)

    def drop(self, person: int) -> None:
        """Forgets somebody who was no face."""
        self._tracks = [t for t in self._tracks if t.person != person]

    def forget_all(self) -> None:
        self._tracks = []

    def coasting(self, time_s: float) -> list[tuple[int, Box]]:
        """People who were not found at `time_s` but shortly before, where they should be."""
        return [
            (t.person, t.box)
            for t in self._tracks
            if t.confirmed and t.missed_s is not None and time_s - t.missed_s <= COAST_S
        ]

    def alive(self) -> set[int]:
        """People who are in view or may come back."""
        return {t.person for t in self._tracks if t.confirmed}

    def _predict(self, time_s: float) -> None:
        for track in self._tracks:
            track.predict(time_s)


def _patience_s(track: _Track, frame: tuple[float, float] | None) -> float:
    if not track.confirmed:
        return UNSURE_S
    if frame:
        x, y = track.box.centre
        if not (0 <= x <= frame[0] and 0 <= y <= frame[1]):
            return GONE_S
    return FORGET_S


def _match(boxes: Sequence[Box], left: list[int], tracks: list[_Track]) -> dict[int, _Track]:
    """The likeliest assignment of the boxes numbered in `left`: Gaussian about each prediction, within its gate."""
    if not left or not tracks:
        return {}
    apart = distances([boxes[i] for i in left], [t.box for t in tracks])
    spread = np.array([math.hypot(t.spread, LEAST_SPREAD) for t in tracks])
    gates = np.minimum(GATE + 2 * np.array([t.spread for t in tracks]), WIDEST_GATE)
    inside = apart <= gates
    unlikely = (apart / spread) ** 2 / 2 + 2 * np.log(spread)
    # Whoever lies outside the gate costs more than any number of others: as many people as can be are found again.
    cost = np.where(inside, unlikely, 1e4)
    rows, columns = linear_sum_assignment(cost)
    return {left[r]: tracks[c] for r, c in zip(rows, columns, strict=True) if inside[r, c]}


def distance(a: Box, b: Box) -> float:
    """Between centres, in mean widths, plus how much the sizes differ."""
    (ax, ay), (bx, by) = a.centre, b.centre
    return math.hypot(ax - bx, ay - by) / ((a.width + b.width) / 2) + abs(math.log(a.width / b.width))


def distances(a: Sequence[Box], b: Sequence[Box]) -> NDArray[np.float64]:
    """`distance` of each of a from each of b, (len(a), len(b))."""
    if not a or not b:
        return np.empty((len(a), len(b)))
    left, right = np.array(a)[:, None], np.array(b)[None]
    offset = (left[..., :2] + left[..., 2:] / 2) - (right[..., :2] + right[..., 2:] / 2)
    mean = (left[..., 2] + right[..., 2]) / 2
    apart: NDArray[np.float64] = np.hypot(offset[..., 0], offset[..., 1]) / mean
    return apart + np.abs(np.log(left[..., 2] / right[..., 2]))


def _vector(box: Box) -> NDArray[np.float64]:
    return np.array([*box.centre, math.log(box.width)])
