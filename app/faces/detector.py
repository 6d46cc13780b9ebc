"""The seam of face detectors. All of them speak of a face's box as Viola-Jones draws it (Viola & Jones, 2001).

Where to look, at what scale and when is `scan.py`'s business; a detector only looks at the picture that it is given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from app.domain import Box


class Detector(Protocol):
    """Looks for faces in one picture: (h, w) grey, or (h, w, 3) BGR where `in_colour`."""

    in_colour: bool
    scan_px: float  # a scan is made at the scale at which the smallest face wanted is this wide
    near_px: float  # a local search is made at the scale at which the face looked for is this wide

    def __call__(
        self, picture: NDArray[np.uint8], smallest: float, largest: float = math.inf, *, fine: bool = True
    ) -> list[Box]:
        """Faces from `smallest` to `largest` pixels wide, largest first, boxes as Viola-Jones would draw them.

        Without `fine` it may be quicker and more of them may be false.
        """
        ...


def largest_first(boxes: list[Box]) -> list[Box]:
    return sorted(boxes, key=lambda b: (-b.width * b.height, b.x, b.y))
