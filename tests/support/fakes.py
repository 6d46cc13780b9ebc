"""Stand-ins for the seams, with the real interfaces, and builders of test states."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.landmarks import BOX_CENTRE, BOX_SIDE, centred_mean_shape
from app.domain import Box, Frame, Image, Reading, SourceEvent, SourceStatus
from app.faces.detector import Sighting
from app.faces.follower import Followed, Place
from app.faces.second_look import Look
from scheduler.log import FrameRecord
from scheduler.profile import OperatingPoint, PointProfile, Profile

POINTS = tuple(OperatingPoint(f"exit_{k:02d}", 96) for k in (7, 10, 13))
MAES = (5.5, 5.0, 4.8)


class FakeClock:
    """A clock that is moved by hand. Seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_ms(self, ms: float) -> None:
        self.now += ms / 1e3


class FakeTime:
    """A clock that only waiting moves; remembers the waits."""

    def __init__(self) -> None:
        self.now, self.waits = 50.0, []

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.waits.append(seconds)
        self.now += seconds


class FakeEngine:
    """Takes `cost_ms(point, faces)` of a fake clock's time and says everybody is `age` years old."""

    provider, note, pads = "FakeProvider", "", False
    points = POINTS
    ready: tuple[OperatingPoint, ...] = POINTS
    buckets = (1, 2, 4, 8, 16)

    def __init__(
        self,
        clock: FakeClock | None = None,
        cost_ms: Callable[[OperatingPoint, int], float] = lambda *_: 1.0,
        age: int = 30,
    ) -> None:
        self._clock, self._cost_ms, self._age = clock, cost_ms, age
        self.closed = False
        self.runs: list[tuple[OperatingPoint, int]] = []
        self.failure: Exception | None = None

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        if self.failure:
            raise self.failure
        assert faces.shape[1:] == (point.size, point.size, 3) and faces.dtype == np.uint8
        n = len(faces)
        self.runs.append((point, n))
        if self._clock:
            self._clock.pass_ms(self._cost_ms(point, n))
        gender, expression = np.float32([0.9, 0.1]), np.float32([0, 0, 0, 0.6, 0.4, 0, 0])
        return [Reading(float(self._age), 0.5, gender, expression, point.exit, point.size) for _ in range(n)]

    def load(self, point: OperatingPoint) -> None:
        self.ready = (*self.ready, *({point} - {*self.ready}))

    def close(self) -> None:
        self.closed = True


class FakeSource:
    """Gives the pictures that it is made with; `gate`, when given, is waited for before each."""

    name, note, damaged, fps, camera = "fake", "", "", 25.0, False

    def __init__(
        self,
        images: list[Image],
        live: bool = False,
        failure: Exception | None = None,
        gate: threading.Semaphore | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.live, self.frame_count = live, len(images)
        self._images, self._failure, self._gate, self._clock = images, failure, gate, clock
        self.closed = threading.Event()
        self.state = SourceStatus()
        self.on_event: Callable[[SourceEvent], None] = lambda event: None

    def status(self) -> SourceStatus:
        return self.state

    def __iter__(self) -> Iterator[Frame]:
        for i, image in enumerate(self._images):
            if self._gate:
                self._gate.acquire()
            if self.closed.is_set():
                return
            yield Frame(i, image, i / 25, self._clock())
        if self._failure:
            raise self._failure

    def close(self) -> None:
        self.closed.set()
        if self._gate:
            self._gate.release()


class FakeFaces:
    """Faces that are where they are told to be, whatever the picture: a second look finds all of them in every frame, and `follow`
    whom it is sent near to: FrontEnd(faces.follow, None, faces, ...)."""

    def __init__(self, boxes: list[Box] | Callable[[int], list[Box]], shape: NDArray[np.float64] | None = None) -> None:
        """`shape`, (47, 2): landmarks of a face about its mean, eyes one unit apart; default the mean face's."""
        self._boxes, self._shape = boxes, centred_mean_shape() if shape is None else shape
        self._gray: NDArray[np.uint8] | None = None
        self.frames = 0
        self.present = 1.0

    @property
    def _now(self) -> list[Box]:
        return self._boxes(self.frames - 1) if callable(self._boxes) else self._boxes

    def __call__(self, image: Image, time_s: float) -> Look:
        return Look(time_s, tuple(Sighting(box, 0.9) for box in self._now), True)

    def begin(self, image: Image, time_s: float) -> None:
        pass

    def close(self) -> None:
        pass

    def follow(self, gray: NDArray[np.uint8], places: Sequence[Place], rounds: int = 2) -> list[Followed]:
        if gray is not self._gray:  # a front end follows first in every frame
            self._gray, self.frames = gray, self.frames + 1
        return [self._at(place) for place in places]

    def _at(self, place: Place) -> Followed:
        x, y = Box(*place.box).centre
        near = min(self._now, key=lambda b: math.dist(b.centre, (x, y)), default=None)
        if near is None or math.dist(near.centre, (x, y)) > 0.5 * near.width:
            return Followed(self._shape * 10 + (x, y), 0.0)
        eyes = near.width / BOX_SIDE
        return Followed(self._shape * eyes + near.centre - np.array(BOX_CENTRE) * eyes, self.present)


def make_profile(
    ms: tuple[float, ...] = (2.0, 3.0, 4.0), buckets: tuple[int, ...] = (1, 2, 4, 8, 16), **changes: Any
) -> Profile:
    """Three exits whose time grows in proportion to the faces: `ms` each per face."""
    points = tuple(
        PointProfile(p, tuple(t * b for b in buckets), mae, mae) for p, t, mae in zip(POINTS, ms, MAES, strict=True)
    )
    return Profile(
        **{"buckets": buckets, "points": points, "tail": 1.0, "padded": False, "blank_error": 15.5, **changes}
    )


def make_record(**changes: Any) -> FrameRecord:
    """One face read at the deepest exit in good time."""
    values: dict[str, Any] = {
        "id": 0, "time_s": 0.0, "faces": 1, "wanted": 1, "served": 1, "exit": "exit_13", "size": 96, "bucket": 1,
        "budget_ms": 33.0, "left_ms": 20.0, "predicted_ms": 4.0, "measured_ms": 4.0, "slowdown": 1.0, "tail": 1.0,
        "age_ms": 18.0, "miss": False, "provider": "CPUExecutionProvider",
    }  # fmt: skip
    return FrameRecord(**{**values, **changes})
