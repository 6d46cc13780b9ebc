"""Single pictures, and animated PNG and WebP, read by Pillow: the way up that the camera held them, whatever their name."""

from __future__ import annotations

import math
import struct
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence, UnidentifiedImageError

from app.domain import Image
from app.errors import SourceError
from app.sources.captures import MAX_PIXELS
from app.sources.decoding import Damage, Picture
from app.sources.picture import over_background

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
ANIMATED = ("PNG", "WEBP", "AVIF")  # several pictures of a JPEG or TIFF are views or pages, and only the first is read
STANDARD_S = 0.1  # for a picture of an animation that does not say how long it is shown, as browsers do
FAULTS = (OSError, SyntaxError, ValueError, EOFError, struct.error, OverflowError, ZeroDivisionError, KeyError)


class Still:
    """A picture file, or an animation of pictures."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError; UnidentifiedImageError for what is not a picture."""
        self.damage, self.problem, self._name = Damage(), "", path.name
        self._image = _opened(path)
        width, height = self._image.size
        if width * height > MAX_PIXELS:
            self.close()
            raise SourceError(
                f"{path.name} has {width}x{height} pixels; more than 64 million are not read. "
                f"Scale it down: `ffmpeg -i {path.name} -vf scale=4000:-2 smaller.png`."
            )
        count = getattr(self._image, "n_frames", 1) if self._image.format in ANIMATED else 1
        self.frame_count: int | None = count
        self.fps = None if count == 1 else 1 / _shown_s(self._image)

    def pictures(self) -> Generator[Picture, None, None]:
        time_s = 0.0
        frames = ImageSequence.Iterator(self._image) if self.frame_count != 1 else [self._image]
        try:
            for i, frame in enumerate(frames):
                if i == self.frame_count:
                    return
                image = _bgr(frame)
                yield Picture(partial(_itself, image), time_s)
                time_s += _shown_s(frame)
        except FAULTS as error:
            if time_s == 0:
                raise SourceError(
                    f"{self._name} is cut off or damaged: {str(error)[:200]}. Copy or save it again."
                ) from error
            self.damage.cut_off = f"broke off at picture {i} of {self.frame_count}; it is cut off or damaged"

    def close(self) -> None:
        self._image.close()


def _itself(image: Image) -> Image:
    return image


def _opened(path: Path) -> Pillow.Image:
    """Raises UnidentifiedImageError."""
    before, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None  # our own limit is reported in our own words
    try:
        return Pillow.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        raise
    except FAULTS as error:  # a head that promises something else than is there
        raise UnidentifiedImageError(str(error)) from error
    finally:
        Pillow.MAX_IMAGE_PIXELS = before


def _shown_s(frame: Pillow.Image) -> float:
    duration_ms = frame.info.get("duration", 0)
    return duration_ms / 1e3 if duration_ms and 1 <= duration_ms < 1e6 else STANDARD_S


def _bgr(image: Pillow.Image) -> Image:
    """Upright, over white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = np.asarray(image)
        grey = (grey >> 8 if grey.max() > 255 else grey).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        return over_background(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


class Series:
    """Numbered pictures, one after the other as a video. One that cannot be read is left out and counted."""

    def __init__(self, paths: Sequence[Path], fps: float) -> None:
        """Raises SourceError."""
        self.damage, self.problem, self._paths = Damage(), "", paths
        self.fps: float | None = fps
        self.frame_count: int | None = len(paths)

    def pictures(self) -> Generator[Picture, None, None]:
        for i, path in enumerate(self._paths):
            time_s = i / (self.fps or 1.0)
            try:
                still = Still(path)
                image = next(still.pictures()).image()
                still.close()
            except (SourceError, UnidentifiedImageError) as error:
                self.problem = self.problem or f"{path.name} cannot be read: {error}"
                self.damage.places += 1
                self.damage.pictures += 1
                if math.isnan(self.damage.first_s):
                    self.damage.first_s = time_s
                continue
            yield Picture(partial(_itself, image), time_s)

    def close(self) -> None:
        """Nothing stays open."""
