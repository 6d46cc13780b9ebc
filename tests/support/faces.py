"""Small data sets of real pixels without pictures of people in the repo: the astronaut portrait in many guises."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from models.data.sets.base import EXPRESSIONS


def portrait(side: int, seed: int) -> np.ndarray:
    """(side, side, 3) BGR: the astronaut's face, cropped as UTKFace crops, turned, shifted and lit at random."""
    from skimage.data import astronaut

    rng = np.random.default_rng(seed)
    image = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    scale, angle = side / 115 * np.exp(rng.uniform(-0.05, 0.05)), rng.uniform(-8, 8)
    matrix = cv2.getRotationMatrix2D((225, 118), angle, scale)
    matrix[:, 2] += [side / 2 - 225 + rng.uniform(-2, 2), side / 2 - 118 + rng.uniform(-2, 2)]
    face = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        face = face[:, ::-1]
    return np.clip(face * rng.uniform(0.7, 1.2) + rng.uniform(-20, 20), 0, 255).astype(np.uint8)


def write_utkface(root: Path, count: int = 24) -> Path:
    root.mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(root / f"{5 + 3 * (i % 25)}_{i % 2}_{i % 5}_2017010{i:08d}.jpg.chip.jpg"), portrait(200, i))
    return root


def write_fer2013(root: Path, per_class: int = 2) -> Path:
    for s, split in enumerate(("train", "validation")):
        for k, name in enumerate(EXPRESSIONS):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(per_class):
                gray = cv2.cvtColor(portrait(48, 1000 * s + 100 * k + i), cv2.COLOR_BGR2GRAY)
                cv2.imwrite(str(folder / f"{i}.jpg"), gray)
    return root
