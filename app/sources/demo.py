"""The demo crowd: up to 32 people in the stands, made at run time from two public-domain portraits.

Picture and truth depend on the frame's number alone, so runs compare. The portraits are those of two packages that are needed
anyway; the project holds no picture of anybody. Their sources: docs/reference/demo.md. Measured on one of two
cores that were training a network: 4 ms a frame with 12 people in view, 7 ms with 32, 2.5 ms on average over a cycle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Frame, Image
from app.errors import SourceError
from app.sources.live import Clock, Wait
from app.sources.source import Closable, Pacer

WIDTH, HEIGHT, FPS = 960, 540, 25.0
CYCLE_S = 40.0
CYCLE_FRAMES = round(CYCLE_S * FPS)
SHOWN_PEOPLE, MAX_PEOPLE = 12, 40
ENTER_S = 1.2  # from hidden to seated, and back
SEED = 20

# In pixels of the portrait: face as Viola-Jones draws it, neck about which the head sways, outline of the figure.
FACE = Box(175, 64, 100, 100)
NECK = (225.0, 175.0)
HAIR_TOP, CUT_LEFT, CUT_RIGHT, CUT_BOTTOM = 16, 40, 354, 284  # a ledge hides the rest
OUTLINE = (
    (277, 32), (248, 18), (227, 16), (214, 21), (201, 23), (186, 37), (173, 44), (157, 57), (153, 68), (154, 89),
    (161, 106), (170, 118), (172, 125), (182, 135), (183, 149), (165, 148), (148, 152), (135, 160), (126, 170),
    (119, 186), (112, 205), (78, 238), (53, 267), (45, 280), (40, 294), (39, 304), (34, 318), (357, 318), (356, 302),
    (341, 264), (331, 253), (303, 232), (299, 219), (289, 203), (276, 189), (260, 177), (255, 171), (256, 163),
    (264, 149), (267, 138), (273, 135), (290, 117), (295, 109), (300, 92), (299, 72), (295, 58), (285, 39),
)  # fmt: skip
SKIN = (
    (187, 92), (192, 81), (205, 76), (222, 82), (240, 85), (254, 89), (262, 101), (265, 122), (263, 138), (256, 151),
    (256, 190), (183, 190), (183, 142), (178, 126), (172, 118), (174, 110), (182, 104),
)  # fmt: skip
# The same of the other portrait, in its own pixels.
HOPPER_FACE = Box(145, 99, 239, 239)
HOPPER_OUTLINE = (
    (197, 49), (177, 70), (176, 84), (159, 99), (149, 141), (153, 152), (163, 158), (160, 185), (163, 228), (170, 258),
    (185, 268), (196, 300), (200, 323), (165, 344), (121, 360), (80, 368), (62, 380), (47, 387), (35, 419), (30, 599),
    (511, 599), (511, 434), (506, 433), (494, 396), (483, 389), (464, 377), (422, 366), (363, 341), (330, 313),
    (330, 300), (336, 285), (361, 262), (370, 223), (374, 188), (369, 183), (371, 134), (367, 98), (350, 84), (325, 63),
    (298, 48), (286, 40), (278, 35), (268, 38), (239, 35), (229, 44), (210, 43),
)  # fmt: skip
SUIT_TOP, SUIT_SATURATION, HAIR_BOTTOM = 186, 110, 150  # only what is below the chin and this colourful is dyed
SUIT_HUES = (0, 96, 108, 45, 160, 82, 12, 120, 28, 140, 70, 172)  # shifts on OpenCV's circle of 180
HAIR_DYES = (  # BGR factors: as it is, brown, black, red, grey, dark blond
    (1.0, 1.0, 1.0), (0.42, 0.44, 0.52), (0.30, 0.26, 0.26), (0.42, 0.50, 0.86), (1.25, 1.0, 0.92), (0.66, 0.70, 0.78),
)  # fmt: skip


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
class _Seat:
    x: float  # where the neck rests
    y: float
    ledge_y: int  # hides what is below it
    row: int
    scale: float  # of the portrait
    pitch: float  # to the next seat
    side: int  # -1, 1: comes in from that border; 0: rises from behind the ledge


@dataclass(frozen=True, slots=True)
class _Person:
    seat: _Seat
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
        seats, ledges = _stands(max(int(wanted.max()), SHOWN_PEOPLE), random)
        self._backdrop = _backdrop(ledges, random)
        portraits = [_collins(), *(_hopper() if mixed else ())]
        self._people = [_dress(portraits[i % len(portraits)], seat, i, random) for i, seat in enumerate(seats)]
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


def _stands(people: int, random: np.random.Generator) -> tuple[list[_Seat], list[int]]:
    """Seats in the order in which they are taken, and the ledges in front of the rows, back to front."""
    rows, shown = (3, 236) if people <= SHOWN_PEOPLE else (4, 208)  # and what a slot shows of a figure's height
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
            seats.append(_Seat(x, y, ledge_y, row, scale, pitch, side))
    first = min(range(len(seats)), key=lambda i: math.hypot(seats[i].x - WIDTH / 2, seats[i].y - HEIGHT * 0.62))
    others = [int(i) for i in random.permutation(len(seats)) if i != first]
    return [seats[i] for i in (first, *others)][:people], ledges


class _Portrait(NamedTuple):
    image: Image  # BGR, down to the chest, with face and neck where FACE and NECK say
    opacity: NDArray[np.float32]  # of the figure
    dyes: bool  # whether suit and hair take other colours


def _collins() -> _Portrait:
    """Raises SourceError."""
    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise SourceError("The demo crowd needs scikit-image. Run: pip install scikit-image") from error
    portrait = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[:CUT_BOTTOM, :CUT_RIGHT]
    inner = cv2.erode(_inside(OUTLINE, portrait.shape), np.ones((5, 5), np.uint8), borderValue=1)
    return _Portrait(portrait, cv2.GaussianBlur(inner, (0, 0), 1.3, borderType=cv2.BORDER_REPLICATE), True)


def _hopper() -> list[_Portrait]:
    """None where the package is not installed."""
    package = find_spec("matplotlib")
    folder = Path(package.submodule_search_locations[0]) if package and package.submodule_search_locations else Path()
    path = folder / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    picture = cv2.imread(str(path)) if path.is_file() else None
    if picture is None or picture.shape != (600, 512, 3):
        return []
    inner = cv2.erode(_inside(HOPPER_OUTLINE, picture.shape), np.ones((9, 9), np.uint8), borderValue=1)
    shrink = FACE.width / HOPPER_FACE.width
    size = round(512 * shrink), round(600 * shrink)
    left, top = round(FACE.x - HOPPER_FACE.x * shrink), round(FACE.y - HOPPER_FACE.y * shrink)
    image, opacity = np.zeros((CUT_BOTTOM, CUT_RIGHT, 3), np.uint8), np.zeros((CUT_BOTTOM, CUT_RIGHT), np.float32)
    place = slice(top, top + size[1]), slice(left, left + size[0])
    image[place] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    opacity[place] = cv2.resize(cv2.GaussianBlur(inner, (0, 0), 2.5), size, interpolation=cv2.INTER_AREA)
    return [_Portrait(image, opacity, False)]


def _inside(polygon: tuple[tuple[int, int], ...], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """1 inside the polygon, 0 outside."""
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillPoly(mask, [np.array(polygon, np.int32)], 1.0)
    return mask


def _dyed(portrait: Image, i: int) -> NDArray[np.float64]:
    """The portrait with a suit and a hair colour of the person's own."""
    rows = np.arange(len(portrait))[:, None]
    hsv = cv2.cvtColor(portrait, cv2.COLOR_BGR2HSV)
    suit = (hsv[..., 1] > SUIT_SATURATION) & (rows > SUIT_TOP)
    hsv[..., 0] = (hsv[..., 0] + np.uint8(SUIT_HUES[i % len(SUIT_HUES)])) % 180
    hsv[..., 1] = hsv[..., 1] * 0.62  # dyed orange glares in any other hue
    dye = cv2.GaussianBlur(suit.astype(np.float32), (0, 0), 0.8)[..., None]
    dyed = portrait * (1 - dye) + cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * dye

    hair = (_inside(SKIN, portrait.shape) == 0) & (rows < HAIR_BOTTOM)
    dye = cv2.GaussianBlur(hair.astype(np.float32), (0, 0), 2.0)[..., None]
    return dyed * (1 + dye * (np.array(HAIR_DYES[i % len(HAIR_DYES)]) - 1))


def _dress(portrait: _Portrait, seat: _Seat, i: int, random: np.random.Generator) -> _Person:
    """The figure at its seat's size with a suit, light and side of its own."""
    tint = random.uniform(0.90, 1.08) * random.uniform(0.96, 1.04, 3)
    plain = _dyed(portrait.image, i) if portrait.dyes else portrait.image
    light = 255 * (np.clip(plain * tint, 0, 255) / 255) ** random.uniform(0.88, 1.12)
    alpha = portrait.opacity[..., None]
    figure = np.concatenate([light * alpha, 255 * (1 - alpha)], axis=2).astype(np.float32)[:, CUT_LEFT:]
    neck, face = np.array(NECK) - (CUT_LEFT, 0), np.array(FACE.centre) - (CUT_LEFT, 0)
    if random.random() < 0.5:
        figure = figure[:, ::-1]
        neck, face = (np.array([figure.shape[1] - point[0], point[1]]) for point in (neck, face))
    size = (round(figure.shape[1] * seat.scale), round(figure.shape[0] * seat.scale))
    figure = np.rint(cv2.resize(np.ascontiguousarray(figure), size, interpolation=cv2.INTER_AREA)).astype(np.uint8)
    drift = (random.uniform(0.045, 0.075) * seat.pitch, random.integers(3, 7), random.uniform(0, 2 * math.pi))
    bob = (random.uniform(2.0, 4.0) * seat.scale, random.integers(5, 10), random.uniform(0, 2 * math.pi))
    tilt = (math.radians(random.uniform(2.0, 4.5)), random.integers(5, 9), random.uniform(0, 2 * math.pi))
    return _Person(seat, figure, tuple(neck * seat.scale), tuple((face - neck) * seat.scale), (drift, bob, tilt))


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


def _backdrop(ledges: list[int], random: np.random.Generator) -> Image:
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
