"""The demo crowd: up to 32 people in the stands, made at run time from the portraits in figures/.

Picture and truth depend on the frame's number alone, so runs compare. Measured on one of two cores that were training a
network: 4 ms a frame with 12 people in view, 7 ms with 32, 2.5 ms on average over a cycle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Frame, Image
from app.errors import SourceError
from app.sources.figures import FACE, HAIR_TOP, NECK, Figure, load_figures
from app.sources.live import Clock, Wait
from app.sources.source import Closable, Pacer
from app.sources.stands import WIDTH, Seat, backdrop, stands

FPS = 25.0
CYCLE_S = 40.0
CYCLE_FRAMES = round(CYCLE_S * FPS)
SHOWN_PEOPLE, MAX_PEOPLE = 12, 40
ENTER_S = 1.2  # from hidden to seated, and back
SEED = 20


def default_crowd(time_s: float) -> int:
    """0 to 12 and back to 0 in steps of one, with a stay at 12 between 17 and 24 s."""
    return swelling_crowd(SHOWN_PEOPLE)(time_s)


def swelling_crowd(most: int) -> Callable[[float], int]:
    """0 to `most` people and back within a cycle, with a stay at the most between 17 and 24 s."""

    def crowd(time_s: float) -> int:
        coming = math.floor((time_s - 1.0) / (1.35 * SHOWN_PEOPLE / most)) + 1
        going = math.ceil((37.9 - time_s) / (1.15 * SHOWN_PEOPLE / most))
        return max(0, min(most, coming, going))

    return crowd


def demo_crowd(spec: str) -> Callable[[float], int] | None:
    """What `demo` or `demo:N` ask for; None where the text is neither. Raises SourceError."""
    name, colon, most = spec.partition(":")
    if name != "demo":
        return None
    if not colon:
        return default_crowd
    if not (most.isascii() and most.isdecimal() and 1 <= int(most[:4]) <= MAX_PEOPLE):
        raise SourceError(f"--source demo:N takes from 1 to {MAX_PEOPLE} people, such as demo:32; got {spec!r}")
    return swelling_crowd(int(most))


@dataclass(frozen=True, slots=True)
class _Person:
    seat: Seat
    figure: Image  # (height, width, 4): BGR multiplied by opacity, and 255 - opacity
    neck: tuple[float, float]
    face_centre: tuple[float, float]  # from the neck
    sway: tuple[tuple[float, float, float], ...]  # (amplitude, turns per cycle, phase) of x, y and angle


class DemoCrowd:
    """The pictures of one cycle of 40 s; frame numbers beyond it start again.

    `crowd` says how many people are wanted at a second of the cycle; whoever came last leaves first. Faces are 57 to
    93 pixels wide for up to 12 people and 56 to 72 beyond that.
    """

    def __init__(self, crowd: Callable[[float], int] | None = None, *, mixed: bool = False) -> None:
        """`mixed`: of all portraits; else, as benchmarks had it from the beginning, of the first alone."""
        wanted = np.array([(crowd or default_crowd)(i / FPS) for i in range(CYCLE_FRAMES)])
        if wanted.min() < 0 or wanted.max() > MAX_PEOPLE:
            raise ValueError(f"a demo crowd has 0 to {MAX_PEOPLE} people, got {wanted.min()} to {wanted.max()}")
        random = np.random.default_rng(SEED)
        seats, ledges = stands(max(int(wanted.max()), SHOWN_PEOPLE), random)
        self._backdrop = backdrop(ledges, random)
        figures = load_figures()[: None if mixed else 1]
        self._people = [_dress(figures[i % len(figures)], seat, i, random) for i, seat in enumerate(seats)]
        self._order = sorted(range(len(seats)), key=lambda i: (seats[i].row, i))  # back to front
        self._presence = _presence(wanted, len(seats))

    def picture(self, frame_id: int) -> Image:
        image = self._backdrop.copy()
        for i in self._order:
            if self._presence[i, frame_id % CYCLE_FRAMES] > 0:
                _blend(image, self._people[i], self._pose(i, frame_id))
        return image

    def truth(self, frame_id: int) -> list[tuple[int, Box]]:
        """(person, face box) of every face of which at least half is in view."""
        return [(person, box) for person, box, share in self.in_view(frame_id) if share >= 0.5]

    def in_view(self, frame_id: int) -> list[tuple[int, Box, float]]:
        """(person, face box, share of it in view) of every face that is not wholly hidden."""
        faces = []
        for i, person in enumerate(self._people):
            if self._presence[i, frame_id % CYCLE_FRAMES] == 0:
                continue
            x, y, angle = self._pose(i, frame_id)
            dx, dy = person.face_centre
            side = FACE.width * person.seat.scale
            left = x + math.cos(angle) * dx - math.sin(angle) * dy - side / 2
            top = y + math.sin(angle) * dx + math.cos(angle) * dy - side / 2
            across = min(left + side, WIDTH) - max(left, 0)
            down = min(top + side, person.seat.ledge_y) - max(top, 0)
            if across > 0 and down > 0:
                faces.append((i, Box(left, top, side, side), across * down / side**2))
        return faces

    def _pose(self, i: int, frame_id: int) -> tuple[float, float, float]:
        """Where the neck is, and the head's angle in radians, clockwise."""
        person, frame = self._people[i], frame_id % CYCLE_FRAMES
        seat, away = person.seat, 1.0 - self._presence[i, frame]
        turn = 2 * math.pi * frame / CYCLE_FRAMES
        dx, dy, angle = (size * math.sin(turns * turn + phase) for size, turns, phase in person.sway)
        if seat.side:
            to_border = seat.x if seat.side < 0 else WIDTH - seat.x
            dx += away * seat.side * (to_border + 205 * seat.scale)
            dy -= 5 * seat.scale * abs(math.sin(3 * math.pi * away))  # steps
        else:
            dy += away * (seat.ledge_y - seat.y + (NECK[1] - HAIR_TOP + 12) * seat.scale)
        return seat.x + dx, seat.y + dy, angle


def _presence(wanted: NDArray[np.int_], people: int) -> NDArray[np.float64]:
    """(people, frames): 0 away, 1 seated; a change of `wanted` is followed over ENTER_S, eased at both ends."""
    steps = round(ENTER_S * FPS)
    present = (np.arange(people)[:, None] < wanted[None]).astype(np.float64)
    present = np.concatenate([np.repeat(present[:, :1], steps - 1, axis=1), present], axis=1)
    share = np.lib.stride_tricks.sliding_window_view(present, steps, axis=1).sum(axis=2) / steps
    return share * share * (3 - 2 * share)


def _dress(figure: Figure, seat: Seat, i: int, random: np.random.Generator) -> _Person:
    """The figure at its seat's size with a suit, light and side of its own."""
    tint = random.uniform(0.90, 1.08) * random.uniform(0.96, 1.04, 3)
    light = 255 * (np.clip(figure.dyed(i) * tint, 0, 255) / 255) ** random.uniform(0.88, 1.12)
    alpha = figure.opacity[..., None]
    dressed = np.concatenate([light * alpha, 255 * (1 - alpha)], axis=2).astype(np.float32)
    neck, face = np.array(NECK), np.array(FACE.centre)
    if random.random() < 0.5:
        dressed = dressed[:, ::-1]
        neck, face = (np.array([dressed.shape[1] - point[0], point[1]]) for point in (neck, face))
    size = (round(dressed.shape[1] * seat.scale), round(dressed.shape[0] * seat.scale))
    dressed = np.rint(cv2.resize(np.ascontiguousarray(dressed), size, interpolation=cv2.INTER_AREA)).astype(np.uint8)
    drift = (random.uniform(0.045, 0.075) * seat.pitch, random.integers(3, 7), random.uniform(0, 2 * math.pi))
    bob = (random.uniform(2.0, 4.0) * seat.scale, random.integers(5, 10), random.uniform(0, 2 * math.pi))
    tilt = (math.radians(random.uniform(2.0, 4.5)), random.integers(5, 9), random.uniform(0, 2 * math.pi))
    return _Person(seat, dressed, tuple(neck * seat.scale), tuple((face - neck) * seat.scale), (drift, bob, tilt))


def _blend(image: Image, person: _Person, pose: tuple[float, float, float]) -> None:
    """Puts a figure into the picture, cut off at its ledge."""
    (x, y, angle), (height, width) = pose, person.figure.shape[:2]
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    matrix[:, 2] -= matrix[:, :2] @ person.neck
    corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    left, top = (max(math.floor(low), 0) for low in corners.min(axis=1))
    right, bottom = (math.ceil(high) for high in corners.max(axis=1))
    right, bottom = min(right, WIDTH), min(bottom, person.seat.ledge_y)
    if left >= right or top >= bottom:
        return
    matrix[:, 2] -= left, top
    region = image[top:bottom, left:right]
    figure = cv2.warpAffine(person.figure, matrix, (right - left, bottom - top), borderValue=(0, 0, 0, 255))
    behind = cv2.cvtColor(cv2.extractChannel(figure, 3), cv2.COLOR_GRAY2BGR)
    cv2.add(cv2.multiply(region, behind, scale=1 / 255), cv2.cvtColor(figure, cv2.COLOR_BGRA2BGR), dst=region)


class DemoSource(Closable):
    """The demo crowd at 25 frames a second; `paced=False` gives it as fast as it is read, and waits like a file."""

    name, fps = "demo crowd", FPS

    def __init__(
        self,
        crowd: Callable[[float], int] | None = None,
        *,
        paced: bool = True,
        loop: bool = False,
        clock: Clock = time.monotonic,
        wait: Wait | None = None,
    ) -> None:
        super().__init__(None, clock, wait)
        self._crowd, self._loop = DemoCrowd(crowd, mixed=True), loop
        self.note, self.live, self.frame_count = "", paced, None if loop else CYCLE_FRAMES

    def truth(self, frame_id: int) -> list[tuple[int, Box]]:
        return self._crowd.truth(frame_id)

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        pacer = Pacer(self._clock, self._wait)
        for frame_id in count() if self._loop else range(CYCLE_FRAMES):
            image = self._crowd.picture(frame_id)
            if self.live:
                pacer.until(frame_id / FPS)
            if self._closed.is_set():
                return
            yield Frame(frame_id, image, frame_id / FPS, self._clock())
