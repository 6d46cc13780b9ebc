"""Stand-ins for the seams, with the real interfaces, and builders of test states."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.domain import Box, Frame, Image, Reading, SourceEvent, SourceStatus
from app.faces.scan import Scan
from scheduler.latency import OperatingPoint, PointProfile, Profile
from scheduler.log import FrameRecord

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
    buckets = (1, 2, 4, 8, 16)

    def __init__(
        self,
        clock: FakeClock | None = None,
        cost_ms: Callable[[OperatingPoint, int], float] = lambda *_: 1.0,
        age: int = 30,
    ) -> None:
        self._clock, self._cost_ms, self._age = clock, cost_ms, age
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


class FakeScanner:
    """Finds the boxes that it is told, whatever the picture; looks for everybody in every frame."""

    def __init__(self, boxes: list[Box] | Callable[[int], list[Box]]) -> None:
        self._boxes = boxes
        self.calls = 0

    def __call__(
        self,
        image: Image,
        gray: NDArray[np.uint8],
        time_s: float,
        known: Mapping[int, Box],
        rolls: Mapping[int, float] | None = None,
        budget_ms: float = math.inf,
    ) -> Scan:
        boxes = self._boxes(self.calls) if callable(self._boxes) else self._boxes
        self.calls += 1
        return Scan(boxes, set(known))


class FakePredictor:
    """Lays the mean shape into the box; into the last one where that is about the same, as landmarks of a face stay."""

    def __init__(self, shape: NDArray[np.float64]) -> None:
        self._shape = shape - shape.min(axis=0)
        self._shape /= self._shape.max()
        self._last = Box(0, 0, 0, 0)

    def __call__(self, gray: NDArray[np.uint8], box: Box) -> NDArray[np.float64]:
        if np.abs(np.subtract(box, self._last)).max() > 0.1 * box[2]:
            self._last = Box(*box)
        return self._shape * self._last.width + np.array(self._last[:2])


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
