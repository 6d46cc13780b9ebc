"""Cameras, files, streams and the demo crowd behind one door: `open_source(spec)` gives `Frame`s.

One picture is read when a source is opened, so that whatever is wrong with it shows at once. Only OpenCV is asked for
pictures; `capture` takes its place in tests.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Protocol

import cv2

from app import captures
from app.captures import (
    STALL_S,
    Capture,
    CaptureFactory,
    camera_problem,
    checked_file,
    ffmpeg_backend,
    hush,
    promised_frames,
    read_image,
    sane_fps,
    unreadable,
)
from app.demo import CYCLE_FRAMES, FPS, DemoCrowd
from app.domain import Box, Frame, Image, SourceStatus
from app.errors import SourceError, SourceStalled

STREAM = re.compile(r"(rtsp|rtsps|rtmp|rtmps|http|https)://", re.IGNORECASE)
TRY_ANOTHER = "Try another one (`--source 1`), a video file, or `--source demo`."

RETRY_FIRST_S, RETRY_LONGEST_S = 0.02, 0.5
LATE_S = 1.0  # played at its own rate and later than this (the laptop slept): go on from here instead of racing
LONGEST_GAP_S = 10.0  # between two timestamps of a file; a longer one is taken for broken
FALLBACK_FPS = 25.0

Clock = Callable[[], float]
Wait = Callable[[float], object]  # seconds; may return early, and does so when the source is closed


class Source(Protocol):
    name: str  # for people: "camera 0", "clip.mp4", "demo crowd"
    note: str  # for people: why this source was taken, or how it ended; often ""
    live: bool  # live sources drop frames when we are slow; others wait
    fps: float | None  # nominal
    frame_count: int | None  # None where unknown or endless
    camera: bool  # people look into it and see themselves: the window mirrors it

    def __iter__(self) -> Iterator[Frame]:
        """Ids count from 0; the device is released at the end. Live sources raise SourceStalled."""
        ...

    def status(self) -> SourceStatus:
        """How it does at this moment. May be called from any thread; never waits."""
        ...

    def close(self) -> None:
        """Ends the iteration soon. May be called from any thread, and twice."""
        ...


def open_source(
    spec: str,
    *,
    loop: bool = False,
    realtime: bool = False,
    clock: Clock = time.monotonic,
    wait: Wait | None = None,
    capture: CaptureFactory = cv2.VideoCapture,
) -> Source:
    """Opens "auto", "demo", a camera ("0", "/dev/video2"), a file or a URL. Raises SourceError.

    `loop` starts a file or the demo again at its end; `realtime` plays a file at its own rate, as if it were live.
    `wait` sleeps; the default is cut short when the source is closed.
    """
    hush()
    spec = spec.strip()
    if spec == "demo":
        return DemoSource(loop=loop, clock=clock, wait=wait)
    if spec == "auto":
        try:
            camera = _camera("0", clock, wait, capture)
        except SourceError as error:
            demo = DemoSource(loop=loop, clock=clock, wait=wait)
            demo.note = f"Showing the demo crowd, because there is no picture from camera 0. {error}"
            return demo
        camera.note = "Camera 0 was found and taken."
        return camera
    if (spec.isascii() and spec.isdecimal()) or (spec.startswith("/dev/") and not Path(spec).is_file()):
        return _camera(spec, clock, wait, capture)
    if STREAM.match(spec):
        name = re.sub(r"//[^/]*@", "//", spec).partition("?")[0]  # shown and logged: without password and token
        problem = f"{name} gives no picture. Check the address and the network, and that a player such as VLC shows it."

        def reopen() -> Capture:
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
            return capture(spec, ffmpeg_backend(), timeouts)

        opened = reopen()
        if not spec.lower().startswith("http") or promised_frames(opened) is None:
            return LiveSource(name, opened, problem, clock, wait)
    else:
        path = checked_file(spec)
        name, problem = path.name, unreadable(path)

        def reopen() -> Capture:
            return capture(str(path.absolute()), ffmpeg_backend(), [])  # absolute: "a:b.mp4" would be protocol a

        opened = reopen()
    return FileSource(name, opened, reopen, problem, loop=loop, realtime=realtime, clock=clock, wait=wait)


class _Closable:
    """Releases the capture once: by the iteration where one runs, otherwise by close()."""

    camera = False

    def __init__(self, capture: Capture | None, clock: Clock, wait: Wait | None) -> None:
        self._capture, self._clock = capture, clock
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
            if not self._started and self._capture is not None:
                self._capture.release()


class LiveSource(_Closable):
    """A camera or a stream: a picture's time is when it came."""

    live, frame_count = True, None

    def __init__(self, name: str, capture: Capture, problem: str, clock: Clock, wait: Wait | None) -> None:
        super().__init__(capture, clock, wait)
        self.name, self.note = name, ""
        self.fps = sane_fps(capture)
        with suppress(SourceStalled):
            if capture.isOpened() and self._read() is not None:  # a proof, thrown away: it is old when we start
                return
        self.close()
        raise SourceError(problem)

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        first_s = None
        try:
            for frame_id in count():
                image = self._read()
                if image is None:
                    return
                born_s = self._clock()
                first_s = born_s if first_s is None else first_s
                yield Frame(frame_id, image, born_s - first_s, born_s)
        finally:
            self._capture.release()

    def _read(self) -> Image | None:
        """The next picture, trying again for STALL_S; None when closed."""
        began_s, pause_s = self._clock(), RETRY_FIRST_S
        while not self._closed.is_set():
            image = read_image(self._capture)
            if image is not None:
                return image
            if self._clock() - began_s >= STALL_S:
                raise SourceStalled(
                    f"{self.name} sends no picture any more. Check its cable or network, then start again."
                )
            self._wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_LONGEST_S)
        return None


class FileSource(_Closable):
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
        self._next = read_image(capture) if capture.isOpened() else None
        if self._next is None:
            self.close()
            raise SourceError(problem)
        self.fps, self._promised = sane_fps(capture), promised_frames(capture)
        self.frame_count = None if loop else self._promised

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        timeline = _Timeline(1 / (self.fps or FALLBACK_FPS))
        pacer, ids = _Pacer(self._clock, self._wait), count()
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


class DemoSource(_Closable):
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
        self._crowd, self._loop = DemoCrowd(crowd), loop
        self.note, self.live, self.frame_count = "", paced, None if loop else CYCLE_FRAMES

    def truth(self, frame_id: int) -> list[tuple[int, Box]]:
        return self._crowd.truth(frame_id)

    def __iter__(self) -> Iterator[Frame]:
        self._start()
        pacer = _Pacer(self._clock, self._wait)
        for frame_id in count() if self._loop else range(CYCLE_FRAMES):
            image = self._crowd.picture(frame_id)
            if self.live:
                pacer.until(frame_id / FPS)
            if self._closed.is_set():
                return
            yield Frame(frame_id, image, frame_id / FPS, self._clock())


class _Pacer:
    """Waits until a moment of the source's own time has come."""

    def __init__(self, clock: Clock, wait: Wait) -> None:
        self._clock, self._wait, self._start_s = clock, wait, None

    def until(self, time_s: float) -> None:
        now_s = self._clock()
        if self._start_s is None or now_s - self._start_s - time_s > LATE_S:
            self._start_s = now_s - time_s
        if (left_s := self._start_s + time_s - now_s) > 0:
            self._wait(left_s)


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


def _camera(spec: str, clock: Clock, wait: Wait | None, capture: CaptureFactory) -> LiveSource:
    name = f"camera {spec}"
    if sys.platform == "linux":
        device, backend = captures.DEVICES / f"video{int(spec)}" if spec.isdecimal() else Path(spec), cv2.CAP_V4L2
        if problem := camera_problem(name, device):
            raise SourceError(problem)
        problem = f"it is in use by another program, or {device} is no camera. Close that program."
    else:
        backend = cv2.CAP_ANY
        problem = "it is absent, in use by another program, or cameras are blocked in the privacy settings."
    opened = capture(int(spec) if spec.isdecimal() else spec, backend, [])
    wishes = {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),  # before the size: raw pictures of it may be too slow
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_BUFFERSIZE: 1,
    }
    for prop, value in wishes.items():
        if opened.isOpened():
            opened.set(prop, value)  # a camera may refuse
    source = LiveSource(name, opened, f"Camera {spec} gives no picture: {problem} {TRY_ANOTHER}", clock, wait)
    source.camera = True
    return source
