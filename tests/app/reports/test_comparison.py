"""Live logs beside simulations, and the report."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from app.cli import main
from app.reports import comparison as study
from scheduler.compare import distance_ms, moments, prediction_error, share_apart, world_of
from scheduler.crowd import make_crowd
from scheduler.latency import LatencyModel
from scheduler.log import LatencyLog, LogWriter
from scheduler.policy import ValuePerPerson
from scheduler.reading import read_log
from scheduler.simulate import simulate
from scheduler.world import FrontEnd, Moment, Noise, make_world
from tests.support.fakes import make_profile, make_record


@pytest.fixture
def log_file(tmp_path):
    """What a live run of 400 frames on a machine with ups and downs would have written: made by the simulator."""
    profile = make_profile()
    crowd = make_crowd("burst", 400, 25.0, 12)
    ups = [1.0 + 0.3 * (i % 5 == 0) + (150 < i < 200) * 0.8 for i in range(400)]
    world = make_world(crowd, profile, 33.0, Noise(moments=ups), front_end=FrontEnd(ms=6.0))
    policy, latency = ValuePerPerson(period_ms=40.0, batches=1), LatencyModel(profile)
    header = {
        "policy": policy.to_json(),
        "correction": latency.to_json(),
        "profile": profile.to_json(),
        "machine": {"processor": "a <fake> machine", "cores": 2},
    }
    writer, asked = LogWriter((tmp_path / "live.jsonl").open("w"), header), []

    class Listening(ValuePerPerson):
        def __call__(self, load, latency):
            asked.append((load, latency.slowdown, latency.tail))
            return super().__call__(load, latency)

    def write(step):
        load, slowdown, tail = asked[-1] if step.faces else (None, 1.0, 1.0)
        point = step.point
        writer.frame(make_record(
            id=step.frame, time_s=world.born_ms[step.frame] / 1e3, faces=step.faces, wanted=step.faces, new=load.new if load else 0, served=step.served,
            exit=point.exit if point else "", size=point.size if point else 0, people=load.people if load else (), left_ms=step.left_ms, predicted_ms=step.predicted_ms,
            measured_ms=step.took_ms, slowdown=slowdown, tail=tail, age_ms=step.age_ms, miss=step.age_ms > 33.0, stages_ms={"detect": 6.0},
        ))  # fmt: skip

    simulate(world, Listening(period_ms=40.0, batches=1), latency, on_step=write)
    writer.close()
    return tmp_path / "live.jsonl"


def test_a_log_is_the_world_that_it_came_from(log_file):
    """Run again with its own moments, every decision and every age comes out as recorded."""
    log, steps = read_log(log_file), []
    world = world_of(log)
    simulate(world, ValuePerPerson(period_ms=40.0, batches=1), LatencyModel(log.profile), on_step=steps.append)
    assert len(steps) == len(log.frames)
    for step, record in zip(steps, log.frames, strict=True):
        assert (step.point.exit if step.point else "", step.served) == (record.exit, record.served)
        assert step.age_ms == pytest.approx(record.age_ms)


def test_another_machine_and_another_budget(log_file):
    log = read_log(log_file)
    twice = make_profile(ms=(4.0, 6.0, 8.0))
    assert world_of(log, profile=twice).profile is twice
    assert set(world_of(log, budget_ms=50.0).budget_ms) == {50.0}
    assert list(world_of(log, drawn=[Moment(3.0, 2.0)] * 400).moments) == [3.0] * 400


def test_the_error_of_the_prediction_is_that_of_its_definition(tmp_path):
    writer = LogWriter(
        (tmp_path / "l").open("w"), {"policy": ValuePerPerson().to_json(), "profile": make_profile().to_json()}
    )
    for i, measured in enumerate((8.0, 10.0, 12.5, 20.0)):
        writer.frame(make_record(id=i, predicted_ms=12.0, tail=1.2, measured_ms=measured))
    writer.close()
    log = read_log(tmp_path / "l")
    p50, p95, below = prediction_error(log)
    assert (p50, p95) == pytest.approx((0.225, 0.4625)) and below == 0.5
    assert [m.ratio for m in moments(log.frames, log.profile)] == pytest.approx([2.0, 2.5, 3.125, 5.0])
    with pytest.raises(ValueError, match="never run"):
        prediction_error(LatencyLog(log.header, log.profile, (), {}, cut=False))


def test_distances():
    assert distance_ms([1, 2, 3], [1, 2, 3]) == 0
    assert distance_ms([1, 2, 3], [11, 12, 13]) == pytest.approx(10)
    assert share_apart({"a": 3, "b": 1}, {"a": 30, "b": 10}) == 0
    assert share_apart({"a": 1}, {"b": 5}) == 1 and share_apart({"a": 3, "b": 1}, {"a": 1, "b": 3}) == 0.5


def test_a_simulation_of_the_same_machine_is_near_the_live_run_and_of_another_is_not(log_file):
    log = read_log(log_file)
    near = study.compare(log, log)
    assert near.age_distance_ms < 2.0 and near.points_apart < 0.15
    slow = [dataclasses.replace(r, measured_ms=3 * r.measured_ms) for r in log.frames]
    far = study.compare(LatencyLog(log.header, log.profile, tuple(slow), {}, cut=False), log)
    assert near == study.compare(log, log), "chance is seeded"
    assert far.points_apart > 2 * near.points_apart and far.age_distance_ms > 2 * near.age_distance_ms


def test_the_report_is_one_light_page_without_requests(log_file, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert main(["replay", str(log_file), "--report", str(out), "--json", str(tmp_path / "r.json")]) == 0
    text = out.read_text()
    assert len(text) < 3_000_000
    assert text.count("<svg") == 7 and "a &lt;fake&gt; machine" in text
    links = re.findall(r"(?:src|href)=\"(?!#|data:)([^\"]*)\"|url\((?!#|&quot;#|data:)([^)]*)\)|@import", text)
    assert links == []
    figures = json.loads((tmp_path / "r.json").read_text())
    assert figures["different"] == 0
    assert figures["rivals"][0]["rule"] == "value per person" and figures["comparison"]["age_distance_ms"] < 2
    said = capsys.readouterr().out
    assert "prediction off by" in said and "apart: ages by" in said and "ALERT" in said


@pytest.mark.parametrize(
    "options", [["--report", "live.jsonl"], ["--report", "x.html", "--json", "x.html"], ["--against", "none.jsonl"]]
)
def test_nonsense_for_the_report_is_refused(log_file, monkeypatch, options):
    monkeypatch.chdir(log_file.parent)
    before = log_file.read_bytes()
    assert main(["replay", "live.jsonl", *options]) == 2
    assert log_file.read_bytes() == before


def test_a_log_whose_time_runs_backwards_is_no_world(log_file, capsys):
    lines = log_file.read_text().splitlines()
    log_file.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert main(["replay", str(log_file), "--rivals"]) == 2
    assert "born before" in capsys.readouterr().err


def test_rivals_and_another_run_without_a_report(log_file, capsys):
    assert main(["replay", str(log_file), "--rivals", "--against", str(log_file)]) == 0
    out = capsys.readouterr().out
    assert "oracle" in out and "simulated" in out
