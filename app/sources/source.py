"""What every source is, and what those that are played at their own rate share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from app.domain import Frame, SourceEvent, SourceStatus
from app.sources.live import Clock, Wait

LATE_S = 1.0  # played at its own rate and later than this (the laptop slept): go on from here instead of racing
FALLBACK_FPS = 25.0


class Closes(Protocol):
    def close(self) -> None: ...


class Source(Protocol):
    name: str  # for people: "camera 0", "clip.mp4", "demo crowd"
    note: str  # for people: why this source was taken, or how it ended; often ""
    damaged: str  # for people: what of a file could not be read, known at its end; ""
    live: bool  # live sources drop frames when we are slow; others wait
    fps: float | None  # nominal
    frame_count: int | None  # None where unknown or endless
    camera: bool  # people look into it and see themselves: the window mirrors it
    on_event: Callable[[SourceEvent], None]  # told of each change, on the iterating thread; to be set before it begins

    def __iter__(self) -> Iterator[Frame]:
        """Ids count from 0; the device is released at the end. A live source that is given up raises SourceError."""
        ...

    def status(self) -> SourceStatus:
        """How it does at this moment. May be called from any thread; never waits."""
        ...

    def close(self) -> None:
        """Ends the iteration soon. May be called from any thread, and twice."""
        ...


class Closable:
    """Closes what it reads once: by the iteration where one runs, otherwise by close()."""

    camera = False
    damaged = ""
    on_event: Callable[[SourceEvent], None] = staticmethod(lambda event: None)

    def __init__(self, opened: Closes | None, clock: Clock, wait: Wait | None) -> None:
        self._opened, self._clock = opened, clock
        self._closed, self._lock, self._started = threading.Event(), threading.Lock(), False
        self._wait = wait or self._closed.wait
        self._began_s = clock()

    def status(self) -> SourceStatus:
        return SourceStatus(since_s=self._clock() - self._began_s)

    def _start(self) -> None:
        with self._lock:
            if self._started:
                raise RuntimeError("a source is read once; open it again")
            self._started = True

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            if not self._started and self._opened is not None:
                self._opened.close()


class Pacer:
    """Waits until a moment of the source's own time has come."""

    def __init__(self, clock: Clock, wait: Wait) -> None:
        self._clock, self._wait, self._start_s = clock, wait, None

    def until(self, time_s: float) -> None:
        now_s = self._clock()
        if self._start_s is None or now_s - self._start_s - time_s > LATE_S:
            self._start_s = now_s - time_s
        if (left_s := self._start_s + time_s - now_s) > 0:
            self._wait(left_s)
