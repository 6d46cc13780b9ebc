"""The listing of cameras on a kernel of our own. What V4L2 really answers was compared in a virtual machine with vivid."""

from __future__ import annotations

import errno
import json
import os
import struct
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.errors import SourceError
from app.sources import cameras, captures
from app.sources.cameras import Camera, CameraState, find_camera, in_use, list_cameras, same_camera
from app.sources.open import open_source

MJPG, YUYV = (int.from_bytes(code, "little") for code in (b"MJPG", b"YUYV"))
CAPTURE, METADATA, DEVICE_CAPS = 0x1, 0x00800000, 0x80000000


class FakeKernel:
    """Answers V4L2's questions about the nodes that it is given, by their path."""

    def __init__(self, **nodes: dict[str, Any]) -> None:
        self.nodes = nodes

    def __call__(self, file: int, request: int, buffer: bytearray) -> int:
        node = self.nodes[Path(os.readlink(f"/proc/self/fd/{file}")).name]
        number, size = request & 0xFF, request >> 16 & 0x3FFF
        assert size == len(buffer) and request >> 8 & 0xFF == ord("V")
        if number == 0:
            caps = node.get("caps", CAPTURE)
            struct.pack_into(
                "16s32s32s3I",
                buffer,
                0,
                b"uvcvideo",
                node["card"].encode(),
                node.get("bus", b"usb-1"),
                1,
                caps | METADATA | DEVICE_CAPS,
                caps,
            )
        elif number == 8:
            if node.get("busy"):
                raise OSError(errno.EBUSY, "busy")
        elif number == 2:
            i, kind = struct.unpack_from("2I", buffer)
            formats = list(node.get("formats", {}))
            if i >= len(formats) or kind != 1:
                raise OSError(errno.EINVAL, "no more")
            struct.pack_into("I", buffer, 44, formats[i])
        elif number == 74:
            i, pixels = struct.unpack_from("2I", buffer)
            sizes = node["formats"][pixels]
            if i >= len(sizes):
                raise OSError(errno.EINVAL, "no more")
            struct.pack_into(f"{1 + len(sizes[i])}I", buffer, 8, 1 if len(sizes[i]) == 2 else 3, *sizes[i])
        else:
            raise AssertionError(hex(request))
        return 0


WEBCAM = {"card": "HD Pro Webcam C920", "formats": {YUYV: [(640, 480)], MJPG: [(640, 480), (1920, 1080), (1280, 720)]}}
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux only")


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes nodes under a /dev of our own, behind a kernel that knows them."""
    monkeypatch.setattr(captures, "DEVICES", tmp_path)
    monkeypatch.setattr(cameras, "SYSFS", tmp_path / "sysfs")

    def plug(**nodes: dict[str, Any]) -> FakeKernel:
        for name in nodes:
            (tmp_path / name).touch()
        kernel = FakeKernel(**nodes)
        monkeypatch.setattr(cameras, "_kernel", lambda: kernel)
        return kernel

    return plug


def test_cameras_have_names_and_sizes_and_metadata_nodes_are_none(plug):
    plug(
        video0=WEBCAM,
        video1={"card": "HD Pro Webcam C920", "caps": METADATA},
        video10={"card": "Later", "formats": {YUYV: [(16, 4096, 2, 16, 2160, 2)]}},
    )
    first, last = list_cameras()
    assert (first.index, first.name, first.bus, first.state) == (0, "HD Pro Webcam C920", "usb-1", CameraState.FREE)
    assert first.sizes == ((1920, 1080), (1280, 720), (640, 480)) and first.path.endswith("/video0")
    assert last.index == 10 and last.sizes == ((4096, 2160), (16, 16))


def test_busy_denied_and_vanished_cameras(plug, monkeypatch):
    plug(video0={**WEBCAM, "busy": True}, video1=WEBCAM, video2=WEBCAM, video3=WEBCAM)
    really = os.open

    def opening(path: Any, *more: Any) -> int:
        refusal = {"video1": errno.EACCES, "video2": errno.ENODEV}.get(Path(path).name)
        if refusal:
            raise OSError(refusal, os.strerror(refusal))
        return really(path, *more)

    monkeypatch.setattr(os, "open", opening)
    assert [(c.index, c.state) for c in list_cameras()] == [
        (0, CameraState.BUSY),
        (1, CameraState.DENIED),
        (3, CameraState.FREE),
    ]


def test_a_driver_that_never_ends_its_list_is_not_believed(plug):
    endless = type("Endless", (list,), {"__len__": lambda self: 10**9, "__getitem__": lambda self, i: (640, 480)})()
    plug(video0={"card": "Odd", "formats": {YUYV: endless}})
    assert list_cameras()[0].sizes == ((640, 480),)


def test_who_has_a_busy_camera_is_named(plug, tmp_path, monkeypatch):
    plug(video0={**WEBCAM, "busy": True})
    (tmp_path / "proc" / "4711" / "fd").mkdir(parents=True)
    (tmp_path / "proc" / "4711" / "comm").write_text("cheese\n")
    (tmp_path / "proc" / "4711" / "fd" / "7").symlink_to(tmp_path / "video0")
    monkeypatch.setattr(cameras, "PROC", tmp_path / "proc")
    assert in_use(tmp_path / "video0") == "another program (cheese, process 4711)"

    class Closed:
        def isOpened(self) -> bool:
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(
        SourceError, match=r"Camera 0 is busy: .*video0 is in use by another program \(cheese, process 4711\)"
    ):
        open_source("0", capture=lambda *_: Closed())
    plug(video0=WEBCAM)
    with pytest.raises(SourceError, match="Camera 0 is there but gives no picture"):
        open_source("0", capture=lambda *_: Closed())
    with pytest.raises(SourceError, match="Camera 5 is absent"):
        open_source("5", capture=lambda *_: Closed())


def test_find_camera():
    listing = [Camera(0, "Integrated Camera"), Camera(2, "Logitech C920"), Camera(4, "Logitech C920 PRO")]
    assert find_camera("integ", listing) is listing[0]
    assert find_camera("logitech c920", listing) is listing[1]  # exact
    assert find_camera("pro", listing) is listing[2]
    assert find_camera("x", listing) is None and find_camera("", listing) is None
    with pytest.raises(SourceError, match="2 cameras' names"):
        find_camera("logi", listing)


def test_same_camera():
    known = Camera(2, "C920", "/dev/video2", "usb-1")
    twin = Camera(3, "C920", "/dev/video3", "usb-2", (), CameraState.FREE)
    moved = Camera(5, "C920", "/dev/video5", "usb-1", (), CameraState.FREE)
    assert same_camera(known, [twin, moved]) is moved  # the same port
    assert same_camera(known, [twin]) is twin
    assert (
        same_camera(known, [Camera(3, "C920", "/dev/video3", "usb-2", (), CameraState.BUSY)]) is None
    )  # somebody else's
    assert same_camera(known, [Camera(2, "Other", "/dev/video2", "usb-1", (), CameraState.FREE)]) is None


def test_the_command(plug, capsys):
    plug(video0=WEBCAM, video2={**WEBCAM, "card": "Second", "busy": True})
    assert main(["cameras"]) == 0
    first, second, how = capsys.readouterr().out.splitlines()
    assert "0  HD Pro Webcam C920" in first and "1920x1080, 1280x720, 640x480" in first
    assert "[in use by another program]" in second and "--source" in how
    assert main(["cameras", "--json"]) == 0
    one, two = json.loads(capsys.readouterr().out)
    assert one["sizes"][0] == [1920, 1080] and two["state"] == "in use by another program"


def test_the_command_without_a_camera(plug, capsys):
    assert main(["cameras"]) == 0
    assert "No camera was found" in capsys.readouterr().out
    assert main(["cameras", "--json"]) == 0 and json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_the_library_names_them_with_opencvs_numbers(platform, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", platform)
    asked = []
    there = types.SimpleNamespace(index=1, name="FaceTime HD", path="0x1400", vid=None, pid=None)
    library = types.SimpleNamespace(enumerate_cameras=lambda backend: asked.append(backend) or [there])
    monkeypatch.setitem(sys.modules, "cv2_enumerate_cameras", library)
    assert list_cameras() == [Camera(1, "FaceTime HD", "0x1400")]
    assert asked == [captures.system_backend()] and asked[0] > 0
    monkeypatch.setitem(sys.modules, "cv2_enumerate_cameras", None)
    assert main(["cameras"]) == 0
    assert "pip install cv2-enumerate-cameras" in capsys.readouterr().out
