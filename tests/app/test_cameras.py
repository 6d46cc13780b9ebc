"""Several cameras in one run: one crowd to the scheduler, and nobody waits for a camera that is gone."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from app.camera import View
from app.cli import main
from app.controls import Controls
from app.domain import DropCause, SourceState
from app.errors import SourceError, UsageError
from app.faces.front_end import FrontEnd
from app.faces.tracker import Tracker
from app.people.estimates import People
from app.pipeline import Pipeline
from app.rounds.delivery import Outlets
from app.rounds.serving import Scheduling
from app.settings import Settings
from app.sources.group import Group, names_of
from app.sources.many import run_together
from scheduler.latency import LatencyModel
from scheduler.log import LogWriter
from scheduler.policy import DeepestThatFits
from scheduler.reading import read_log
from scheduler.replay import differs, exact
from tests.support.fakes import FakeClock, FakeEngine, FakeFaces, FakeSource, make_profile
from tests.support.pipelines import EXPRESSIONS, GENDERS, TEMPLATE, WAIT_S, Collected, crowd, images


class Site:
    """Cameras by name, each with so many faces, in a pipeline on fakes. `step` lets a camera give one frame."""

    def __init__(self, faces: dict[str, int], *, engine=FakeEngine, log=None, frames: int = 40, failure=None) -> None:
        self.clock, self.sink = FakeClock(), Collected()
        self.gates = {name: threading.Semaphore(0) for name in faces}
        self.sources, self.engine = {}, engine(self.clock, lambda p, n: 2.0 * n)
        views = []
        for number, (name, people) in enumerate(faces.items(), start=1):
            source = FakeSource(
                images(frames), live=True, gate=self.gates[name], clock=self.clock,
                failure=failure if name == "broken" else None,
            )  # fmt: skip
            found = FakeFaces(crowd(people))
            front_end = FrontEnd(found.follow, None, found, TEMPLATE, Tracker(number, len(faces)), 32, FakeClock())
            self.sources[name] = source
            views.append(View(source=source, front_end=front_end, name=name))
        self.pipeline = Pipeline(views, People(GENDERS, EXPRESSIONS), Controls(33.0), self.clock)
        self.told: list[str] = []
        self.pipeline.faults.tell = self.told.append
        self.results = threading.Semaphore(0)
        deliver = self.sink.deliver
        self.sink.deliver = lambda result: (deliver(result), self.results.release())[0]
        policy, latency = DeepestThatFits(), LatencyModel(make_profile())
        writer = None
        if log:
            header = {"policy": policy.to_json(), "profile": make_profile().to_json(), "correction": latency.to_json()}
            writer = LogWriter(log.open("w"), header)
        self.pipeline.equip(
            Scheduling(engine=self.engine, policy=policy, latency=latency), Outlets(sinks=[self.sink], log=writer)
        )

    def step(self, name: str) -> None:
        """One frame of a camera, to its result."""
        self.gates[name].release()
        assert self.results.acquire(timeout=WAIT_S), f"{name} gave no result"

    def __enter__(self) -> Site:
        self.pipeline.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.close()


def test_frames_that_wait_are_one_crowd_in_one_batch_and_each_has_its_own_result(tmp_path):
    """While the network is held, both other cameras get a frame ready: they are read together."""
    held, go = threading.Event(), threading.Event()

    class Held(FakeEngine):
        def read(self, point, faces):
            held.set()
            assert go.wait(WAIT_S)
            return super().read(point, faces)

    site = Site({"door": 1, "hall": 2, "yard": 3}, engine=Held, log=tmp_path / "log.jsonl")
    with site:
        site.gates["door"].release()
        assert held.wait(WAIT_S)
        for name in ("hall", "yard"):
            box = next(c for c in site.pipeline.cameras if c.name == name).aligned
            site.gates[name].release()
            with site.pipeline._changed:
                assert site.pipeline._changed.wait_for(lambda box=box: len(box) == 1, WAIT_S)
        go.set()
        for _ in range(3):
            assert site.results.acquire(timeout=WAIT_S)
    assert [n for _, n in site.engine.runs] == [1, 5]
    assert [r.frame.camera for r in site.sink.results] == ["door", "hall", "yard"]
    assert [len(r.people) for r in site.sink.results] == [1, 2, 3]
    ids = [p.id for r in site.sink.results for p in r.people]
    assert len(set(ids)) == 6, "nobody has the id of somebody at another camera"
    assert all(p.estimate.age == 30 for r in site.sink.results for p in r.people)

    log = read_log(tmp_path / "log.jsonl")
    assert [(r.id, r.wanted, [c["camera"] for c in r.cameras]) for r in log.frames] == [
        (1, 1, ["door"]),
        (2, 5, ["hall", "yard"]),
    ]
    assert [c["read"] for c in log.frames[1].cameras] == [2, 3]
    assert not [r.id for r, d in exact(log) if differs(r, d)]


def test_each_face_keeps_its_own_answer_when_batches_are_mixed():
    """Ages follow the crop's brightness: a mix-up of cameras would show."""

    class Bright(FakeEngine):
        def read(self, point, faces):
            read = super().read(point, faces)
            return [r._replace(age=float(face.mean())) for r, face in zip(read, faces, strict=True)]

    site = Site({"dark": 2, "light": 2}, engine=Bright)
    site.sources["dark"]._images = [np.full((240, 480, 3), 20, np.uint8)] * 40
    site.sources["light"]._images = [np.full((240, 480, 3), 60, np.uint8)] * 40
    with site:
        for _ in range(8):
            site.step("dark")
            site.step("light")
    last = {r.frame.camera: {round(p.estimate.age) for p in r.people} for r in site.sink.results}
    assert last == {"dark": {20}, "light": {60}}


def test_a_camera_that_hangs_slows_nobody_and_one_that_breaks_is_given_up():
    site = Site({"hangs": 1, "door": 1, "broken": 1}, failure=SourceError("the cable is cut"), frames=6)
    with site:
        for _ in range(6):
            site.step("broken")
        for _ in range(5):
            site.step("door")  # while "hangs" never delivers and "broken" has ended
        by_name = {c.name: c for c in site.pipeline.cameras}
        site.pipeline._threads[4].join(WAIT_S)
        assert by_name["broken"].status().state is SourceState.LOST
        assert "cable is cut" in str(by_name["broken"].failure)
        assert not site.pipeline.finished() and site.pipeline.failure is None
    assert [c.totals.frames for c in site.pipeline.cameras] == [0, 5, 6] and site.pipeline.totals.frames == 11
    assert site.pipeline.totals.misses == 0 and site.told == [
        "broken is given up, the other cameras go on: the cable is cut"
    ]


class Broken:
    def __call__(self, frame):
        return 1 / 0

    def close(self) -> None:
        pass


def test_a_front_end_that_fails_costs_its_own_camera_frames_only():
    site = Site({"a": 1, "b": 1})
    first = site.pipeline.cameras[0]
    first.front_end = Broken()
    lost = threading.Event()
    kept = first.dropped
    first.dropped = lambda frame, cause: (kept(frame, cause), lost.set())[0]
    with site:
        site.gates["a"].release()
        assert lost.wait(WAIT_S)
        for _ in range(3):
            site.step("b")
    assert first.totals.drops[DropCause.FAILED] == 1 and site.pipeline.totals.frames == 3
    assert site.told == ["front end of a failed: ZeroDivisionError: division by zero"]


def test_the_run_ends_when_all_have_ended_and_says_what_broke():
    site = Site({"broken": 1, "b": 1}, failure=SourceError("the cable is cut"), frames=2)
    with site:
        for name in ("broken", "b", "b"):
            site.step(name)
        site.gates["broken"].release(2)
        site.gates["b"].release(2)
        assert site.pipeline.wait(WAIT_S)
    assert str(site.pipeline.failure) == "the cable is cut"


def test_a_group_is_lost_when_all_are_and_names_differ():
    sources = [FakeSource(images(1), live=True) for _ in range(3)]
    assert names_of(sources) == ["fake", "fake 2", "fake 3"]
    from app.domain import SourceStatus

    group = Group(sources, names_of(sources))
    assert group.name == "fake, fake 2, fake 3" and group.live and group.status().state is SourceState.OK
    sources[0].state = SourceStatus(SourceState.LOST)
    assert group.status().state is SourceState.OK
    for source in sources:
        source.state = SourceStatus(SourceState.LOST, text="unplugged")
    assert group.status().text == "unplugged"
    group.close()
    assert all(s.closed.is_set() for s in sources)


def test_files_are_read_one_after_the_other_and_cameras_together():
    assert not run_together(["a.mp4", "b.mp4", "http://host/c.mp4"], realtime=False)
    assert run_together(["a.mp4", "b.mp4"], realtime=True)
    assert run_together(["0", "rtsp://host/1", "/dev/video2"], realtime=False)
    with pytest.raises(SourceError, match=r"rtsp://host/1 goes on for ever.*add --realtime"):
        run_together(["rtsp://host/1", "a.mp4"], realtime=False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"output": "all.mp4"}, r"'\{camera\}.mp4'"),
        ({"mqtt": "mqtt://localhost", "home_assistant": True}, "takes one camera"),
        ({"beside": ("1",) * 16}, "at most 16"),
    ],
)
def test_what_makes_no_sense_for_several_cameras_is_refused(tmp_path, options, text):
    if "output" in options:
        options = {"output": tmp_path / options["output"]}
    with pytest.raises(UsageError, match=text):
        Settings(**{"source": "0", "beside": ("1",), **options})


def test_several_clips_are_cameras_in_real_time(tmp_path, capsys):
    """The whole path: two clips, their names in every file, one log that replays."""
    import cv2

    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((240, 320, 3), 90, np.uint8))
    results, log = tmp_path / "r.csv", tmp_path / "log.jsonl"
    sources = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    options = ["--realtime", "--no-show", "--exit", "4@40", "--detector", "viola-jones"]
    code = main(["run", "--source", *sources, *options, "--results", str(results), "--log", str(log)])
    out = capsys.readouterr().out
    assert code == 0 and "camera    a.png: " in out and "camera    b.png: " in out
    assert results.read_text().startswith("camera,frame,time_s,id,")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {c["camera"] for line in lines if line["type"] == "frame" for c in line["cameras"]} <= {"a.png", "b.png"}
