"""A run whose server comes and goes: every frame is read in time, all of it is told and logged, and replays to the bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from app.network.engine import Unanswered
from scheduler.load import Known, Load
from scheduler.log import LogWriter
from scheduler.places import SERVER, Places, latency_model
from scheduler.policy import DeepestThatFits, Fixed, ValuePerPerson
from scheduler.profile import OperatingPoint, Profile
from scheduler.reading import read_log
from scheduler.replay import differs, exact
from tests.support.fakes import POINTS, FakeClock, FakeEngine, FakeSource, make_profile
from tests.support.pipelines import crowd, images, make, run

BUDGET_MS = 40.0
LOAD = Load(8, BUDGET_MS, people=(Known(),) * 8)
THEIRS = tuple(p._replace(engine=SERVER) for p in POINTS)


def profile(theirs_ms: float = 0.2, tail: float = 1.0):
    """Here 2 to 4 ms a face; at the server a part of it, and 3 ms for the way."""
    mine = make_profile(tail=tail)
    away = [
        dataclasses.replace(
            p, point=p.point._replace(engine=SERVER), median_ms=tuple(3 + theirs_ms * t for t in p.median_ms)
        )
        for p in mine.points
    ]
    return dataclasses.replace(mine, points=(*mine.points, *away))


class Site:
    """An engine with a server beside it, on a clock that is moved by hand. `does` says of a request to the server how long it
    takes, times its usual time, or what goes wrong."""

    def __init__(self, clock: FakeClock, does: Callable[[int], float | str], known: Profile) -> None:
        self.clock, self.does, self.frame = clock, does, 0
        self.there, self.text = True, "grpc://server:8001 does not answer"
        self.limit_ms, self.new, self.asked = 0.0, 0, 0
        self.profile = known
        self.engine = FakeEngine(clock, self.profile.median_ms)
        self.engine.points = self.engine.ready = tuple(p.point for p in self.profile.points)
        self.engine.read = self.read

    def before(self, left_ms: float, newcomers: int) -> None:
        self.limit_ms, self.new = left_ms, newcomers

    def read(self, point: OperatingPoint, faces):
        if point.engine != SERVER or not self.there:
            return FakeEngine.read(self.engine, point, faces)
        self.asked += 1
        does = self.does(self.frame)
        if does == "gone":
            self.there = False
            raise Unanswered(self.text)
        usual_ms = self.profile.median_ms(point, len(faces))
        if isinstance(does, str) or does * usual_ms > self.limit_ms:
            self.clock.pass_ms(self.limit_ms)
            raise Unanswered("late")
        self.clock.pass_ms((does - 1) * usual_ms)
        return FakeEngine.read(self.engine, point, faces)


def watched(tmp_path, does, policy=None, faces=8, frames=60, back_at=None, known=None):
    clock, policy = FakeClock(), policy or ValuePerPerson(period_ms=BUDGET_MS, least=0.0)
    site, told = Site(clock, does, known or profile()), []
    latency = latency_model(site.profile)
    header = {"policy": policy.to_json(), "profile": site.profile.to_json(), "correction": latency.to_json()}
    log = LogWriter((tmp_path / "log.jsonl").open("w"), header)
    source = FakeSource(images(frames, 500), live=False)
    pipeline, sink = make(
        source, boxes=crowd(faces), engine=site.engine, clock=clock, policy=policy, latency=latency, log=log,
        server=site, budget_ms=BUDGET_MS,
    )  # fmt: skip
    pipeline.faults.tell = told.append
    deliver = sink.deliver

    def delivered(result) -> None:
        deliver(result)
        site.frame += 1
        clock.pass_ms(BUDGET_MS)
        site.there |= site.frame == back_at

    sink.deliver = delivered
    run(pipeline)
    assert pipeline.failure is None
    read = read_log(tmp_path / "log.jsonl")
    assert not [r.id for r, d in exact(read) if differs(r, d)], "it replays to the bit"
    return site, sink.results, told, read, pipeline


def engines(results, log) -> list[str]:
    return [r.engine for r in log.frames]


def test_while_it_answers_it_reads(tmp_path):
    site, results, told, log, _ = watched(tmp_path, lambda frame: 1.0)
    assert set(engines(results, log)) == {SERVER} and not told
    assert all(r.stats.served == 8 and r.stats.server for r in results)
    assert site.asked >= 60


@pytest.mark.parametrize("what", ["gone", "hangs", 10.0])
@pytest.mark.parametrize(
    "policy", [None, DeepestThatFits(), Fixed(THEIRS[1])], ids=["value per person", "deepest", "fixed"]
)
def test_killed_hung_or_ten_times_as_slow_frames_go_on_here_in_their_time(tmp_path, what, policy):
    site, results, told, log, pipeline = watched(
        tmp_path, lambda frame: what if 20 <= frame < 40 else 1.0, policy, faces=3, frames=200, back_at=40
    )
    assert len(results) == 200 and pipeline.totals.misses == 0
    assert all(any(p.fresh for p in r.people) for r in results), "somebody is read in every frame"
    assert "" in engines(results, log)[20:24]
    assert engines(results, log)[-1] == SERVER, "it is taken back"
    assert pipeline.totals.unanswered == sum(e.name == "unanswered" for e in log.events) > 0
    if what == "gone":
        assert told == [
            "server out: grpc://server:8001 does not answer. Faces are read here until it answers again",
            "server back after 1 s",
        ]
        assert [r.stats.server for r in results[19:23]] == [True, True, False, False]
        assert site.asked <= 200 - 19, "while it is out nobody asks it"


def test_a_further_batch_that_is_not_answered_ends_the_frame(tmp_path):
    seen = set[int]()

    def does(frame: int) -> float | str:
        first = frame not in seen
        seen.add(frame)
        return 1.0 if first else "hangs"

    rule = ValuePerPerson(period_ms=BUDGET_MS, least=0.0)
    _, results, _, log, _ = watched(tmp_path, does, rule, faces=30, frames=20, known=profile(0.4, tail=1.3))
    failed = [e for e in log.events if e.name == "unanswered" and not e.details["first"]]
    assert failed and all(r.stats.served for r in results)
    assert any(r.stats.served < f.read for r, f in zip(results, log.frames, strict=True)), "they were not read"


def test_the_time_to_read_here_instead_is_kept_back(tmp_path):
    site, *_ = watched(tmp_path, lambda frame: 1.0, faces=4, frames=3)
    cheapest_ms = site.profile.median_ms(POINTS[0], 4)
    assert BUDGET_MS - 2 * cheapest_ms < site.limit_ms < BUDGET_MS - cheapest_ms


def test_each_place_has_a_slowdown_of_its_own():
    model = latency_model(profile())
    assert isinstance(model, Places) and not isinstance(latency_model(make_profile()), Places)
    usual = model.predict_ms(POINTS[0], 4, LOAD), model.predict_ms(THEIRS[0], 4, LOAD)
    for _ in range(5):
        model.observe(THEIRS[0], 4, 10 * usual[1], LOAD)
    assert model.predict_ms(POINTS[0], 4, LOAD) == usual[0] and model.predict_ms(THEIRS[0], 4, LOAD) > 5 * usual[1]
    for _ in range(5):
        model.observe(POINTS[0], 4, 3 * usual[0], LOAD)
    assert model.predict_ms(POINTS[0], 4, LOAD) > 2 * usual[0] and model.slowdown > 2


def test_what_was_learnt_of_a_slow_server_fades_while_it_is_not_chosen():
    model, rule = latency_model(profile()), ValuePerPerson(period_ms=BUDGET_MS, least=0.0)
    model.observe(THEIRS[0], 8, 1e4, LOAD)
    frames = 0
    while not (decision := rule(LOAD, model)).point.engine:
        model.observe(decision.point, decision.serve, model.profile.median_ms(decision.point, decision.serve), LOAD)
        frames += 1
    assert 10 < frames < 400
