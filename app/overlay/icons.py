"""Small drawings in cards: what a face shows, and an age's range as a scale. A few lines each; any Canvas will do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from app.domain import Box

if TYPE_CHECKING:
    from app.overlay.image_canvas import Colour, Point
    from app.overlay.style import Canvas

OLDEST = 90  # years at the right end of a scale


def _arc(x: float, y: float, across: float, down: float, start: float, end: float) -> list[Point]:
    """Part of an ellipse; angles in half turns, clockwise from the right."""
    turns = [math.pi * (start + (end - start) * i / 14) for i in range(15)]
    return [(x + across * math.cos(t), y + down * math.sin(t)) for t in turns]


_SMILE, _FROWN = _arc(0, 0.05, 0.46, 0.42, 0.12, 0.88), _arc(0, 0.72, 0.4, 0.36, 1.15, 1.85)
_FLAT, _OPEN = [(-0.38, 0.42), (0.38, 0.42)], _arc(0, 0.44, 0.2, 0.25, 0, 2)
_WAVE = [(-0.4, 0.5), (-0.2, 0.36), (0.0, 0.5), (0.2, 0.36), (0.4, 0.5)]
_ANGRY_BROWS = [[(-0.55, -0.5), (-0.16, -0.3)], [(0.55, -0.5), (0.16, -0.3)]]
_RAISED_BROWS = [[(-0.56, -0.36), (-0.2, -0.56)], [(0.56, -0.36), (0.2, -0.56)]]
# Lines on a face of radius 1, by the networks' names of expressions.
MOUTHS: dict[str, list[list[Point]]] = {
    "happy": [_SMILE],
    "neutral": [_FLAT],
    "sad": [_FROWN],
    "surprise": [_OPEN],
    "angry": [_FROWN, *_ANGRY_BROWS],
    "fear": [_arc(0, 0.5, 0.3, 0.16, 0, 2), *_RAISED_BROWS],
    "disgust": [_WAVE, *_ANGRY_BROWS],
}


class Icon(NamedTuple):
    """The face of an expression; x and y are its middle."""

    expression: str
    x: float
    y: float
    radius: float
    colour: Colour

    def put(self, canvas: Canvas, x: float, y: float, opacity: float) -> None:
        x, y, r = x + self.x, y + self.y, self.radius
        thick = max(1.0, 0.13 * r)
        canvas.line([(x + r * a, y + r * b) for a, b in _arc(0, 0, 1, 1, 0, 2)], thick, self.colour, opacity)
        for side in (-1, 1):
            canvas.fill(
                Box(x + side * 0.34 * r - 0.1 * r, y - 0.22 * r, 0.2 * r, 0.28 * r), 0.1 * r, self.colour, opacity
            )
        for line in MOUTHS.get(self.expression, []):
            canvas.line([(x + r * a, y + r * b) for a, b in line], thick, self.colour, opacity)


class Scale(NamedTuple):
    """The years of a life, those of the range bright, and a mark at the guess."""

    x: float
    y: float
    width: float
    height: float
    low: int
    high: int
    age: int
    track: Colour
    colour: Colour
    ink: Colour

    def at(self, years: float) -> float:
        """From the card's left edge."""
        return self.x + self.width * min(1.0, max(0.0, years / OLDEST))

    def put(self, canvas: Canvas, x: float, y: float, opacity: float) -> None:
        round_, height = self.height / 2, self.height
        canvas.fill(Box(x + self.x, y + self.y, self.width, height), round_, self.track, opacity)
        left, right = self.at(self.low), self.at(self.high)
        canvas.fill(Box(x + left, y + self.y, max(height, right - left), height), round_, self.colour, opacity)
        mark = Box(x + self.at(self.age) - 0.3 * height, y + self.y - 0.6 * height, 0.6 * height, 2.2 * height)
        canvas.fill(mark, 0.3 * height, self.ink, opacity)
