"""Paints people over a picture: a box and a label each. One painter for the window and for annotated video.

`draw` lays out in the pixels of a Canvas: video output paints into a copy of the frame (ImageCanvas), the window at its
own resolution (qt_canvas.QtCanvas), so that its text stays crisp. Colours are RGB; only ImageCanvas knows of BGR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from app.domain import Box, Image, Result
from app.overlay.image_canvas import Colour, ImageCanvas, Point
from app.overlay.labels import FEW, levels
from app.overlay.layout import Labels
from app.overlay.motion import Shown, as_it_is
from app.overlay.placing import Rules
from app.overlay.style import PLAIN, SMALLEST_LABEL, STALE_S, Canvas, Card, Style, Theme, text_size
from app.overlay.view import View

FILED = Style(labels=("age", "expression", "gender"), detail=True)  # for annotated video, which people look into later


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
    numbers = labels.colours.assign([p.id for p in people], boxes, len(theme.people))
    colours = {p.id: theme.people[numbers[p.id]] if p.known else theme.unknown for p in people}
    for person, box in zip(people, boxes, strict=True):
        _outline(person, box, canvas, unit, theme, colours[person.id])
    if min(canvas.width, canvas.height) < SMALLEST_LABEL:
        return
    seen = [(p, b) for p, b in zip(people, boxes, strict=True) if _in_sight(b, view.area)]

    kinds = levels(len(seen))

    @cache
    def cards_at(level: int) -> list[Card]:
        make, scale = kinds[level]
        return [make(person, canvas, scale * unit, style, colours[person.id]) for person, _ in seen]

    inset = 0.25 * unit
    area = Box(view.area.x + inset, view.area.y + inset, view.area.width - 2 * inset, view.area.height - 2 * inset)
    level, spots = labels.arrange(
        [p.id for p, _ in seen],
        len(kinds),
        lambda level: [(card.width, card.height) for card in cards_at(level)],
        [b for _, b in seen],
        area,
        taken,
        now_s,
        Rules(gap=0.2 * unit, beside=len(seen) <= FEW),
    )
    scaled = unit * kinds[level][1]
    for (person, box), card, spot in zip(seen, cards_at(level), spots, strict=True):
        if spot:
            colour = colours[person.id]
            _tie(box, spot, canvas, scaled, colour, person.opacity)
            _plate(person, card, spot, canvas, scaled, theme, colour)


def _in_sight(box: Box, area: Box) -> bool:
    """Whether a face's middle can be seen; a label at the border for somebody beyond it would puzzle."""
    x, y = box.centre
    return area.x <= x <= area.x + area.width and area.y <= y <= area.y + area.height


def _outline(person: Shown, box: Box, canvas: Canvas, unit: float, theme: Theme, colour: Colour) -> None:
    """Strong where read of late, fine where carried over or never read; dark around, so that it shows on any picture."""
    radius, strong = 0.14 * min(box.width, box.height), person.known and person.stale_s <= STALE_S
    thickness = max(2.0 if strong else 1.0, (1.0 if strong else 0.6) * theme.line * unit)
    canvas.outline(box, radius, thickness + max(2.0, 0.08 * unit), theme.plate, 0.45)
    canvas.outline(box, radius, thickness, colour, 1.0 if strong else 0.75)


def _tie(box: Box, spot: Box, canvas: Canvas, unit: float, colour: Colour, opacity: float) -> None:
    """A line from a face to its label where that is not beside it."""
    here = _nearest(box, spot.centre)
    there = _nearest(spot, here)
    if math.dist(here, there) > 0.5 * unit:
        canvas.line([here, there], max(1.0, 0.07 * unit), colour, opacity)


def _nearest(box: Box, point: Point) -> Point:
    return min(max(point[0], box.x), box.x + box.width), min(max(point[1], box.y), box.y + box.height)


def _plate(person: Shown, card: Card, spot: Box, canvas: Canvas, unit: float, theme: Theme, colour: Colour) -> None:
    canvas.fill(spot, 0.4 * unit, theme.plate, theme.opacity * person.opacity)
    if person.known:
        stripe = Box(spot.x + 0.32 * unit, spot.y + 0.42 * unit, 0.22 * unit, spot.height - 0.84 * unit)
        canvas.fill(stripe, 0.11 * unit, colour, person.opacity)
    card.put(canvas, spot.x, spot.y, person.opacity)


def paint(image: Image, result: Result, labels: Labels | None = None, style: Style = FILED) -> Image:
    """A copy of the picture with its people painted over it; `labels` keeps theirs in place from one to the next."""
    painted = np.array(image, order="C")
    canvas = ImageCanvas(painted)
    view = View.of((canvas.width, canvas.height), (canvas.width, canvas.height))
    people = [as_it_is(person) for person in result.people]
    draw(people, canvas, view, labels or Labels(), style, now_s=result.frame.time_s)
    return painted
