"""Several cameras in one window: a wall of their pictures, of which a key enlarges one.

The wall is one picture with everybody in it (people's ids differ between cameras), so the window shows it as it shows a single
camera's. It is put together WALL_S apart: scaling it for the screen is what takes time, and two cores have faces to read.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from app.domain import Box, Frame, Result, SourceState, SourceStatus
from app.overlay.image_canvas import fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.domain import Image, Person, Stats

CELL = (640, 360)  # width and height of a camera's place, pixels of the wall
GAP, GROUND = 6, 24
WALL_S = 1 / 15


@dataclass(frozen=True)
class Tile:
    """A camera as the wall knows it."""

    name: str
    latest: Callable[[], Result | None]
    status: Callable[[], SourceStatus]


class Cell(NamedTuple):
    """Where a camera is on the wall, in pixels of the wall's picture."""

    number: int  # the key that enlarges it
    name: str
    area: Box
    lost: bool


class Wall:
    """Asked by the window's thread alone."""

    def __init__(self, tiles: Sequence[Tile], clock: Callable[[], float] = time.monotonic) -> None:
        self._tiles, self._clock = tuple(tiles), clock
        self._columns = math.ceil(math.sqrt(len(tiles)))
        self._rows = math.ceil(len(tiles) / self._columns)
        self._enlarged: int | None = None
        self._pictures: dict[int, tuple[Result, Image]] = {}  # scaled, of each tile's newest result
        self._made_s, self._count = -math.inf, 0
        self._made: Result | None = None

    @property
    def whole(self) -> bool:
        return self._enlarged is None

    def toggle(self, number: int) -> None:
        """Enlarges a camera, or shows all again where it is enlarged."""
        if 1 <= number <= len(self._tiles):
            self._enlarged = None if self._enlarged == number - 1 else number - 1
            self._made_s = -math.inf

    def latest(self) -> Result | None:
        if self._enlarged is not None:
            return self._tiles[self._enlarged].latest()
        now_s = self._clock()
        results = [tile.latest() for tile in self._tiles]
        known = [r for r in results if r is not None]
        if known and now_s - self._made_s >= WALL_S:
            self._made_s, self._made = now_s, self._together(results, known)
        return self._made

    def status(self) -> SourceStatus:
        """The enlarged camera's state, or the wall's, which is lost when all cameras are."""
        if self._enlarged is not None:
            return self._tiles[self._enlarged].status()
        states = [tile.status() for tile in self._tiles]
        return next((s for s in states if s.state is not SourceState.LOST), states[0])

    def cells(self) -> list[Cell]:
        """The cells of the wall; none while a camera is enlarged."""
        if self._enlarged is not None:
            return []
        return [
            Cell(i + 1, tile.name, self._area(i), tile.status().state is SourceState.LOST)
            for i, tile in enumerate(self._tiles)
        ]

    def _area(self, number: int) -> Box:
        row, column = divmod(number, self._columns)
        return Box(column * (CELL[0] + GAP), row * (CELL[1] + GAP), *CELL)

    def _together(self, results: Sequence[Result | None], known: Sequence[Result]) -> Result:
        height, width = self._rows * (CELL[1] + GAP) - GAP, self._columns * (CELL[0] + GAP) - GAP
        image = np.full((height, width, 3), GROUND, np.uint8)
        people: list[Person] = []
        for number, (tile, result) in enumerate(zip(self._tiles, results, strict=True)):
            if result is None or tile.status().state is SourceState.LOST:
                continue  # no old picture: the people in it may be gone
            place = _inside(self._area(number), result.frame.image)
            x, y = round(place.x), round(place.y)
            picture = self._scaled(number, result, place)
            image[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
            scale = place.width / result.frame.image.shape[1]
            people += [_moved(person, x, y, scale) for person in result.people]
        self._count += 1
        newest = max(known, key=lambda r: r.frame.born_s)
        frame = Frame(self._count, image, newest.frame.time_s, newest.frame.born_s, newest.frame.budget_ms)
        crowds = [r.crowd for r in known if r.crowd]
        crowd = dataclasses.replace(crowds[0], present=sum(c.present for c in crowds)) if crowds else None
        return Result(frame, tuple(people), _sum(known, newest), crowd)

    def _scaled(self, number: int, result: Result, place: Box) -> Image:
        before = self._pictures.get(number)
        if before is None or before[0] is not result:
            picture = fitted(result.frame.image, round(place.width), round(place.height))[:, :, :3]
            self._pictures[number] = before = result, picture
        return before[1]


def _inside(area: Box, image: Image) -> Box:
    """The whole picture in the middle of its place."""
    rows, columns = image.shape[:2]
    scale = min(area.width / columns, area.height / rows)
    width, height = max(1.0, columns * scale), max(1.0, rows * scale)
    return Box(area.x + (area.width - width) // 2, area.y + (area.height - height) // 2, width, height)


def _moved(person: Person, x: float, y: float, scale: float) -> Person:
    box = person.box
    return dataclasses.replace(
        person, box=Box(x + box.x * scale, y + box.y * scale, box.width * scale, box.height * scale)
    )


def _sum(known: Sequence[Result], newest: Result) -> Stats:
    """The newest round's numbers, with the counts of all cameras."""
    stats = [r.stats for r in known]
    return dataclasses.replace(
        newest.stats,
        fps=sum(s.fps for s in stats),
        faces=sum(s.faces for s in stats),
        served=sum(s.served for s in stats),
        frame_age_ms=max(s.frame_age_ms for s in stats),
        misses=sum(s.misses for s in stats),
        frames=sum(s.frames for s in stats),
        dropped=sum(s.dropped for s in stats),
    )
