"""What `--fill` keeps in view: everybody, with room for their labels. It glides, and rests while people only sway."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.domain import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

GLIDE_S = 0.6  # time constant
SWAY = 0.5  # of a face's width: as far as people move before the picture follows
ASIDE, ABOVE, BELOW = 0.2, 0.3, 0.3  # kept free around a face, in its widths


class Framing:
    """Told of every result; gives the part of the frame that is to be seen."""

    def __init__(self) -> None:
        self._at: tuple[float, ...] | None = None  # left, top, right, bottom
        self._aim: tuple[float, ...] | None = None
        self._now_s = 0.0

    def __call__(self, faces: Sequence[Box], frame: tuple[int, int], now_s: float) -> Box:
        """`frame`: width and height. With nobody in view the middle."""
        middle = (frame[0] / 2, frame[1] / 2)
        wanted = _around(faces, frame) if faces else (*middle, *middle)
        step = SWAY * min((face.width for face in faces), default=0.0)
        if self._aim is None or max(abs(a - b) for a, b in zip(wanted, self._aim, strict=True)) > step:
            self._aim = wanted
        share = 1 - math.exp(-max(0.0, now_s - self._now_s) / GLIDE_S)
        self._now_s, before = now_s, self._at or self._aim
        self._at = tuple(a + share * (b - a) for a, b in zip(before, self._aim, strict=True))
        left, top, right, bottom = self._at
        return Box(left, top, right - left, bottom - top)


def _around(faces: Sequence[Box], frame: tuple[int, int]) -> tuple[float, ...]:
    return (
        max(0.0, min(face.x - ASIDE * face.width for face in faces)),
        max(0.0, min(face.y - ABOVE * face.width for face in faces)),
        min(float(frame[0]), max(face.x + (1 + ASIDE) * face.width for face in faces)),
        min(float(frame[1]), max(face.y + face.height + BELOW * face.width for face in faces)),
    )
