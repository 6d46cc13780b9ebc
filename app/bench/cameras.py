"""`bench cameras`: several cameras in one run, as `run` opens them, and how many of their frames are in time.

Each is a real LiveSource over a device that shows one moving face of the demo crowd, 640x360, at its own beat. Pictures are
drawn beforehand, so that drawing them takes no processor. A frame that was dropped is late, too. With `--dead` further
cameras hang in a read after DEAD_S.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from app.errors import UsageError
from app.files import check_writable
from app.sources.captures import CameraFeed
from app.sources.demo import FPS as DRAWN_FPS
from app.sources.demo import DemoCrowd
from scheduler.profile import quantile

if TYPE_CHECKING:
    from app.camera import Camera
    from app.compose import App
    from app.domain import Image
    from app.sources.source import Source

SIZE = (640, 360)
DRAWN_S = 6.0  # seconds of pictures, forwards and backwards again
WARM_S, MOST_WARM_S = 5.0, 120.0  # after the network is loaded and measured; and how long that may take
DEAD_S = 3.0
HEAD = f"{'camera':<10}{'frames':>8}{'in time':>9}{'dropped':>9}{'age p50':>9}{'p95':>7}{'p99':>7}{'faces read':>12}"


class Pictures:
    """A device that shows pictures at a rate; `dies` is when it stops answering."""

    patience_s = 5.0

    def __init__(self, name: str, pictures: list[Image], fps: float, start: int, dies_s: float | None = None) -> None:
        self.name, self._pictures, self._fps, self._start, self._dies_s = name, pictures, fps, start, dies_s
        self.ended = threading.Event()

    def open(self) -> CameraFeed:
        return CameraFeed(Playing(self))

    def problem(self) -> str:
        return f"{self.name} gives no picture"

    def gone(self) -> str | None:
        return None


class Playing:
    """What app.sources.captures needs of OpenCV's VideoCapture."""

    def __init__(self, device: Pictures) -> None:
        self._device, self._began_s = device, time.monotonic()
        self._number = itertools.count(device._start)
        self._due_s = self._began_s

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        device = self._device
        self._due_s += 1 / device._fps
        if device._dies_s is not None and self._due_s - self._began_s > device._dies_s:
            device.ended.wait()  # as a driver that never returns
            return False
        device.ended.wait(max(0.0, self._due_s - time.monotonic()))
        return True

    def retrieve(self) -> tuple[bool, Image | None]:
        pictures = self._device._pictures
        i = next(self._number) % (2 * len(pictures) - 2)
        return True, pictures[min(i, 2 * len(pictures) - 2 - i)]

    def get(self, prop: int, /) -> float:
        return self._device._fps

    def set(self, prop: int, value: float, /) -> bool:
        return False

    def release(self) -> None:
        pass


def bench_cameras(
    count: int, fps: float, seconds: float, dead: int, budget_ms: float, model: str, out: Path | None
) -> int:
    """Raises UsageError for what makes no sense."""
    if not (1 <= count <= 16 and 0 <= dead <= 16 - count):
        raise UsageError(f"--count and --dead must be 1 to 16 cameras together, got {count} and {dead}")
    if not (1 <= fps <= 60 and 5 <= seconds <= 3600):
        raise UsageError(f"--fps must be from 1 to 60, --seconds from 5 to 3600, got {fps:g} and {seconds:g}")
    if out:
        check_writable(out)
    from app.compose import build
    from app.network.profiles import machine
    from app.settings import Settings
    from app.sources.live import LiveSource

    pictures = drawn(fps)
    devices = [Pictures(f"camera {i}", pictures, fps, i * len(pictures) // count) for i in range(count)]
    devices += [Pictures(f"dead {i}", pictures, fps, 0, DEAD_S) for i in range(dead)]
    sources: list[Source] = [LiveSource(device, time.monotonic, None) for device in devices]
    app = build(Settings(source="demo", budget_ms=budget_ms, model=model, show=False), sources=sources)
    print(
        f"{count} cameras of {SIZE[0]}x{SIZE[1]} and one face at {fps:g} fps, {dead} dead, budget {budget_ms:g} ms, "
        f"{app.network.manifest.name} on {app.network.engine.provider}; {seconds:g} s"
    )
    rows = _measured(app, devices, seconds)
    print(HEAD)
    for row in rows:
        print(_line(row))
    if out:
        report = {"machine": machine(), "fps": fps, "seconds": seconds, "budget_ms": budget_ms, "cameras": rows}
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def drawn(fps: float) -> list[Image]:
    """One person of the demo crowd who moves, as a small camera sees them."""
    crowd, step = DemoCrowd(lambda _: 1), DRAWN_FPS / fps
    first = 5 * DRAWN_FPS  # by then they stand in the picture
    numbers = [round(first + i * step) for i in range(max(2, round(DRAWN_S * fps)))]
    return [cv2.resize(crowd.picture(n), SIZE, interpolation=cv2.INTER_AREA) for n in numbers]


def _measured(app: App, devices: list[Pictures], seconds: float) -> list[dict[str, Any]]:
    pipeline = app.pipeline
    wait = threading.Event().wait
    pipeline.start()
    try:
        until_s = time.monotonic() + MOST_WARM_S
        while len(pipeline.controls.now.points) < len(app.network.engine.points) and time.monotonic() < until_s:
            wait(0.2)  # until all points are loaded and measured
            if pipeline.finished():
                break
        wait(WARM_S)
        before = [_counts(camera) for camera in pipeline.cameras]
        wait(seconds)
        after = [_counts(camera) for camera in pipeline.cameras]
    finally:
        for device in devices:
            device.ended.set()
        pipeline.close()
    if pipeline.failure:
        raise pipeline.failure
    return [_row(camera, a, b) for camera, a, b in zip(pipeline.cameras, before, after, strict=True)]


def _counts(camera: Camera) -> dict[str, Any]:
    totals = camera.totals
    lost = sum(n for cause, n in totals.drops.items() if cause.name in ("GRAB_FULL", "FRONT_END_FULL", "FAILED"))
    return {
        "frames": totals.frames,
        "missed": totals.misses,
        "faces": totals.faces,
        "read": totals.read,
        "dropped": lost,
    }


def _row(camera: Camera, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    row = {key: after[key] - before[key] for key in after}
    ages = list(camera.totals.ages_ms)[-row["frames"] :] if row["frames"] else []
    every = row["frames"] + row["dropped"]
    in_time = (row["frames"] - row["missed"]) / every if every else 0.0
    ages_ms = {f"age_p{q}_ms": quantile(ages, q / 100) if ages else None for q in (50, 95, 99)}
    return {"camera": camera.name or "camera 0", **row, "in_time": in_time, **ages_ms}


def _line(row: dict[str, Any]) -> str:
    if not row["frames"]:
        return f"{row['camera']:<10}{0:>8}"
    ages = f"{row['age_p50_ms']:>9.1f}{row['age_p95_ms']:>7.1f}{row['age_p99_ms']:>7.1f}"
    read = row["read"] / max(row["faces"], 1)
    return f"{row['camera']:<10}{row['frames']:>8}{row['in_time']:>9.1%}{row['dropped']:>9}{ages}{read:>12.0%}"
