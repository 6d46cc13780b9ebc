"""Made video files: a pattern that moves by known steps, in every form that footage comes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from app.domain import Image

SIZE = (160, 120)  # width, height
STEP = 3  # pixels that the pattern moves to the right in a picture
MS = Fraction(1, 1000)


def picture(i: int, size: tuple[int, int] = SIZE) -> Image:
    """The i-th picture: soft blobs, moved; (h, w, 3) BGR."""
    width, height = size
    blobs = np.random.default_rng(7).integers(0, 256, (8, 10, 3), np.uint8)
    return np.roll(cv2.resize(blobs, size, interpolation=cv2.INTER_CUBIC), STEP * i, axis=1)[:height, :width]


def error(image: Image, i: int) -> float:
    """How far a picture is from the i-th, mean over pixels."""
    return float(np.abs(image.astype(int) - picture(i, (image.shape[1], image.shape[0]))).mean())


def make(
    path: Path,
    n: int = 50,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = SIZE,
    rate: int = 25,
    times_ms: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    draw: Callable[[int, tuple[int, int]], Image] = picture,
    aspect: Fraction | None = None,
    rotation: int = 0,
    change: Callable[[av.VideoFrame], Any] = lambda frame: None,
) -> Path:
    """A video of `n` pictures, or of one at each of `times_ms`."""
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        if times_ms is not None:
            stream.codec_context.time_base = MS
        for i in range(n if times_ms is None else len(times_ms)):
            frame = av.VideoFrame.from_ndarray(draw(i, size), format="bgr24").reformat(format=pix_fmt)
            change(frame)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[i], MS
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def woven(i: int, size: tuple[int, int] = SIZE) -> Image:
    """Two fields of the moving pattern, top first, as an interlaced camera weaves them: combs at every edge."""
    frame = picture(2 * i, size).copy()
    frame[1::2] = picture(2 * i + 1, size)[1::2]
    return frame


def combing(image: Image) -> float:
    """How much more neighbouring lines differ than lines of one field."""
    grey = image.astype(int).mean(axis=2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


def zero(path: Path, start: float, end: float) -> Path:
    """Writes noughts over a part of a file, given as shares of its length."""
    content = bytearray(path.read_bytes())
    a, b = int(start * len(content)), int(end * len(content))
    content[a:b] = bytes(b - a)
    path.write_bytes(content)
    return path


def copied(path: Path, out: Path, *, first: int = 0, shift_s: float = 0.0) -> Path:
    """The packets of a video from the `first` on, not decoded, `shift_s` later: what `ffmpeg -c copy` does."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for i, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if i < first:
                continue
            ticks = round(shift_s / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
            target.mux(packet)
    return out
