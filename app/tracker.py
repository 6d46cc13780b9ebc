"""Faces become people: a stable id over frames, and one memory of estimates per person.

All times are the source's own (`Frame.time_s`), so that a file gives the same answer however fast it is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from app.domain import Box, Estimate, Face

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from app.engine import Reading

# A face may move by this share of its width between frames and stay the same person.
GATE = 0.8
# Boxes of people whom the detector misses stay on screen for this long, ids for FORGET_S.
COAST_S = 0.3
FORGET_S = 1.5
# Share of the new box in the shown one: Viola-Jones boxes jitter by some pixels.
BOX_GAIN = 0.6

AGE_MEMORY_S = 3.0
EXPRESSION_MEMORY_S = 0.4


@dataclass(slots=True)
class _Track:
    id: int
    box: Box
    seen_s: float


class Tracker:
    """Assigns ids by the smallest total distance (SciPy's assignment), within a gate."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, boxes: Sequence[Box], time_s: float) -> list[tuple[int, Box]]:
        """(id, shown box) of each of `boxes`, in their order."""
        self._tracks = [t for t in self._tracks if time_s - t.seen_s <= FORGET_S]
        matched = self._match(boxes)
        out = []
        for i, box in enumerate(boxes):
            track = matched.get(i)
            if track is None:
                track = _Track(self._next_id, box, time_s)
                self._next_id += 1
                self._tracks.append(track)
            else:
                track.box = Box(*(old + BOX_GAIN * (new - old) for old, new in zip(track.box, box, strict=True)))
                track.seen_s = time_s
            out.append((track.id, track.box))
        return out

    def coasting(self, time_s: float) -> list[tuple[int, Box]]:
        """People who were not found at `time_s` but shortly before."""
        return [(t.id, t.box) for t in self._tracks if 0 < time_s - t.seen_s <= COAST_S]

    def boxes(self) -> list[Box]:
        """Where everybody who may come back was seen last."""
        return [t.box for t in self._tracks]

    def alive(self) -> set[int]:
        """Ids that may come back."""
        return {t.id for t in self._tracks}

    def _match(self, boxes: Sequence[Box]) -> dict[int, _Track]:
        if not boxes or not self._tracks:
            return {}
        cost = np.array([[_distance(b, t.box) for t in self._tracks] for b in boxes])
        rows, columns = linear_sum_assignment(np.minimum(cost, 10 * GATE))
        return {int(i): self._tracks[j] for i, j in zip(rows, columns, strict=True) if cost[i, j] <= GATE}


def _distance(a: Box, b: Box) -> float:
    """Between centres, in mean widths, plus how much the sizes differ."""
    (ax, ay), (bx, by) = a.centre, b.centre
    return math.hypot(ax - bx, ay - by) / ((a.width + b.width) / 2) + abs(math.log(a.width / b.width))


@dataclass(slots=True)
class _Memory:
    age: float
    half: float  # half of the shown interval
    weight: float
    gender: NDArray[np.float64]
    expression: NDArray[np.float64]
    exit: str
    read_s: float
    read_frame: int


class People:
    """What is known of everybody in view. Readings of one person are averaged, each weighted by its certainty."""

    def __init__(self, genders: Sequence[str], expressions: Sequence[str]) -> None:
        self._genders, self._expressions = tuple(genders), tuple(expressions)
        self._known: dict[int, _Memory] = {}

    def stalest_first(self, faces: Iterable[Face]) -> list[Face]:
        """Never read before everyone else, then by how long ago; large faces first among equals."""

        def key(face: Face) -> tuple[int, float]:
            memory = self._known.get(face.person)
            return (memory.read_frame if memory else -1, -face.box.width)

        return sorted(faces, key=key)

    def read(self, person: int, reading: Reading, frame: int, time_s: float) -> None:
        """Fuses a new reading. The interval's width follows the readings': errors that all frames of a person share do
        not average away, so it must not shrink with their number."""
        weight = 1 / max(reading.half, 0.5) ** 2
        old = self._known.get(person)
        if old is None:
            self._known[person] = _Memory(
                reading.age,
                reading.half,
                weight,
                np.asarray(reading.gender, np.float64),
                np.asarray(reading.expression, np.float64),
                reading.exit,
                time_s,
                frame,
            )
            return
        passed = max(time_s - old.read_s, 0.0)
        kept = old.weight * math.exp(-passed / AGE_MEMORY_S)
        share = weight / (kept + weight)
        old.age += share * (reading.age - old.age)
        old.half += share * (reading.half - old.half)
        old.gender = old.gender + share * (reading.gender - old.gender)
        quick = max(share, 1 - math.exp(-passed / EXPRESSION_MEMORY_S))
        old.expression = old.expression + quick * (reading.expression - old.expression)
        old.weight, old.exit, old.read_s, old.read_frame = kept + weight, reading.exit, time_s, frame

    def estimate(self, person: int) -> Estimate | None:
        """The fused estimate, or None before the first reading."""
        known = self._known.get(person)
        if known is None:
            return None
        g, x = int(known.gender.argmax()), int(known.expression.argmax())
        return Estimate(
            age=known.age,
            age_low=max(known.age - known.half, 0.0),
            age_high=known.age + known.half,
            gender=self._genders[g],
            gender_p=float(known.gender[g]),
            expression=self._expressions[x],
            expression_p=float(known.expression[x]),
            exit=known.exit,
        )

    def keep(self, alive: set[int]) -> None:
        """Forgets everybody else."""
        for person in self._known.keys() - alive:
            del self._known[person]
