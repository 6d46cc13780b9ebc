"""Paints people over a picture: a box and a label each. One painter for the window and for annotated video.

`draw` lays out in the pixels of a Canvas: video output paints into a copy of the frame (ImageCanvas), the window at its
own resolution (qt_canvas.QtCanvas), so that its text stays crisp. Colours are RGB; only ImageCanvas knows of BGR.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from app.domain import Box, Image, Result
from app.layout import Labels, View
from app.motion import Shown, as_it_is
from app.texts import ENGLISH, Texts

Colour = tuple[int, int, int]
Point = tuple[float, float]
Patch = tuple[NDArray[np.uint16], NDArray[np.uint16]]  # (keep, add), (h, w, 3): pixel = (pixel * keep + add) / 256


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
    *,
    theme: Theme = STANDARD,
    say: Texts = ENGLISH,
    detail: bool = False,
    taken: Sequence[Box] = (),
    now_s: float = 0.0,
) -> None:
    """Boxes and labels over the canvas, on which the picture already is.

    `detail` adds exit and id to the labels, `taken` are areas that labels stay off.
    """
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
        return [make(person, canvas, scale * unit, theme, say, detail) for person, _ in seen]

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
    return f"{say(person.gender)} · {say(EXPRESSIONS.get(person.expression, person.expression))}"


def interval(person: Shown) -> str:
    return f"{person.low}–{person.high}"


def _full(person: Shown, canvas: Canvas, unit: float, theme: Theme, say: Texts, detail: bool) -> Card:
    """The age large; beside it what the face says, and the age's interval."""
    if not person.known:
        return _waiting(person, canvas, unit, theme)
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    age, size, height = f"{person.age}", 2.5 * unit, 3.0 * unit
    says = label_words(person, say)
    below = say("{interval} years").format(interval=interval(person))
    if person.unfit:
        below = f"{interval(person)} · {say(person.unfit)}"
    if detail:
        number = person.exit.rpartition("_")[2].lstrip("0")
        below += f"  {say('exit {number}').format(number=number)}  #{person.id}"
    middle = 0.85 * unit + canvas.measure(age, size, True) + 0.5 * unit
    right = max(middle + canvas.measure(says, unit, True), middle + canvas.measure(below, 0.92 * unit, False))
    runs = (
        Run(age, 0.85 * unit, (height + CAP_HEIGHT * size) / 2, size, ink, True),
        Run(says, middle, 1.3 * unit, unit, ink, True),
        Run(below, middle, 2.42 * unit, 0.92 * unit, theme.muted),
    )
    return Card(right + 0.6 * unit, height, runs)


def _short(person: Shown, canvas: Canvas, unit: float, theme: Theme, say: Texts, detail: bool) -> Card:
    """Age and interval."""
    if not person.known:
        return _waiting(person, canvas, unit, theme)
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    age, size, height = f"{person.age}", 1.7 * unit, 1.9 * unit
    middle, baseline = 0.8 * unit + canvas.measure(age, size, True) + 0.35 * unit, (height + CAP_HEIGHT * size) / 2
    runs = (
        Run(age, 0.8 * unit, baseline, size, ink, True),
        Run(interval(person), middle, baseline, 0.92 * unit, theme.muted),
    )
    return Card(middle + canvas.measure(interval(person), 0.92 * unit, False) + 0.5 * unit, height, runs)


def _age(person: Shown, canvas: Canvas, unit: float, theme: Theme, say: Texts, detail: bool) -> Card:
    if not person.known:
        return _waiting(person, canvas, unit, theme)
    ink = theme.ink if person.stale_s <= STALE_S else theme.muted
    age, size, height = f"{person.age}", 1.5 * unit, 1.7 * unit
    run = Run(age, 0.8 * unit, (height + CAP_HEIGHT * size) / 2, size, ink, True)
    return Card(0.8 * unit + canvas.measure(age, size, True) + 0.45 * unit, height, (run,))


def _waiting(person: Shown, canvas: Canvas, unit: float, theme: Theme) -> Card:
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
    draw(people, canvas, view, labels or Labels(), detail=True, now_s=result.frame.time_s)
    return painted


def fitted(image: Image, width: int, height: int, *, mirrored: bool = False) -> Image:
    """The picture at another size, (height, width, 4) BGRA. OpenCV lets other threads run meanwhile; Qt would not, and is
    slower."""
    if image.shape[0] <= height:  # what is done to each pixel is done to the smaller picture
        image = cv2.cvtColor(cv2.flip(image, 1) if mirrored else image, cv2.COLOR_BGR2BGRA)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(cv2.flip(image, 1) if mirrored else image, cv2.COLOR_BGR2BGRA)


class ImageCanvas:
    """Paints into a (height, width, 3) uint8 BGR array, in place."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.height, self.width = image.shape[:2]

    def outline(self, box: Box, radius: float, thickness: float, colour: Colour, opacity: float = 1.0) -> None:
        self._strokes(_rounded(box, radius), True, thickness, colour, opacity)

    def fill(self, box: Box, radius: float, colour: Colour, opacity: float) -> None:
        width, height = max(1, round(box.width)), max(1, round(box.height))
        self._blend(round(box.x), round(box.y), _panel_patch(width, height, round(radius, 1), colour, opacity))

    def line(self, points: Sequence[Point], thickness: float, colour: Colour, opacity: float = 1.0) -> None:
        path = np.rint(np.array(points, np.float64) * (1 << SUBPIXEL_BITS)).astype(np.int32)[None]
        self._strokes(path, False, thickness, colour, opacity)

    def text(
        self, text: str, x: float, baseline: float, size: float, colour: Colour, bold: bool, opacity: float = 1.0
    ) -> None:
        patch, ascent = _text_patch(text, round(size), colour, bold, opacity)
        self._blend(round(x) - TEXT_PAD, round(baseline) - ascent, patch)

    def measure(self, text: str, size: float, bold: bool) -> float:
        return _length(text, round(size), bold)

    def _strokes(self, path: NDArray[np.int32], closed: bool, thickness: float, colour: Colour, opacity: float) -> None:
        wide = max(1, round(thickness))
        if opacity >= 1:
            cv2.polylines(self._image, path, closed, colour[::-1], wide, cv2.LINE_AA, SUBPIXEL_BITS)
            return
        points = path.reshape(-1, 2) / (1 << SUBPIXEL_BITS)
        left, top = (max(0, math.floor(v) - wide) for v in points.min(axis=0))
        right, bottom = (math.ceil(v) + wide + 1 for v in points.max(axis=0))
        under = self._image[top : max(top, bottom), left : max(left, right)]
        if under.size:
            over = under.copy()
            shift = np.array([left, top], np.int32) << SUBPIXEL_BITS
            cv2.polylines(over, path - shift, closed, colour[::-1], wide, cv2.LINE_AA, SUBPIXEL_BITS)
            under[...] = cv2.addWeighted(over, opacity, under, 1 - opacity, 0)

    def _blend(self, x: int, y: int, patch: Patch) -> None:
        rows = slice(max(0, -y), max(0, self.height - y))
        columns = slice(max(0, -x), max(0, self.width - x))
        keep, add = patch[0][rows, columns], patch[1][rows, columns]
        under = self._image[max(0, y) :, max(0, x) :][: keep.shape[0], : keep.shape[1]]
        mixed = under * keep
        mixed += add
        mixed >>= 8
        under[...] = mixed


SUBPIXEL_BITS = 4
TEXT_PAD = 2  # pixels around rendered text
FINER = 4  # text is rendered so much larger: Pillow sets letters on whole pixels, which looks uneven when small
_TURN = (np.arange(16) + 0.5) * np.pi / 8
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def font_path(bold: bool) -> Path:
    """Source Sans: its figures are all as wide, so that ages do not shake, and its letters are narrow and clear."""
    package = importlib.util.find_spec("font_source_sans_pro")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("font_source_sans_pro is missing: pip install -r requirements.txt")
    name = "SourceSansPro-Bold.ttf" if bold else "SourceSansPro-Semibold.ttf"
    return Path(package.submodule_search_locations[0], "files", name)


@lru_cache(maxsize=64)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_path(bold)), max(1, size), layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1024)
def _length(text: str, size: int, bold: bool) -> float:
    return _font(FINER * size, bold).getlength(text) / FINER


@lru_cache(maxsize=1024)
def _text_patch(text: str, size: int, colour: Colour, bold: bool, opacity: float) -> tuple[Patch, int]:
    """The text's patch and its baseline's row."""
    ascent = size + TEXT_PAD
    width, height = math.ceil(_length(text, size, bold)) + 2 * TEXT_PAD, ascent + size // 3 + TEXT_PAD
    card = Pillow.new("L", (FINER * width, FINER * height))
    where, font = (FINER * TEXT_PAD, FINER * ascent), _font(FINER * size, bold)
    ImageDraw.Draw(card).text(where, text, fill=255, font=font, anchor="ls")
    small = cv2.resize(np.asarray(card), (width, height), interpolation=cv2.INTER_AREA)
    return _patch(small, colour, opacity), ascent


@lru_cache(maxsize=128)
def _panel_patch(width: int, height: int, radius: float, colour: Colour, opacity: float) -> Patch:
    alpha = np.zeros((height, width), np.uint8)
    cv2.fillPoly(alpha, _rounded(Box(0, 0, width - 1, height - 1), radius), 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return _patch(alpha, colour, opacity)


def _patch(alpha: NDArray[np.uint8], colour: Colour, opacity: float) -> Patch:
    share = np.rint(alpha.astype(np.float32) * (opacity * 256 / 255)).astype(np.uint16)[..., None]
    return np.repeat(256 - share, 3, axis=2), share * np.array(colour[::-1], dtype=np.uint16) + np.uint16(127)


def _rounded(box: Box, radius: float) -> NDArray[np.int32]:
    """Outline of a box with round corners, (1, points, 2), in 1/2**SUBPIXEL_BITS pixels."""
    radius = max(0.0, min(radius, box.width / 2, box.height / 2))
    straight = np.array([box.width / 2 - radius, box.height / 2 - radius])
    path = np.array(box.centre) + np.sign(_CIRCLE) * straight + radius * _CIRCLE
    return np.rint(path * (1 << SUBPIXEL_BITS)).astype(np.int32)[None]
