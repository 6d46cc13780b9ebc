"""The three loops on fakes: order, drops, deadlines, failures, ends. No test looks at a wall clock."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading

import numpy as np
import pytest

from app.domain import Box, DropCause
from app.errors import DeviceError, InternalError, OutputError, SourceError, SourceStalled
from app.faces.front_end import FrontEnd
from app.faces.tracker import Tracker
from app.people.estimates import People
from scheduler.latency import LatencyModel
from scheduler.log import LogWriter
from scheduler.policy import DeepestThatFits, Fixed, ValuePerPerson
from scheduler.reading import read_log
from scheduler.replay import differs, exact
from tests.support.fakes import (
    POINTS,
    FakeClock,
    FakeEngine,
    FakeFaces,
    FakeSource,
    make_profile,
)
from tests.support.pipelines import (
    EXPRESSIONS,
    GENDERS,
    TEMPLATE,
    WAIT_S,
    Collected,
    crowd,
    equip,
    images,
    make,
    run,
)


def test_a_file_loses_nothing_and_keeps_its_order():
    pipeline, sink = make(FakeSource(images(40)))
    run(pipeline)
    assert pipeline.failure is None and pipeline.finished()
    assert [r.frame.id for r in sink.results] == list(range(40))
    assert not pipeline.totals.drops and pipeline.totals.frames == 40 and sink.closed == 1
    person = sink.results[-1].people[0]
    assert person.id == 1 and person.fresh and person.estimate.age == pytest.approx(30)
    assert (person.estimate.gender, person.estimate.expression, person.estimate.exit) == ("male", "happy", "exit_13")
    assert pipeline.latest() is sink.results[-1]


def test_nobody_in_view_runs_no_network():
    engine = FakeEngine()
    pipeline, sink = make(FakeSource(images(3)), boxes=[], engine=engine)
    run(pipeline)
    assert engine.runs == [] and [r.people for r in sink.results] == [()] * 3
    assert sink.results[0].stats.exit == "" and sink.results[0].stats.why == "nobody in view"


def test_minutes_without_a_face_go_on_and_hold_no_more_than_before():
    """Three minutes of an empty room after one visitor: who left is forgotten, and nothing grows."""
    people = People(GENDERS, EXPRESSIONS)
    pipeline, sink = make(FakeSource(images(1, 60) * 4500), boxes=lambda i: crowd(1) if i < 10 else [], people=people)
    sink.deliver = lambda result: sink.results.__setitem__(slice(None), [result])
    run(pipeline)
    assert pipeline.failure is None and pipeline.totals.frames == 4500
    assert pipeline.latest().people == () and people.estimate(1) is None


def test_a_slow_live_run_shows_new_frames_and_counts_the_old_ones():
    """The network is held back while the camera goes on: whatever is lost has a cause, and nothing is counted twice."""
    gate, in_engine, release = threading.Semaphore(0), threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def read(self, point, faces):
            in_engine.set()
            assert release.wait(WAIT_S)
            return super().read(point, faces)

    pipeline, sink = make(FakeSource(images(50), live=True, gate=gate), engine=Slow())
    pipeline.start()
    gate.release()
    assert in_engine.wait(WAIT_S)
    for _ in range(49):
        gate.release()
    pipeline._threads[0].join(WAIT_S)
    release.set()
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    shown = [r.frame.id for r in sink.results]
    dropped = pipeline.totals.drops[DropCause.GRAB_FULL] + pipeline.totals.drops[DropCause.FRONT_END_FULL]
    assert shown[0] == 0 and shown[-1] == 49, "the newest frame is shown in the end"
    assert len(shown) + dropped == 50 and len(shown) <= 6


def test_more_faces_go_shallower_and_the_deadline_rules():
    """2, 3 and 4 ms a face in 33 ms, on a clock that only the engine moves."""
    expected = {1: "exit_13", 7: "exit_13", 9: "exit_10", 14: "exit_07"}
    for n, name in expected.items():
        clock = FakeClock()
        engine = FakeEngine(clock, lambda p, k: (2.0, 3.0, 4.0)[POINTS.index(p)] * k)
        pipeline, sink = make(FakeSource(images(4, 400)), boxes=crowd(n), engine=engine, clock=clock)
        run(pipeline)
        assert {r.stats.exit for r in sink.results} == {name}, n
        assert pipeline.totals.misses == 0 and all(len(r.people) == n for r in sink.results)


def test_too_many_for_the_budget_are_served_in_turn_and_nobody_is_late():
    clock = FakeClock()
    engine = FakeEngine(clock, lambda p, k: 2.0 * k)
    pipeline, sink = make(FakeSource(images(6, 500)), boxes=crowd(19), engine=engine, clock=clock, budget_ms=20.0)
    run(pipeline)
    assert pipeline.totals.misses == 0
    for result in sink.results:
        assert 1 <= sum(p.fresh for p in result.people) < 19
        assert len(result.people) == 19
    assert all(p.estimate for p in sink.results[-1].people), "after some frames everybody was read"
    assert pipeline.totals.drops[DropCause.NO_BUDGET] > 0


def test_a_miss_is_counted():
    clock = FakeClock()
    engine = FakeEngine(clock, lambda *_: 50.0)
    pipeline, sink = make(FakeSource(images(3)), engine=engine, clock=clock, policy=Fixed(POINTS[2]))
    run(pipeline)
    assert pipeline.totals.misses == 3 and sink.results[-1].stats.misses == 3
    assert sink.results[-1].stats.frame_age_ms == pytest.approx(50.0)


def test_max_faces_reads_the_first_and_shows_all():
    pipeline, sink = make(FakeSource(images(2)), boxes=crowd(5), max_faces=2)
    run(pipeline)
    assert [p.fresh for p in sink.results[0].people] == [True, True, False, False, False]
    assert pipeline.totals.drops[DropCause.MAX_FACES] == 6


def test_landmarks_of_no_face_are_not_read():
    """A detector is sure, but what the follower finds there has no face's shape: shown, not read."""
    faces, engine = FakeFaces(crowd(1), np.random.default_rng(0).uniform(-1, 1, (47, 2))), FakeEngine()
    front_end = FrontEnd(faces.follow, None, faces, TEMPLATE, Tracker())
    pipeline, sink = make(FakeSource(images(3)), engine=engine, front_end=front_end)
    run(pipeline)
    assert engine.runs == [] and pipeline.totals.drops[DropCause.UNALIGNED] >= 1
    assert sink.results[-1].people[0].estimate is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (3, 2, 3)])
def test_tiny_frames_pass(shape):
    from app.faces.search import Search
    from app.faces.viola_jones import ViolaJones

    front_end = FrontEnd(FakeFaces([]).follow, Search(ViolaJones()), None, TEMPLATE, Tracker())
    pipeline, sink = make(FakeSource([np.zeros(shape, np.uint8)] * 2), front_end=front_end)
    run(pipeline)
    assert pipeline.failure is None and len(sink.results) == 2


def test_a_source_that_fails_at_the_end_keeps_what_came_before():
    pipeline, sink = make(FakeSource(images(5), failure=SourceError("the cable was pulled")))
    run(pipeline)
    assert isinstance(pipeline.failure, SourceError) and len(sink.results) == 5 and sink.closed == 1


def test_a_source_that_says_nothing_is_a_stall(monkeypatch):
    monkeypatch.setattr("app.camera.STALL_S", 0.01)
    gate = threading.Semaphore(0)
    pipeline, _ = make(FakeSource(images(5), live=True, gate=gate))
    run(pipeline)
    assert isinstance(pipeline.failure, SourceStalled) and "connected" in str(pipeline.failure)


def test_an_engine_that_throws_ends_the_run_with_its_message():
    engine = FakeEngine()
    engine.failure = RuntimeError("out of memory")
    pipeline, sink = make(FakeSource(images(500)), engine=engine)
    run(pipeline)
    assert isinstance(pipeline.failure, InternalError) and "out of memory" in str(pipeline.failure)
    assert sink.closed == 1 and not any(t.is_alive() for t in pipeline._threads)


def test_a_sink_that_fails_ends_the_run_and_the_others_are_completed():
    class Full(Collected):
        def deliver(self, result):
            if result.frame.id == 3:
                raise OutputError("the disk is full")

    good = Collected()
    pipeline, _ = make(FakeSource(images(500)), sinks=[good, Full()])
    run(pipeline)
    assert str(pipeline.failure) == "the disk is full" and good.closed == 1 and len(good.results) == 4


def test_stop_ends_an_endless_source_and_is_no_failure():
    gate = threading.Semaphore(3)
    pipeline, sink = make(FakeSource(images(1000), live=True, gate=gate))
    pipeline.start()
    pipeline.stop()
    pipeline.stop()
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    assert pipeline.failure is None and sink.closed == 1 and len(sink.results) <= 4


def test_the_log_replays_to_the_bit_and_holds_nothing_about_people(tmp_path):
    clock = FakeClock()
    engine = FakeEngine(clock, lambda p, k: (2.1, 3.3, 4.7)[POINTS.index(p)] * k ** 0.9)  # fmt: skip
    sizes = [1, 4, 9, 14, 19, 12, 6, 2, 0, 3] * 6
    policy, latency = DeepestThatFits(), LatencyModel(make_profile())
    log = LogWriter(
        (tmp_path / "log.jsonl").open("w"),
        {"policy": policy.to_json(), "profile": latency.profile.to_json(), "correction": latency.to_json()},
    )
    said = itertools.cycle([0.0, 0.0, 1.9, 0.0, 4.0])
    pipeline, sink = make(
        FakeSource(images(len(sizes), 500)), boxes=lambda i: crowd(sizes[i]), engine=engine, clock=clock,
        policy=policy, latency=latency, log=log, probe=lambda: next(said),
    )  # fmt: skip
    run(pipeline)
    written = read_log(tmp_path / "log.jsonl")
    assert {r.probe for r in written.frames} == {0.0, 1.9, 4.0}
    assert pipeline.totals.slow == sum(r.probe > 0 for r in written.frames)
    assert len(written.frames) == len(sizes) == len(sink.results)
    assert len({r.exit for r in written.frames}) == 4
    assert not [r.id for r, d in exact(written) if differs(r, d)]
    assert sum(r.miss for r in written.frames) == pipeline.totals.misses
    assert len({r.slowdown for r in written.frames}) > 3 and written.frames[0].slowdown == 1.0
    record = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[5])
    assert not {"people", "box", "age", "gender", "expression", "image"} & set(record)


def test_budget_and_exit_change_while_it_runs_and_the_log_still_replays_to_the_bit(tmp_path):
    """Changed between frames as from the window; every frame has one budget and one rule."""
    clock = FakeClock()
    engine = FakeEngine(clock, lambda p, k: (2.1, 3.3, 4.7)[POINTS.index(p)] * k ** 0.9)  # fmt: skip
    policy, latency = DeepestThatFits(), LatencyModel(make_profile())
    log = LogWriter(
        (tmp_path / "log.jsonl").open("w"),
        {"policy": policy.to_json(), "profile": latency.profile.to_json(), "correction": latency.to_json()},
    )
    sizes = [1, 4, 9, 14, 6, 2, 8, 3] * 10
    pipeline, sink = make(
        FakeSource(images(len(sizes), 500)), boxes=lambda i: crowd(sizes[i]), engine=engine, clock=clock,
        policy=policy, latency=latency, log=log,
    )  # fmt: skip
    keep, operations = sink.deliver, pipeline.controls

    changes = {15: ("budget_ms", 12.0), 30: ("exit", "exit_13@96"), 45: ("budget_ms", 60.0), 60: ("exit", "auto")}

    def deliver(result):
        keep(result)
        if result.frame.id in changes:
            setattr(operations, *changes[result.frame.id])

    sink.deliver = deliver
    run(pipeline)
    assert pipeline.failure is None and len(sink.results) == len(sizes)
    budgets = [r.stats.budget_ms for r in sink.results]
    assert budgets[:16] == [33.0] * 16 and sorted(set(budgets), key=budgets.index) == [33.0, 12.0, 60.0]
    assert budgets.index(12.0) <= 15 + 3 and budgets.index(60.0) <= 45 + 3, "frames that were already prepared, no more"
    fixed = [r.stats.exit for r in sink.results[34:60] if r.stats.exit]
    assert set(fixed) == {"exit_13"}
    assert {r.stats.exit for r in sink.results[64:]} > {"exit_13"}

    written = read_log(tmp_path / "log.jsonl")
    assert [r.budget_ms for r in written.frames] == budgets
    assert all(r.served == r.wanted for r in written.frames[34:60]), "a fixed exit reads everybody"
    assert [(e.name, e.details["policy"]["name"]) for e in written.events] == [
        ("policy", "fixed"),
        ("policy", "deepest-that-fits"),
    ]
    assert not [r.id for r, d in exact(written) if differs(r, d)]
    assert (
        sum(r.miss for r in written.frames)
        == pipeline.totals.misses
        == sum(r.stats.frame_age_ms > r.stats.budget_ms for r in sink.results)
    )
    without = dataclasses.replace(written, events=())
    assert [r.id for r, d in exact(without) if differs(r, d)], "it is the events that make the replay exact"


def test_points_come_and_are_measured_while_it_runs_and_the_log_still_replays_to_the_bit(tmp_path):
    """It begins with one point; another comes, all are measured anew, one is withdrawn."""
    clock = FakeClock()
    engine = FakeEngine(clock, lambda p, k: (2.1, 3.3, 4.7)[POINTS.index(p)] * k ** 0.9)  # fmt: skip
    engine.ready = POINTS[1:2]
    whole, anew = make_profile(), make_profile((1.9, 3.1, 4.4))
    policy, latency = DeepestThatFits(), LatencyModel(whole)
    log = LogWriter(
        (tmp_path / "log.jsonl").open("w"),
        {"policy": policy.to_json(), "profile": whole.to_json(), "correction": latency.to_json()},
    )
    sizes = [1, 4, 9, 14, 6, 2, 8, 3] * 10
    pipeline, sink = make(
        FakeSource(images(len(sizes), 500)), boxes=lambda i: crowd(sizes[i]), engine=engine, clock=clock,
        policy=policy, latency=latency, log=log,
    )  # fmt: skip
    keep, controls = sink.deliver, pipeline.controls
    changes = {
        15: lambda: controls.allow(POINTS[:1]),
        40: lambda: controls.allow(POINTS, anew),
        60: lambda: controls.withdraw(POINTS[2:]),
    }

    def deliver(result):
        keep(result)
        changes.get(result.frame.id, lambda: None)()

    sink.deliver = deliver
    run(pipeline)
    assert pipeline.failure is None
    exits = [r.stats.exit for r in sink.results]
    assert set(exits[:16]) == {"exit_10"} and set(exits[16:41]) == {"exit_07", "exit_10"}
    assert set(exits[41:61]) == {"exit_07", "exit_10", "exit_13"} and "exit_13" not in exits[61:]

    written = read_log(tmp_path / "log.jsonl")
    assert [(e.before, len(e.details["points"])) for e in written.events] == [(0, 1), (16, 2), (41, 3), (61, 2)]
    assert written.profile == anew and written.latency().profile == whole
    assert not [r.id for r, d in exact(written) if differs(r, d)]
    without = dataclasses.replace(written, events=())
    assert [r.id for r, d in exact(without) if differs(r, d)], "it is the events that make the replay exact"


def test_a_failure_is_kept_before_anybody_is_told_of_the_end():
    """Even where the caller closes at the very moment at which it learns of the end."""

    class Full(Collected):
        def deliver(self, result):
            raise OutputError("the disk is full")

    for _ in range(30):
        pipeline, _sink = make(FakeSource(images(5)), sinks=[Full()])
        pipeline.start()
        assert pipeline.wait(WAIT_S)
        assert str(pipeline.failure) == "the disk is full"
        pipeline.close()


def test_a_sink_that_cannot_be_completed_is_reported_and_the_others_are_closed():
    class Stuck(Collected):
        def close(self):
            raise OutputError("no space for the index")

    good = Collected()
    pipeline, _ = make(FakeSource(images(3)), sinks=[Stuck(), good])
    run(pipeline)
    assert str(pipeline.failure) == "no space for the index" and good.closed == 1


def test_a_front_end_without_room_for_a_picture_ends_a_live_run_too():
    class NoRoom(FrontEnd):
        def __call__(self, frame):
            raise DeviceError("/dev/shm has no room")

    front_end = NoRoom(FakeFaces([]).follow, None, None, TEMPLATE, Tracker())
    pipeline, _ = make(FakeSource(images(3), live=True), front_end=front_end)
    run(pipeline)
    assert str(pipeline.failure) == "/dev/shm has no room"


def test_a_camera_is_shown_with_boxes_while_the_network_is_loaded_and_nothing_is_counted():
    gate, clock = threading.Semaphore(0), FakeClock()
    source = FakeSource(images(9), live=True, gate=gate, clock=clock)
    pipeline, sink = make(source, crowd(2), equipped=False, clock=clock)
    kept = pipeline._preview
    shown, one = [], threading.Semaphore(0)

    def preview(camera, found):
        kept(camera, found)
        shown.append(pipeline.latest())
        one.release()

    pipeline._preview = preview
    pipeline.start()
    for _ in range(4):
        gate.release()
        assert one.acquire(timeout=WAIT_S)
    boxes = [[(p.id, p.estimate) for p in result.people] for result in shown]
    assert boxes[-1] == [(1, None), (2, None)] and shown[-1].stats.why == "the network is loading"
    assert pipeline.controls.exits == () and not sink.results and not pipeline.totals.frames
    equip(pipeline, sink)
    for _ in range(6):
        gate.release()
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    last = sink.results[-1]
    assert [p.id for p in last.people] == [1, 2] and all(p.estimate for p in last.people), "they are the same people"
    assert pipeline.totals.frames == len(sink.results) <= 5 and pipeline.controls.exits


def test_the_first_picture_is_shown_before_the_front_end_is_up_unless_faces_are_to_be_hidden():
    for protect in (None, lambda result, places: result):
        gate, up, seen = threading.Semaphore(1), threading.Event(), threading.Event()
        source = FakeSource(images(2), live=True, gate=gate)
        pipeline, _ = make(
            source,
            equipped=False,
            protect=protect,
            front_end_ready=lambda up=up: up.wait(WAIT_S) and None,
        )
        put = pipeline.cameras[0].grabbed.put
        pipeline.cameras[0].grabbed.put = lambda frame, put=put, seen=seen: (put(frame), seen.set())[0]
        pipeline.start()
        assert seen.wait(WAIT_S)
        assert (pipeline.latest() is None) == bool(protect)
        pipeline.stop()
        up.set()
        pipeline.close()


@pytest.mark.parametrize(("live", "people", "spare"), [(True, 0, [False] * 3), (True, 1, [True] * 3), (False, 0, [])])
def test_after_each_live_frame_there_is_time_for_something_else(live, people, spare):
    calls, gate = [], threading.Semaphore(0)
    pipeline, sink = make(FakeSource(images(3), live=live, gate=gate), crowd(people), spare=calls.append)
    delivered, deliver = threading.Semaphore(0), sink.deliver
    sink.deliver = lambda result: (deliver(result), delivered.release())[0]
    pipeline.start()
    for _ in range(3):
        gate.release()
        assert delivered.acquire(timeout=WAIT_S)
    gate.release()
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    assert calls == spare


def test_a_file_waits_for_its_network():
    pipeline, sink = make(FakeSource(images(5)), equipped=False)
    pipeline.start()
    equip(pipeline, sink)
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    assert [r.frame.id for r in sink.results] == [0, 1, 2, 3, 4]


def test_what_waits_for_its_network_can_be_stopped():
    pipeline, sink = make(FakeSource(images(5)), equipped=False)
    pipeline.start()
    pipeline.stop()
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    assert pipeline.failure is None and not sink.results


def test_every_file_that_cannot_be_completed_is_told():
    class Stuck(Collected):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def close(self):
            raise OutputError(f"{self.name}: no space")

    told = []
    pipeline, _ = make(FakeSource(images(3), live=True), sinks=[Stuck("video"), Stuck("results"), Stuck("events")])
    pipeline.faults.tell = told.append
    run(pipeline)
    assert str(pipeline.failure) == "video: no space"
    assert told == ["output failed: results: no space", "output failed: events: no space"]


def test_who_cannot_be_read_keeps_the_last_estimate_and_says_why():
    """Somebody walks out of the frame: read while most of the crop is inside, then carried over with the reason."""
    at = [Box(100.0 - 12 * i, 80.0, 60.0, 60.0) for i in range(12)]
    pipeline, sink = make(FakeSource(images(12)), boxes=lambda i: [at[i]])
    run(pipeline)
    people = [r.people[0] for r in sink.results]
    unfit = [p for p in people if p.unfit]
    assert people[0].fresh and people[0].unfit is None and len(unfit) >= 2
    assert {p.unfit for p in unfit} == {"at the edge"} and not any(p.fresh for p in unfit)
    assert all(p.id == 1 and p.estimate.age == pytest.approx(30) for p in unfit)
    assert pipeline.totals.drops[DropCause.UNALIGNED] == len(unfit)


def test_time_that_a_run_leaves_goes_to_others_of_the_frame_and_replays_to_the_bit(tmp_path):
    """Predicted with a tail of 1.3, runs take their median: twelve faces do not fit at once, but in two runs or three."""
    policy, latency = ValuePerPerson(period_ms=40.0), LatencyModel(make_profile(tail=1.3))
    clock = FakeClock()
    log = LogWriter(
        (tmp_path / "log.jsonl").open("w"),
        {"policy": policy.to_json(), "profile": latency.profile.to_json(), "correction": latency.to_json()},
    )
    pipeline, sink = make(
        FakeSource(images(6, 500)), engine=FakeEngine(clock, latency.profile.median_ms), clock=clock,
        policy=policy, latency=latency, log=log, boxes=crowd(12),
    )  # fmt: skip
    run(pipeline)
    frames = read_log(tmp_path / "log.jsonl").frames
    assert any(r.read > r.served > 0 for r in frames)
    assert [r.read for r in frames] == [r.stats.served for r in sink.results]
    assert not [r for r, d in exact(read_log(tmp_path / "log.jsonl")) if differs(r, d)]
