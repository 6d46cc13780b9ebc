"""Cameras, files, streams and the demo crowd behind one function: `open_source(spec)` gives `Frame`s.

One picture is read when a source is opened, so that whatever is wrong with it shows at once. Local cameras are read by
OpenCV, in whose place tests put `capture`; videos and network streams by PyAV; pictures by Pillow.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
from PIL import UnidentifiedImageError

from app.errors import SourceError
from app.sources.cameras import find_camera, list_cameras
from app.sources.captures import CaptureFactory, checked_file, hush, unreadable
from app.sources.demo import DemoSource, demo_crowd
from app.sources.devices import AS_IT_IS, CameraDevice, Wishes, is_camera_spec
from app.sources.files import FileSource
from app.sources.live import Clock, Device, LiveSource, Wait
from app.sources.many import STDIN, series
from app.sources.selection import Selection
from app.sources.source import FALLBACK_FPS, Source
from app.sources.stills import Series, Still
from app.sources.streams import ADDRESS, StreamDevice
from app.sources.video import Footage, Video


@dataclass(frozen=True, kw_only=True)
class Playing:
    """How what has an end is played. Of a file only the pictures of `selection` are given, with their own numbers and times."""

    loop: bool = False  # from the beginning again at the end
    realtime: bool = False  # a file at its own rate, as if it were live
    selection: Selection | None = None


@dataclass(frozen=True, kw_only=True)
class Watching:
    """How cameras and streams are held."""

    reconnect_s: float | None = None  # how long what broke off is looked for; None: for ever, 0: not at all
    wait_for_it: bool = False  # it need not be there at the start
    wishes: Wishes = AS_IT_IS  # what a camera is asked for


def open_source(
    spec: str,
    playing: Playing = Playing(),
    watching: Watching = Watching(),
    *,
    clock: Clock = time.monotonic,
    wait: Wait | None = None,
    capture: CaptureFactory = cv2.VideoCapture,
) -> Source:
    """Opens "auto", "demo", "demo:32", a camera ("0", "/dev/video2", part of its name), a file or a URL. Raises SourceError.

    `wait` sleeps; the default is cut short when the source is closed.
    """
    hush()
    spec = spec.strip()
    if spec.lower().startswith("file:"):
        spec = unquote(urlsplit(spec).path)
    if crowd := demo_crowd(spec):
        return DemoSource(crowd, loop=playing.loop, clock=clock, wait=wait)

    def live(device: Device, *, camera: bool) -> LiveSource:
        return LiveSource(
            device, clock, wait, camera=camera, reconnect_s=watching.reconnect_s, wait_for_it=watching.wait_for_it
        )

    if spec == "auto":
        try:
            camera = live(CameraDevice("0", capture, watching.wishes), camera=True)
        except SourceError as error:
            demo = DemoSource(loop=playing.loop, clock=clock, wait=wait)
            demo.note = f"Showing the demo crowd, because there is no picture from camera 0. {error}"
            return demo
        camera.note = "Camera 0 was found and is used."
        return camera
    if ADDRESS.match(spec):
        stream = StreamDevice(spec)
        if not (spec.lower().startswith("http") and stream.has_an_end()):
            return live(stream, camera=False)
    elif spec != STDIN and not series(spec) and (is_camera_spec(spec) or _names_a_camera(spec, watching.wait_for_it)):
        return live(CameraDevice(spec, capture, watching.wishes), camera=True)
    name, problem, reopen = _footage(spec)
    return FileSource(
        name, reopen, problem, loop=playing.loop, realtime=playing.realtime, clock=clock, wait=wait,
        selection=playing.selection,
    )  # fmt: skip


def _footage(spec: str) -> tuple[str, str, Callable[[], Footage]]:
    """Name, what to say where it cannot be read, and how it is opened. Raises SourceError."""
    if ADDRESS.match(spec):
        stream = StreamDevice(spec)
        return stream.name, stream.problem(), lambda: Video(spec, stream.name, stream.problem())
    if spec == STDIN:
        name, problem = "standard input", "Standard input brings no video that can be read as it comes. Name a file."
        return name, problem, lambda: Video(sys.stdin.buffer, name, problem)
    if numbered := series(spec):
        name = Path(spec).name
        return name, f"None of the pictures of {spec} can be read.", lambda: Series(numbered, FALLBACK_FPS)
    path = checked_file(spec)
    unread = unreadable(path)
    return path.name, unread, lambda: open_file(path, unread)


def open_file(path: Path, problem: str) -> Footage:
    """What a file's content says that it is; its name is not asked. Raises SourceError, with `problem` where it is neither."""
    with suppress(UnidentifiedImageError):
        return Still(path)
    return Video(str(path.absolute()), path.name, problem)  # absolute: "a:b.mp4" would be protocol a


def _names_a_camera(spec: str, wait_for_it: bool) -> bool:
    """What is not a file may be a part of a camera's name. Raises SourceError where it is of several, or neither."""
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
