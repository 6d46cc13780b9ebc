"""The demo's stands: where people sit, and what is behind and before them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.domain import Image
from app.sources.figures import HAIR_TOP, NECK

WIDTH, HEIGHT = 960, 540
ROOMY = 12  # up to this many people have three rows, more have four


@dataclass(frozen=True, slots=True)
class Seat:
    x: float  # where the neck rests
    y: float
    ledge_y: int  # hides what is below it
    row: int
    scale: float  # of the portrait
    pitch: float  # to the next seat
    side: int  # -1, 1: comes in from that border; 0: rises from behind the ledge


def stands(people: int, random: np.random.Generator) -> tuple[list[Seat], list[int]]:
    """Seats in the order in which they are taken, and the ledges in front of the rows, back to front."""
    rows, shown = (3, 236) if people <= ROOMY else (4, 208)  # and what a slot shows of a figure's height
    per_row = math.ceil(people / rows)
    sizes = np.linspace(0.8, 1.2, rows) if rows == 3 else np.linspace(0.93, 1.07, rows)
    slots = (HEIGHT - 14) * sizes / sizes.sum()
    ledges = [round(14 + y) for y in np.cumsum(slots)]
    pitch = WIDTH / (per_row + 0.5)
    seats = []
    for row, (slot, ledge_y) in enumerate(zip(slots, ledges, strict=True)):
        for column in range(per_row):
            scale = slot / shown * random.uniform(0.95, 1.06)
            x = (column + (0.6 if row % 2 else 0.9)) * pitch + random.uniform(-0.04, 0.04) * pitch
            y = ledge_y - slot + (10 if row == 0 else 4) + (NECK[1] - HAIR_TOP) * scale
            ends = {0: -1, per_row - 1: 1}
            side = ends.get(column, 0) if row != 1 else 0
            seats.append(Seat(x, y, ledge_y, row, scale, pitch, side))
    first = min(range(len(seats)), key=lambda i: math.hypot(seats[i].x - WIDTH / 2, seats[i].y - HEIGHT * 0.62))
    others = [int(i) for i in random.permutation(len(seats)) if i != first]
    return [seats[i] for i in (first, *others)][:people], ledges


def backdrop(ledges: list[int], random: np.random.Generator) -> Image:
    """A lit wall and the fronts of the stands, lighter towards the back."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    row = np.searchsorted(ledges, np.arange(HEIGHT), side="right")
    depth = 1 - row / len(ledges)
    far, near = np.array([196, 182, 168]), np.array([122, 98, 80])
    image = (near + (far - near) * depth[:, None])[:, None, :] * np.ones((1, WIDTH, 1))
    below_ledge = np.arange(HEIGHT) - np.array([0, *ledges])[row]
    image *= (1 - 0.16 * np.minimum(below_ledge / 180, 1))[:, None, None]
    for ledge_y in ledges[:-1]:
        image[ledge_y : ledge_y + 5] = image[ledge_y : ledge_y + 5] * 0.4 + 0.6 * np.array([226, 216, 206])
        image[ledge_y + 5 : ledge_y + 17] *= np.linspace(0.74, 1, 12)[:, None, None]  # its shadow
    spot = np.exp(-(((x - WIDTH / 2) / 620) ** 2) - ((y - HEIGHT * 0.35) / 420) ** 2)
    image *= (0.72 + 0.36 * spot)[..., None]
    image += random.normal(0, 1.2, (HEIGHT, WIDTH, 1))  # against banding
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
