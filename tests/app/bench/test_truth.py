"""The truth world on made readings: a network that is right at depth, and people whose age is known."""

from __future__ import annotations

import numpy as np
import pytest

from app.bench.truth import RULES, Case, judge, led, summary, table, tables, truth_world
from app.bench.truth import Plan as TruthPlan
from app.bench.truth_crowd import AWAY, make_visits
from app.bench.truth_readings import CONDITIONS, VIEWS, Readings, slipped
from app.errors import UsageError
from scheduler.latency import LatencyModel
from scheduler.load import Known, Load
from scheduler.policy import Fixed
from scheduler.rivals import PARTS, RIVALS
from scheduler.serving import ConfidenceExits
from scheduler.world import FrontEnd
from tests.support.fakes import POINTS, make_profile


def made_readings(faces: int = 12) -> Readings:
    """The deeper the point, the nearer to the truth; a smeared face is read worse."""
    rng = np.random.default_rng(1)
    shape = (faces, len(CONDITIONS), VIEWS, len(POINTS))
    true_age, true_gender = rng.integers(10, 80, faces), rng.integers(0, 2, faces)
    off = np.array([8.0, 4.0, 1.0]) + np.array([c.motion for c in CONDITIONS])[:, None, None] / 2
    expressions = np.repeat(np.arange(7), 2)
    said = np.full((14, *shape[1:], 7), 0.1 / 6, np.float32)
    said[np.arange(14), ..., expressions] = 0.9
    return Readings(
        model="made", points=POINTS, true_age=true_age, true_gender=true_gender,
        age=(true_age[:, None, None, None] + np.broadcast_to(off, shape) * rng.choice([-1, 1], shape)).astype(np.float32),
        half=np.broadcast_to(off + 1, shape).astype(np.float32),
        gender=np.broadcast_to(true_gender[:, None, None, None] * 0.8 + 0.1, shape).astype(np.float32),
        true_expression=expressions, expression=said,
    )  # fmt: skip


def case(**changes) -> Case:
    return Case(
        **{"people": 4, "budget_ms": 33.0, "noise": [], "front_end": FrontEnd(ms=5.0), "seconds": 12.0, **changes}
    )


def ran(rule, **changes):
    readings, profile = made_readings(), make_profile()
    world, visits = truth_world(readings, profile, case(**changes))
    return led(readings, world, visits, rule, LatencyModel(profile))


def test_recorded_readings_come_back_from_the_file(tmp_path):
    made = made_readings()
    made.save(tmp_path / "r.npz")
    again = Readings.load(tmp_path / "r.npz")
    assert again.points == made.points and again.true_age.tolist() == made.true_age.tolist()
    assert np.abs(again.age - made.age).max() < 0.1 and np.abs(again.expression - made.expression).max() < 0.003
    (tmp_path / "r.npz").write_bytes(b"no")
    with pytest.raises(UsageError, match="cannot be read"):
        Readings.load(tmp_path / "r.npz")


def test_who_is_there_for_choosing_is_not_there_for_judging():
    made = made_readings()
    one, other = made.half_of(False), made.half_of(True)
    assert len(one.true_age) + len(other.true_age) == 12 and len(one.true_expression) == len(other.true_expression) == 7
    assert not np.array_equal(one.age, other.age)


def test_a_crowd_follows_from_its_seed_and_does_what_people_do():
    one, again, other = (make_visits(made_readings(), 6, 1500, seed) for seed in (1, 1, 2))
    assert (
        [v.condition.tolist() for v in one]
        == [v.condition.tolist() for v in again]
        != [v.condition.tolist() for v in other]
    )
    seen = set(np.concatenate([v.condition for v in one]).tolist())
    assert AWAY in seen and len(seen) > 8, "they come from afar, move, turn and look away"
    assert len(set(np.concatenate([v.expression for v in one]).tolist())) > 3


def test_a_deep_point_shows_less_error_than_a_shallow_one_and_a_slow_one_more_blanks():
    shallow, deep = ran(Fixed(POINTS[0])), ran(Fixed(POINTS[2]))
    assert deep["age_error"] < shallow["age_error"] and deep["error"] < shallow["error"]
    assert deep["busy"] > shallow["busy"] > 0 and 0 <= deep["blank"] < 0.2
    assert ran(Fixed(POINTS[2]), people=12)["misses"] > 0.5 > ran(Fixed(POINTS[0]), people=12)["misses"]


def test_every_rule_meets_the_same_people_and_twice_the_same_is_the_same():
    readings, profile = made_readings(), make_profile()
    rows = [judge(readings, case(people=2, seconds=2.0), rival, profile) for rival in RULES["all"] + PARTS]
    assert all(0 < o["error"] < 2 and 0 <= o["misses"] <= 1 for row in rows for o in row.values())
    assert judge(readings, case(), RIVALS[0], profile) == judge(readings, case(), RIVALS[0], profile)


def test_ours_costs_less_than_reading_everybody_for_no_more_error():
    from scheduler.policy import ValuePerPerson

    ours, every = ran(ValuePerPerson(period_ms=40.0)), ran(Fixed(POINTS[2]))
    assert ours["busy"] < 0.5 * every["busy"] and ours["error"] < 1.1 * every["error"] and ours["misses"] == 0


def test_the_tables_have_a_row_for_each_rule():
    plan = TruthPlan(people=(2,), budgets_ms=(33.0,), noises={"steady": []}, seeds=2, seconds=2.0, rivals=RIVALS[:2])
    ((name, rows),) = tables(made_readings(), make_profile(), plan)
    assert name == "2 people, 33 ms, steady" and [r["rule"] for r in rows] == ["value per person", "deepest that fits"]
    assert len(list(table(rows))) == 4
    assert rows[0]["less"] == (0.0, 0.0) and rows[0]["error_at"] == rows[0]["error"][0]
    lines = list(summary({name: rows}))
    assert len(lines) == 4 and lines[2].startswith("| value per person | 0.")


def test_confidence_exits_read_the_unsure_deeper():
    rule = ConfidenceExits(POINTS[0], POINTS[2], 9.5)
    people = [Known(spread=12.0), Known(spread=9.0), Known(spread=8.0)]
    assert rule.rank(people) == [1, 2, 0]
    load = Load(3, 30.0, people=tuple(people[i] for i in (1, 2, 0)))
    decision = rule(load, LatencyModel(make_profile()))
    assert (decision.point, decision.serve, decision.also) == (POINTS[0], 2, ((POINTS[2], 1),))
    sure, unsure = ran(ConfidenceExits(POINTS[0], POINTS[2], 99.0)), ran(ConfidenceExits(POINTS[0], POINTS[2], 0.0))
    assert unsure["error"] < sure["error"] and unsure["busy"] > 1.9 * sure["busy"]


def test_a_crop_slips_by_little():
    rng = np.random.default_rng(0)
    matrix = np.array([[0.01, 0, 0], [0, 0.01, 0]])
    off = np.array([slipped(matrix, rng) @ [50, 50, 1] - 0.5 for _ in range(300)])
    assert 0.01 < off.std() < 0.02 and abs(off.mean()) < 0.003
