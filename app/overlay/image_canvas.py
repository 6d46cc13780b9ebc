"""OpenCV's side of painting: a Canvas over an array, its fonts, and scaling of whole pictures."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from app.domain import Box, Image

Colour = tuple[int, int, int]
Point = tuple[float, float]
Patch = tuple[NDArray[np.uint16], NDArray[np.uint16]]  # (keep, add), (h, w, 3): pixel = (pixel * keep + add) / 256


def fitted(image: Image, width: int, height: int, *, mirrored: bool = False) -> Image:
    """The picture at another size, (height, width, 4) BGRA. OpenCV lets other threads run meanwhile; Qt would not, and is
    slower.

    Smaller pictures: halves by means of four pixels, then between them. Means of any other size (INTER_AREA) take six times as
    long for 1280x720 to 1088x612: 9.8 instead of 1.6 ms.
    """
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        image = cv2.resize(image[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    if image.shape[:2] == (height, width):
        return cv2.cvtColor(cv2.flip(image, 1) if mirrored else image, cv2.COLOR_BGR2BGRA)
    if image.shape[0] <= height:  # what is done to each pixel is done to the smaller picture
        image = cv2.cvtColor(cv2.flip(image, 1) if mirrored else image, cv2.COLOR_BGR2BGRA)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
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


@lru_cache(maxsize=256)
def _length(text: str, size: int, bold: bool) -> float:
    return _font(FINER * size, bold).getlength(text) / FINER


@lru_cache(maxsize=256)
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
