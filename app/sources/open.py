"""Cameras, files, streams and the demo crowd behind one door: `open_source(spec)` gives `Frame`s.

One picture is read when a source is opened, so that whatever is wrong with it shows at once. Only OpenCV is asked for
pictures; `capture` takes its place in tests.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Protocol

import cv2

from app.domain import Box, Frame, SourceEvent, SourceStatus
from app.errors import SourceError
from app.sources.cameras import find_camera, list_cameras
from app.sources.captures import (
    Capture,
    CaptureFactory,
    checked_file,
    ffmpeg_backend,
    hush,
    promised_frames,
    read_image,
    sane_fps,
    too_large,
    unreadable,
)
from app.sources.demo import CYCLE_FRAMES, FPS, DemoCrowd
from app.sources.devices import STREAM, CameraDevice, StreamDevice, is_camera_spec
from app.sources.live import Clock, Device, LiveSource, Wait

LATE_S = 1.0  # played at its own rate and later than this (the laptop slept): go on from here instead of racing
LONGEST_GAP_S = 10.0  # between two timestamps of a file; a longer one is taken for broken
FALLBACK_FPS = 25.0


class Source(Protocol):
    name: str  # for people: "camera 0", "clip.mp4", "demo crowd"
    note: str  # for people: why this source was taken, or how it ended; often ""
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


def open_source(
    spec: str,
    *,
    loop: bool = False,
    realtime: bool = False,
    clock: Clock = time.monotonic,
    wait: Wait | None = None,
    capture: CaptureFactory = cv2.VideoCapture,
    reconnect_s: float | None = None,
    wait_for_it: bool = False,
) -> Source:
    """Opens "auto", "demo", a camera ("0", "/dev/video2", part of its name), a file or a URL. Raises SourceError.

    `loop` starts a file or the demo again at its end; `realtime` plays a file at its own rate, as if it were live.
    A camera or stream that breaks off is opened again for `reconnect_s` (None: for ever, 0: not at all); with
    `wait_for_it` it need not be there at the start.
    `wait` sleeps; the default is cut short when the source is closed.
    """
    hush()
    spec = spec.strip()
    if spec == "demo":
        return DemoSource(loop=loop, clock=clock, wait=wait)

    def live(device: Device, *, camera: bool) -> LiveSource:
        return LiveSource(device, clock, wait, camera=camera, reconnect_s=reconnect_s, wait_for_it=wait_for_it)

    if spec == "auto":
        try:
            camera = live(CameraDevice("0", capture), camera=True)
        except SourceError as error:
            demo = DemoSource(loop=loop, clock=clock, wait=wait)
            demo.note = f"Showing the demo crowd, because there is no picture from camera 0. {error}"
            return demo
        camera.note = "Camera 0 was found and taken."
        return camera
    if STREAM.match(spec):
        stream = StreamDevice(spec, capture)
        if not spec.lower().startswith("http") or promised_frames(opened := stream.peek()) is None:
            return live(stream, camera=False)
        name, problem, reopen = stream.name, stream.problem(), stream.reopen
    elif is_camera_spec(spec) or _names_a_camera(spec, wait_for_it):
        return live(CameraDevice(spec, capture), camera=True)
    else:
        path = checked_file(spec)
        name, problem = path.name, unreadable(path)

        def reopen() -> Capture:
            return capture(str(path.absolute()), ffmpeg_backend(), [])  # absolute: "a:b.mp4" would be protocol a

        opened = reopen()
    return FileSource(name, opened, reopen, problem, loop=loop, realtime=realtime, clock=clock, wait=wait)


def _names_a_camera(spec: str, wait_for_it: bool) -> bool:
    """What is no file may be a part of a camera's name. Raises SourceError where it is of several, or neither."""
    with suppress(OSError, ValueError, RuntimeError):
        if not spec or Path(spec).expanduser().exists():
            return False
    if re.search(r"[/\\]|\.\w{2,4}$", spec):
        return False
    cameras = list_cameras()
    if find_camera(spec, cameras) or wait_for_it:
        return True
    listing = ", ".join(f"{c.index} {c.name}" for c in cameras) or "none"
    raise SourceError(
        f"There is no file {spec[:200]!r}, and no camera has that in its name. Cameras here: {listing}. "
        "`--source demo` needs neither."
    )


class _Closable:
    """Releases the capture once: by the iteration where one runs, otherwise by close()."""

    camera = False
    on_event: Callable[[SourceEvent], None] = staticmethod(lambda event: None)

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
