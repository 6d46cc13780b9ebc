"""What is known of the people in view: one memory of estimates each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from app.domain import Estimate, Face

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from app.engine import Reading

AGE_MEMORY_S = 3.0
EXPRESSION_MEMORY_S = 0.4


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
