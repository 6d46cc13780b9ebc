"""Videos, animations and pictures as files; also a video behind http."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import cv2

from app.domain import Frame
from app.errors import SourceError
from app.sources.captures import Capture, promised_frames, read_image, sane_fps, too_large
from app.sources.live import Clock, Wait
from app.sources.source import FALLBACK_FPS, Closable, Pacer

LONGEST_GAP_S = 10.0  # between two timestamps of a file; a longer one is taken for broken


class FileSource(Closable):
    """A video, an animation or a picture; also a video behind http."""

    def __init__(
        self,
        name: str,
        capture: Capture,
        reopen: Callable[[], Capture],
        problem: str,
        *,
        loop: bool,
        realtime: bool,
        clock: Clock,
        wait: Wait | None,
    ) -> None:
        super().__init__(capture, clock, wait)
        self.name, self.note, self.live = name, "", realtime
        self._reopen, self._loop = reopen, loop
        if capture.isOpened() and (large := too_large(name, capture)):
            self.close()
            raise SourceError(large)
        self._next = read_image(capture) if capture.isOpened() else None
        if self._next is None:
            self.close()
            raise SourceError(problem)
        self.fps, self._promised = sane_fps(capture), promised_frames(capture)
        self.frame_count = None if loop else self._promised

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        timeline = _Timeline(1 / (self.fps or FALLBACK_FPS))
        pacer, ids = Pacer(self._clock, self._wait), count()
        try:
            while self._next is not None:
                frames, starts_s = 0, timeline.next_s
                while self._next is not None:
                    time_s = timeline.at(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, new_pass=frames == 0)
                    if self.live:
                        pacer.until(time_s)
                    if self._closed.is_set():
                        return
                    image, self._next = self._next, None
                    yield Frame(next(ids), image, time_s, self._clock())
                    frames, self._next = frames + 1, read_image(self._capture)
                if broke_off(frames, self._promised, timeline.next_s - starts_s, self.fps):
                    self.note = f"{self.name} broke off at frame {frames} of {self._promised}; it is cut off or damaged"
                if self._loop and not self._closed.is_set():
                    self._capture.release()
                    self._capture = self._reopen()
                    self._next = read_image(self._capture)
        finally:
            self._capture.release()


class _Timeline:
    """Seconds since the first frame: the container's timestamps where they rise sanely, else the frame rate."""

    def __init__(self, step_s: float) -> None:
        self._step_s, self._shift_s, self.next_s = step_s, 0.0, 0.0

    def at(self, position_s: float, *, new_pass: bool) -> float:
        if new_pass:
            self._shift_s = self.next_s - position_s
        time_s, last_s = position_s + self._shift_s, self.next_s - self._step_s
        if new_pass or not last_s < time_s <= last_s + LONGEST_GAP_S:
            time_s = self.next_s
        self.next_s = time_s + self._step_s
        return time_s


def broke_off(frames: int, promised: int | None, end_s: float, fps: float | None) -> bool:
    """Whether a file ended well before its container said, in frames and in time.

    Both, because a count is often duration times an estimated rate, and because a GIF's rate is an estimate itself.
    """
    if promised is None or promised - frames <= max(1, 0.03 * promised):
        return False
    return fps is None or end_s < 0.97 * promised / fps
