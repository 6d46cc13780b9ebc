"""Pictures from OpenCV, and what the operating system says about where they come from.

Everything here turns a failure into a reason that a user can act on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from app.domain import Image
from app.errors import SourceError

DEVICES = Path("/dev")
MAX_PIXELS = 1 << 26  # 8192x8192; 200 MB as a picture
STALL_S = 5.0  # a live source without a picture for so long has failed

TRY_ANOTHER = "Try another one (`main.py cameras` lists them), a video file, or `--source demo`."

# OpenCV reads this once, at the first use of a camera by anybody; hence here and not in open_source.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", f"{STALL_S:.0f}")


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used here."""

    def isOpened(self) -> bool: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Image | None]: ...
    def get(self, prop: int, /) -> float: ...
    def set(self, prop: int, value: float, /) -> bool: ...
    def release(self) -> None: ...


class CameraFeed:
    """An open camera."""

    skipped = 0  # the driver does not say

    def __init__(self, capture: Capture) -> None:
        self._capture, self.fps = capture, sane_fps(capture)

    def read(self) -> tuple[bool, Image | None]:
        return next_image(self._capture)

    def close(self) -> None:
        self._capture.release()


CaptureFactory = Callable[[int | str, int, list[int]], Capture]  # target, OpenCV's backend, its opening parameters


def as_bgr(image: Image | None) -> Image | None:
    """Grey and BGRA as BGR; None for what is not a picture: empty, not of 8 bits, of two channels."""
    if image is None or image.size == 0 or image.dtype != np.uint8 or image.ndim not in (2, 3):
        return None
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return image
    if channels not in (1, 4):
        return None
    return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR if channels == 4 else cv2.COLOR_GRAY2BGR)


def next_image(capture: Capture) -> tuple[bool, Image | None]:
    """Whether something was read, and the picture; None where reading failed or the picture is broken."""
    try:
        if not capture.grab():
            return False, None
        read, image = capture.retrieve()
    except cv2.error:
        return False, None
    return read, as_bgr(image) if read else None


def sane_fps(capture: Capture) -> float | None:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if 0.1 <= fps < 1000 else None  # 1000 and 90000 are time bases; NaN is neither


def camera_problem(name: str, device: Path) -> str | None:
    """What the operating system says against a camera before anything is opened."""
    if not device.exists():
        others = ", ".join(str(path) for path in sorted(DEVICES.glob("video*")))
        found = f"Found: {others}; try `--source {others.split(',')[0]}`." if others else "No camera is connected here."
        return f"{name.capitalize()} is absent: there is no {device}. {found} Without a camera: `--source demo`."
    if not os.access(device, os.R_OK | os.W_OK):
        return (
            f"{name.capitalize()} may not be used by this account: no permission for {device}. Run "
            "`sudo usermod -aG video $USER`, then log in again. Without a camera: `--source demo`."
        )
    return None


def checked_file(spec: str) -> Path:
    missing = f"There is no file {spec!r}. Check the path; `--source demo` needs no file."
    try:
        path = Path(spec).expanduser()
        if not spec or not path.exists():
            raise SourceError(missing)
        str(path.absolute()).encode()  # FFmpeg takes no other names
    except UnicodeEncodeError as error:
        raise SourceError(f"{spec!r} has a name that is not UTF-8, which FFmpeg cannot open. Rename it.") from error
    except (OSError, ValueError, RuntimeError) as error:  # name too long, zero byte, unknown home
        raise SourceError(missing) from error
    if path.is_dir():
        raise SourceError(f"{spec} is a folder. Name one video file in it.")
    if not path.is_file():
        raise SourceError(f"{spec} is not an ordinary file. Name a video file, a camera or a URL.")
    if path.stat().st_size == 0:
        raise SourceError(f"{spec} is empty (0 bytes). Copy or download it again.")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{spec} may not be read by this account. Change its permissions: `chmod +r {spec}`.")
    return path


def unreadable(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return f"{path.name} is cut off or damaged: not one frame of it can be read. Copy or record it again."
    return (
        f"{path.name} is not a video or picture that can be read, or is cut off at its start. Check it, or convert it: "
        f"`ffmpeg -i {path.name} converted.mp4`."
    )


def system_backend() -> int:
    """OpenCV's way to cameras on this system; cameras are numbered differently by each."""
    return {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_MSMF}.get(sys.platform, cv2.CAP_ANY)


def hush() -> None:
    """Keeps OpenCV from writing to stderr, unless the user asked for that in the environment."""
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
