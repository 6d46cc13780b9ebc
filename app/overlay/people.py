"""Paints people over a picture: a box and a label each. One painter for the window and for annotated video.

`draw` lays out in the pixels of a Canvas: video output paints into a copy of the frame (ImageCanvas), the window at its
own resolution (qt_canvas.QtCanvas), so that its text stays crisp. Colours are RGB; only ImageCanvas knows of BGR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np

from app.domain import Box, Image, Result
from app.overlay.image_canvas import Colour, ImageCanvas, Point
from app.overlay.layout import Labels, View
from app.overlay.motion import Shown, as_it_is
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
# White and yellow on black: 21:1 and 17:1; red 8:1. WCAG asks 7:1 of enhanced contrast.
CONTRAST = Theme(
    ink=(255, 255, 255),
    muted=(255, 255, 255),
    plate=(0, 0, 0),
    opacity=1.0,
    track=(96, 96, 96),
    accent=(255, 233, 0),
    bad=(255, 130, 130),
    unknown=(255, 255, 255),
    people=((255, 233, 0),),
    line=0.2,
    scale=1.12,
)

CAP_HEIGHT = 0.66  # of the font's size; the height of figures and capitals
TEXT_SHARE = 0.0275  # of plain text in the shorter side of a canvas: capitals of 7 mm on a 40 cm high screen
SMALLEST_TEXT = 9.0
SMALLEST_LABEL = 40  # shorter side of a canvas, in pixels, under which only boxes are drawn
STALE_S = 1.0  # since a person was read, from which on the label is dimmer
EXPRESSIONS = {"disgust": "disgusted", "fear": "afraid", "surprise": "surprised"}  # as a label says it


@dataclass(frozen=True, kw_only=True)
class Style:
    """How people are shown, and in which language; `detail` adds exit and id to the labels."""

    theme: Theme = STANDARD
    say: Texts = ENGLISH
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


class Card(NamedTuple):
    width: float
    height: float
    runs: tuple[Run, ...]

    def put(self, canvas: Canvas, x: float, y: float, opacity: float = 1.0) -> None:
        for run in self.runs:
            canvas.text(run.text, x + run.x, y + run.baseline, run.size, run.colour, run.bold, opacity)


def text_size(width: float, height: float, theme: Theme = STANDARD) -> float:
    """Size of plain text on a canvas: 20 px on 1280x720, 30 on 1920x1080 and on 1080x1920."""
    return max(SMALLEST_TEXT, TEXT_SHARE * min(width, height)) * theme.scale


def draw(
    people: Sequence[Shown],
    canvas: Canvas,
    view: View,
    labels: Labels,
    style: Style = PLAIN,
    *,
    taken: Sequence[Box] = (),
    now_s: float = 0.0,
) -> None:
    """Boxes and labels over the canvas, on which the picture already is; `taken` are areas that labels stay off."""
    theme = style.theme
    people = sorted(people, key=lambda p: p.id)
    boxes = [view.box(p.box) for p in people]
    unit = text_size(canvas.width, canvas.height, theme)
    for person, box in zip(people, boxes, strict=True):
        _outline(person, box, canvas, unit, theme)
    if min(canvas.width, canvas.height) < SMALLEST_LABEL:
        return
    seen = [(p, b) for p, b in zip(people, boxes, strict=True) if _in_sight(b, view.area)]

    @cache
    def cards_at(level: int) -> list[Card]:
        make, scale = LEVELS[level]
        return [make(person, canvas, scale * unit, style) for person, _ in seen]

    gap, inset = 0.2 * unit, 0.25 * unit
    area = Box(view.area.x + inset, view.area.y + inset, view.area.width - 2 * inset, view.area.height - 2 * inset)
    level, spots = labels.arrange(
        [p.id for p, _ in seen],
        len(LEVELS),
        lambda level: [(card.width, card.height) for card in cards_at(level)],
        [b for _, b in seen],
        area,
        taken,
        now_s,
        gap,
    )
    scaled = unit * LEVELS[level][1]
    for (person, box), card, spot in zip(seen, cards_at(level), spots, strict=True):
        if spot:
            _tie(box, spot, canvas, scaled, _colour(person, theme), person.opacity)
            _plate(person, card, spot, canvas, scaled, theme)


def _in_sight(box: Box, area: Box) -> bool:
    """Whether a face's middle can be seen; a label at the border for somebody beyond it would puzzle."""
    x, y = box.centre
    return area.x <= x <= area.x + area.width and area.y <= y <= area.y + area.height


def _colour(person: Shown, theme: Theme) -> Colour:
    return theme.people[person.id % len(theme.people)] if person.known else theme.unknown


def _outline(person: Shown, box: Box, canvas: Canvas, unit: float, theme: Theme) -> None:
    """Strong where read of late, fine where carried over or never read; dark around, so that it shows on any picture."""
    radius, strong = 0.14 * min(box.width, box.height), person.known and person.stale_s <= STALE_S
    thickness = max(2.0 if strong else 1.0, (1.0 if strong else 0.6) * theme.line * unit)
    canvas.outline(box, radius, thickness + max(2.0, 0.08 * unit), theme.plate, 0.45)
    canvas.outline(box, radius, thickness, _colour(person, theme), 1.0 if strong else 0.75)


def _tie(box: Box, spot: Box, canvas: Canvas, unit: float, colour: Colour, opacity: float) -> None:
    """A line from a face to its label where that is not beside it."""
    here = _nearest(box, spot.centre)
    there = _nearest(spot, here)
    if math.dist(here, there) > 0.9 * unit:
        canvas.line([here, there], max(1.0, 0.07 * unit), colour, opacity)


def _nearest(box: Box, point: Point) -> Point:
    return min(max(point[0], box.x), box.x + box.width), min(max(point[1], box.y), box.y + box.height)


def _plate(person: Shown, card: Card, spot: Box, canvas: Canvas, unit: float, theme: Theme) -> None:
    canvas.fill(spot, 0.4 * unit, theme.plate, theme.opacity * person.opacity)
    if person.known:
        stripe = Box(spot.x + 0.32 * unit, spot.y + 0.42 * unit, 0.22 * unit, spot.height - 0.84 * unit)
        canvas.fill(stripe, 0.11 * unit, _colour(person, theme), person.opacity)
    card.put(canvas, spot.x, spot.y, person.opacity)


def label_words(person: Shown, say: Texts) -> str:
    """What the face says."""
    words = [person.gender, EXPRESSIONS.get(person.expression, person.expression)]
    return " · ".join(say(word) for word in words if word)


def interval(person: Shown) -> str:
    return f"{person.low}–{person.high}"


def _full(person: Shown, canvas: Canvas, unit: float, style: Style) -> Card:
    """The age large; beside it what the face says, and the age's interval."""
    if not person.known:
        return _waiting(canvas, unit, style.theme)
    theme = style.theme
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    age, size, height = f"{person.age}", 2.5 * unit, 3.0 * unit
    says = label_words(person, style.say)
    below = style.say("{interval} years").format(interval=interval(person))
    if person.unfit:
        below = f"{interval(person)} · {style.say(person.unfit)}"
    if style.detail:
        number = person.exit.rpartition("_")[2].lstrip("0")
        below += f"  {style.say('exit {number}').format(number=number)}  #{person.id}"
    middle = 0.85 * unit + canvas.measure(age, size, True) + 0.5 * unit
    right = max(middle + canvas.measure(says, unit, True), middle + canvas.measure(below, 0.92 * unit, False))
    runs = (
        Run(age, 0.85 * unit, (height + CAP_HEIGHT * size) / 2, size, ink, True),
        Run(says, middle, 1.3 * unit, unit, ink, True),
        Run(below, middle, 2.42 * unit, 0.92 * unit, theme.muted),
    )
    return Card(right + 0.6 * unit, height, runs)


def _short(person: Shown, canvas: Canvas, unit: float, style: Style) -> Card:
    """Age and interval."""
    if not person.known:
        return _waiting(canvas, unit, style.theme)
    theme = style.theme
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    age, size, height = f"{person.age}", 1.7 * unit, 1.9 * unit
    middle, baseline = 0.8 * unit + canvas.measure(age, size, True) + 0.35 * unit, (height + CAP_HEIGHT * size) / 2
    runs = (
        Run(age, 0.8 * unit, baseline, size, ink, True),
        Run(interval(person), middle, baseline, 0.92 * unit, theme.muted),
    )
    return Card(middle + canvas.measure(interval(person), 0.92 * unit, False) + 0.5 * unit, height, runs)


def _age(person: Shown, canvas: Canvas, unit: float, style: Style) -> Card:
    if not person.known:
        return _waiting(canvas, unit, style.theme)
    theme = style.theme
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    age, size, height = f"{person.age}", 1.5 * unit, 1.7 * unit
    run = Run(age, 0.8 * unit, (height + CAP_HEIGHT * size) / 2, size, ink, True)
    return Card(0.8 * unit + canvas.measure(age, size, True) + 0.45 * unit, height, (run,))


def _waiting(canvas: Canvas, unit: float, theme: Theme) -> Card:
    """Somebody who was not read yet."""
    height, dots = 1.3 * unit, "···"
    return Card(
        canvas.measure(dots, unit, True) + unit, height, (Run(dots, 0.5 * unit, 0.98 * unit, unit, theme.muted, True),)
    )


# Labels by length, the longest first, each at a share of the text's size.
LEVELS = ((_full, 1.0), (_full, 0.8), (_short, 0.9), (_short, 0.7), (_age, 0.7), (_age, 0.5))


def paint(image: Image, result: Result, labels: Labels | None = None) -> Image:
    """A copy of the picture with its people painted over it; `labels` keeps theirs in place from one to the next."""
    painted = np.array(image, order="C")
    canvas = ImageCanvas(painted)
    view = View.of((canvas.width, canvas.height), (canvas.width, canvas.height))
    people = [as_it_is(person) for person in result.people]
    draw(people, canvas, view, labels or Labels(), Style(detail=True), now_s=result.frame.time_s)
    return painted
