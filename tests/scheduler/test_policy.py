from __future__ import annotations

import random

import pytest

from scheduler.before import LeastError, LeastErrorThatStays, ValueOfMovement
from scheduler.fairness import longest_wait
from scheduler.latency import LatencyModel
from scheduler.load import Known, Load
from scheduler.policy import DeepestThatFits, Fixed, ValuePerPerson
from scheduler.profile import OperatingPoint, PointProfile, Profile
from scheduler.rules import policy_from_json, policy_from_text
from tests.support.fakes import POINTS, make_profile
from tests.support.wide import wide_profile


def model(**changes: object) -> LatencyModel:
    return LatencyModel(make_profile(**changes))


def test_the_deepest_that_fits():
    """2, 3 and 4 ms a face: 10 faces take 20, 30 and 40 ms."""
    for left_ms, expected in (
        (100.0, POINTS[2]),
        (40.0, POINTS[2]),
        (39.9, POINTS[1]),
        (30.0, POINTS[1]),
        (20.0, POINTS[0]),
    ):
        decision = DeepestThatFits(margin=1.0)(Load(10, left_ms), model())
        assert (decision.point, decision.serve) == (expected, 10)
        assert decision.predicted_ms <= left_ms


def test_more_faces_never_go_deeper():
    ranks = [POINTS.index(DeepestThatFits()(Load(n, 33.0), model()).point) for n in range(1, 33)]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] == 2 and ranks[-1] == 0


def test_accuracy_rules_not_depth():
    """The deepest exit is worse than the one before: it is never taken."""
    latency = model()
    latency = LatencyModel(type(latency.profile)(latency.profile.buckets, tuple(
        type(p)(p.point, p.median_ms, mae, mae) for p, mae in zip(latency.profile.points, (5.5, 4.7, 4.95), strict=True)
    )))  # fmt: skip
    assert DeepestThatFits()(Load(1, 1000.0), latency).point == POINTS[1]


def test_where_not_all_fit_as_many_are_served_as_do():
    decision = DeepestThatFits(margin=1.0)(Load(16, 13.0), model())
    assert (decision.point, decision.serve) == (POINTS[0], 6)
    assert decision.predicted_ms == pytest.approx(12.0)


@pytest.mark.parametrize("left_ms", [0.0, -50.0, 1.9])
def test_one_is_served_even_when_the_budget_is_gone(left_ms):
    decision = DeepestThatFits()(Load(5, left_ms), model())
    assert (decision.point, decision.serve) == (POINTS[0], 1)
    assert DeepestThatFits()(Load(1, left_ms), model()).serve == 1


def test_going_deeper_needs_headroom_going_back_does_not():
    policy, latency = DeepestThatFits(margin=1.0, headroom=0.1), model()
    assert policy(Load(10, 35.0), latency).point == POINTS[1]
    assert policy(Load(10, 41.0), latency).point == POINTS[1], "40 ms fit, but not with a tenth to spare"
    assert policy(Load(10, 45.0), latency).point == POINTS[2]
    assert policy(Load(10, 40.5), latency).point == POINTS[2], "it stays where it is while it fits"
    assert policy(Load(10, 39.0), latency).point == POINTS[1]


def test_a_slow_machine_goes_shallower():
    latency = model()
    for _ in range(6):
        latency.observe(POINTS[2], 1, 12.0, Load(1, 30.0))
    assert DeepestThatFits()(Load(4, 33.0), latency).point == POINTS[0]


@pytest.mark.parametrize("policy", [ValuePerPerson(), DeepestThatFits()])
def test_a_moment_that_the_probe_calls_slow_is_given_less(policy):
    usual = Load(6, 25.0, people=(Known(),) * 6)
    slow = usual._replace(probe=8.0)
    latency = model()
    much, little = policy(usual, latency), policy(slow, latency)
    assert little.predicted_ms <= 25.0 / 1.1 < 8 * much.predicted_ms
    assert (little.serve, POINTS.index(little.point)) < (much.serve, POINTS.index(much.point))


def test_fixed_is_fixed():
    decision = Fixed(POINTS[1])(Load(16, 1.0), model())
    assert (decision.point, decision.serve) == (POINTS[1], 16)


def test_why_names_faces_time_and_exit():
    why = DeepestThatFits()(Load(7, 24.0), model()).why
    assert "7 faces" in why and "24 ms" in why and "exit_10" in why and "slower" not in why
    assert "3 times slower than usual" in DeepestThatFits()(Load(7, 24.0, probe=3.2), model()).why


def test_policies_survive_json():
    for policy in (
        Fixed(POINTS[0]),
        DeepestThatFits(1.25, 0.05),
        ValuePerPerson(33.3, change=1.0, least=0.3, batches=2),
        LeastError(33.3, 2000.0, 1.2, 2),
        LeastErrorThatStays(33.3, 2000.0, 1.2, 2, keep=0.01),
    ):
        again = policy_from_json(policy.to_json())
        assert type(again) is type(policy) and again.to_json() == policy.to_json()
    with pytest.raises(ValueError, match="deepest-that-fits"):
        policy_from_json({"name": "magic"})


def test_policies_by_name():
    assert policy_from_text("auto", POINTS).to_json()["name"] == "value-per-person"
    for text in ("exit_07", "7", "exit_07@96"):
        assert policy_from_text(text, POINTS) == Fixed(OperatingPoint("exit_07", 96))
    both = (*POINTS, POINTS[0]._replace(engine="openvino"))
    assert policy_from_text("7", both) == Fixed(POINTS[0])
    assert policy_from_text("openvino/7", both) == Fixed(both[-1])
    assert policy_from_json(Fixed(both[-1]).to_json()) == Fixed(both[-1])
    for text in ("exit_99", "0", "exit_07@64", "", "abacus/7"):
        with pytest.raises(ValueError, match="exit_13@96"):
            policy_from_text(text, POINTS)


@pytest.mark.parametrize("nonsense", [{"margin": 0.9}, {"headroom": -0.1}])
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ValueError, match="at least"):
        DeepestThatFits(**nonsense)


@pytest.mark.parametrize(
    "nonsense", [{"margin": 0.9}, {"period_ms": 0.0}, {"change_s": -1.0}, {"batches": 0}, {"least": -0.1}]
)
def test_nonsense_is_refused_by_the_rule_of_auto_too(nonsense):
    with pytest.raises(ValueError, match="must be"):
        ValuePerPerson(**nonsense)


# --- the rule of auto ------------------------------------------------------------------------------------------------


def load(left_ms: float, *people: Known, **more: float) -> Load:
    return Load(len(people), left_ms, sum(one == Known() for one in people), people=people, **more)


def rule(**changes: float) -> ValuePerPerson:
    return ValuePerPerson(**{"margin": 1.0, **changes})


FRESH = Known(40.0, 4.8)  # read by the deepest point of these profiles in the frame before
STALE = Known(4000.0, 4.8)


def test_somebody_settled_costs_nothing_until_enough_may_have_changed():
    decision = rule()(load(30.0, FRESH, FRESH), model())
    assert (decision.serve, decision.due, decision.predicted_ms) == (0, 0, 0.0) and "well enough" in decision.why
    assert rule()(load(30.0, STALE, FRESH), model()).serve == 1
    assert rule(least=0.0)(load(30.0, FRESH, FRESH), model()).serve == 2, "--economy 0 reads everybody"


def test_newcomers_come_first_then_those_of_whom_most_wrong_is_shown():
    people = [FRESH, STALE, Known(40.0, 5.5), Known()]
    assert rule().rank(people) == [3, 1, 2, 0]


def test_older_logs_name_a_rule_that_knew_of_movement():
    """Who moved comes earlier; a smeared crop waits, unless nothing is shown."""
    named = {"name": "value-per-person", **vars(rule()), "moving": 1.0}
    older = policy_from_json(named)
    assert isinstance(older, ValueOfMovement) and older.to_json() == named
    assert older.rank([FRESH, STALE, FRESH._replace(moved=0.5), Known()]) == [3, 1, 2, 0]
    assert older(load(30.0, STALE), model()) == rule()(load(30.0, STALE), model())
    assert older(load(30.0, STALE._replace(sharpness=0.0)), model()).serve == 0
    assert older(load(30.0, Known(sharpness=0.0)), model()).serve == 1


def test_a_cheaper_point_for_both_beats_the_dearest_for_one():
    """7 ms: both at 3 ms each, or one at 4."""
    for people in ((Known(), Known()), (STALE, STALE)):
        decision = rule()(load(7.0, *people), model())
        assert decision.serve == 2 and decision.point == POINTS[1]


def test_where_there_is_time_for_all_the_dearest_wins():
    assert rule()(load(30.0, Known(), STALE, STALE), model())[:2] == (POINTS[2], 3)


@pytest.mark.parametrize("left_ms", [100.0, 33.0, 12.0, 4.0])
def test_what_is_decided_fits_what_is_left_and_the_period(left_ms):
    for faces in range(1, 33):
        decision = ValuePerPerson(period_ms=30.0)(load(left_ms, *[Known()] * faces), model())
        assert decision.predicted_ms * 1.1 <= min(left_ms, 30.0) + 1e-9 and 1 <= decision.serve <= faces


@pytest.mark.parametrize("left_ms", [0.0, -50.0, 1.9])
def test_auto_reads_one_even_when_the_budget_is_gone(left_ms):
    decision = rule()(load(left_ms, *[Known()] * 5), model())
    assert (decision.point, decision.serve, decision.due) == (POINTS[0], 1, 5)
    assert rule()(load(left_ms, FRESH), model()).serve == 0, "nobody is worth being late for"


@pytest.mark.parametrize("seed", range(5))
def test_a_decision_takes_the_most_error_off_the_screen(seed):
    """Against every point of a wide front and every number of people, one by one."""
    chance = random.Random(seed)
    latency, policy = LatencyModel(wide_profile()), rule()
    latency.slowdown = chance.uniform(0.5, 4)
    profile = latency.profile
    for _ in range(100):
        people = [Known(chance.expovariate(1e-3), chance.uniform(1, 1.5)) for _ in range(chance.randint(1, 20))]
        people = [people[i] for i in policy.rank(people)]
        asked = load(chance.uniform(1, 80), *people)
        decision, most = policy(asked, latency), 0.0
        for point in profile.front:
            for serve in range(1, len(people) + 1):
                gains = [policy.worth(one, profile.blank_error) - profile.error(point) for one in people[:serve]]
                if min(gains) > policy.least and latency.predict_ms(point, serve, asked) <= min(asked.left_ms, 40.0):
                    most = max(most, sum(gains))
        taken = [
            policy.worth(one, profile.blank_error) - profile.error(decision.point) for one in people[: decision.serve]
        ]
        assert most == pytest.approx(sum(taken)) or (most == 0 and decision.serve <= 1)


def test_a_wide_front_spans_more_than_twelve_times_and_has_no_dominated_point():
    profile = wide_profile()
    dear, cheap = profile.front[-1], profile.front[0]
    assert profile.median_ms(dear, 8) / profile.median_ms(cheap, 8) > 12
    for p in profile.points:
        for q in profile.front:
            assert not (profile.cost(p.point) < profile.cost(q) and p.error <= profile.error(q)), (p.point, q)


def test_one_point_is_a_profile_too():
    only = Profile((1,), (PointProfile(POINTS[0], (2.0,), 5.0, 1.0),))
    for left_ms, served in ((-3.0, 1), (1.0, 1), (9.0, 3), (500.0, 7)):
        decision = ValuePerPerson(period_ms=1000.0)(load(left_ms, *[Known()] * 7), LatencyModel(only))
        assert (decision.point, decision.serve) == (POINTS[0], served)


def test_what_is_left_is_decided_on_again():
    latency, policy = model(), rule()
    first_load = load(20.0, *[Known()] * 12)
    first = policy(first_load, latency)
    latency.observe(first.point, first.serve, 4.0, first_load)
    rest = first_load.after(first.serve, 16.0, 1)
    assert len(rest.people) == rest.faces == 12 - first.serve
    again = policy.again(rest, latency)
    assert again and 1 <= again.serve <= rest.faces and again.predicted_ms <= 16.0 and rest.taken_ms == 4.0
    for nothing in (rest._replace(left_ms=0.01), rest._replace(faces=0), rest._replace(batches=3), rest._replace(taken_ms=39.99)):  # fmt: skip
        assert policy.again(nothing, latency) is None
    assert Fixed(POINTS[0]).again(rest, latency) is None and DeepestThatFits().again(rest, latency) is None


def test_a_frame_that_turned_out_slow_is_not_overloaded_by_a_further_batch():
    latency, first = model(), load(60.0, *[Known()] * 10)
    latency.observe(POINTS[2], 2, 8.0 * 5, first)
    again = rule(period_ms=1000.0).again(first.after(2, 20.0, 1), latency)
    assert again is not None and again.predicted_ms >= 5 * latency.profile.median_ms(again.point, again.serve)


def test_longest_wait():
    assert [longest_wait(n, 4) for n in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert longest_wait(8, 4, arrivals=3) == 3
