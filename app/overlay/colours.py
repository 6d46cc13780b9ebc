"""Everybody's colour: it stays with a person, and neighbours never share one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.domain import Box

NEAR = 4.0  # widths of a face between two middles; further off nobody mixes them up
MOST = 3  # nearest neighbours that count: with five colours there is then always one left


class Colours:
    """Remembers everybody's. Who came first keeps theirs."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}

    def assign(self, people: Sequence[int], boxes: Sequence[Box], count: int) -> dict[int, int]:
        """A colour for each person, as a number below `count`."""
        held: dict[int, int] = {}
        where = dict(zip(people, boxes, strict=True))
        near = {person: _neighbours(person, where) for person in people}
        for person in sorted(people):
            others = {held[other] for other in held if other in near[person] or person in near[other]}
            wish = self._held.get(person, person) % count
            choices = [(wish + i) % count for i in range(count)]
            held[person] = next((c for c in choices if c not in others), wish)
        self._held = held
        return held


def _neighbours(person: int, where: dict[int, Box]) -> set[int]:
    box = where[person]
    distances = sorted(
        (math.dist(box.centre, other.centre) / max(box.width, other.width, 1e-6), i)
        for i, other in where.items()
        if i != person
    )
    return {i for distance, i in distances[:MOST] if distance <= NEAR}
