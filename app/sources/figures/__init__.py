"""The demo's figures: portraits of people, cut out, from pictures that are free. figures.toml says whose they are and where
they come from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Image
from app.errors import SourceError

FOLDER = Path(__file__).parent
# In pixels of every figure: face as Viola-Jones draws it, neck about which the head sways, top of the hair.
FACE, NECK, HAIR_TOP = Box(135, 64, 100, 100), (185.0, 175.0), 16
SUIT_TOP, SUIT_SATURATION = 186, 110  # only what is below the chin and this colourful is dyed
SUIT_HUES = (0, 96, 108, 45, 160, 82, 12, 120, 28, 140, 70, 172)  # shifts on OpenCV's circle of 180
HAIR_DYES = (  # BGR factors: as it is, brown, black, red, grey, dark blond
    (1.0, 1.0, 1.0), (0.42, 0.44, 0.52), (0.30, 0.26, 0.26), (0.42, 0.50, 0.86), (1.25, 1.0, 0.92), (0.66, 0.70, 0.78),
)  # fmt: skip


class Figure(NamedTuple):
    image: Image  # BGR
    opacity: NDArray[np.float32]  # 0 to 1
    hair: NDArray[np.float32] | None  # 1 where the hair is; None: neither hair nor suit take other colours

    def dyed(self, i: int) -> NDArray[np.float64] | Image:
        """The portrait with a suit and a hair colour of the `i`-th person's own."""
        if self.hair is None:
            return self.image
        rows = np.arange(len(self.image))[:, None]
        hsv = cv2.cvtColor(self.image, cv2.COLOR_BGR2HSV)
        suit = (hsv[..., 1] > SUIT_SATURATION) & (rows > SUIT_TOP)
        hsv[..., 0] = (hsv[..., 0] + np.uint8(SUIT_HUES[i % len(SUIT_HUES)])) % 180
        hsv[..., 1] = hsv[..., 1] * 0.62  # dyed orange glares in any other hue
        dye = cv2.GaussianBlur(suit.astype(np.float32), (0, 0), 0.8)[..., None]
        dyed = self.image * (1 - dye) + cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * dye
        dye = cv2.GaussianBlur(self.hair, (0, 0), 2.0)[..., None]
        return dyed * (1 + dye * (np.array(HAIR_DYES[i % len(HAIR_DYES)]) - 1))


def load_figures() -> list[Figure]:
    """All of them, in the order of the table. Raises SourceError."""
    table = tomllib.loads((FOLDER / "figures.toml").read_text(encoding="utf-8"))
    return [_load(entry["file"], entry.get("hair")) for entry in table["figure"]]


def _load(file: str, hair: str | None) -> Figure:
    picture = _read(file)
    opacity = picture[..., 3].astype(np.float32) / 255
    return Figure(
        np.ascontiguousarray(picture[..., :3]), opacity, _read(hair).astype(np.float32) / 255 if hair else None
    )


def _read(name: str) -> Image:
    picture = cv2.imread(str(FOLDER / name), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise SourceError(f"the demo's picture {FOLDER / name} cannot be read. Restore it from the repository")
    return picture
