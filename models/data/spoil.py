"""Spoils pictures of faces as cameras do, each kind by a strength that is stated in units.

A picture is (h, w, 3) uint8 RGB, brought to the camera's resolution before: `face_px` is how wide the face is in it, in
pixels. Blurs are stated in per cent of the face's width, since somebody who moves is smeared in proportion to how large
they appear: 12 % is 7 px of a face of 60 px. Everything is drawn from the generator that is given, so a picture that is
spoilt twice with equal generators comes out the same.

`KINDS` is both what training draws from (`as_a_camera`) and what `evaluate --spoilt` judges by (`spoilt`), which takes
the three levels of each kind.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Spoil = Callable[[Picture, float, float, np.random.Generator], Picture]

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Kind:
    """One way to spoil a picture. `levels`: the three strengths that are judged, weak to strong, in `unit`.

    `mildest` to `harshest`: what training draws from; `share`: how often, beside the other kinds. KINDS has them in the
    order in which a camera does these things.
    """

    name: str
    unit: str
    levels: tuple[float, float, float]
    mildest: float
    harshest: float
    share: float
    spoil: Spoil


def _table(picture: Picture, of: NDArray[np.float64]) -> Picture:
    """Looks values up: `of` is (256,) or (256, 3)."""
    table = np.clip(of + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table.reshape(1, 256, -1) if table.ndim == 2 else table)


_VALUES = np.arange(256, dtype=np.float64)


def cover(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """A flat or striped patch over this share of the face: a hand, a phone, somebody's shoulder."""
    out, (h, w) = picture.copy(), picture.shape[:2]
    stretch = np.exp(rng.uniform(-0.5, 0.5))
    width, height = (max(1, round(face_px * np.sqrt(per_cent / 100) * s)) for s in (stretch, 1 / stretch))
    x = round((w - face_px) / 2 + rng.uniform(0, max(face_px - width, 0)))
    y = round((h - face_px) / 2 + rng.uniform(0, max(face_px - height, 0)))
    x, y = max(x, 0), max(y, 0)
    patch = out[y : y + height, x : x + width]
    patch[:] = rng.integers(0, 256, 3)
    if rng.random() < 0.5:
        patch[:: int(rng.integers(2, 6))] = rng.integers(0, 256, 3)
    return out


def side_light(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """One side of the face gets this much less light than the other."""
    h, w = picture.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    along = ((x - w / 2) * np.cos(angle) + (y - h / 2) * np.sin(angle)) / face_px
    shade = 1 - per_cent / 100 / (1 + np.exp(-along * rng.uniform(4, 10)))
    return np.clip(picture * shade[..., None] + 0.5, 0, 255).astype(np.uint8)


def motion(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Smeared along a line in any direction, as long as this share of the face's width."""
    kernel = _line(round(per_cent / 100 * face_px, 2), round(rng.uniform(0, 180)))
    return cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


@lru_cache(maxsize=4096)
def _line(length_px: float, angle_deg: float) -> NDArray[np.float32]:
    half = max(int(np.ceil(length_px / 2)), 1)
    kernel = np.zeros((2 * half + 1,) * 2, np.float32)
    for t in np.linspace(-0.5, 0.5, 8 * half + 1) * length_px:
        x, y = half + t * np.cos(np.radians(angle_deg)), half + t * np.sin(np.radians(angle_deg))
        x0, y0 = min(int(x), 2 * half - 1), min(int(y), 2 * half - 1)
        fx, fy = x - x0, y - y0
        kernel[y0 : y0 + 2, x0 : x0 + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / kernel.sum()


def defocus(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Out of focus: every point a disc, as wide as this share of the face's width."""
    return cv2.filter2D(picture, -1, _disc(round(per_cent / 200 * face_px, 2)), borderType=cv2.BORDER_REFLECT_101)


@lru_cache(maxsize=4096)
def _disc(radius_px: float) -> NDArray[np.float32]:
    half, fine = max(int(np.ceil(radius_px)), 1), 8
    at = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    inside = (at[:, None] ** 2 + at**2 <= max(radius_px, 0.3) ** 2).astype(np.float32)
    kernel = inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).sum(axis=(1, 3))
    return kernel / kernel.sum()


def zoom(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Digital zoom: taken with this share of the resolution, and enlarged by the camera."""
    h, w = picture.shape[:2]
    small = (max(8, round(w * per_cent / 100)), max(8, round(h * per_cent / 100)))
    how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_NEAREST)[int(rng.choice(3, p=(0.5, 0.4, 0.1)))]
    return cv2.resize(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), (w, h), interpolation=how)


def bright(picture: Picture, times: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Exposed too long: values are this many times larger, and cut off."""
    return _table(picture, _VALUES * times)


def dark(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Exposed too short: this share of each value is left, with a gamma of 0.8 to 1.3."""
    return _table(picture, 255 * (_VALUES / 255) ** rng.uniform(0.8, 1.3) * per_cent / 100)


def dark_noise(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """As `dark`, with noise of a sigma of 2 where nearly all light is left, of 9 where a quarter is."""
    sigma = (2 + 7 * min((100 - per_cent) / 75, 1.1)) * rng.uniform(0.8, 1.1)
    return noise(dark(picture, per_cent, face_px, rng), sigma, face_px, rng)


def contrast(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """This share of the contrast is left, about the picture's mean."""
    mean = float(picture.mean())
    return _table(picture, mean + (_VALUES - mean) * per_cent / 100)


def haze(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """A veil of light of 170 to 250 over this share of the picture: fog, a dirty window, a lamp in the lens."""
    veil = rng.uniform(170, 250)
    return _table(picture, _VALUES * (1 - per_cent / 100) + veil * per_cent / 100)


def cast(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Coloured light: channels are up to this share stronger or weaker, at any hue."""
    gains = 1 + per_cent / 100 * np.cos(rng.uniform(0, 2 * np.pi) + np.arange(3) * 2 * np.pi / 3)
    return _table(picture, _VALUES[:, None] * gains)


def noise(picture: Picture, sigma: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Sensor noise of this standard deviation; a quarter of the pictures get the same in all channels."""
    grey = rng.random() < 0.25
    shape = (*picture.shape[:2], 1 if grey else 3)
    return _added(picture, rng.standard_normal(shape, np.float32) * sigma)


def coarse_noise(picture: Picture, sigma: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Noise that a camera has smoothed or enlarged: grains of 2 to 3 px, of this standard deviation."""
    grain = cv2.GaussianBlur(rng.standard_normal(picture.shape, np.float32), (0, 0), rng.uniform(0.6, 1.2))
    return _added(picture, grain * (sigma / max(float(grain.std()), 1e-6)))


def _added(picture: Picture, what: NDArray[np.float32]) -> Picture:
    return np.clip(picture + what + 0.5, 0, 255).astype(np.uint8)


def grey(picture: Picture, per_cent: float, face_px: float, rng: np.random.Generator) -> Picture:
    """This share of the colour is left."""
    flat = picture @ GREY_WEIGHTS
    mixed = flat[..., None] + (picture - flat[..., None]) * (per_cent / 100)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def jpeg(picture: Picture, quality: float, face_px: float, rng: np.random.Generator) -> Picture:
    """Stored as JPEG of this quality, 1 to 100 (libjpeg's scale, colours at half the resolution)."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def palette(picture: Picture, colours: float, face_px: float, rng: np.random.Generator) -> Picture:
    """This many colours, dithered, as in a GIF; a face gets a part of a picture's 256."""
    from PIL import Image

    image = Image.fromarray(picture).quantize(round(colours), dither=Image.Dither.FLOYDSTEINBERG)
    return np.asarray(image.convert("RGB"))


def h264(picture: Picture, crf: float, face_px: float, rng: np.random.Generator) -> Picture:
    """The third frame of a moving H.264 video, coded by x264 at this constant rate factor (23 is its default, 51 the worst).

    The face moves by up to 5 % of its width from frame to frame.
    """
    import av

    h, w = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)
    step = rng.uniform(-0.05, 0.05, 2) * face_px
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = padded.shape[1], padded.shape[0], "yuv420p"
    encoder.framerate, encoder.time_base, encoder.thread_count = 25, Fraction(1, 25), 1
    encoder.options = {"crf": str(round(crf)), "preset": "veryfast", "tune": "zerolatency"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = []
    for i in (-2, -1, 0, None):
        frame = None
        if i is not None:
            shift = np.array([[1, 0, i * step[0]], [0, 1, i * step[1]]])
            moved = cv2.warpAffine(padded, shift, padded.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
            frame = av.VideoFrame.from_ndarray(moved if i else padded, format="rgb24")
            frame.pts = i + 2
        for packet in encoder.encode(frame):
            frames += decoder.decode(packet)
    frames += decoder.decode(None)
    return frames[-1].to_ndarray(format="rgb24")[:h, :w]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("cover", "% of the face covered", (10, 20, 30), 4, 33, 0.06, cover),
        Kind("side light", "% less light on one side", (50, 70, 85), 20, 90, 0.05, side_light),
        Kind("motion", "% of the face's width", (5, 12, 18), 3, 21, 0.22, motion),
        Kind("defocus", "% of the face's width", (4, 8, 12), 2, 14, 0.07, defocus),
        Kind("zoom", "% of the resolution left", (70, 50, 40), 80, 35, 0.03, zoom),
        Kind("bright", "times the values", (1.3, 1.6, 2.0), 1.1, 2.1, 0.05, bright),
        Kind("dark", "% of the values left", (50, 35, 25), 80, 20, 0.06, dark),
        Kind("dark, noise", "% of the values left", (60, 45, 30), 80, 22, 0.18, dark_noise),
        Kind("contrast", "% of the contrast left", (70, 50, 30), 85, 25, 0.03, contrast),
        Kind("haze", "% of veil", (30, 50, 65), 10, 70, 0.04, haze),
        Kind("cast", "% in a channel", (10, 20, 40), 5, 50, 0.03, cast),
        Kind("noise", "sigma of 255", (5, 10, 20), 2, 24, 0.12, noise),
        Kind("coarse noise", "sigma of 255", (5, 10, 15), 2, 18, 0.07, coarse_noise),
        Kind("grey", "% of the colour left", (50, 20, 0), 70, 0, 0.03, grey),
        Kind("jpeg", "quality", (50, 25, 10), 70, 8, 0.12, jpeg),
        Kind("h264", "constant rate factor", (28, 33, 38), 24, 42, 0.08, h264),
        Kind("palette", "colours", (32, 16, 8), 48, 8, 0.03, palette),
    )
}
# How often training adds a second and a third kind, both at most half as strong.
MORE = (0.5, 0.25)


def spoilt(picture: Picture, kind: str, level: int, face_px: float, index: int) -> Picture:
    """The picture spoilt for judging, level 0 to 2. The same for the same face (`index`), kind, level and width."""
    rng = np.random.default_rng((zlib.crc32(kind.encode()), level, round(face_px), index))
    return KINDS[kind].spoil(picture, KINDS[kind].levels[level], face_px, rng)


def as_a_camera(picture: Picture, face_px: float, rng: np.random.Generator) -> Picture:
    """The picture spoilt for training: by one kind of any strength, and often by a second and a third of less."""
    names, shares = list(KINDS), np.array([kind.share for kind in KINDS.values()])
    count = 1 + int((rng.random() < np.cumprod(MORE)).sum())
    chosen = rng.choice(len(names), count, replace=False, p=shares / shares.sum())
    for place in sorted(range(count), key=lambda k: chosen[k]):
        kind = KINDS[names[chosen[place]]]
        how_far = rng.random() * (1.0 if place == 0 else 0.5)
        picture = kind.spoil(picture, kind.mildest + how_far * (kind.harshest - kind.mildest), face_px, rng)
    return picture
