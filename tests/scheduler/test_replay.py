from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import random
from pathlib import Path

import pytest

from scheduler.before import FormerPlaces, LeastError
from scheduler.crowd import Guests
from scheduler.latency import LatencyModel
from scheduler.load import Known, Load
from scheduler.log import SCHEMA, LatencyLog, LogError, LogWriter
from scheduler.places import decide
from scheduler.policy import DeepestThatFits, Fixed, Policy, ValuePerPerson
from scheduler.profile import OperatingPoint, PointProfile, Profile
from scheduler.reading import read_log
from scheduler.replay import as_recorded, differs, exact, replay, summarise
from scheduler.rules import policy_from_json
from tests.support.fakes import POINTS, make_profile, make_record
from tests.support.paths import ROOT
from tests.support.wide import wide_profile


def made_log(path: Path, frames: int = 200, profile: Profile | None = None, policy: Policy | None = None) -> LatencyLog:
    """A log as a run on a machine with changing speed would leave it, decided by the real policy."""
    profile, policy = profile or make_profile(), policy or DeepestThatFits()
    latency, guests = LatencyModel(profile), Guests()
    writer = LogWriter(
        path.open("w"), {"policy": policy.to_json(), "profile": profile.to_json(), "correction": latency.to_json()}
    )
    for i in range(frames):
        faces = round(8 - 8 * math.cos(i / 30))
        left = 25.0 + 5 * math.sin(i * 1.7) / 3
        slowdown = latency.slowdown
        if not faces:
            writer.frame(make_record(id=i, faces=0, wanted=0, served=0, exit="", size=0, bucket=0, left_ms=left, predicted_ms=0.0, measured_ms=0.0, age_ms=9.0))  # fmt: skip
            continue
        probe = 6.0 if i % 31 == 9 else 0.0
        people = guests.at(i * 40.0, faces, 0, policy)
        load = Load(faces, left, probe=probe, people=people)
        d = policy(load, latency)
        tail = latency.tail
        took = (
            profile.median_ms(d.point, d.serve)
            * (5.0 if probe else 1.7 if 80 < i < 120 else 1.0)
            * (1 + 0.05 * math.sin(i * 3.1))
        )
        if d.serve:
            latency.observe(d.point, d.serve, took, load)
            guests.read(d.serve, profile.error(d.point))
        age = 33.0 - left + took
        writer.frame(make_record(id=i, faces=faces, wanted=faces, served=d.serve, exit=d.point.exit * bool(d.serve), size=d.point.size, engine=d.point.engine, left_ms=left, probe=probe, people=people,
                                 predicted_ms=d.predicted_ms, measured_ms=took, slowdown=slowdown, tail=tail, age_ms=age, miss=age > 33.0))  # fmt: skip
    writer.drop(frames, "grab_full")
    writer.close()
    return read_log(path)


def test_the_recorded_policy_decides_the_same_again_bit_for_bit(tmp_path):
    log = made_log(tmp_path / "log.jsonl")
    assert len(log.frames) == 200 and log.drops == {"grab_full": 1} and not log.cut
    assert len({d.point for _, d in exact(log) if d}) == 3, "the log must use every exit to prove anything"
    assert [r.id for r, d in exact(log) if differs(r, d)] == []


def test_points_of_several_engines_are_one_front_and_their_log_replays(tmp_path):
    """The same exit by two engines is two points: each with its own times, both in one log."""
    plain = make_profile()
    faster = [
        dataclasses.replace(p, point=p.point._replace(engine="openvino"), median_ms=tuple(0.9 * t for t in p.median_ms))
        for p in plain.points[1:]
    ]
    profile = dataclasses.replace(plain, points=(*plain.points, *faster))
    assert profile.front == (POINTS[0], *(p.point for p in faster)), "by ONNX Runtime these take longer"
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    assert "engine" not in json.dumps(plain.to_json()), "a profile of one engine reads as ever"
    log = made_log(tmp_path / "log.jsonl", profile=profile)
    assert {r.engine for r in log.frames if r.served} == {"", "openvino"}
    assert [r.id for r, d in exact(log) if differs(r, d)] == []
    assert set(summarise(list(replay(log, ValuePerPerson())), profile, "ours", 33.0).exits) <= {
        str(p) for p in profile.front
    }
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert sum('"engine"' in line for line in lines[1:]) == sum(r.engine == "openvino" for r in log.frames)
    other = next(i for i, line in enumerate(lines) if i and "openvino" in line)
    lines[other] = lines[other].replace('"openvino"', '"abacus"')
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    with pytest.raises(LogError, match="not in the profile"):
        read_log(tmp_path / "log.jsonl")


def test_a_changed_number_is_noticed(tmp_path):
    made_log(tmp_path / "log.jsonl")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    record = json.loads(lines[101])
    lines[101] = json.dumps(record | {"measured_ms": record["measured_ms"] * 4})
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert any(differs(r, d) for r, d in exact(read_log(tmp_path / "log.jsonl")))


def test_replay_under_the_same_policy_and_budget_gives_the_same_times(tmp_path):
    log = made_log(tmp_path / "log.jsonl")
    for frame, record in zip(replay(log, DeepestThatFits()), log.frames, strict=True):
        assert frame.age_ms == pytest.approx(record.age_ms)
        assert frame.miss == record.miss


def test_a_fixed_deep_exit_misses_more_and_a_shallow_one_knows_less(tmp_path):
    log = made_log(tmp_path / "log.jsonl")
    recorded = summarise(as_recorded(log), log.profile, "", 33.0)
    deep = summarise(list(replay(log, Fixed(POINTS[2]))), log.profile, "", 33.0)
    shallow = summarise(list(replay(log, Fixed(POINTS[0]))), log.profile, "", 33.0)
    assert deep.misses > recorded.misses
    assert shallow.expected_mae > recorded.expected_mae > deep.expected_mae
    assert deep.exits == {"exit_13@96": sum(r.wanted > 0 for r in log.frames)}


def test_a_longer_budget_goes_deeper(tmp_path):
    log = made_log(tmp_path / "log.jsonl")
    longer = summarise(list(replay(log, DeepestThatFits(), 3000.0)), log.profile, "", 3000.0)
    assert longer.expected_mae == pytest.approx(4.8) and longer.misses == 0
    shorter = summarise(list(replay(log, DeepestThatFits(), 15.0)), log.profile, "", 15.0)
    assert shorter.served < longer.served == shorter.faces


def test_twice_the_same_replay_is_the_same(tmp_path):
    log = made_log(tmp_path / "log.jsonl")
    assert list(replay(log, DeepestThatFits(), 20.0)) == list(replay(log, DeepestThatFits(), 20.0))


def test_a_cut_last_line_is_left_out(tmp_path):
    made_log(tmp_path / "log.jsonl")
    text = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(text[: text.rindex('"cause"')])
    log = read_log(tmp_path / "log.jsonl")
    assert log.cut and len(log.frames) == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("hello", "not JSON"),
        ('{"type": "frame"}', "not a header"),
        ('{"type": "header", "schema": 99}', "schema 99"),
        ('{"type": "header", "schema": 1}', "profile"),
        ('HEADER\n{"type": "event"}\n{}', "line 2"),
        ('HEADER\n{"type": "event", "name": "policy", "policy": {"name": "magic"}}\n{}', "magic"),
        ("[1]", "not a record"),
        ("HEADER\n{broken\n{}", "line 2"),
        ('HEADER\n{"type": "frame", "id": 1}\n', "line 2"),
        ('HEADER\n{"type": "surprise"}\n', "surprise"),
    ],
)
def test_what_is_no_log_says_so(tmp_path, text, says):
    header = {"type": "header", "schema": 1, "policy": DeepestThatFits().to_json(), "profile": make_profile().to_json()}
    (tmp_path / "log").write_text(text.replace("HEADER", json.dumps(header)))
    with pytest.raises(LogError, match=says):
        read_log(tmp_path / "log")


def test_a_binary_or_missing_log_says_so(tmp_path):
    (tmp_path / "log").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(LogError, match="not text"):
        read_log(tmp_path / "log")
    with pytest.raises(LogError, match="cannot be read"):
        read_log(tmp_path / "none")


def test_numbers_that_are_none_are_refused(tmp_path):
    file = io.StringIO()
    writer = LogWriter(file, {"policy": DeepestThatFits().to_json(), "profile": make_profile().to_json()})
    writer.frame(make_record(measured_ms=float("nan")))
    (tmp_path / "log").write_text(file.getvalue())
    with pytest.raises(LogError, match="numbers of frame 0"):
        read_log(tmp_path / "log")


def test_a_replay_without_frames_is_refused():
    with pytest.raises(ValueError, match="nothing to replay"):
        summarise([], make_profile(), "", 33.0)


def test_operating_points_print_as_people_name_them():
    assert str(OperatingPoint("exit_09", 96)) == "exit_09@96"
    assert str(OperatingPoint("exit_09", 96, "openvino")) == "openvino/exit_09@96"


@pytest.mark.parametrize(
    "change",
    [
        {"served": 0.5}, {"served": True}, {"id": [1]}, {"measured_ms": -1.0}, {"measured_ms": 10**400}, {"miss": "x"},
        {"new": 99}, {"new": -1}, {"tail": 0.0}, {"slowdown": "x"}, {"size": "x"}, {"exit": [1]}, {"exit": "exit_99"}, {"exit": ""}, {"probe": -1.0}, {"probe": "x"}, {"stages_ms": 5}, {"unserved": {"unaligned": "x"}}, {"faces": 10**9, "wanted": 10**9}, {"wanted": 7},
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_is_refused(tmp_path, change):
    made_log(tmp_path / "log.jsonl", 20)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    lines[19] = json.dumps(json.loads(lines[19]) | change)
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    with pytest.raises(LogError, match="line 20"):
        read_log(tmp_path / "log.jsonl")


@pytest.mark.parametrize(
    "change",
    [
        {"policy": {"name": "value-per-person", "depth": 1}}, {"policy": {"name": "fixed", "exit": "exit_99", "size": 96}}, {"policy": None},
        {"settings": {"align_share": "x"}}, {"settings": {"align_share": 7}}, {"settings": 5},
        {"policy": {"name": "deepest-that-fits", "margin": None, "headroom": 0.1}}, {"profile": {"buckets": [1, float("inf")]}},
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_is_refused(tmp_path, change):
    made_log(tmp_path / "log.jsonl", 20)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | change)
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    with pytest.raises(LogError, match="line 1"):
        read_log(tmp_path / "log.jsonl")


def test_the_prediction_must_be_the_same_to_the_last_bit(tmp_path):
    made_log(tmp_path / "log.jsonl", 60)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    record = json.loads(lines[40])
    lines[40] = json.dumps(record | {"predicted_ms": math.nextafter(record["predicted_ms"], math.inf)})
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert [r.id for r, d in exact(read_log(tmp_path / "log.jsonl")) if differs(r, d)] == [record["id"]]


def test_another_budget_aligns_fewer_or_more_faces(tmp_path):
    """Six of ten faces took 18 ms and began 18 ms after birth. Limits: 0.6 of 40 ms lets three begin, of 100 ms all ten."""
    writer = LogWriter(
        (tmp_path / "l").open("w"),
        {"policy": Fixed(POINTS[0]).to_json(), "profile": make_profile().to_json(), "settings": {"align_share": 0.6}},
    )
    writer.frame(make_record(faces=10, wanted=6, served=6, exit="exit_07", bucket=8, budget_ms=66.0, left_ms=30.0,
                             measured_ms=12.0, age_ms=48.0, stages_ms={"detect": 18.0, "align": 18.0}))  # fmt: skip
    writer.close()
    log = read_log(tmp_path / "l")
    for budget, served, age in ((66.0, 6, 48.0), (40.0, 3, 48.0 - 9 - 6), (100.0, 10, 48.0 + 12 + 8)):
        (frame,) = replay(log, Fixed(POINTS[0]), budget)
        assert frame.decision.serve == served
        assert frame.age_ms == pytest.approx(age)
        assert frame.left_ms == pytest.approx(30.0 + budget - 66.0 + (6 - served) * 3)


def test_a_policy_that_changed_during_the_run_is_followed(tmp_path):
    """The frames before the event were decided by one rule, those behind by the other."""
    profile, latency = make_profile(), LatencyModel(make_profile())
    writer = LogWriter(
        (tmp_path / "l").open("w"), {"policy": DeepestThatFits().to_json(), "profile": profile.to_json()}
    )
    for i in range(10):
        policy = DeepestThatFits() if i < 5 else Fixed(POINTS[0])
        if i == 5:
            writer.event("reconnect", source="camera 0", after_s=2.5)
            writer.event("policy", policy=policy.to_json())
        d = policy(Load(2, 30.0), latency)
        took = profile.median_ms(d.point, d.serve)
        writer.frame(make_record(id=i, faces=2, wanted=2, served=2, exit=d.point.exit, predicted_ms=d.predicted_ms, measured_ms=took))  # fmt: skip
        latency.observe(d.point, 2, took, Load(2, 30.0))
    writer.close()
    log = read_log(tmp_path / "l")
    assert [(e.before, e.name) for e in log.events] == [(5, "reconnect"), (5, "policy")]
    assert log.events[0].details == {"source": "camera 0", "after_s": 2.5}
    assert (
        {d.point for r, d in exact(log) if d and r.id >= 5}
        == {POINTS[0]}
        != {d.point for r, d in exact(log) if r.id < 5}
    )
    assert not [r.id for r, d in exact(log) if differs(r, d)]


def test_a_log_of_the_first_schema_is_still_read(tmp_path):
    made_log(tmp_path / "l", 20)
    lines = [json.loads(line) for line in (tmp_path / "l").read_text().splitlines()]
    lines[0]["schema"] = 1
    for record in lines[1:]:
        record.pop("new", None)
    (tmp_path / "l").write_text("\n".join(map(json.dumps, lines)))
    log = read_log(tmp_path / "l")
    assert len(log.frames) == 20 and not log.repeatable and {r.new for r in log.frames} == {0}


def test_a_log_that_does_not_say_how_its_tail_moved_is_replayed_as_it_was_written(tmp_path):
    """The numbers behind the tail have changed since; older logs go on with theirs, and nonsense is refused."""
    path = tmp_path / "log.jsonl"
    made_log(path)
    header, *frames = path.read_text().splitlines()
    data = json.loads(header) | {"schema": 5}
    assert read_log(path).latency().to_json() == LatencyModel(make_profile()).to_json()
    older = {"further_quantile": 0.995, "tail_limit": 8.0}
    data["correction"] = {"tail_quantile": 0.995, "tail_step": 0.3}
    path.write_text("\n".join([json.dumps(data), *frames]))
    assert read_log(path).latency().to_json() == {"tail_quantile": 0.995, "tail_step": 0.3, **older}
    del data["correction"]
    path.write_text("\n".join([json.dumps(data), *frames]))
    assert read_log(path).latency().to_json() == {"tail_quantile": 0.99, "tail_step": 0.15, **older}
    for wrong in (
        {"tail_quantile": 0.9},
        {"tail_quantile": 1.5, "tail_step": 0.1},
        {"tail_quantile": "x", "tail_step": 0.1},
        {"tail_quantile": 0.9, "tail_step": 0.1, "tail_limit": 0.5},
        {"tail_quantile": 0.9, "tail_step": 0.1, "other": 0.5},
        3,
    ):
        path.write_text("\n".join([json.dumps(data | {"correction": wrong}), *frames]))
        with pytest.raises(LogError, match="incomplete or wrong"):
            read_log(path)


LOGS = sorted((ROOT / "docs" / "results" / "logs").glob("*.jsonl"))


@pytest.mark.parametrize("path", LOGS, ids=lambda p: p.stem)
def test_logs_of_before_are_decided_again_as_they_were_by_the_rule_that_they_name(path):
    log = read_log(path)
    assert log.repeatable and len(log.frames) > 900
    assert [r.id for r, d in exact(log) if differs(r, d)] == []


def test_a_log_of_the_rule_of_auto_holds_what_it_needs_to_be_decided_again(tmp_path):
    log = made_log(tmp_path / "l", policy=ValuePerPerson(least=0.1))
    assert any(r.wanted and not r.served for r in log.frames), "somebody must have been settled to prove anything"
    assert [r.id for r, d in exact(log) if differs(r, d)] == []
    assert b"null" in (tmp_path / "l").read_bytes() and log.frames[40].people[0].error < math.inf
    lines = (tmp_path / "l").read_text().splitlines()
    for wrong in ([[1.0, 2.0]], [[-1.0, 1.0, 0.0, 1.0]] * log.frames[40].wanted, 5):
        lines[41] = json.dumps(json.loads(lines[41]) | {"known": wrong})
        (tmp_path / "l").write_text("\n".join(lines))
        with pytest.raises(LogError, match="line 42"):
            read_log(tmp_path / "l")


def test_a_log_of_schema_7_is_decided_again_by_movement_and_sharpness():
    """The digest is of the decisions of commit d949fd1, which wrote such logs."""
    numbers = {
        "period_ms": 40.0,
        "change": 1.5,
        "change_s": 4.0,
        "moving": 1.0,
        "least": 0.1,
        "margin": 1.1,
        "batches": 3,
    }
    rule = policy_from_json({"name": "value-per-person", **numbers})
    chance, latency, decisions = random.Random(5), LatencyModel(wide_profile()), []
    for _ in range(200):
        people = [
            Known(chance.expovariate(1e-3), chance.uniform(1, 1.5), chance.random() * 0.3, chance.random())
            for _ in range(9)
        ]
        order = rule.rank(people)
        load = Load(9, chance.uniform(1, 80), people=tuple(people[i] for i in order))
        decision = rule(load, latency)
        decisions.append((order, decision.point.exit, decision.serve, decision.due, decision.predicted_ms))
    assert hashlib.sha256(repr(decisions).encode()).hexdigest()[:16] == "d7b92cd7de3ca332"


def test_a_server_in_a_log_of_schema_5_is_decided_on_as_then():
    """The digest is of the decisions of commit d698bbc, which wrote such logs."""
    chance, decisions = random.Random(3), list[tuple[str, int, float]]()
    points = [
        PointProfile(
            OperatingPoint(f"exit_{i:02}", 96, engine),
            tuple((b * (i + 1) * 1.1 + (3 if engine else 0)) * (0.2 if engine else 1) + (2 if engine else 0) for b in (1, 2, 4, 8)),
            6 - i, 1.6 - i * 0.2,
        )
        for i in range(3) for engine in ("", "server")
    ]  # fmt: skip
    profile = Profile((1, 2, 4, 8), tuple(points), 1.2)
    latency, rule = FormerPlaces(profile), LeastError(40.0)
    for i in range(3000):
        faces = chance.randint(1, 12)
        new = chance.randint(0, min(faces, 2))
        load = Load(faces, chance.uniform(5, 35), new, probe=chance.choice([0, 0, 0, 0, 3.0]))
        if i % 300 in (150, 200):
            latency.server(i % 300 == 200)
        decision = decide(rule, load, latency)
        decisions.append((str(decision.point), decision.serve, decision.predicted_ms))
        ms = profile.median_ms(decision.point, decision.serve) * chance.uniform(0.7, 1.6)
        latency.observe(decision.point, decision.serve, ms, load)
        rest = load.after(decision.serve, load.left_ms - ms, 1)
        if rest.faces and (again := rule.again(rest, latency)):
            decisions.append((str(again.point), again.serve, again.predicted_ms))
            ms = profile.median_ms(again.point, again.serve) * chance.uniform(0.7, 1.6)
            latency.observe(again.point, again.serve, ms, rest)
    assert sum("server" in name for name, _, _ in decisions) == 2092
    digest = hashlib.sha256(repr(decisions).encode()).hexdigest()
    assert digest == "95a4172a1ff9cde0ff0a3ca0c477a171812c6acff9cda57fd00cf2102ddbd2b5"


def test_a_log_of_schema_5_with_a_server_has_its_own_correction(tmp_path):
    away = [dataclasses.replace(p, point=p.point._replace(engine="server")) for p in make_profile().points]
    profile = dataclasses.replace(make_profile(), points=(*make_profile().points, *away))
    path = tmp_path / "log.jsonl"
    made_log(path, 3, profile)
    path.write_text(path.read_text().replace(f'"schema":{SCHEMA}', '"schema":5'))
    log = read_log(path)
    assert log.repeatable and isinstance(log.latency(), FormerPlaces)
    path.write_text(path.read_text().replace('"schema":5', '"schema":6'))
    assert read_log(path).latency().by_all, "in schema 6 further batches moved the tail, too"
