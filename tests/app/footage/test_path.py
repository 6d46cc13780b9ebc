"""A file's frames read ahead and together: the same answer as one by one, to the last byte."""

from __future__ import annotations

import json
import threading

import pytest

from app.bench.footage import Digest
from app.compose import build
from app.domain import Result
from app.errors import SourceError
from app.footage import path as path_module
from app.footage.path import FootagePath
from app.pipeline import Pipeline
from app.settings import Settings
from scheduler.latency import LatencyModel
from scheduler.policy import Fixed
from tests.support.fakes import POINTS, FakeEngine, FakeSource, make_profile
from tests.support.paths import SHARED
from tests.support.pipelines import WAIT_S, crowd, images, make, run

CLIP = SHARED / "clips" / "group-of-five.mp4"


def fixed(source, engine=None, **changes):
    engine = engine or FakeEngine()
    policy, latency = Fixed(engine.points[0]), LatencyModel(make_profile())
    return make(
        source, engine=engine, policy=policy, latency=latency, path=FootagePath, budget_ms=float("inf"), **changes
    )


def told(results: list[Result]) -> list[tuple]:
    return [(r.frame.id, r.people) for r in results]


def test_faces_of_several_frames_share_a_batch_and_each_frame_has_its_own_answer():
    engine = FakeEngine()
    pipeline, sink = fixed(FakeSource(images(20, 400)), engine, boxes=crowd(5))
    run(pipeline)
    assert pipeline.failure is None and [r.frame.id for r in sink.results] == list(range(20))
    assert [faces for _, faces in engine.runs] == [20] * 5, "four frames of five faces make a batch"
    assert all(len(r.people) == 5 and all(p.fresh for p in r.people) for r in sink.results)
    assert pipeline.totals.read == 100 and pipeline.totals.exits == {str(POINTS[0]): 20}
    alone, expected = make(
        FakeSource(images(20, 400)), crowd(5), policy=Fixed(POINTS[0]), latency=LatencyModel(make_profile())
    )
    run(alone)
    assert told(sink.results) == told(expected.results)


def test_an_empty_room_waits_for_no_batch_and_the_last_frames_come_too():
    engine = FakeEngine()
    pipeline, sink = fixed(FakeSource(images(19)), engine, boxes=lambda i: crowd(1) if i == 18 else [])
    run(pipeline)
    assert [r.frame.id for r in sink.results] == list(range(19))
    assert [faces for _, faces in engine.runs] == [1]


def test_what_waits_is_bounded_by_what_pictures_take(monkeypatch):
    """Pictures as large as the whole allowance: one waits, and nothing is lost."""
    monkeypatch.setattr(path_module, "AHEAD_BYTES", 1.0)
    pipeline, sink = fixed(FakeSource(images(12)))
    assert pipeline.cameras[0].grabbed._weigh(next(iter(FakeSource(images(1))))) >= 1
    run(pipeline)
    assert len(sink.results) == 12


def test_a_network_that_fails_ends_the_run_and_says_why():
    engine = FakeEngine()
    engine.failure = RuntimeError("out of memory")
    pipeline, sink = fixed(FakeSource(images(30)), engine)
    run(pipeline)
    assert "out of memory" in str(pipeline.failure) and not sink.results


def test_frames_before_a_source_that_fails_are_read():
    pipeline, sink = fixed(FakeSource(images(5), failure=SourceError("gone")))
    run(pipeline)
    assert str(pipeline.failure) == "gone" and [r.frame.id for r in sink.results] == list(range(5))


def test_a_stop_ends_it_however_much_waits():
    gate = threading.Semaphore(3)
    pipeline, sink = fixed(FakeSource(images(100), gate=gate))
    pipeline.start()
    pipeline.stop()
    gate.release(100)
    assert pipeline.wait(WAIT_S)
    pipeline.close()
    assert pipeline.failure is None and sink.closed == 1


@pytest.mark.skipif(not CLIP.exists(), reason=f"{CLIP.name} does not lie beside the checkout")
@pytest.mark.parametrize(
    "options", [{}, {"every_frame": True, "end": 0.2}, {"detector": "viola-jones", "every": "3rd"}]
)
def test_real_footage_gives_the_same_to_the_last_digit_one_by_one_and_ahead(options):
    answers = set()
    for kind in (Pipeline, FootagePath):
        digest = Digest()
        settings = Settings(source=str(CLIP), show=False, **({"end": 1.0} | options))
        app = build(settings, watch=[digest], of_files=kind)
        run(app.pipeline)
        assert app.pipeline.totals.read
        answers.add(str(digest))
    assert len(answers) == 1


def test_a_latency_log_says_what_each_frame_took(tmp_path):
    from app.files import TextFile
    from scheduler.log import LogWriter

    log = tmp_path / "log.jsonl"
    engine = FakeEngine()
    pipeline, _ = fixed(FakeSource(images(6)), engine, log=LogWriter(TextFile(log), {}), boxes=crowd(2))
    run(pipeline)
    assert [faces for _, faces in engine.runs] == [2] * 6
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["served"] for r in records if r["type"] == "frame"] == [2] * 6
