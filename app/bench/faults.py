"""Faults on a timetable, injected at the seams where real ones come in: the device, the engine, the disk.

The source is a real LiveSource, with its watchdog and back-off, over a device that shows the demo crowd and fails as
cameras do. A disk is made full by putting /dev/full behind an open file, so that the error is the kernel's own.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.sources.captures import CameraFeed
from app.sources.demo import FPS, DemoCrowd

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from app.domain import Image, Reading
    from app.network.engine import Engine
    from scheduler.profile import OperatingPoint

#: cause, and when it begins and ends in seconds of the cycle
TIMETABLE = (
    ("broken pictures", 6.0, 7.0),
    ("engine throws", 11.0, 12.0),
    ("slow inference", 16.0, 19.0),
    ("camera stalls", 24.0, 31.0),
    ("camera unplugged, back at another size", 40.0, 43.0),
)
CYCLE_S = 55.0
SLOW_S = 0.25
FULL = "/dev/full"


@dataclass
class Timetable:
    """Which fault holds now, and how often each has come. Threads may share it."""

    clock: Callable[[], float] = time.monotonic
    active: bool = True
    came: Counter[str] = field(default_factory=Counter)
    _began_s: float | None = None
    _last: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> str:
        """The fault's name, or "". The first call begins the first cycle."""
        with self._lock:
            now_s = self.clock()
            self._began_s = now_s if self._began_s is None else self._began_s
            place = (now_s - self._began_s) % CYCLE_S
            name = next((n for n, begin, end in TIMETABLE if begin <= place < end), "") if self.active else ""
            if name and name != self._last:
                self.came[name] += 1
            self._last = name
            return name


class DemoDevice:
    """A camera in front of the demo crowd that fails on a timetable."""

    name, patience_s = "soak camera", 5.0

    def __init__(self, crowd: DemoCrowd, timetable: Timetable) -> None:
        self._crowd, self._timetable, self.opened = crowd, timetable, 0

    def open(self) -> CameraFeed:
        self.opened += 1
        return CameraFeed(DemoCapture(self._crowd, self._timetable, smaller=self.opened % 2 == 0))

    def problem(self) -> str:
        return f"{self.name} gives no picture"

    def gone(self) -> str | None:
        return f"{self.name} is unplugged." if self._timetable.now().startswith("camera unplugged") else None


class DemoCapture:
    """What app.sources.captures needs of OpenCV's VideoCapture, at 25 pictures a second."""

    def __init__(self, crowd: DemoCrowd, timetable: Timetable, *, smaller: bool) -> None:
        self._crowd, self._timetable, self._smaller = crowd, timetable, smaller
        self._due_s, self._i = time.monotonic(), 0

    def isOpened(self) -> bool:
        return not self._timetable.now().startswith("camera ")

    def grab(self) -> bool:
        self._due_s += 1 / FPS
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        else:
            self._due_s -= wait_s
        return not self._timetable.now().startswith("camera ")

    def retrieve(self) -> tuple[bool, Image | None]:
        self._i += 1
        if self._timetable.now() == "broken pictures":
            broken: list[NDArray | None] = [
                None,
                np.zeros((0, 0, 3), np.uint8),
                np.zeros((540, 960, 3), np.uint16),
                np.zeros((540, 960, 2), np.uint8),
            ]
            return True, broken[self._i % 4]  # type: ignore[return-value]
        picture = self._crowd.picture(self._i)
        return True, np.ascontiguousarray(picture[:480, :720]) if self._smaller else picture

    def get(self, prop: int, /) -> float:
        return FPS

    def set(self, prop: int, value: float, /) -> bool:
        return False

    def release(self) -> None:
        pass


class FaultyEngine:
    """An engine that fails or is slow, on a timetable."""

    def __init__(self, engine: Engine, timetable: Timetable) -> None:
        self._engine, self._timetable = engine, timetable
        self.provider, self.note = engine.provider, engine.note
        self.points, self.ready, self.load = engine.points, engine.ready, engine.load
        self.buckets, self.pads = engine.buckets, engine.pads

    def read(self, point: OperatingPoint, faces: NDArray[np.uint8]) -> list[Reading]:
        fault = self._timetable.now()
        if fault == "engine throws":
            raise RuntimeError("injected: the engine failed")
        if fault == "slow inference":
            time.sleep(SLOW_S)
        return self._engine.read(point, faces)

    def close(self) -> None:
        self._engine.close()


def fill_disk(path: Path) -> bool:
    """From now on the kernel says "no space left" to whatever this process writes to `path`; whether it was open. Linux."""
    full, found = os.open(FULL, os.O_WRONLY), False
    try:
        for link in Path("/proc/self/fd").iterdir():
            try:
                if Path(os.readlink(link)) == path.resolve():
                    os.dup2(full, int(link.name))
                    found = True
            except OSError:
                continue  # closed meanwhile
    finally:
        os.close(full)
    return found
