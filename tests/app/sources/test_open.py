from __future__ import annotations

import functools
import http.server
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.domain import Image, SourceState
from app.errors import SourceError, SourceStalled
from app.sources import captures
from app.sources.captures import as_bgr, camera_problem
from app.sources.demo import DemoSource
from app.sources.devices import Wishes
from app.sources.files import Timeline
from app.sources.open import Playing, Watching, open_source
from tests.support.fakes import FakeTime
from tests.support.paths import SHARED

CLIPS = SHARED / "clips"
PICTURE = np.full((6, 8, 3), 90, np.uint8)


class FakeCapture:
    """A device that delivers what it is told to: a picture, or None for a failing read; None for ever at the end."""

    def __init__(self, reads: Iterable[Image | None], *, opened: bool = True, properties: dict | None = None) -> None:
        self.reads, self.opened, self.properties = iter(reads), opened, properties or {}
        self.asked: list = []
        self.targets: list = []
        self.released = 0
        self.grabs = 0

    def __call__(self, target: int | str, backend: int, parameters: list[int]) -> FakeCapture:
        self.targets.append((target, tuple(parameters)))
        return self

    def isOpened(self) -> bool:
        return self.opened

    def grab(self) -> bool:
        assert not self.released
        self.grabs += 1
        self.image = next(self.reads, None)
        return self.image is not None

    def retrieve(self) -> tuple[bool, Image | None]:
        return True, self.image

    def get(self, prop: int, /) -> float:
        return self.properties.get(prop, 0.0)

    def set(self, prop: int, value: float, /) -> bool:
        self.asked.append(prop)
        return False

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev of our own, with video0."""
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "video0").touch()
    monkeypatch.setattr(captures, "DEVICES", folder)
    monkeypatch.setattr(sys, "platform", "linux")
    return folder


def make_video(path: Path, frames: int = 30, codec: str = "MJPG", size: tuple[int, int] = (160, 120)) -> Path:
    """25 frames a second; each frame is brighter than the one before. Noise, so that the file's length is in them."""
    noise = np.random.default_rng(0).integers(0, 60, (size[1], size[0], 3))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, size)
    assert writer.isOpened()
    for i in range(frames):
        writer.write((noise + 6 * i).clip(0, 255).astype(np.uint8))
    writer.release()
    return path


def cut(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    return path


# --- files


@pytest.mark.parametrize(("file", "codec"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("a:b 100%.mkv", "mp4v")])
def test_a_file_gives_all_its_frames_in_order(tmp_path: Path, file: str, codec: str) -> None:
    source = open_source(str(make_video(tmp_path / file, codec=codec)))
    assert (source.name, source.live, source.fps, source.frame_count) == (file, False, 25, 30)
    frames = list(source)
    assert [frame.id for frame in frames] == list(range(30))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(30)], abs=0.002)
    assert all(b.image.mean() > a.image.mean() for a, b in pairwise(frames))
    assert all(b.born_s >= a.born_s for a, b in pairwise(frames))
    assert source.note == ""


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff"])
def test_a_picture_is_a_video_of_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"img_001.{suffix}"
    cv2.imwrite(str(path), np.full((40, 50, 3), 77, np.uint8))
    cv2.imwrite(str(tmp_path / f"img_002.{suffix}"), np.zeros((40, 50, 3), np.uint8))  # no series is made of them
    source = open_source(str(path))
    (frame,) = source
    assert frame.image.shape == (40, 50, 3) and abs(frame.image.mean() - 77) < 2
    assert source.frame_count in (1, None) and source.note == ""


@pytest.mark.parametrize("channels", [0, 4])
def test_grey_and_transparent_pictures_become_bgr(tmp_path: Path, channels: int) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, channels) if channels else (4, 4), 200, np.uint8))
    (frame,) = open_source(str(tmp_path / "a.png"))
    assert frame.image.shape == (4, 4, 3)


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    assert [f.image.shape for f in open_source(str(make_video(tmp_path / "a.avi", 3, size=(1, 1))))] == [(1, 1, 3)] * 3


def test_as_bgr() -> None:
    assert as_bgr(None) is None and as_bgr(np.empty((0, 0, 3), np.uint8)) is None
    assert as_bgr(PICTURE) is PICTURE
    for shape in [(2, 3), (2, 3, 1), (2, 3, 4)]:
        assert as_bgr(np.zeros(shape, np.uint8)).shape == (2, 3, 3)
    for broken in [
        np.zeros((2, 3, 2), np.uint8),
        np.zeros((2, 3, 3), np.uint16),
        np.zeros((2, 3, 3), np.float32),
        np.zeros(6, np.uint8),
    ]:
        assert as_bgr(broken) is None


@pytest.mark.parametrize("file", ["clip.avi", "clip.mkv"])
def test_a_file_that_breaks_off_gives_what_it_has_and_says_so(tmp_path: Path, file: str) -> None:
    path = cut(make_video(tmp_path / file, codec="MJPG" if file.endswith("avi") else "mp4v"), 0.5)
    source = open_source(str(path))
    frames = list(source)
    assert 5 < len(frames) < 25
    assert re.search(r"broke off at frame \d+ of 30", source.damaged)


def test_what_is_wrong_with_a_file_is_said_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello\n" * 200)
    cut(make_video(tmp_path / "cut.mp4", codec="mp4v"), 0.5)
    cut(make_video(tmp_path / "head.mkv", codec="mp4v"), 0.01)
    cases = {
        "missing.mp4": "There is no file .*missing.mp4",
        "": "is a folder",
        "empty.mp4": r"is empty \(0 bytes\)",
        "text.mp4": "text.mp4 is not a video",
        "cut.mp4": "cut.mp4 is cut off or damaged: not one frame",
        "head.mkv": "head.mkv is not a video or picture that can be read, or is cut off",
        "x" * 5000: "There is no file",
    }
    for file, message in cases.items():
        with pytest.raises(SourceError, match=message):
            open_source(str(tmp_path / file))
    with pytest.raises(SourceError, match="There is no file"):
        open_source("")
    assert capfd.readouterr() == ("", "")  # neither OpenCV nor FFmpeg adds anything


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="not an ordinary file"):
        open_source(str(tmp_path / "pipe"))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.avi", 2)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SourceError, match="may not be read"):
        open_source(str(path))


def test_loop_starts_again_with_rising_ids_and_times(tmp_path: Path) -> None:
    source = open_source(str(make_video(tmp_path / "a.avi", 5)), Playing(loop=True))
    assert source.frame_count is None
    frames = [frame for frame, _ in zip(source, range(13), strict=False)]
    assert [frame.id for frame in frames] == list(range(13))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(13)], abs=0.002)
    np.testing.assert_array_equal(frames[1].image, frames[11].image)


def test_a_looped_file_that_vanishes_ends(tmp_path: Path) -> None:
    path, ids = make_video(tmp_path / "a.avi", 5), []
    for frame in open_source(str(path), Playing(loop=True)):
        ids.append(frame.id)
        path.unlink(missing_ok=True)
    assert ids == list(range(5))


def test_realtime_waits_for_each_frame(tmp_path: Path, fake_time: FakeTime) -> None:
    path = make_video(tmp_path / "a.avi", 5)
    source = open_source(str(path), Playing(realtime=True), clock=fake_time.clock, wait=fake_time.wait)
    assert source.live
    assert [frame.born_s - 50 for frame in source] == pytest.approx([i / 25 for i in range(5)], abs=0.002)


def test_realtime_does_not_skip_for_a_late_reader(tmp_path: Path, fake_time: FakeTime) -> None:
    path = make_video(tmp_path / "a.avi", 8)
    ids = []
    for frame in open_source(str(path), Playing(realtime=True), clock=fake_time.clock, wait=fake_time.wait):
        ids.append(frame.id)
        fake_time.now += 0.1 if frame.id == 2 else 0
    assert ids == list(range(8))
    assert fake_time.now == pytest.approx(50 + 7 / 25, abs=0.002)  # caught up


def test_realtime_goes_on_where_it_was_after_a_long_sleep(tmp_path: Path, fake_time: FakeTime) -> None:
    path = make_video(tmp_path / "a.avi", 6)
    for frame in open_source(str(path), Playing(realtime=True), clock=fake_time.clock, wait=fake_time.wait):
        fake_time.now += 3600 if frame.id == 2 else 0
    assert fake_time.waits[-2:] == pytest.approx([1 / 25] * 2, abs=0.002)


NAN = float("nan")


@pytest.mark.parametrize(
    ("positions_s", "times_s"),
    [
        ([0, 0.08, 0.17, 0.25], [0, 0.08, 0.17, 0.25]),  # variable rate
        ([0.4, 0.44, 0.48, 0.52], [0, 0.04, 0.08, 0.12]),  # does not start at nought
        ([0, 0, 0, 0], [0, 0.04, 0.08, 0.12]),  # none at all
        ([0, 0.04, 1e6, 0.12], [0, 0.04, 0.08, 0.12]),  # one broken
        ([0, 0.08, 0.04, 0.16], [0, 0.08, 0.12, 0.16]),  # out of order
        ([NAN] * 4, [0, 0.04, 0.08, 0.12]),
        ([0, 40, 40.04, 80], [0, 40, 40.04, 80]),  # gaps
        ([7, 7.5, 0, 0.5, 1], [0, 0.5, 0.54, 1.04, 1.54]),  # the clock begins again
    ],
)
def test_timestamps_are_taken_where_they_are_sane(positions_s: list[float], times_s: list[float]) -> None:
    timeline = Timeline(1 / 25)
    times = [timeline.at(now, after) for now, after in pairwise([*positions_s, NAN])]
    assert times == pytest.approx(times_s)


def test_a_file_is_closed_when_the_reader_stops_early(tmp_path: Path) -> None:
    source = open_source(str(make_video(tmp_path / "a.avi", 9)))
    frames = iter(source)
    next(frames)
    frames.close()
    source.close()
    with pytest.raises(RuntimeError, match="read once"):
        next(iter(source))


def test_closing_before_reading_releases(tmp_path: Path) -> None:
    source = open_source(str(make_video(tmp_path / "a.avi", 3)))
    source.close()
    assert list(source) == []


# --- cameras and streams


def test_absent_camera(devices: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=r"Camera 7 is absent: there is no .*video7\. Found: .*video0; try `--source"):
        open_source("7")
    (devices / "video0").unlink()
    with pytest.raises(SourceError, match=r"Camera 0 is absent.*No camera is connected.*`--source demo`"):
        open_source("0")
    with pytest.raises(SourceError, match="/dev/video98 is absent"):
        open_source("/dev/video98")
    assert capfd.readouterr() == ("", "")


def test_camera_without_permission(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "no permission" in camera_problem("camera 0", devices / "video0")
    with pytest.raises(SourceError, match="usermod -aG video"):
        open_source("0", capture=FakeCapture([PICTURE]))


def test_camera_that_gives_nothing(devices: Path, fake_time: FakeTime) -> None:
    closed, silent = FakeCapture([], opened=False), FakeCapture([])
    for fake in (closed, silent):
        with pytest.raises(SourceError, match="Camera 0 is there but gives no picture") as caught:
            open_source("0", capture=fake, clock=fake_time.clock, wait=fake_time.wait)
        assert not isinstance(caught.value, SourceStalled)
        assert fake.released == 1


def test_camera_frames_have_the_time_since_the_first(devices: Path, fake_time: FakeTime) -> None:
    def one_every_half_second() -> Iterator[Image]:
        for _ in range(6):
            fake_time.now += 0.5
            yield PICTURE

    fake = FakeCapture(one_every_half_second(), properties={cv2.CAP_PROP_FPS: 30.0})
    source = open_source(
        "0", watching=Watching(reconnect_s=0), capture=fake, clock=fake_time.clock, wait=fake_time.wait
    )
    assert (source.name, source.live, source.fps, source.frame_count) == ("camera 0", True, 30, None)
    assert cv2.CAP_PROP_BUFFERSIZE in fake.asked  # and refused, which is no failure
    seen = [(frame.id, frame.time_s) for _, frame in zip(range(3), source, strict=False)]
    assert seen == [(0, 0), (1, 0.5), (2, 1.0)]


def test_device_path(devices: Path) -> None:
    fake = FakeCapture([PICTURE] * 2)
    source = open_source("/dev/null", capture=fake)  # exists and may be opened
    assert source.name == "camera /dev/null" and fake.targets[0][0] == "/dev/null"
    source.close()


def test_a_finite_video_behind_http_is_a_file(tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", 12, codec="mp4v")
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/clip.mp4?token=hidden"
        source = open_source(address)
        assert not source.live and source.frame_count == 12 and len(list(source)) == 12
        assert source.name == address.partition("?")[0]
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


# --- auto, demo, real clips


def test_auto_takes_camera_0_where_there_is_one(devices: Path) -> None:
    source = open_source("auto", capture=FakeCapture([PICTURE] * 2))
    assert source.name == "camera 0" and "found" in source.note


@pytest.mark.parametrize("make_absent", [True, False])
def test_auto_takes_the_demo_otherwise_and_says_why(devices: Path, make_absent: bool) -> None:
    if make_absent:
        (devices / "video0").unlink()
    source = open_source("auto", capture=FakeCapture([], opened=False))
    assert isinstance(source, DemoSource) and source.name == "demo crowd" and source.live
    assert ("absent" if make_absent else "gives no picture") in source.note


@pytest.mark.parametrize(
    ("file", "frames", "end_s"), [("head-pose-face-detection-male", 62, 5.08), ("face-demographics-walking", 35, 2.83)]
)
def test_real_clips(file: str, frames: int, end_s: float) -> None:
    path = CLIPS / f"{file}.gif"
    if not path.exists():
        pytest.skip("no ../shared/clips beside this checkout")
    source = open_source(str(path))
    seen = list(source)
    assert source.frame_count == len(seen) == frames and source.note == ""
    assert {frame.image.shape for frame in seen} == {(270, 480, 3)}
    assert all(b.time_s > a.time_s for a, b in pairwise(seen))
    assert seen[-1].time_s == pytest.approx(end_s, abs=0.01)


def test_every_source_has_the_whole_interface(tmp_path: Path, devices: Path) -> None:
    makers: list[Callable] = [
        lambda: open_source("demo"),
        lambda: open_source("0", capture=FakeCapture([PICTURE])),
        lambda: open_source(str(make_video(tmp_path / "a.avi", 1))),
    ]
    for make in makers:
        source = make()
        assert {"name", "note", "damaged", "live", "fps", "frame_count"} <= set(dir(source))
        assert source.status().state == SourceState.OK
        source.close()
        source.close()
        assert list(source) == []


def test_a_camera_is_asked_for_size_rate_and_exposure():
    asked = dict(Wishes(size=(1920, 1080), fps=60.0, exposure_ms=8.0).properties("linux"))
    assert (asked[cv2.CAP_PROP_FRAME_WIDTH], asked[cv2.CAP_PROP_FRAME_HEIGHT], asked[cv2.CAP_PROP_FPS]) == (
        1920,
        1080,
        60,
    )
    assert asked[cv2.CAP_PROP_AUTO_EXPOSURE] == 1 and asked[cv2.CAP_PROP_EXPOSURE] == 80, "V4L2: manual, 0.1 ms"
    elsewhere = dict(Wishes(exposure_ms=8.0).properties("win32"))
    assert elsewhere[cv2.CAP_PROP_EXPOSURE] == -7, "2 to the power of -7 s are 7.8 ms"
    by_itself = dict(Wishes().properties("linux"))
    assert by_itself[cv2.CAP_PROP_AUTO_EXPOSURE] == 3 and cv2.CAP_PROP_FPS not in by_itself
    order = [name for name, _ in Wishes(exposure_ms=8.0).properties("linux")]
    assert order.index(cv2.CAP_PROP_FOURCC) < order.index(cv2.CAP_PROP_FRAME_WIDTH)
    assert order.index(cv2.CAP_PROP_AUTO_EXPOSURE) < order.index(cv2.CAP_PROP_EXPOSURE)


def test_what_is_wished_for_reaches_the_camera(fake_time):
    fake = FakeCapture([PICTURE] * 3)
    source = open_source(
        "/dev/null",
        capture=fake,
        clock=fake_time.clock,
        wait=fake_time.wait,
        watching=Watching(wishes=Wishes(size=(640, 480), fps=15.0)),
    )
    source.close()
    assert {cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FPS} <= set(fake.asked)
