"""Which cameras there are, what they can do, and which of them is meant.

Linux is asked through sysfs and V4L2 (linux/videodev2.h), which also tells a camera that is in use from one that is
free; libraries for that are under the GPL or know neither sizes nor use. macOS and Windows are asked through
cv2-enumerate-cameras, whose numbers are those of OpenCV.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.errors import SourceError
from app.sources import captures

SYSFS = Path("/sys/class/video4linux")
PROC = Path("/proc")

_QUERYCAP, _ENUM_FMT, _ENUM_FRAMESIZES, _REQBUFS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC0145608
_CAPTURE, _CAPTURE_MPLANE, _DEVICE_CAPS = 0x1, 0x1000, 0x80000000
_BUFFER_CAPTURE, _BUFFER_CAPTURE_MPLANE, _MMAP = 1, 9, 1
_DISCRETE = 1
MOST = 64  # formats of a camera, and sizes of a format; a driver that never says "no more" is not believed

Ioctl = Callable[[int, int, bytearray], object]  # fcntl.ioctl, or something like it


class CameraState(StrEnum):
    FREE = "free"
    BUSY = "in use by another program"
    DENIED = "no permission"
    UNKNOWN = "not asked"  # macOS and Windows say so only when a camera is opened


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera as the operating system describes it."""

    index: int  # what `--source` takes
    name: str
    path: str = ""  # "/dev/video0"; on macOS and Windows the system's own id
    bus: str = ""  # where it is plugged in
    sizes: tuple[tuple[int, int], ...] = ()  # width, height, largest first; () where unknown
    state: CameraState = CameraState.UNKNOWN


def list_cameras(ioctl: Ioctl | None = None) -> list[Camera]:
    """Every camera, by number. Opens none for pictures, so that nothing is disturbed and no light goes on."""
    if sys.platform == "linux":
        return list(_linux_cameras(ioctl or _kernel()))
    try:
        from cv2_enumerate_cameras import enumerate_cameras
    except ImportError:
        return []
    backend = captures.system_backend()
    return [Camera(c.index, c.name or f"camera {c.index}", c.path or "") for c in enumerate_cameras(backend)]


def find_camera(text: str, cameras: Sequence[Camera]) -> Camera | None:
    """The one camera with `text` in its name, upper or lower case; None where there is none. Raises SourceError for several."""
    wanted = text.casefold()
    found = [c for c in cameras if wanted and wanted in c.name.casefold()]
    exact = [c for c in found if c.name.casefold() == wanted]
    found = exact if len(exact) == 1 else found
    if len(found) > 1:
        listing = "; ".join(f"{c.index} {c.name}" for c in found)
        raise SourceError(
            f"{text!r} is part of {len(found)} cameras' names: {listing}. Give more of it, or the number."
        )
    return found[0] if found else None


def same_camera(known: Camera, cameras: Sequence[Camera]) -> Camera | None:
    """`known` again after it was unplugged: at its old place, else as a free one of its name, under whatever number."""
    alike = [c for c in cameras if c.name == known.name]
    there = [c for c in alike if c.bus == known.bus]
    elsewhere = [c for c in alike if c.state is CameraState.FREE]
    if there:
        return there[0]
    return elsewhere[0] if len(elsewhere) == 1 else None


def in_use(device: Path, ioctl: Ioctl | None = None) -> str | None:
    """Who has a Linux camera, for people: "another program (cheese, process 1234)"; None where nobody has."""
    with suppress(OSError), _opened(device) as file:
        if _is_busy(file, ioctl or _kernel(), _BUFFER_CAPTURE):
            return f"another program{_holder(device)}"
    return None


def _kernel() -> Ioctl:
    import fcntl

    return fcntl.ioctl


def _linux_cameras(ioctl: Ioctl) -> Iterator[Camera]:
    numbers = [
        int(p.name[5:]) for p in captures.DEVICES.glob("video*") if p.name[5:].isascii() and p.name[5:].isdecimal()
    ]
    for number in sorted(numbers):
        device = captures.DEVICES / f"video{number}"
        name = _sysfs_name(number)
        try:
            with _opened(device) as file:
                camera = _ask(number, name, device, file, ioctl)
        except PermissionError:
            camera = Camera(number, name, str(device), state=CameraState.DENIED)
        except OSError as error:
            if error.errno != errno.EBUSY:  # ENODEV: it was pulled out a moment ago; ENOTTY: not a camera
                continue
            camera = Camera(number, name, str(device), state=CameraState.BUSY)
        if camera:
            yield camera


def _sysfs_name(number: int) -> str:
    try:
        return (SYSFS / f"video{number}" / "name").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return f"camera {number}"


def _ask(number: int, name: str, device: Path, file: int, ioctl: Ioctl) -> Camera | None:
    """None for what gives no pictures: encoders, outputs, a webcam's second node for metadata."""
    answer = _call(ioctl, file, _QUERYCAP, struct.pack("16s32s32s6I", b"", b"", b"", *[0] * 6))
    _, card, bus, _, whole, node, *_ = struct.unpack("16s32s32s6I", answer)
    able = node if whole & _DEVICE_CAPS else whole
    if not able & (_CAPTURE | _CAPTURE_MPLANE):
        return None
    kind = _BUFFER_CAPTURE if able & _CAPTURE else _BUFFER_CAPTURE_MPLANE
    sizes = sorted(set(_sizes(file, ioctl, kind)), key=lambda s: (s[0] * s[1], s), reverse=True)
    state = CameraState.BUSY if _is_busy(file, ioctl, kind) else CameraState.FREE
    return Camera(number, _text(card) or name, str(device), _text(bus), tuple(sizes), state)


def _sizes(file: int, ioctl: Ioctl, kind: int) -> Iterator[tuple[int, int]]:
    for i in range(MOST):
        try:
            answer = _call(ioctl, file, _ENUM_FMT, struct.pack("3I32sI4I", i, kind, 0, b"", 0, *[0] * 4))
        except OSError:
            return
        pixels = struct.unpack("3I32sI4I", answer)[4]
        for j in range(MOST):
            try:
                answer = _call(ioctl, file, _ENUM_FRAMESIZES, struct.pack("11I", j, pixels, *[0] * 9))
            except OSError:
                break
            _, _, what, *numbers = struct.unpack("11I", answer)
            if what == _DISCRETE:
                yield numbers[0], numbers[1]
            else:  # any size between two, in steps: smallest and largest
                yield numbers[0], numbers[3]
                yield numbers[1], numbers[4]
                break


def _is_busy(file: int, ioctl: Ioctl, kind: int) -> bool:
    """Giving back no buffers is refused where another program holds the camera's, and does nothing otherwise."""
    try:
        _call(ioctl, file, _REQBUFS, struct.pack("5I", 0, kind, _MMAP, 0, 0))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _call(ioctl: Ioctl, file: int, request: int, argument: bytes) -> bytes:
    buffer = bytearray(argument)
    ioctl(file, request, buffer)
    return bytes(buffer)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace").strip()


class _opened:
    """A device node as a file number, without waiting for anything."""

    def __init__(self, device: Path) -> None:
        self._device = device

    def __enter__(self) -> int:
        self._file = os.open(self._device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return self._file

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _holder(device: Path) -> str:
    """The program that has the device open, where this account may know: " (cheese, process 1234)"."""
    with suppress(OSError):
        for process in PROC.iterdir():
            if not process.name.isdecimal() or process.name == str(os.getpid()):
                continue
            with suppress(OSError):
                for link in (process / "fd").iterdir():
                    if os.readlink(link) == str(device.resolve()):
                        return f" ({(process / 'comm').read_text(encoding='utf-8').strip()}, process {process.name})"
    return ""


MOST_SIZES = 8  # that a line names


def line(camera: Camera) -> str:
    """For people."""
    sizes = [f"{width}x{height}" for width, height in camera.sizes]
    more = [f"and {len(sizes) - MOST_SIZES} more"] if len(sizes) > MOST_SIZES else []
    about = ", ".join([*sizes[:MOST_SIZES], *more])
    state = "" if camera.state in (CameraState.FREE, CameraState.UNKNOWN) else f" [{camera.state}]"
    if camera.state is CameraState.DENIED:
        state += "; run `sudo usermod -aG video $USER` and log in again"
    path = f"  {camera.path}" if camera.path.startswith("/dev/") else ""
    return f"{camera.index:>3}  {camera.name}{path}{state}" + (f"  {about}" if about else "")
