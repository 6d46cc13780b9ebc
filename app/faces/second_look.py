"""The second look: a CNN detector over the whole picture, now and then, beside the frame's path.

Two scales take turns: a coarse look, which is cheap and finds whoever is near, and a fine one, which finds faces of
SMALLEST_PX. What a look finds is of the picture that it was given; the front end carries it to the present.

A live source has a thread for it (ONNX Runtime releases the GIL), which is given the newest picture whenever it may look again:
as often as keeps its processor time, on average, below a share of one core. A file is looked at every FILE_EVERY_S of its own
time, and waits for the answer, so that the same file gives the same answer. Where it is read ahead, looks are begun as pictures
come in, and are done when their turn has come.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2

from app.domain import Box
from app.faces.calm import Pace

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from app.faces.detector import Detector, Sighting

SHARE = 0.2  # of one core
FILE_EVERY_S = 0.2
# Width of the smallest face found by a fine look, in pixels of the frame, Viola-Jones' box; and the longer side of the picture
# that a coarse look is given, and the least and the most of a fine one.
SMALLEST_PX, COARSE_PX, FINE_PX = 18.0, 416, (480, 960)


@dataclass(frozen=True)
class Look:
    """What was found in one picture, in pixels of the frame."""

    time_s: float  # the picture's, in the source
    found: tuple[Sighting, ...]
    fine: bool  # down to the smallest faces


class SecondLook(Protocol):
    """Is offered every picture, and returns what it found in an earlier one, if a look has ended."""

    def __call__(self, image: NDArray[np.uint8], time_s: float) -> Look | None:
        """`image` is (h, w, 3) BGR; it is not kept."""
        ...

    def begin(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Announces a picture that comes later, so that another thread can look at it already. Nobody may write into it."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class _Task:
    """How a picture is to be looked at."""

    size: tuple[int, int]  # width, height
    scale: float
    fine: bool


class Scales:
    """The sizes at which pictures are looked at, in turn."""

    def __init__(
        self, detector: Detector, min_face: float | None, *, fine_first: bool, coarse_too: bool = True
    ) -> None:
        self._detector, self._smallest = detector, min_face or SMALLEST_PX
        self._turn, self._coarse_too = (0 if fine_first else 1), coarse_too

    def next(self, shape: tuple[int, ...]) -> _Task:
        """How to look at the next picture, of shape (h, w, 3)."""
        longer = max(shape[:2])
        fine = min(max(longer * self._detector.scan_px / self._smallest, FINE_PX[0]), FINE_PX[1])
        fine = min(fine, 2 * longer)
        coarse = min(COARSE_PX, fine)
        is_fine = not self._coarse_too or self._turn % 2 == 0 or coarse > 0.7 * fine
        self._turn += 1
        scale = (fine if is_fine else coarse) / longer
        size = max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
        return _Task(size, scale, is_fine)

    def look(self, image: NDArray[np.uint8], task: _Task, time_s: float) -> Look:
        """Looks at one picture. Safe on several threads."""
        how = cv2.INTER_AREA if task.scale < 1 else cv2.INTER_LINEAR
        found = self._detector(cv2.resize(image, task.size, interpolation=how), 0.0, math.inf)
        return Look(time_s, tuple(s._replace(box=Box(*(v / task.scale for v in s.box))) for s in found), task.fine)


class TimedLook:
    """For files: every `every_s` of the source's time, answered at once. 0: in every frame, fine.

    Looks that were begun ahead run on `threads`, and are waited for in their turn; the answers are the same.
    """

    def __init__(
        self,
        detector: Detector,
        min_face: float | None = None,
        every_s: float = FILE_EVERY_S,
        threads: int = 1,
    ) -> None:
        self._scales = Scales(detector, min_face, fine_first=True, coarse_too=every_s > 0)
        self._every_s, self._last_s = every_s, -math.inf
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._begun: deque[tuple[float, Future[Look]]] = deque()

    def __call__(self, image: NDArray[np.uint8], time_s: float) -> Look | None:
        if self._pool is None:
            return self._scales.look(image, self._scales.next(image.shape), time_s) if self._is_due(time_s) else None
        if self._begun and self._begun[0][0] == time_s:
            return self._begun.popleft()[1].result()
        return None

    def begin(self, image: NDArray[np.uint8], time_s: float) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "second look")
        if self._is_due(time_s):
            future = self._pool.submit(self._scales.look, image, self._scales.next(image.shape), time_s)
            self._begun.append((time_s, future))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _is_due(self, time_s: float) -> bool:
        # A file that begins again has gone back in time.
        if 0 <= time_s - self._last_s < self._every_s - 1e-6:
            return False
        self._last_s = time_s
        return True


class LookBeside:
    """For live sources: on a thread of its own, the newest picture whenever it may."""

    def __init__(
        self,
        detector: Detector,
        min_face: float | None = None,
        share: float = SHARE,
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
        pace: Pace | None = None,
    ) -> None:
        """`work_clock` counts what a look costs; read on the thread that looks. `pace` slows the looking down."""
        self._pace = pace or Pace()
        self._scales = Scales(detector, min_face, fine_first=False)  # the first answer is wanted soon
        self._share, self._clock, self._work_clock = share, clock, work_clock
        self._began_s, self._rest_s = -math.inf, 0.0  # the last look, and the time until the next at full pace
        self._given: tuple[NDArray[np.uint8], float] | None = None
        self._answer: Look | None = None
        self._failure: Exception | None = None
        self._busy, self._closed = False, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="second look", daemon=True)
        self._thread.start()

    def __call__(self, image: NDArray[np.uint8], time_s: float) -> Look | None:
        with self._changed:
            failure, self._failure = self._failure, None
            if failure:
                raise failure
            answer, self._answer = self._answer, None
            if not self._busy and self._clock() >= self._began_s + self._rest_s / self._pace.now:
                self._given = image.copy(), time_s  # scaled beside the frame's path, where that takes 4 ms
                self._busy = True
                self._changed.notify()
        return answer

    def begin(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Does nothing: live pictures are not known ahead."""

    def wait(self) -> None:
        """Waits until the look that was begun is done. For tests and benchmarks."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(2.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._given is not None or self._closed)
                if self._closed or self._given is None:
                    return
                given, self._given = self._given, None
            began_s, before_s = self._clock(), self._work_clock()
            look, failure = None, None
            try:
                image, time_s = given
                look = self._scales.look(image, self._scales.next(image.shape), time_s)
            except Exception as error:  # raised once in the frame's path, which handles it
                failure = error
            with self._changed:
                worked_s = self._work_clock() - before_s
                self._began_s, self._rest_s = began_s, worked_s / self._share
                self._answer, self._failure, self._busy = look, failure, False
                self._changed.notify_all()
