"""Pictures of a face data set as a camera might see them: smaller, turned, cut off by the frame's edge, with noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from app.domain import Box
from app.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from app.domain import Image
    from models.data.sets.base import Sample

MARGIN = 60  # pixels that are mirrored around a 200 px picture, so that detector and crop have surroundings
CANVAS = 360
USUAL_SCALE = 0.7  # of the pictures: faces of about 100 px


class Portrait(NamedTuple):
    """A picture with its one face."""

    sample: Sample
    image: Image  # (h, w, 3) BGR, margin included
    box: Box  # as Viola-Jones draws it


class View(NamedTuple):
    """A portrait on a canvas of CANVAS x CANVAS, and where a tracker would expect the face."""

    image: Image
    gray: NDArray[np.uint8]
    box: Box


def portraits(root: Path, names: Path | None, count: int) -> Iterator[Portrait]:
    """UTKFace pictures in which Viola-Jones finds just one face, in an order mixed with a fixed seed, `count` at most.

    Raises ModelError and UsageError.
    """
    from app.faces.detectors import open_detector
    from models.data.sets.base import DataError, read_picture
    from models.data.sets.utkface import read_utkface

    try:
        wanted = names.read_text(encoding="utf-8").splitlines() if names else None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--list {names} cannot be read as a list of file names: {error}") from error
    try:
        samples, _ = read_utkface(root, wanted)
    except DataError as error:
        raise ModelError(str(error)) from error
    detect, given = open_detector("viola-jones"), 0
    for i in np.random.default_rng(0).permutation(len(samples)):
        picture = read_picture(samples[i].path)
        if picture is None:
            continue
        image = cv2.copyMakeBorder(picture, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT_101)
        small = cv2.resize(image, None, fx=USUAL_SCALE, fy=USUAL_SCALE, interpolation=cv2.INTER_AREA)
        middle = np.array(small.shape[1::-1]) / 2
        found = [
            s.box
            for s in detect(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), 24, max(small.shape))
            if np.hypot(*(middle - s.box.centre)) < 0.5 * s.box.width
        ]
        if len(found) == 1:
            yield Portrait(samples[i], image, Box(*(v / USUAL_SCALE for v in found[0])))
            given += 1
            if given == count:
                return
    if not given:
        raise ModelError(f"Viola-Jones found no face in the pictures under {root}")


def view(
    portrait: Portrait, *, scale: float = USUAL_SCALE, roll: float = 0.0, at: tuple[float, float] = (0, 0)
) -> View:
    """The portrait at `scale`, turned by `roll` degrees about the face, whose centre lies `at` from the canvas' middle."""
    x, y = portrait.box.centre
    image = portrait.image
    if scale < 0.5:  # bilinear sampling would skip pixels
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y, left = x * scale, y * scale, 1.0
    else:
        left = scale
    matrix = cv2.getRotationMatrix2D((x, y), roll, left)
    centre = CANVAS / 2 + at[0], CANVAS / 2 + at[1]
    matrix[:, 2] += centre[0] - x, centre[1] - y
    canvas = cv2.warpAffine(image, matrix, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR, borderValue=(110, 110, 110))
    side = portrait.box.width * scale
    box = Box(centre[0] - side / 2, centre[1] - side / 2, side, side)
    return View(canvas, cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY), box)


def frames(portrait: Portrait, count: int, random: np.random.Generator) -> list[View]:
    """The same face in a camera's frames: it moves, turns by up to 3 degrees, and light, noise and JPEG change."""
    out = []
    for _ in range(count):
        scale, roll = random.uniform(0.42, 0.48), random.uniform(-3, 3)
        seen = view(portrait, scale=scale, roll=roll, at=tuple(random.uniform(-3, 3, 2)))
        lit = seen.image * random.uniform(0.92, 1.08) + random.normal(0, 3, seen.image.shape)
        coded = cv2.imencode(".jpg", np.clip(lit, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        stray = random.normal(0, 0.03, 3) * seen.box.width
        box = Box(seen.box.x + stray[0], seen.box.y + stray[1], *[seen.box.width + stray[2]] * 2)
        out.append(View(image, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), box))
    return out
