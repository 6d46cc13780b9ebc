"""`bench idle`: what a run takes of the processor while nobody is in view, and while one visitor stays.

The real window and pipeline, over a camera of 1280x720 pixels at 25 pictures a second that sees the demo's stands, with
a sensor's noise. The processor seconds of all our processes are counted, less those that making the pictures takes: a
real camera's driver gives them. What decoding a camera's JPEG would add is measured beside it. The display server's
share is not counted.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from app.errors import UsageError
from app.files import check_writable
from app.sources.captures import CameraFeed
from app.sources.demo import FPS, DemoCrowd

if TYPE_CHECKING:
    from app.compose import App
    from app.domain import Image

SIZE = (1280, 720)
NOISE = 2.5  # of 255, standard deviation: a webcam's in a lit room
WARM_S = 12.0  # until the invitation has appeared, and a visitor's card is settled
STATES = (
    ("nobody in view", 0, 15),
    ("one settled visitor", 1, 40),
)  # people, and the most that it may take, % of one core


class Room:
    """A camera (app.sources.live.Device and captures.Capture in one) before which `people` can be changed."""

    name, patience_s = "bench camera", 5.0

    def __init__(self) -> None:
        self.people, self.made_s = 0, 0.0
        self._crowds = [DemoCrowd(lambda _, n=people: n) for _, people, _ in STATES]
        self._noise = (
            np.random.default_rng(1).normal(0, NOISE, (SIZE[1] + 64, SIZE[0] + 64, 3)).round().astype(np.int16)
        )
        self._i, self._due_s = 0, time.monotonic()

    def open(self) -> CameraFeed:
        return CameraFeed(self)

    def isOpened(self) -> bool:
        return True

    def problem(self) -> str:
        return f"{self.name} gives no picture"

    def gone(self) -> str | None:
        return None

    def grab(self) -> bool:
        self._due_s = max(self._due_s + 1 / FPS, time.monotonic() - 1)
        time.sleep(max(0.0, self._due_s - time.monotonic()))
        return True

    def retrieve(self) -> tuple[bool, Image | None]:
        began_s = time.thread_time()
        self._i += 1
        picture = cv2.resize(self._crowds[self.people].picture(self._i), SIZE)
        y, x = (self._i * 23) % 64, (self._i * 37) % 64
        noise = self._noise[y : y + SIZE[1], x : x + SIZE[0]]
        picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
        self.made_s += time.thread_time() - began_s
        return True, picture

    def get(self, prop: int, /) -> float:
        return FPS

    def set(self, prop: int, value: float, /) -> bool:
        return False

    def release(self) -> None:
        pass


def bench_idle(seconds: float, model: str, window: bool, out: Path | None) -> int:
    """Raises UsageError."""
    if not 2 <= seconds <= 3600:
        raise UsageError(f"--seconds must be from 2 to 3600, got {seconds:g}")
    if out:
        check_writable(out)
    room = Room()
    app = _app(room, model)
    app.pipeline.spare = lambda busy: None  # a profile is mended once, not for ever
    shares: list[dict[str, Any]] = []
    over = threading.Event()
    watcher = threading.Thread(target=_measure, args=(app, room, seconds, shares, over), name="measuring")
    app.pipeline.start()
    watcher.start()
    try:
        shown = _show(app, over) if window else "no window"
        over.wait()
    finally:
        over.set()
        app.pipeline.close()
        watcher.join()
    if app.pipeline.failure:
        raise app.pipeline.failure
    print(f"{SIZE[0]}x{SIZE[1]} at {FPS:g} pictures a second, {shown}; processor seconds a second, % of one core")
    for (name, _, most), share in zip(STATES, shares, strict=True):
        parts = ", ".join(f"{part} {value:.1%}" for part, value in share["parts"].items() if value >= 0.001)
        print(f"{name:20}{share['all']:>6.1%}   at most {most} %; {share['fps']:.1f} pictures a second read; {parts}")
    jpeg = _jpeg(room)
    print(f"{'JPEG of a camera':20}{jpeg:>6.1%}   comes on top where the camera sends JPEG")
    if out:
        report: dict[str, Any] = {name: share for (name, _, _), share in zip(STATES, shares, strict=True)}
        out.write_text(
            json.dumps({**report, "jpeg": jpeg, "seconds": seconds, "shown": shown}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


def _app(room: Room, model: str) -> App:
    from app.compose import build
    from app.settings import Settings
    from app.sources.live import LiveSource

    return build(Settings(model=model), sources=[LiveSource(room, time.monotonic, None, camera=True)])


def _show(app: App, over: threading.Event) -> str:
    from app.window.display import qt_platform, why_no_display

    if why_no_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from app.window.show import show
    from app.window.watched import Look, Watched

    pipeline = app.pipeline
    watched = Watched(
        latest=pipeline.latest,
        finished=lambda: over.is_set() or pipeline.finished(),
        status=app.source.status,
        camera=lambda: True,
        controls=pipeline.controls,
    )
    show(watched, title="bench", look=Look(mirrored=None, notice=None))
    over.set()
    return f"window on {qt_platform()}"


def _measure(app: App, room: Room, seconds: float, shares: list[dict[str, Any]], over: threading.Event) -> None:
    for _, people, _ in STATES:
        room.people = people
        if over.wait(WARM_S):
            return
        before, frames, made_s, began_s = _worked_s(), app.pipeline.totals.frames, room.made_s, time.monotonic()
        if over.wait(seconds):
            return
        after, passed_s = _worked_s(), time.monotonic() - began_s
        worked_s = after - before
        worked_s["reader"] -= room.made_s - made_s
        parts = {part: worked / passed_s for part, worked in worked_s.most_common()}
        fps = (app.pipeline.totals.frames - frames) / passed_s
        shares.append({"all": sum(parts.values()), "fps": fps, "parts": parts})
    over.set()


def _worked_s() -> Counter[str]:
    """Processor seconds so far: of each of this process's threads, by name, and of its children."""
    import psutil

    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    names[threading.main_thread().native_id] = "window"
    this, worked_s = psutil.Process(), Counter[str]()
    for thread in this.threads():
        worked_s[names.get(thread.id, "others")] += thread.user_time + thread.system_time
    for child in this.children(recursive=True):
        with suppress(psutil.Error):
            worked_s["finding faces"] += sum(child.cpu_times()[:2])
    return worked_s


def _jpeg(room: Room) -> float:
    """Decoding such pictures as a camera sends them."""
    data = cv2.imencode(".jpg", room.retrieve()[1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    began_s = time.thread_time()
    for _ in range(20):
        cv2.imdecode(data, cv2.IMREAD_COLOR)
    return (time.thread_time() - began_s) / 20 * FPS
