"""The known people of the truth world as pictures: a room of real labelled faces, drawn frame by frame. A live source.

Who is of UTKFace has a known age and gender, who is of FER2013 a known expression: half of the visitors are of either.
Nothing of them is kept. What they do is what truth_crowd.py says, and follows from the seed.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.bench.truth_crowd import AWAY, FPS, make_visits
from app.bench.truth_readings import CONDITIONS, FAR, NEAR, chosen_expressions, expression_of, held_out, seen
from app.domain import Box, Frame
from app.errors import ModelError
from app.sources.source import Closable, Pacer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from app.bench.truth_crowd import Visit
    from app.bench.truth_readings import Condition, Faces
    from app.domain import Image
    from models.manifest import Manifest

WIDTH, HEIGHT = 1280, 720
BORDER = 0.25  # of a picture, mirrored around it, so that a face has surroundings
NOISE = 2.0  # of the wall, standard deviation
GROW_S = 1.0  # from FAR to NEAR, and back
FEATHER = 0.17  # of a patch, over which it fades into the room


@dataclass(frozen=True, eq=False)
class Cast:
    """Who may come: pictures with a matrix each into the unit square, and what is known of them."""

    true_age: NDArray[np.int64]
    true_gender: NDArray[np.int64]
    true_expression: NDArray[np.int64]
    aged: Sequence[tuple[Image, NDArray[np.float64]]]
    felt: Sequence[tuple[Image, NDArray[np.float64]]]


def cast_of(faces: Faces, manifest: Manifest) -> Cast:
    """Reads and places the pictures. Raises ModelError."""
    from models.data.sets.base import DataError, Report
    from models.judging.evaluate import Cropper

    try:
        chosen = {"utkface": held_out(faces), "fer2013": chosen_expressions(faces)}
    except DataError as error:
        raise ModelError(str(error)) from error
    placed = {}
    for name, samples in chosen.items():
        place = Cropper(name, manifest, list(manifest.input_sizes), True, Report()).place
        placed[name] = [(sample, found) for sample in samples if (found := place(sample))]
        if not placed[name]:
            raise ModelError(f"none of the pictures of {name} could be used")
    return Cast(
        np.array([s.age for s, _ in placed["utkface"]]),
        np.array([s.gender for s, _ in placed["utkface"]]),
        np.array([expression_of(s) for s, _ in placed["fer2013"]]),
        [found for _, found in placed["utkface"]],
        [found for _, found in placed["fer2013"]],
    )


@dataclass(frozen=True, eq=False)
class _Patch:
    """A face as one condition shows it at NEAR size: BGR times opacity, 255 minus opacity, and where its crop's middle is."""

    figure: Image  # (h, w, 4)
    middle: NDArray[np.float64]


class Stage:
    """The room, and who is in it in every frame."""

    def __init__(self, cast: Cast, people: int, frames: int, seed: int) -> None:
        self.cast, self.frames = cast, frames
        self.visits = make_visits(cast, people, frames, seed)
        rng = np.random.default_rng(seed)
        self._room = _room(rng)
        self._slots = _slots(self.visits, people)
        columns = math.ceil(math.sqrt(people * WIDTH / HEIGHT))
        self._grid = columns, math.ceil(people / columns)
        self._patches = {v.person: self._dressed(v, rng) for v in self.visits}
        self._boxes = [self._places(frame) for frame in range(frames)]

    def by_age(self, visit: Visit) -> bool:
        """Whether it is the age and the gender that are known of somebody, and not the expression."""
        return visit.person % 2 == 0

    def boxes(self, frame: int) -> dict[int, Box]:
        """The face box of everybody who can be seen."""
        return self._boxes[frame]

    def picture(self, frame: int) -> Image:
        """(HEIGHT, WIDTH, 3) BGR. Nobody is there before frame 0."""
        image = self._room.copy()
        for visit in self.visits:
            i = frame - visit.first
            if 0 <= i < len(visit.condition):
                self._draw(image, visit, i)
        return image

    def _dressed(self, visit: Visit, rng: np.random.Generator) -> dict[tuple[int, int], _Patch]:
        """A patch for each condition and picture that somebody is seen in."""
        patches = {}
        for condition, picture in {(int(c), int(p)) for c, p in zip(visit.condition, visit.picture, strict=True)}:
            key = condition, (0 if self.by_age(visit) else picture)
            if condition != AWAY and key not in patches:
                source = self.cast.aged[visit.face] if self.by_age(visit) else self.cast.felt[picture]
                patches[key] = _patch(*source, CONDITIONS[condition]._replace(width_px=NEAR), rng)
        return patches

    def _places(self, frame: int) -> dict[int, Box]:
        places = {}
        for visit in self.visits:
            i = frame - visit.first
            if 0 <= i < len(visit.condition) and visit.condition[i] != AWAY:
                x, y, scale = self._pose(visit, i)
                side = NEAR * scale
                places[visit.person] = Box(x - side / 2, y - side / 2, side, side)
        return places

    def _pose(self, visit: Visit, i: int) -> tuple[float, float, float]:
        """The middle of the face, and its size over NEAR."""
        columns, rows = self._grid
        slot = self._slots[visit.person]
        wide, high = WIDTH / columns, HEIGHT / rows
        far = CONDITIONS[visit.condition[i]].width_px == FAR if visit.condition[i] != AWAY else False
        until = min(i, len(visit.condition) - 1 - i) / FPS
        scale = FAR / NEAR + (1 - FAR / NEAR) * min(until / GROW_S, 1.0)
        scale = min(scale, 0.6) if far else scale
        # A face smeared over a share of its width has moved on by twice that, since a camera exposes for half of the time.
        moved = np.where(visit.condition[: i + 1] == AWAY, 0, visit.condition[: i + 1])
        gone = 2 * sum(CONDITIONS[c].motion for c in moved) / 100 * NEAR * scale
        reach = max((wide - 1.5 * NEAR) / 2, 8.0)
        swing = abs((gone + reach) % (4 * reach) - 2 * reach) - reach
        return (slot % columns + 0.5) * wide + swing, (slot // columns + 0.5) * high, scale

    def _draw(self, image: Image, visit: Visit, i: int) -> None:
        x, y, scale = self._pose(visit, i)
        condition, picture = int(visit.condition[i]), int(visit.picture[i])
        if condition == AWAY:
            size = round(0.42 * NEAR * scale), round(0.55 * NEAR * scale)
            cv2.ellipse(image, (round(x), round(y)), size, 0, 0, 360, (52, 58, 70), -1, cv2.LINE_AA)
            return
        patch = self._patches[visit.person][condition, 0 if self.by_age(visit) else picture]
        h, w = patch.figure.shape[:2]
        matrix = np.array([[scale, 0, x - scale * patch.middle[0]], [0, scale, y - scale * patch.middle[1]]])
        left, top = max(math.floor(matrix[0, 2]), 0), max(math.floor(matrix[1, 2]), 0)
        right, bottom = (
            min(math.ceil(matrix[0, 2] + scale * w), WIDTH),
            min(math.ceil(matrix[1, 2] + scale * h), HEIGHT),
        )
        matrix[:, 2] -= left, top
        size = right - left, bottom - top
        figure = cv2.warpAffine(patch.figure, matrix, size, flags=cv2.INTER_AREA, borderValue=(0, 0, 0, 255))
        behind = cv2.cvtColor(cv2.extractChannel(figure, 3), cv2.COLOR_GRAY2BGR)
        region = image[top:bottom, left:right]
        cv2.add(cv2.multiply(region, behind, scale=1 / 255), cv2.cvtColor(figure, cv2.COLOR_BGRA2BGR), dst=region)


def _patch(image: Image, matrix: NDArray[np.float64], condition: Condition, rng: np.random.Generator) -> _Patch:
    border = round(BORDER * max(image.shape[:2]))
    wide = cv2.copyMakeBorder(image, *[border] * 4, cv2.BORDER_REFLECT_101)
    shifted = matrix.copy()
    shifted[:, 2] -= matrix[:, :2] @ (border, border)
    picture, at = seen(wide, shifted, condition, rng)
    h, w = picture.shape[:2]
    middle = np.linalg.solve(at[:, :2], np.array([0.5, 0.5]) - at[:, 2])
    y, x = np.mgrid[0:h, 0:w]
    edge = np.minimum(np.minimum(x, w - 1 - x) / w, np.minimum(y, h - 1 - y) / h)
    opacity = np.clip(edge / FEATHER, 0, 1)[..., None]
    figure = np.concatenate([picture[..., ::-1] * opacity, 255 * (1 - opacity)], axis=2)
    return _Patch(np.rint(figure).astype(np.uint8), middle)


def _room(rng: np.random.Generator) -> Image:
    """A lit wall with some grain."""
    x = np.linspace(-1, 1, WIDTH)[None, :, None]
    y = np.linspace(-1, 1, HEIGHT)[:, None, None]
    light = 1.0 - 0.25 * (x**2 + y**2)
    wall = np.array([150, 160, 165]) * light + rng.normal(0, NOISE, (HEIGHT, WIDTH, 1))
    return np.clip(wall, 0, 255).astype(np.uint8)


def _slots(visits: Sequence[Visit], people: int) -> dict[int, int]:
    """A place for each, which nobody else has while they are there."""
    free, ends, slots = list(range(people)), list[tuple[int, int]](), dict[int, int]()
    for visit in visits:
        for end, slot in [one for one in ends if one[0] <= visit.first]:
            ends.remove((end, slot))
            free.append(slot)
        slots[visit.person] = free.pop(0)
        ends.append((visit.end, slots[visit.person]))
    return slots


class StageSource(Closable):
    """Shows the empty room until `begin` is set, and then the stage, at FPS frames a second."""

    name, note, live, fps = "people with known labels", "", True, FPS

    def __init__(self, stage: Stage) -> None:
        super().__init__(None, time.monotonic, None)
        self._stage, self.begin, self.ended = stage, threading.Event(), threading.Event()
        self.frame_count: int | None = None
        self.first = -1  # frame of the stage's first
        self.began_s = math.nan  # when that was due
        self.drawing_s = 0.0  # processor time

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        pacer = Pacer(self._clock, self._wait)
        for frame_id in count():
            if self.first < 0 and self.begin.is_set():
                self.first = frame_id
            shown = frame_id - self.first if self.first >= 0 else -1
            if shown >= self._stage.frames:
                self.ended.set()
                return
            own_s = time.thread_time()
            image = self._stage.picture(shown)
            self.drawing_s += time.thread_time() - own_s
            pacer.until(frame_id / FPS)
            if self._closed.is_set():
                return
            born_s = self._clock()
            if shown == 0:
                self.began_s = born_s
            yield Frame(frame_id, image, frame_id / FPS, born_s)
