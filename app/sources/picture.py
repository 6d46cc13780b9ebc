"""A frame as FFmpeg decodes it, made into what everybody here works on: upright BGR with square pixels.

Boxes of faces are therefore in *display* pixels: turned as a player turns the picture, and stretched as it stretches it.
A picture is only ever widened or heightened to make its pixels square, so nothing of it is lost.
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from app.domain import Image
from app.sources.captures import MAX_PIXELS
from app.sources.colour import HLG, PQ, tone_mapped

HD_LINES = 720  # players take video that does not name its colours for HD's from here on
BT709, UNSPECIFIED = 1, 2
ODDEST_ASPECT = 4  # of a pixel; anything more extreme is taken as an error
SQUARE = Fraction(1)
BACKGROUND = 255  # behind what is transparent


class Pictures:
    """Makes pictures of frames. Keeps the tables of one conversion, so there is one to a video."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._rotation: int | None = None
        self._matrix: NDArray[np.float64] | None = None

    def __call__(self, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> Image:
        """(h, w, 3) uint8 BGR. `pixel_aspect` is a stored pixel's width over its height. Raises ValueError."""
        width, height = square(frame.width, frame.height, pixel_aspect)
        if width * height > MAX_PIXELS:  # a stream may grow on the way, and stretching makes it larger
            raise ValueError(f"{width}x{height} pixels; more than 64 million are not read")
        if frame.color_trc in (PQ, HLG) and not frame.format.is_rgb:
            image = tone_mapped(self._array(frame, "rgb48le", width, height), frame.color_trc)
        elif any(component.is_alpha for component in frame.format.components) or frame.format.has_palette:
            image = over_background(self._array(frame, "bgra", width, height))
        else:
            image = self._array(frame, "bgr24", width, height)
        return upright(image, self._matrix_of(frame))

    def _matrix_of(self, frame: av.VideoFrame) -> NDArray[np.float64] | None:
        """The container's display matrix. A frame that is asked for its side data lives on, with its picture, until Python's
        collector runs: so only the first one is asked, and those with another rotation."""
        if self._rotation is None or frame.rotation != self._rotation:
            self._rotation = frame.rotation
            matrix = frame.side_data.get("DISPLAYMATRIX")
            self._matrix = None if matrix is None else np.frombuffer(matrix, np.int32, 5).astype(float)
        return self._matrix

    def _array(self, frame: av.VideoFrame, layout: str, width: int, height: int) -> np.ndarray:
        """What does not name its colours gets those that players take."""
        named = frame.format.is_rgb or frame.colorspace != UNSPECIFIED
        guess = None if named or frame.height < HD_LINES else Colorspace.ITU709
        return self._reformatter.reformat(frame, width, height, layout, src_colorspace=guess).to_ndarray()


def square(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """The size of a picture once its pixels are square."""
    if not pixel_aspect or pixel_aspect == SQUARE or not 1 / ODDEST_ASPECT <= pixel_aspect <= ODDEST_ASPECT:
        return width, height
    if pixel_aspect > 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def over_background(bgra: np.ndarray) -> Image:
    """(h, w, 4) BGRA laid over white."""
    alpha = bgra[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(bgra[..., :3])
    weight = alpha.astype(np.uint16)
    return ((bgra[..., :3] * weight + BACKGROUND * (255 - weight) + 127) // 255).astype(np.uint8)


def upright(image: Image, matrix: NDArray[np.float64] | None) -> Image:
    """Turned and mirrored as a display matrix, its first five numbers, says."""
    if matrix is None:
        return image
    a, b, _, c, d = matrix  # x' = ax + cy, y' = bx + dy
    if abs(a) + abs(d) < abs(b) + abs(c):
        image, across, down = cv2.transpose(image), c < 0, b < 0
    else:
        across, down = a < 0, d < 0
    if across or down:
        image = cv2.flip(image, -1 if across and down else 1 if across else 0)
    return image
