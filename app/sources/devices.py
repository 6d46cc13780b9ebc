"""Local cameras, read by OpenCV: found anew each time that one is opened."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from app.errors import SourceError
from app.sources import captures
from app.sources.cameras import Camera, find_camera, in_use, list_cameras, same_camera
from app.sources.captures import STALL_S, TRY_ANOTHER, CameraFeed, CaptureFactory, camera_problem


def is_camera_spec(spec: str) -> bool:
    """A number or a device's path; a name is told from a file's by looking for both."""
    return (spec.isascii() and spec.isdecimal()) or (spec.startswith("/dev/") and not Path(spec).is_file())


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a camera is asked for. It may refuse, or take what is nearest."""

    size: tuple[int, int] = (1280, 720)
    fps: float | None = None  # None: its own
    exposure_ms: float | None = None  # None: the camera chooses it

    def properties(self, system: str = sys.platform) -> list[tuple[int, float]]:
        """OpenCV's, in the order in which drivers want them."""
        asked = [
            (
                cv2.CAP_PROP_FOURCC,
                cv2.VideoWriter.fourcc(*"MJPG"),
            ),  # before the size: raw pictures of it may be too slow
            (cv2.CAP_PROP_FRAME_WIDTH, self.size[0]),
            (cv2.CAP_PROP_FRAME_HEIGHT, self.size[1]),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ]
        if self.fps:
            asked.append((cv2.CAP_PROP_FPS, self.fps))
        linux = system == "linux"
        if (
            self.exposure_ms
        ):  # V4L2 counts 0.1 ms and calls manual 1; elsewhere it is the power of two of seconds, and 0.25
            asked.append((cv2.CAP_PROP_AUTO_EXPOSURE, 1 if linux else 0.25))
            exposure = 10 * self.exposure_ms if linux else math.log2(self.exposure_ms / 1e3)
            asked.append((cv2.CAP_PROP_EXPOSURE, round(exposure)))
        elif linux:
            asked.append((cv2.CAP_PROP_AUTO_EXPOSURE, 3))  # a camera keeps what the last program set
        return asked


AS_IT_IS = Wishes()


class CameraDevice:
    """A camera by number, path or part of its name. Plugged in again under another number it is still found."""

    patience_s = STALL_S

    def __init__(self, spec: str, capture: CaptureFactory, wishes: Wishes = AS_IT_IS) -> None:
        self._spec, self._capture, self._wishes = spec, capture, wishes
        self._known: Camera | None = None  # as it was when it was opened last
        self._target: int | Path = 0
        self.name = f"camera {spec}"

    def open(self) -> CameraFeed:
        self._target = self._found()
        opened = self._capture(
            str(self._target) if isinstance(self._target, Path) else self._target, captures.system_backend(), []
        )
        if not opened.isOpened():
            opened.release()
            raise SourceError(self.problem())
        for prop, value in self._wishes.properties():
            opened.set(prop, value)
        return CameraFeed(opened)

    def problem(self) -> str:
        name = self.name.capitalize()
        if not isinstance(self._target, Path):
            reason = "it is absent, in use by another program, or cameras are blocked in the privacy settings."
            return f"{name} gives no picture: {reason} {TRY_ANOTHER}"
        if problem := camera_problem(self.name, self._target):
            return problem
        if holder := in_use(self._target):
            return f"{name} is busy: {self._target} is in use by {holder}. Close that program. {TRY_ANOTHER}"
        return (
            f"{name} is there but gives no picture: {self._target} is not a camera, sends nothing, or is in use by another "
            f"program. Unplug it and plug it in again. {TRY_ANOTHER}"
        )

    def gone(self) -> str | None:
        if isinstance(self._target, Path) and not self._target.exists():
            return f"{self.name} was unplugged: there is no {self._target} any more. Plug it in again."
        return None

    def _found(self) -> int | Path:
        """Where the camera is now. Raises SourceError."""
        named, cameras = not is_camera_spec(self._spec), list_cameras()
        again = same_camera(self._known, cameras) if self._known else None
        if named and not again:
            again = find_camera(self._spec, cameras)
            if not again:
                listing = ", ".join(f"{c.index} {c.name}" for c in cameras) or "none"
                raise SourceError(f"No camera has {self._spec!r} in its name. Cameras here: {listing}.")
        if sys.platform != "linux":
            return again.index if again else int(self._spec) if self._spec.isdecimal() else 0
        device = (
            Path(again.path)
            if again
            else captures.DEVICES / f"video{self._spec}"
            if self._spec.isdecimal()
            else Path(self._spec)
        )
        if problem := camera_problem(self.name, device):
            raise SourceError(problem)
        path = str(device.resolve())
        self._known = again or next((c for c in cameras if c.path == path), self._known)
        return device
