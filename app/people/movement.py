"""How sharp somebody's crop probably is, judged by how fast they move, before the network reads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.domain import Box

# A camera exposes for about half of the time between two frames: a face that moves on by a width is smeared over half of one.
EXPOSED = 0.5
# Smeared over this share of its width a face says hardly anything (docs/results/rules-on-truth.md).
USELESS = 0.2


def sharpness_of(smear: float) -> float:
    """1 for a face that stands still, 0 for one smeared over USELESS of its width and more."""
    return max(0.0, 1.0 - smear / USELESS)


class Movement:
    """Where everybody was in the frame before."""

    def __init__(self) -> None:
        self._boxes: dict[int, Box] = {}

    def sharpness(self, person: int, box: Box) -> float:
        """Expected sharpness of a face that is at `box` now, 0 to 1; 1 for a face that was not seen before."""
        before = self._boxes.get(person)
        self._boxes[person] = box
        if before is None:
            return 1.0
        return sharpness_of(EXPOSED * math.dist(box.centre, before.centre) / max(box.width, 1.0))

    def keep(self, alive: Collection[int]) -> None:
        """Forgets everybody else."""
        self._boxes = {person: box for person, box in self._boxes.items() if person in alive}
