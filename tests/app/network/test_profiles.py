"""Profiles as files, the points that are measured, and the commands around them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.cli import main
from app.commands.calibrate import table
from app.compose import load_manifest
from app.errors import OutputError, UsageError
from app.network.calibrate import calibrate, candidates, relative_errors
from app.network.profiles import made_here, measured_for, read_profile, write_profile
from app.reports.worlds import read_crowd
from scheduler.log import LogWriter
from scheduler.policy import ValuePerPerson
from scheduler.profile import OperatingPoint
from tests.support.fakes import FakeClock, FakeEngine, make_profile, make_record
from tests.support.wide import SIZES, wide_profile


@pytest.fixture(scope="module")
def manifest():
    return load_manifest("mobilenet_v1_075")


def wide(manifest):
    """The shipped exits at two sizes; the small one is a little worse at a quarter of the cost."""
    exits = tuple(
        dataclasses.replace(
            e,
            multiply_adds={48: e.multiply_adds[96] // 4, 96: e.multiply_adds[96]},
            validation={96: e.validation[96], 48: {**e.validation[96], "mae": e.validation[96]["mae"] + 0.15}},
            age_interval_scale=dict.fromkeys((48, 96), e.age_interval_scale[96]),
        )
        for e in manifest.exits
    )
    return dataclasses.replace(manifest, exits=exits, mirrored=(), input_sizes=(48, 96))


def test_only_points_near_the_front_are_measured(manifest):
    two_sizes = wide(manifest)
    kept = candidates(two_sizes)
    errors, blank = relative_errors(two_sizes, [OperatingPoint(e.name, s) for e in manifest.exits for s in (48, 96)])
    assert OperatingPoint("exit_07", 48) in kept and OperatingPoint("exit_07", 96) not in kept
    assert OperatingPoint("exit_13", 96) in kept, "the dearest is what everybody compares with"
    assert min(errors, key=errors.get) in kept
    assert len(kept) < 14 and blank > max(errors.values())


def test_a_mirrored_exit_is_measured_only_where_it_errs_clearly_less_than_all_that_is_cheaper(manifest):
    nine = manifest.exit("exit_09+mirror")
    kept = candidates(manifest)
    assert [p.exit for p in kept if p.exit.endswith("+mirror")] == ["exit_09+mirror"]
    assert OperatingPoint("exit_13", 96) in kept, "the dearest exit is what everybody compares with"
    worse = dataclasses.replace(nine, validation={96: manifest.exit("exit_09").validation[96]})
    others = tuple(worse if e is nine else e for e in manifest.mirrored if e.block == 9)
    assert not any(p.exit.endswith("+mirror") for p in candidates(dataclasses.replace(manifest, mirrored=others)))


def test_a_profile_file_there_and_back(manifest, tmp_path):
    file = made_here(make_profile(), FakeEngine(), manifest, 2)
    write_profile(tmp_path / "p.json", file)
    again = read_profile(tmp_path / "p.json")
    assert again == file and again.check(tmp_path / "p.json", FakeEngine(), manifest, 2) == ""
    other = dataclasses.replace(again, machine={**again.machine, "processor": "abacus"})
    assert "abacus" in other.check(tmp_path / "p.json", FakeEngine(), manifest, 2)
    with pytest.raises(OutputError, match="cannot be written"):
        write_profile(tmp_path / "none" / "p.json", file)


def test_a_profile_of_something_else_is_refused(manifest, tmp_path):
    file = made_here(make_profile(), FakeEngine(), manifest, 2)
    for change, says in (
        ({"model": {"name": "other", "sha256": "00"}}, "other 00"),
        ({"provider": "Abacus"}, "Abacus"),
        ({"threads": 3}, "3 threads"),
        ({"profile": make_profile(ms=(1.0, 2.0, 3.0), buckets=(1, 2))}, "batches"),
    ):
        with pytest.raises(UsageError, match=says):
            dataclasses.replace(file, **change).check(tmp_path / "p", FakeEngine(), manifest, 2)


def test_a_run_with_fewer_points_takes_those_it_has(manifest):
    """As one of a fixed exit, or over a file."""
    file, engine = made_here(make_profile(), FakeEngine(), manifest, 2), FakeEngine()
    engine.points = engine.points[1:2]
    fewer = file.only(engine.points)
    assert [p.point for p in fewer.profile.points] == list(engine.points)
    assert fewer.check(Path("p"), engine, manifest, 2) == ""
    assert file.only([OperatingPoint("exit_99", 96)]) == file, "check says what is wrong with it"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "not a latency profile"), ("[]", "not a latency profile"), ("{}", "not a latency profile"),
        ('{"type": "latency profile", "schema": 9}', "schema 9"), ('{"type": "latency profile", "schema": 1}', "incomplete or wrong: 'created'"),
    ],
)  # fmt: skip
def test_what_is_no_profile_says_so(tmp_path, text, says, capsys):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_profile(tmp_path / "p.json")
    assert main(["run", "--source", "demo", "--no-show", "--profile", str(tmp_path / "p.json")]) == 2
    assert main(["simulate", "--profile", str(tmp_path / "p.json")]) == 2
    assert says in capsys.readouterr().err


@pytest.fixture
def profile_file(manifest, tmp_path):
    write_profile(tmp_path / "p.json", made_here(make_profile(), FakeEngine(), manifest, 2))
    return str(tmp_path / "p.json")


def test_simulate_prints_every_rival_and_is_the_same_twice(profile_file, tmp_path, capsys):
    log = LogWriter(
        (tmp_path / "n.jsonl").open("w"), {"policy": ValuePerPerson().to_json(), "profile": make_profile().to_json()}
    )
    for i in range(100):
        log.frame(make_record(id=i, faces=i % 5 + 1, measured_ms=4.0 + i % 7 / 10))
    log.close()
    made = []
    for name in ("a.json", "b.json"):
        assert main(["simulate", "--profile", profile_file, "--crowd", str(tmp_path / "n.jsonl"), "--noise", str(tmp_path / "n.jsonl"),
                     "--frames", "200", "--policy", "all", "--json", str(tmp_path / name)]) == 0  # fmt: skip
        made.append((tmp_path / name).read_text())
    assert made[0] == made[1]
    rules = [r["rule"] for r in json.loads(made[0])["runs"]]
    assert rules[0] == "value per person" and rules[-1].startswith("oracle") and "least error" in rules
    out = capsys.readouterr().out
    assert all(name in out for name in ("ApproxDet", "ALERT", "AIMD", "face cap 16", "best fixed", "streaming"))


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--crowd", "zoo"], "const:N"), (["--budget-ms", "0"], "--budget-ms"), (["--frames", "0"], "--frames"),
        (["--policy", "magic"], "deepest-that-fits"), (["--noise", "none.jsonl"], "cannot be read"), (["--fps", "0"], "frames per second"),
        (["--memory-s", "0"], "--memory-s"), (["--front-ms", "-1"], "--front-ms"),
    ],
)  # fmt: skip
def test_nonsense_for_simulate_is_refused(profile_file, args, says, capsys):
    assert main(["simulate", "--profile", profile_file, *args]) == 2
    assert says in capsys.readouterr().err


def test_a_recorded_crowd_comes_again_at_its_own_pace_and_as_large_as_asked_for(tmp_path):
    header = {"policy": ValuePerPerson().to_json(), "profile": make_profile().to_json()}
    log = LogWriter((tmp_path / "c.jsonl").open("w"), header)
    for i, faces in enumerate((0, 2, 1)):
        log.frame(
            make_record(id=i, time_s=5 + i / 10, faces=faces, wanted=0, new=0, served=0, exit="", predicted_ms=0.0)
        )
    log.close()
    path = str(tmp_path / "c.jsonl")
    assert read_crowd(path, 9, 20.0).faces == (0, 0, 2, 2, 1, 1, 0, 0, 2)
    assert read_crowd(f"{path}:32", 6, 20.0).faces == (0, 0, 32, 32, 16, 16)
    assert max(read_crowd("clips", 90, 30.0).faces) == 32 and read_crowd("clips", 90, 30.0).faces[0] == 0


def test_the_span_of_a_front_is_told_for_each_number_of_faces_and_over_all():
    costs = SimpleNamespace(multiply_adds=dict.fromkeys(SIZES, 1e6))
    line = table(wide_profile(), SimpleNamespace(exit=lambda name: costs))[-1]
    assert "7.7, 11.5, 15.5, 19.0, 21.4 times at 1, 2, 4, 8 and 16 faces, 17.8 over all" in line
    assert "front of 14, 22 dominated" in line


def test_a_padding_engine_is_measured_at_both_ends_of_every_batch(manifest):
    """Cropping takes longer with every face, a network whose batches are filled up only from one batch to the next."""

    def cost_ms(point, faces):
        batch = next(b for b in (1, 8, 32) if b >= faces)
        return 0.1 * faces + 0.5 + batch / 8

    clock = FakeClock()
    engine = FakeEngine(clock, cost_ms)
    engine.pads, engine.buckets = True, (1, 8, 32)
    profile = calibrate(engine, manifest, clock=clock, rounds=2)
    assert profile.buckets == measured_for(engine) == (1, 2, 8, 9, 32) and not profile.padded
    for point in engine.points:
        for faces in range(1, 33):
            assert profile.median_ms(point, faces) == pytest.approx(cost_ms(point, faces))


def test_simulate_says_how_fast_it_was_and_what_was_chosen(profile_file, capsys):
    assert main(["simulate", "--profile", profile_file, "--crowd", "const:3", "--frames", "50"]) == 0
    out = capsys.readouterr().out
    assert "points    exit_13@96 " in out and "million frames a minute" in out


def test_calibrate_writes_a_profile_that_run_takes(tmp_path, capsys):
    import cv2
    import numpy as np

    path = str(tmp_path / "p.json")
    assert main(["calibrate", "--threads", "1", "--out", path]) == 0
    assert "front of" in capsys.readouterr().out
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    run = ["run", "--source", str(tmp_path / "one.png"), "--no-show", "--profile", path]
    assert main([*run, "--threads", "1"]) == 0
    assert f"latency   {path}: one face" in capsys.readouterr().out
    assert main([*run, "--threads", "2"]) == 2
    assert main([*run, "--threads", "1", "--recalibrate"]) == 2
    assert main([*run, "--threads", "1", "--log", path]) == 2
