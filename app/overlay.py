"""Paints one Result: a box and a label per person, and the panel of figures in the top left corner.

`draw` lays everything out in the pixels of a Canvas, which may be larger or smaller than the frame: video output paints
into a copy of the frame (ImageCanvas), the window at its own resolution (window.QtCanvas), so its text stays crisp.
Colours are RGB here; only ImageCanvas knows of BGR.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from app.domain import Box, Image, Person, Result, Stats

Colour = tuple[int, int, int]
Size = tuple[float, float]
Patch = tuple[NDArray[np.uint16], NDArray[np.uint16]]  # (keep, add), (h, w, 3): pixel = (pixel * keep + add) / 256

INK: Colour = (246, 248, 250)
MUTED: Colour = (170, 181, 194)
DARK: Colour = (14, 18, 24)
TRACK: Colour = (70, 80, 92)
GOOD: Colour = (104, 211, 145)
BAD: Colour = (255, 107, 107)
PEOPLE: tuple[Colour, ...] = (
    (99, 200, 255),
    (255, 190, 92),
    (138, 222, 146),
    (246, 140, 178),
    (184, 160, 255),
    (255, 150, 112),
    (92, 216, 204),
    (236, 224, 120),
)

CAP_HEIGHT = 0.71  # of a font's size; the height of figures and capitals
SMALLEST_LABEL = 40  # canvas height in pixels under which only boxes are drawn
SMALLEST_CARD = 150  # canvas height under which a label is the age alone
HIDES_FACE, HIDES_PANEL, HIDES_LABEL = 4.0, 1.0, 9.0  # what a pixel costs that a label covers
CROWDED = 0.2  # share of the canvas that full labels may cover, else each is the age alone


class Canvas(Protocol):
    """What the layout needs to know how to do. Everything is in pixels of the canvas and clipped to it."""

    width: float
    height: float

    def outline(self, box: Box, radius: float, thickness: float, colour: Colour) -> None: ...

    def fill(self, box: Box, radius: float, colour: Colour, opacity: float) -> None: ...

    def text(self, text: str, x: float, baseline: float, size: float, colour: Colour, bold: bool) -> None: ...

    def measure(self, text: str, size: float, bold: bool) -> float:
        """Width of the text."""
        ...


class Run(NamedTuple):
    """Text at its place in a card."""

    text: str
    x: float
    baseline: float
    size: float
    colour: Colour = INK
    bold: bool = False


class Card(NamedTuple):
    width: float
    height: float
    runs: tuple[Run, ...]

    def put(self, canvas: Canvas, x: float, y: float) -> None:
        for run in self.runs:
            canvas.text(run.text, x + run.x, y + run.baseline, run.size, run.colour, run.bold)


def draw(result: Result, canvas: Canvas, *, panel: bool = True) -> None:
    """Lays one Result out over the canvas, on which its picture already is."""
    rows, columns = result.frame.image.shape[:2]
    across, down = canvas.width / columns, canvas.height / rows
    boxes = [Box(b.x * across, b.y * down, b.width * across, b.height * down) for b in (p.box for p in result.people)]
    unit = text_size(canvas.height)
    for person, box in zip(result.people, boxes, strict=True):
        _outline(person, box, canvas, unit)
    corner = _panel(result.stats, canvas, unit) if panel else None
    if canvas.height < SMALLEST_LABEL:
        return
    cards = [_label(person, canvas, unit) for person in result.people]
    if canvas.height < SMALLEST_CARD or sum(c.width * c.height for c in cards) > CROWDED * canvas.width * canvas.height:
        cards = [_brief(person, canvas, unit) for person in result.people]
    spots = place([card[:2] for card in cards], boxes, [corner] if corner else [], (canvas.width, canvas.height))
    for person, card, spot in zip(result.people, cards, spots, strict=True):
        if card.width <= canvas.width and card.height <= canvas.height:
            canvas.fill(spot, 0.45 * unit, DARK, 0.74)
            if person.estimate:
                stripe = Box(spot.x + 0.4 * unit, spot.y + 0.5 * unit, 0.2 * unit, spot.height - unit)
                canvas.fill(stripe, 0.1 * unit, _colour(person), 1.0)
            card.put(canvas, spot.x, spot.y)


def text_size(height: float) -> float:
    """Size of plain text: 9 px up to 300 rows, 13 at 540, 20 at 1080."""
    return max(9.0, round(13 * (height / 540) ** 0.65))


def place(sizes: list[Size], boxes: list[Box], taken: list[Box], frame: Size) -> list[Box]:
    """Finds each label (width, height) a spot in the frame: above its box where that hides no face and no other label.

    Greedy, in the order given. `taken` are areas to stay off.
    """
    gap = max(2.0, 0.008 * frame[1])
    fixed = np.array([*boxes, *taken], dtype=np.float64).reshape(-1, 4)
    areas = np.concatenate([fixed, np.zeros((len(sizes), 4))])  # (x, y, right, bottom)
    areas[:, 2:] += areas[:, :2]
    weights = np.array([HIDES_FACE] * len(boxes) + [HIDES_PANEL] * len(taken) + [HIDES_LABEL] * len(sizes))
    spots: list[Box] = []
    for (width, height), box in zip(sizes, boxes, strict=True):
        tried = _candidates(box, width, height, gap, taken)
        tried = np.clip(tried, 0, [max(0.0, frame[0] - width), max(0.0, frame[1] - height)])
        known = areas[: len(fixed) + len(spots)]
        sides = np.minimum(tried[:, None] + (width, height), known[:, 2:]) - np.maximum(tried[:, None], known[:, :2])
        covered = np.maximum(sides, 0).prod(axis=2) @ weights[: len(known)]
        x, y = tried[np.argmin(covered)].tolist()
        areas[len(known)] = x, y, x + width, y + height
        spots.append(Box(x, y, width, height))
    return spots


def _candidates(box: Box, width: float, height: float, gap: float, taken: list[Box]) -> list[tuple[float, float]]:
    """Corners for a label around a box, the best first."""
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    flush, middle, before = right - width, (left + right - width) / 2, left - width
    above, below = top - height - gap, bottom + gap
    return [
        *((left, above), (flush, above), (middle, above)),
        *((left, below), (flush, below), (middle, below)),
        *((right + gap, top), (right + gap, bottom - height), (before - gap, top), (before - gap, bottom - height)),
        *((right, above), (before, above), (right, below), (before, below)),
        *((left, above - height - gap), (left, below + height + gap)),
        *((area.x + area.width + gap, y) for area in taken for y in (top, bottom - height)),
        *((left + gap, bottom - height - gap), (left + gap, top + gap)),
    ]


def _colour(person: Person) -> Colour:
    return PEOPLE[person.id % len(PEOPLE)]


def _outline(person: Person, box: Box, canvas: Canvas, unit: float) -> None:
    """Strong when read in this frame, fine and dim when carried over, fine and grey when never read."""
    radius = min(0.6 * unit, 0.2 * min(box.width, box.height))
    red, green, blue = _colour(person) if person.estimate else MUTED
    if person.estimate and person.fresh:
        canvas.outline(box, radius, max(2.0, 0.17 * unit), (red, green, blue))
    else:
        canvas.outline(box, radius, max(1.0, 0.1 * unit), (red * 5 // 6, green * 5 // 6, blue * 5 // 6))


def _label(person: Person, canvas: Canvas, unit: float) -> Card:
    """Age large; beside it what the face says, the age's interval and where the estimate comes from."""
    estimate = person.estimate
    if estimate is None:
        return _brief(person, canvas, unit)
    ink = INK if person.fresh else MUTED
    age, size = f"{estimate.age:.0f}", 2.3 * unit
    height, words = 3.1 * unit, f"{estimate.gender} · {estimate.expression}"
    interval, origin = f"{estimate.age_low:.0f}-{estimate.age_high:.0f}", f"{estimate.exit}  #{person.id}"
    middle = 0.95 * unit + canvas.measure(age, size, True) + 0.6 * unit
    second = middle + canvas.measure(interval, 0.9 * unit, False) + 0.7 * unit
    right = max(middle + canvas.measure(words, unit, True), second + canvas.measure(origin, 0.78 * unit, False))
    runs = (
        Run(age, 0.95 * unit, (height + CAP_HEIGHT * size) / 2, size, ink, True),
        Run(words, middle, 1.28 * unit, unit, ink, True),
        Run(interval, middle, 2.52 * unit, 0.9 * unit, ink),
        Run(origin, second, 2.52 * unit, 0.78 * unit, MUTED),
    )
    return Card(right + 0.7 * unit, height, runs)


def _brief(person: Person, canvas: Canvas, unit: float) -> Card:
    age = f"{person.estimate.age:.0f}" if person.estimate else "..."
    size, height, left = 1.2 * unit, 1.7 * unit, 0.9 * unit if person.estimate else 0.5 * unit
    baseline = (height + CAP_HEIGHT * size) / 2 if person.estimate else 0.65 * height
    run = Run(age, left, baseline, size, INK if person.fresh and person.estimate else MUTED, True)
    return Card(left + canvas.measure(age, size, True) + 0.5 * unit, height, (run,))


def figures(stats: Stats) -> list[tuple[str, str]]:
    """The panel's rows, the most telling first."""
    faces = f"{stats.faces}" if stats.served == stats.faces else f"{stats.served} of {stats.faces} read"
    share = f" ({100 * stats.misses / stats.frames:.1f} %)" if stats.frames and stats.misses else ""
    return [
        ("faces", faces),
        ("exit", f"{stats.exit} · {stats.input_size} px" if stats.exit else "none"),
        ("network", f"{_ms(stats.measured_ms)} ms, {_ms(stats.predicted_ms)} predicted" if stats.exit else "idle"),
        ("frame age", f"{_ms(stats.frame_age_ms)} ms"),
        ("budget", f"{_ms(stats.budget_ms)} ms, {_ms(stats.left_ms)} left"),
        ("misses", f"{stats.misses}{share}"),
        ("dropped", f"{stats.dropped}"),
    ]


def _ms(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}" if math.isfinite(value) else "no limit"


def _panel(stats: Stats, canvas: Canvas, unit: float) -> Box | None:
    """Draws the figures in the top left corner. None where the canvas is too small for them."""
    margin, pad, line = 0.8 * unit, 0.9 * unit, 1.5 * unit
    width, head, limit = 18.5 * unit, 3.6 * unit, 0.5 * canvas.height
    rows = figures(stats)[: max(0, int((limit - head - pad) / line))]
    if width > 0.55 * canvas.width or not rows:
        return None
    inner = width - 2 * pad
    runs = [Run(f"{stats.fps:.0f}" if stats.fps >= 10 else f"{stats.fps:.1f}", pad, 2.2 * unit, 1.9 * unit, INK, True)]
    runs.append(Run("fps", pad + canvas.measure(runs[0].text, 1.9 * unit, True) + 0.4 * unit, 2.2 * unit, unit, MUTED))
    provider = stats.provider.removesuffix("ExecutionProvider")
    runs.append(_right(provider, width - pad, 2.2 * unit, 0.9 * unit, MUTED, canvas))
    for index, (name, value) in enumerate(rows):
        baseline = head + line * (index + 0.75)
        late = name == "frame age" and stats.frame_age_ms > stats.budget_ms
        runs += [
            Run(name, pad, baseline, 0.95 * unit, MUTED),
            _right(value, width - pad, baseline, 0.95 * unit, BAD if late else INK, canvas),
        ]
    height = head + line * len(rows) + 0.5 * pad
    for text in _wrap(stats.why, inner, 0.8 * unit, int((limit - height) / unit), canvas):
        runs.append(Run(text, pad, height + 0.6 * unit, 0.8 * unit, MUTED))
        height += 1.15 * unit
    area = Box(margin, margin, width, height + 0.4 * pad)
    canvas.fill(area, 0.6 * unit, DARK, 0.8)
    _bar(stats, Box(margin + pad, margin + 2.85 * unit, inner, 0.36 * unit), canvas)
    Card(area.width, area.height, tuple(runs)).put(canvas, area.x, area.y)
    return area


def _right(text: str, right: float, baseline: float, size: float, colour: Colour, canvas: Canvas) -> Run:
    return Run(text, right - canvas.measure(text, size, False), baseline, size, colour)


def _bar(stats: Stats, track: Box, canvas: Canvas) -> None:
    """The budget as a bar: how much of it the frame's age has used, the part of the network bright."""
    canvas.fill(track, track.height / 2, TRACK, 0.9)
    if not (math.isfinite(stats.budget_ms) and stats.budget_ms > 0):
        return
    used = min(1.0, max(0.0, stats.frame_age_ms / stats.budget_ms)) * track.width
    network = min(used, max(0.0, stats.measured_ms / stats.budget_ms) * track.width)
    colour = GOOD if stats.frame_age_ms <= stats.budget_ms else BAD
    for length, shade in ((used, MUTED), (network, colour)):
        if length >= track.height:
            canvas.fill(Box(track.x + used - length, track.y, length, track.height), track.height / 2, shade, 1.0)


def _wrap(text: str, width: float, size: float, lines: int, canvas: Canvas) -> list[str]:
    """Breaks at spaces; three lines at most, the last one ends in dots where text is left over."""
    rows: list[str] = []
    used, space = 0.0, canvas.measure("a a", size, False) - canvas.measure("aa", size, False)
    for word in text.split():
        length = canvas.measure(word, size, False)
        if rows and used + space + length <= width:
            rows[-1] += " " + word
            used += space + length
        elif len(rows) < min(lines, 3):
            rows.append(word)
            used = length
        else:
            return [*rows[:-1], rows[-1] + " ..."] if rows else []
    return rows


def paint(image: Image, result: Result) -> Image:
    """A copy of the picture with the Result painted over it."""
    painted = np.array(image, order="C")
    draw(result, ImageCanvas(painted))
    return painted


def fitted(image: Image, width: int, height: int) -> Image:
    """The picture at another size, (height, width, 4) BGRA.

    OpenCV and not Qt scales the window's picture: to 1920x1080 it takes 5 ms instead of 9 and lets other threads run.
    """
    if image.shape[:2] != (height, width):
        shrinking = height < image.shape[0]
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)


class ImageCanvas:
    """Paints into a (height, width, 3) uint8 BGR array, in place."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.height, self.width = image.shape[:2]

    def outline(self, box: Box, radius: float, thickness: float, colour: Colour) -> None:
        path = _rounded(box, radius)
        wide = max(1, round(thickness))
        cv2.polylines(self._image, path, True, colour[::-1], wide, cv2.LINE_AA, SUBPIXEL_BITS)

    def fill(self, box: Box, radius: float, colour: Colour, opacity: float) -> None:
        width, height = max(1, round(box.width)), max(1, round(box.height))
        self._blend(round(box.x), round(box.y), _panel_patch(width, height, round(radius, 1), colour, opacity))

    def text(self, text: str, x: float, baseline: float, size: float, colour: Colour, bold: bool) -> None:
        patch, ascent = _text_patch(text, round(size), colour, bold)
        self._blend(round(x) - TEXT_PAD, round(baseline) - ascent, patch)

    def measure(self, text: str, size: float, bold: bool) -> float:
        return _length(text, round(size))

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
TEXT_PAD = 2  # pixels around rendered text, for the strokes that make it bold
BOLDNESS = 0.025  # stroke of bold text, share of its size: the bundled font has one weight
FINER = 4  # text is rendered so much larger: Pillow sets letters on whole pixels, which looks uneven when small
_TURN = (np.arange(16) + 0.5) * np.pi / 8
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(max(1, size))


def font_bytes() -> bytes:
    """The font file, for canvases that render text themselves."""
    return _font(12).font_bytes


def _plain(text: str) -> str:
    """Pillow's bundled font covers Latin-1 and little more."""
    return text.translate(
        {0x2013: "-", 0x2014: "-", 0xD7: "x", 0x2192: "->", 0x2026: "...", 0x2264: "<=", 0x2265: ">="}
    )


@lru_cache(maxsize=1024)
def _length(text: str, size: int) -> float:
    return _font(FINER * size).getlength(_plain(text)) / FINER


@lru_cache(maxsize=1024)
def _text_patch(text: str, size: int, colour: Colour, bold: bool) -> tuple[Patch, int]:
    """The text's patch and its baseline's row."""
    ascent = size + TEXT_PAD
    width, height = math.ceil(_length(text, size)) + 2 * TEXT_PAD, ascent + size // 3 + TEXT_PAD
    card = Pillow.new("L", (FINER * width, FINER * height))
    stroke = FINER * size * BOLDNESS if bold else 0
    where, font = (FINER * TEXT_PAD, FINER * ascent), _font(FINER * size)
    ImageDraw.Draw(card).text(where, _plain(text), fill=255, font=font, anchor="ls", stroke_width=stroke)
    return _patch(cv2.resize(np.asarray(card), (width, height), interpolation=cv2.INTER_AREA), colour, 1.0), ascent


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
