"""Cameras and streams that stall, end, hang, come back with another size, and send what is not a picture."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.compose import load_manifest, make_front_end
from app.domain import DropCause, Frame, Result, SourceEvent, SourceEventKind, SourceState
from app.errors import SourceError, SourceStalled
from app.pipeline import Pipeline
from app.settings import Settings
from app.sources import cameras, captures
from app.sources.captures import STALL_S
from app.sources.live import BACK_OFF_FIRST_S, BACK_OFF_LONGEST_S, HUNG_S, MOST_HUNG, LiveSource
from app.sources.open import Watching, open_source
from scheduler.log import LogWriter
from scheduler.policy import DeepestThatFits
from scheduler.reading import read_log
from tests.support import pipelines
from tests.support.fakes import FakeTime, make_profile

PICTURE = np.full((6, 8, 3), 90, np.uint8)
LARGER = np.full((12, 16, 3), 90, np.uint8)
ABSENT, HANG = "absent", "hang"


class FakeDevice:
    """A device of which each opening has a script: pictures, None for a read that fails, HANG for one that never returns;
    or ABSENT, where opening fails. The last one is repeated; after its script a device fails for ever."""

    name, patience_s = "camera 0", STALL_S

    def __init__(self, *scripts: list[Any] | str) -> None:
        self.scripts, self.opened, self.captures = list(scripts), 0, list[FakeCapture]()
        self.release_hung = threading.Event()

    def open(self) -> captures.CameraFeed:
        script = self.scripts[min(self.opened, len(self.scripts) - 1)]
        self.opened += 1
        if script == ABSENT:
            raise SourceError("Camera 0 is absent")
        self.captures.append(FakeCapture(iter(script), self.release_hung))
        return captures.CameraFeed(self.captures[-1])

    def problem(self) -> str:
        return "Camera 0 gives no picture"

    def gone(self) -> str | None:
        return None


class FakeCapture:
    def __init__(self, script: Iterator[Any], release_hung: threading.Event) -> None:
        self.script, self.release_hung, self.released, self.image = script, release_hung, 0, None
        self.hangs = threading.Event()

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        assert not self.released
        self.image = next(self.script, None)
        if isinstance(self.image, str):
            self.hangs.set()
            assert self.release_hung.wait(60)
            return False
        if isinstance(self.image, Exception):
            raise self.image
        return self.image is not None

    def retrieve(self) -> tuple[bool, Any]:
        return True, self.image

    def get(self, prop: int, /) -> float:
        return 25.0

    def set(self, prop: int, value: float, /) -> bool:
        return True

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


def make_live(device: FakeDevice, fake_time: FakeTime, **more: Any) -> tuple[LiveSource, list[SourceEvent]]:
    source, events = LiveSource(device, fake_time.clock, fake_time.wait, **more), list[SourceEvent]()
    source.on_event = events.append
    return source, events


def take(source: LiveSource, frames: int) -> list[tuple[int, tuple[int, ...]]]:
    return [(frame.id, frame.image.shape[:2]) for _, frame in zip(range(frames), source, strict=False)]


def kinds(events: list[SourceEvent]) -> list[str]:
    return [str(event.kind) for event in events]


def test_a_camera_that_comes_back_by_itself_is_not_opened_again(fake_time):
    device = FakeDevice([PICTURE] * 3 + [None] * 6 + [PICTURE] * 3 + [None] * 6 + [PICTURE] * 9)
    source, events = make_live(device, fake_time)
    assert [i for i, _ in take(source, 6)] == list(range(6))
    assert device.opened == 1 and events == [] and source.status().state == SourceState.OK
    assert fake_time.waits[0] == fake_time.waits[6]  # patience starts afresh


def test_a_camera_that_stalls_is_opened_again_and_the_run_goes_on(fake_time):
    device = FakeDevice([PICTURE] * 4, ABSENT, ABSENT, [LARGER] * 9)
    source, events = make_live(device, fake_time)
    frames = take(source, 4)
    assert [i for i, _ in frames] == [0, 1, 2, 3]  # the ids go on
    assert frames[-1][1] == LARGER.shape[:2]
    assert kinds(events) == ["lost", "back"] and "sends no picture any more" in events[0].text
    assert (events[1].tries == 3 and events[1].frame_id == frames[-1][0]) or events[1].tries == 3
    assert [c.released for c in device.captures] == [1, 1]
    assert source.status().state == SourceState.OK


def test_the_watchdog_has_five_seconds_of_patience(fake_time):
    device = FakeDevice([PICTURE] * 4)
    source, _ = make_live(device, fake_time, reconnect_s=0)
    with pytest.raises(SourceStalled, match="camera 0 sends no picture any more"):
        take(source, 99)
    assert STALL_S <= sum(fake_time.waits) <= STALL_S + 0.5
    assert max(fake_time.waits) <= 0.5 and len(fake_time.waits) < 20  # neither long nor spinning
    assert device.opened == 1 and device.captures[0].released == 1


def test_back_off_is_exponential_and_bounded(fake_time):
    device = FakeDevice([PICTURE] * 2, *[ABSENT] * 9, [PICTURE] * 9)
    source, events = make_live(device, fake_time)
    fake_time.waits.clear()
    take(source, 3)
    pauses = fake_time.waits[-10:]
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10, 10, 10, 10]
    assert (pauses[0], max(pauses)) == (BACK_OFF_FIRST_S, BACK_OFF_LONGEST_S)
    assert kinds(events) == ["lost", "back"]  # told once, not per try
    assert events[1].after_s == pytest.approx(sum(pauses)) and events[1].tries == 10


def test_a_source_that_flaps_is_tried_ever_less_often(fake_time):
    source, events = make_live(FakeDevice([PICTURE] * 2 + [None]), fake_time)
    source._device.patience_s = 0.0  # it ends at once, like a stream
    take(source, 8)
    lost_s = [e.after_s for e in events if e.kind is SourceEventKind.BACK]
    assert lost_s == sorted(lost_s) and lost_s[-1] > 4 * lost_s[0]


def test_status_tells_why_and_when_it_is_tried_again(fake_time):
    source, _ = make_live(FakeDevice([PICTURE] * 2, ABSENT, ABSENT, [PICTURE] * 9), fake_time)
    seen = []
    wait = source._wait

    def look(seconds: float) -> None:
        seen.append(source.status())
        wait(seconds)
        seen.append(source.status())

    source._wait = look
    take(source, 2)
    assert {s.state for s in seen} == {SourceState.LOST}
    assert [s.retry_in_s for s in seen] == [0.5, 0.0, 1.0, 0.0, 2.0, 0.0]
    assert "sends no picture" in seen[0].text and "absent" in seen[-1].text
    assert seen[-1].since_s == pytest.approx(3.5)
    assert source.status().text == "" and source.status().state == SourceState.OK


def test_it_is_given_up_after_as_long_as_was_asked_for(fake_time):
    device = FakeDevice([PICTURE] * 2, ABSENT)
    source, _ = make_live(device, fake_time, reconnect_s=20)
    lost_s = []
    source.on_event = lambda event: lost_s.append(fake_time.now)
    with pytest.raises(SourceError, match="absent"):
        take(source, 99)
    assert fake_time.now - lost_s[0] == pytest.approx(20) and len(lost_s) == 1
    assert 4 <= device.opened <= 8


def test_a_missing_camera_is_an_error_at_the_start_unless_it_is_to_be_waited_for(fake_time):
    with pytest.raises(SourceError, match="absent"):
        make_live(FakeDevice(ABSENT), fake_time)
    source, events = make_live(FakeDevice(ABSENT, ABSENT, [PICTURE] * 9), fake_time, wait_for_it=True)
    assert source.status().state == SourceState.LOST and source.fps is None
    assert take(source, 2) == [(0, (6, 8)), (1, (6, 8))]
    assert kinds(events) == ["lost", "back"]


def test_broken_pictures_are_counted_and_left_out(fake_time):
    broken = [np.empty((0, 0, 3), np.uint8), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.float32)]
    source, events = make_live(FakeDevice([PICTURE, *broken, cv2.error("corrupt"), *[PICTURE] * 9]), fake_time)
    assert [i for i, _ in take(source, 3)] == [3, 4, 5]
    assert [(str(e.kind), e.frame_id) for e in events] == [("broken", 0), ("broken", 1), ("broken", 2)]


def test_nothing_but_broken_pictures_is_a_stall(fake_time):
    source, events = make_live(
        FakeDevice([PICTURE, PICTURE] + [np.zeros((4, 4, 2), np.uint8)] * 99), fake_time, reconnect_s=0
    )
    with pytest.raises(SourceStalled, match="only broken pictures"):
        take(source, 99)
    assert 5 < kinds(events).count("broken") < 30


def test_a_driver_that_raises_is_a_failure_like_another(fake_time):
    failure = RuntimeError("out of buffers: rtsp://me:secret@host/live?token=hidden")
    source, events = make_live(FakeDevice([PICTURE] * 2 + [failure], [PICTURE] * 9), fake_time)
    assert len(take(source, 3)) == 3
    assert "out of buffers: rtsp://host/live?" in events[0].text and kinds(events) == ["lost", "back"]
    assert "secret" not in events[0].text and "hidden" not in events[0].text


def test_reads_that_never_return_do_not_pile_up(fake_time):
    """Each opening gives two pictures and then hangs. Only MOST_HUNG are left behind, and the run ends when it is told."""
    before = threading.active_count()
    device = FakeDevice([PICTURE, PICTURE, HANG])
    source, events = make_live(device, fake_time)
    seen, stopped, pauses = [], threading.Event(), []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        fake_time.wait(seconds)
        if len(pauses) >= 12:  # nothing more comes; told to stop
            source.close()

    source._wait = wait

    def read() -> None:
        for frame in source:
            seen.append(frame.id)
        stopped.set()

    threading.Thread(target=read, daemon=True).start()
    for number in range(MOST_HUNG):
        while len(device.captures) <= number:
            assert not stopped.wait(0.01)
        assert device.captures[number].hangs.wait(30)
        fake_time.now += HUNG_S + 1
    assert stopped.wait(30)
    assert device.opened == MOST_HUNG and threading.active_count() <= before + MOST_HUNG
    assert any("hangs" in e.text for e in events)
    device.release_hung.set()  # the driver answers at last: what was left behind releases its device and goes
    for reader in source._hung:
        reader.join(30)
        assert not reader.is_alive()
    assert [c.released for c in device.captures] == [1] * MOST_HUNG


def test_closing_ends_the_wait_for_a_lost_camera(fake_time):
    source, events = make_live(FakeDevice([PICTURE] * 3, ABSENT), fake_time)
    waits = fake_time.wait

    def wait(seconds: float) -> None:
        waits(seconds)
        if source.status().state is SourceState.LOST:
            source.close()

    source._wait = wait
    assert len(take(source, 99)) == 2
    assert kinds(events) == ["lost"]


def test_closing_from_another_thread_interrupts_the_default_wait():
    source = LiveSource(
        FakeDevice([PICTURE] * 3, ABSENT), lambda: 0.0, None
    )  # time stands still: only close() ends this
    ids: list[int] = []
    got_one = threading.Event()

    def read() -> None:
        for frame in source:
            ids.append(frame.id)
            got_one.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert got_one.wait(10)
    source.close()
    reader.join(10)
    assert not reader.is_alive() and source._device.captures[0].released == 1


def test_what_waited_since_before_the_start_is_not_shown(fake_time):
    device = FakeDevice([PICTURE, PICTURE, LARGER, *[LARGER] * 9])
    source, _ = make_live(device, fake_time)
    while not len(source._reader._pictures):
        threading.Event().wait(0.001)
    fake_time.now += 10  # the network is loaded and measured meanwhile
    frames = take(source, 2)
    assert [i for i, _ in frames] == [0, 1] and frames[0][1] == LARGER.shape[:2]


@pytest.fixture
def two_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[cameras.Camera]:
    """A listing to be changed by the test, with its device nodes."""
    listing = [
        cameras.Camera(0, "Integrated", str(tmp_path / "video0"), "pci"),
        cameras.Camera(2, "Logitech C920", str(tmp_path / "video2"), "usb-1"),
    ]
    for camera in listing:
        Path(camera.path).touch()
    monkeypatch.setattr(captures, "DEVICES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("app.sources.devices.list_cameras", lambda: list(listing))
    monkeypatch.setattr("app.sources.open.list_cameras", lambda: list(listing))
    return listing


class Captures:
    """OpenCV as a factory: each opening gives three pictures and then fails; remembers what was opened."""

    def __init__(self) -> None:
        self.targets: list[Any] = []

    def __call__(self, target: Any, backend: int, parameters: list[int]) -> FakeCapture:
        self.targets.append(Path(str(target)).name)
        return FakeCapture(iter([PICTURE] * 3), threading.Event())


def test_a_camera_is_chosen_by_a_part_of_its_name(two_cameras, fake_time):
    opened = Captures()
    source = open_source("logi", capture=opened, clock=fake_time.clock, wait=fake_time.wait)
    assert opened.targets == ["video2"] and source.camera
    source.close()
    with pytest.raises(SourceError, match="There is no file 'Elgato'"):
        open_source("Elgato", capture=opened)
    two_cameras.append(cameras.Camera(4, "Logitech C270"))
    with pytest.raises(SourceError, match="part of 2 cameras' names: 2 Logitech C920; 4 Logitech C270"):
        open_source("Logitech", capture=opened)


def test_a_camera_that_is_not_there_yet_can_be_waited_for_by_its_name(two_cameras, fake_time):
    late = two_cameras.pop()
    opened = Captures()

    def wait(seconds: float) -> None:
        fake_time.wait(seconds)
        two_cameras[1:] = [late]

    source = open_source(
        "Logitech", capture=opened, clock=fake_time.clock, wait=wait, watching=Watching(wait_for_it=True)
    )
    assert "No camera has 'Logitech' in its name. Cameras here: 0 Integrated" in source.status().text
    assert len(take(source, 2)) == 2 and opened.targets[0] == "video2"


@pytest.mark.parametrize("spec", ["2", "Logitech"])
def test_a_camera_that_is_plugged_in_again_under_another_number_is_found(two_cameras, fake_time, spec):
    opened = Captures()
    source = open_source(spec, capture=opened, clock=fake_time.clock, wait=fake_time.wait)
    events: list[SourceEvent] = []

    def told(event: SourceEvent) -> None:
        events.append(event)
        old = two_cameras[1]
        if event.kind is SourceEventKind.LOST:
            two_cameras[1:] = [
                cameras.Camera(3, old.name, old.path.replace("video2", "video3"), "usb-2", (), cameras.CameraState.FREE)
            ]
            Path(two_cameras[1].path).touch()

    source.on_event = told

    def wait(seconds: float) -> None:
        Path(captures.DEVICES / "video2").unlink(missing_ok=True)
        fake_time.wait(seconds)

    source._wait = source._reader._wait = wait
    assert len(take(source, 3)) == 3
    assert "unplugged" in events[0].text and kinds(events[:2]) == ["lost", "back"]
    assert opened.targets[:2] == ["video2", "video3"]


# --- what stands behind a live source


def make_pipeline(source: LiveSource, stop_after: int, log: Path) -> tuple[Pipeline, list[SourceEvent]]:
    pipeline, sink = pipelines.make(source, boxes=[], log=LogWriter(log.open("w"), HEADER), clock=time.monotonic)
    told: list[SourceEvent] = []
    pipeline.tell = told.append
    deliver = sink.deliver

    def deliver_and_stop(result: Result) -> None:
        deliver(result)
        if result.frame.id >= stop_after:
            pipeline.stop()

    sink.deliver = deliver_and_stop
    return pipeline, told


HEADER = {
    "machine": {}, "model": {}, "settings": {}, "policy": DeepestThatFits().to_json(), "profile": make_profile().to_json(),
}  # fmt: skip


def test_a_run_goes_on_over_a_lost_camera_and_the_log_says_so(tmp_path):
    pauses: list[float] = []
    device = FakeDevice([*[PICTURE] * 6, np.zeros((4, 4, 2), np.uint8), PICTURE], ABSENT, [PICTURE, *[LARGER] * 10_000])
    device.gone = lambda: "camera 0 was unplugged"
    source = LiveSource(device, time.monotonic, pauses.append)
    pipeline, told = make_pipeline(source, 30, tmp_path / "log")
    pipelines.run(pipeline)
    assert pipeline.failure is None and pipeline.totals.reconnects == 1
    assert pipeline.totals.drops[DropCause.BROKEN] == 1
    assert kinds(told) == ["lost", "back"]
    log = read_log(tmp_path / "log")
    lost, back = log.events
    assert (lost.name, back.name) == ("source_lost", "source_back") and "unplugged" in lost.details["text"]
    assert back.details["tries"] == 2 and 4 <= back.details["frame"] <= 7 and log.drops["broken"] == 1


def test_a_lost_source_is_no_stall_of_the_pipeline():
    """The pipeline has a limit of its own for sources that say nothing; one that says it is lost has its time."""
    lost, patient, timeouts = threading.Event(), threading.Event(), []

    def back_off(seconds: float) -> None:
        lost.set()
        patient.wait(60)

    device = FakeDevice([PICTURE] * 2, [PICTURE] * 10_000)
    device.gone = lambda: "camera 0 was unplugged"
    pipeline, sink = pipelines.make(LiveSource(device, time.monotonic, back_off), boxes=[], clock=time.monotonic)
    sink.deliver = lambda result: pipeline.stop() if result.frame.id >= 5 else None
    get = pipeline.cameras[0].grabbed.get

    def get_in_little_time(timeout_s: float) -> Frame:
        while True:
            try:
                return get(0.01)
            except TimeoutError:
                if lost.is_set() and not patient.is_set():
                    timeouts.append(timeout_s)
                    if len(timeouts) == 5:
                        patient.set()
                    raise

    pipeline.cameras[0].grabbed.get = get_in_little_time
    pipelines.run(pipeline)
    assert pipeline.failure is None and len(timeouts) == 5


@pytest.mark.parametrize("lost_between", [True, False])
def test_faces_are_found_in_pictures_of_another_size(lost_between):
    from skimage.data import astronaut

    portrait = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    wide = cv2.copyMakeBorder(
        portrait, 100, 100, 500, 0, cv2.BORDER_REPLICATE
    )  # her face is further right than all of the small one
    small = cv2.resize(portrait, (320, 320))
    scripts = [[wide] * 5, [small] * 9] if lost_between else [[wide] * 5 + [small] * 9]
    source = LiveSource(FakeDevice(*scripts), FakeTime().clock, lambda seconds: None)
    source._device.patience_s = 0.0
    manifest = load_manifest("mobilenet_v1_075")
    front_end = make_front_end(Settings(), manifest.template, live=False)
    found = []
    for i, frame in zip(range(9), source, strict=False):
        prepared = front_end(dataclasses.replace(frame, time_s=0.04 * i + 2 * (lost_between and i >= 4)))
        found.append((frame.image.shape[1], [face.box for face in prepared.faces]))
    assert {width for width, _ in found} == {1012, 320}
    last_width, last = found[-1]
    assert last_width == 320 and len(last) >= 1
    assert any(box.x >= 0 and box.x + box.width <= 320 for box in last)
