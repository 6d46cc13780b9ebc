"""What painters share: themes, the canvas that they paint on, and cards of text and small drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from app.domain import Box
from app.overlay.image_canvas import Colour, Point
from app.overlay.texts import ENGLISH, Texts


@dataclass(frozen=True)
class Theme:
    ink: Colour
    muted: Colour
    plate: Colour
    opacity: float  # of plates
    track: Colour  # behind bars and charts
    accent: Colour
    bad: Colour
    unknown: Colour  # boxes of people who were never read
    people: tuple[Colour, ...]
    line: float  # thickness of a box, share of the text's size
    scale: float = 1.0  # of all text


STANDARD = Theme(
    ink=(250, 251, 252),
    muted=(186, 196, 208),
    plate=(13, 17, 23),
    opacity=0.82,
    track=(72, 82, 95),
    accent=(120, 205, 255),
    bad=(255, 112, 104),
    unknown=(200, 208, 218),
    people=(
        (99, 200, 255),
        (255, 190, 92),
        (138, 222, 146),
        (246, 140, 178),
        (184, 160, 255),
        (255, 150, 112),
        (92, 216, 204),
        (236, 224, 120),
    ),
    line=0.13,
)
# White and yellow on black: 21:1 and 17:1; red 8:1, people 10:1 and more. WCAG asks 7:1 of enhanced contrast.
CONTRAST = Theme(
    ink=(255, 255, 255),
    muted=(255, 255, 255),
    plate=(0, 0, 0),
    opacity=1.0,
    track=(96, 96, 96),
    accent=(255, 233, 0),
    bad=(255, 130, 130),
    unknown=(255, 255, 255),
    people=((255, 233, 0), (90, 220, 255), (255, 160, 230), (140, 255, 120), (255, 180, 90)),
    line=0.2,
    scale=1.12,
)

CAP_HEIGHT = 0.66  # of the font's size; the height of figures and capitals
TEXT_SHARE = 0.0275  # of plain text in the shorter side of a canvas: capitals of 7 mm on a 40 cm high screen
SMALLEST_TEXT = 9.0
SMALLEST_LABEL = 40  # shorter side of a canvas, in pixels, under which only boxes are drawn
STALE_S = 1.0  # since a person was read, from which on the label is dimmer


@dataclass(frozen=True, kw_only=True)
class Style:
    """How people are shown, and in which language; `labels` is what is said of them, `detail` adds exit and id."""

    theme: Theme = STANDARD
    say: Texts = ENGLISH
    labels: tuple[str, ...] = ("age", "expression")  # and "gender"
    detail: bool = False


PLAIN = Style()


class Canvas(Protocol):
    """What the painters need. Everything is in pixels of the canvas and clipped to it."""

    width: float
    height: float

    def outline(self, box: Box, radius: float, thickness: float, colour: Colour, opacity: float = 1.0) -> None: ...

    def fill(self, box: Box, radius: float, colour: Colour, opacity: float) -> None: ...

    def line(self, points: Sequence[Point], thickness: float, colour: Colour, opacity: float = 1.0) -> None: ...

    def text(
        self, text: str, x: float, baseline: float, size: float, colour: Colour, bold: bool, opacity: float = 1.0
    ) -> None: ...

    def measure(self, text: str, size: float, bold: bool) -> float:
        """Width of the text."""
        ...


class Run(NamedTuple):
    """Text at its place in a card."""

    text: str
    x: float
    baseline: float
    size: float
    colour: Colour
    bold: bool = False


class Drawing(Protocol):
    """Something at its place in a card."""

    def put(self, canvas: Canvas, x: float, y: float, opacity: float) -> None: ...


class Card(NamedTuple):
    width: float
    height: float
    runs: tuple[Run, ...]
    drawings: tuple[Drawing, ...] = ()

    def put(self, canvas: Canvas, x: float, y: float, opacity: float = 1.0) -> None:
        for drawing in self.drawings:
            drawing.put(canvas, x, y, opacity)
        for run in self.runs:
            canvas.text(run.text, x + run.x, y + run.baseline, run.size, run.colour, run.bold, opacity)


def text_size(width: float, height: float, theme: Theme = STANDARD) -> float:
    """Size of plain text on a canvas: 20 px on 1280x720, 30 on 1920x1080 and on 1080x1920."""
    return max(SMALLEST_TEXT, TEXT_SHARE * min(width, height)) * theme.scale
