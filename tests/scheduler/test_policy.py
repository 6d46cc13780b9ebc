from __future__ import annotations

import random

import pytest

from scheduler.fairness import longest_wait
from scheduler.latency import LatencyModel, OperatingPoint, PointProfile, Profile
from scheduler.policy import (
    DeepestThatFits,
    Fixed,
    LeastError,
    LeastErrorThatStays,
    Load,
    policy_from_json,
    policy_from_text,
)
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
        latency.observe(POINTS[2], 1, 12.0)
    assert DeepestThatFits()(Load(4, 33.0), latency).point == POINTS[0]


@pytest.mark.parametrize("policy", [LeastError(), DeepestThatFits()])
def test_a_moment_that_the_probe_calls_slow_is_given_less(policy):
    usual, slow = Load(6, 25.0), Load(6, 25.0, probe=8.0)
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
        LeastError(33.3, 2000.0, 1.2, 2),
        LeastErrorThatStays(33.3, 2000.0, 1.2, 2, keep=0.01),
    ):
        again = policy_from_json(policy.to_json())
        assert type(again) is type(policy) and again.to_json() == policy.to_json()
    with pytest.raises(ValueError, match="deepest-that-fits"):
        policy_from_json({"name": "magic"})


def test_policies_by_name():
    assert policy_from_text("auto", POINTS).to_json()["name"] == "least-error"
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


@pytest.mark.parametrize("nonsense", [{"margin": 0.9}, {"period_ms": 0.0}, {"memory_ms": -1.0}, {"batches": 0}])
def test_nonsense_is_refused_by_the_rule_of_auto_too(nonsense):
    with pytest.raises(ValueError, match="must be"):
        LeastError(**nonsense)
    with pytest.raises(ValueError, match="must be"):
        LeastErrorThatStays(keep=-0.1)


# --- the rule of auto ------------------------------------------------------------------------------------------------


def least(**changes: float) -> LeastError:
    return LeastError(**{"period_ms": 40.0, "memory_ms": 1e6, "margin": 1.0, **changes})


def test_who_can_wait_is_read_deep_and_in_turns():
    """Ten faces, 20 ms: the shallowest point would read all of them, the deepest five (2, 3 and 4 ms a face)."""
    decision = least()(Load(10, 20.0), model())
    assert (decision.point, decision.serve) == (POINTS[2], 5)


def test_where_answers_age_quickly_everybody_is_read_shallow():
    decision = least(memory_ms=150.0)(Load(10, 20.0), model())
    assert (decision.point, decision.serve) == (POINTS[0], 10)


def test_newcomers_are_not_kept_waiting_for_depth():
    """All at the shallowest point takes 8 ms a frame for four, a quarter of the time in which nothing is known of them."""
    for new, expected in ((4, POINTS[0]), (0, POINTS[2])):
        assert least()(Load(4, 20.0, new=new), model()).point == expected
    assert least()(Load(10, 20.0, new=10), model()).serve > least()(Load(10, 20.0), model()).serve


@pytest.mark.parametrize("left_ms", [100.0, 33.0, 12.0, 4.0])
def test_what_is_decided_fits_what_is_left_and_the_period(left_ms):
    for faces in range(1, 33):
        decision = LeastError(period_ms=30.0)(Load(faces, left_ms), model())
        assert decision.predicted_ms * 1.1 <= min(left_ms, 30.0) + 1e-9 and 1 <= decision.serve <= faces


@pytest.mark.parametrize("left_ms", [0.0, -50.0, 1.9])
def test_auto_reads_one_even_when_the_budget_is_gone(left_ms):
    decision = least()(Load(5, left_ms), model())
    assert (decision.point, decision.serve) == (POINTS[0], 1)


def test_a_little_gain_is_no_reason_to_change_the_point_where_a_log_says_so():
    """At 8.5 and 7.5 ms the deepest point reads two of two, and one of two: what the others do better is little."""
    for keep, expected in ((0.0, POINTS[1]), (0.2, POINTS[2])):
        policy = policy_from_json({**least(memory_ms=400.0).to_json(), "keep": keep})
        assert policy(Load(2, 8.5), model()).point == POINTS[2]
        assert policy(Load(2, 7.5), model()).point == expected


def expected_error(error: float, blank: float, took_ms: float, served: int, turn: float, load: Load) -> float:
    """The documented formula, term by term, with a period of 40 ms and a memory of 3 s."""
    seen_ms = took_ms + load.faces / served * 40 / 2
    waiting = max(load.new - served, 0)
    unseen_ms = load.new * took_ms + waiting * (1 + waiting / served) / 2 * 40
    return error + (blank - error) * min(seen_ms / 3000 + unseen_ms / (load.faces * turn * 40), 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_decision_has_the_least_expected_error_of_all_points(seed):
    """Against every point of a wide front, one by one, by the formula."""
    chance = random.Random(seed)
    latency, policy = LatencyModel(wide_profile()), least(memory_ms=3000.0)
    latency.slowdown = chance.uniform(0.5, 4)
    for _ in range(300):
        n = chance.randint(1, 32)
        load = Load(n, chance.uniform(-5, 80), chance.randint(0, n))
        decision, best, turn = policy(load, latency), None, 0.0
        for point, error, _ in latency.profile.choices:
            m = latency.most_faces(point, min(load.left_ms, 40.0), n)
            turn = turn or n / max(m, 1)
            if m:
                value = expected_error(error, latency.profile.blank_error, latency.expect_ms(point, m), m, turn, load)
                best = min(best or (value, point, m), (value, point, m), key=lambda b: b[0])
        assert (decision.point, decision.serve) == (best[1:] if best else (latency.profile.front[0], 1))


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
        decision = LeastError(period_ms=1000.0)(Load(7, left_ms), LatencyModel(only))
        assert (decision.point, decision.serve) == (POINTS[0], served)


def test_what_is_left_is_decided_on_again():
    latency, policy = model(), least(memory_ms=1e5)
    first = policy(Load(10, 20.0), latency)
    assert (first.point, first.serve) == (POINTS[2], 5)
    latency.observe(first.point, 5, 8.0)  # 20 were expected
    load = Load(10, 20.0).after(5, 12.0, 1)
    again = policy.again(load, latency)
    assert again and 1 <= again.serve <= 5 and again.predicted_ms <= 12.0 and load.taken_ms == 8.0
    for nothing in (
        load._replace(left_ms=1.0),
        load._replace(faces=0),
        load._replace(batches=3),
        load._replace(taken_ms=39.0),
    ):
        assert policy.again(nothing, latency) is None
    assert Fixed(POINTS[0]).again(load, latency) is None and DeepestThatFits().again(load, latency) is None


def test_a_further_batch_is_weighed_against_who_waits_for_the_first():
    """What a frame's batches gave is shown when the last is done: somebody new must not wait for others to be read again."""
    latency, policy = model(), least(memory_ms=3000.0)
    latency.observe(POINTS[2], 5, 20.0)

    def again(new, rule=policy):
        return rule.again(Load(10, 36.0, new=new).after(5, 16.0, 1), latency)

    assert again(0), "nobody is new: all are read sooner by it"
    assert not again(1) and not again(5), "they would have been shown at once"
    assert again(10), "half of the newcomers are still to be read"
    assert all(again(new, least(memory_ms=3000.0, weigh=False)) for new in range(11))
    load = Load(10, 36.0, new=7).after(5, 16.0, 1)
    assert (load.faces, load.new, load.read, load.read_new) == (5, 2, 5, 5)
    assert policy_from_json({**policy.to_json(), "weigh": False}) == least(memory_ms=3000.0, weigh=False)
    older = policy.to_json()
    del older["weigh"]
    assert not policy_from_json(older).weigh, "logs of before decide as they did"


def test_a_frame_that_turned_out_slow_is_not_overloaded_by_a_further_batch():
    latency, policy = model(), least()
    latency.observe(POINTS[0], 1, 2.0)
    latency.observe(POINTS[2], 2, 8.0 * 5)
    again = policy.again(Load(10, 60.0).after(2, 20.0, 1)._replace(taken_ms=0.0), latency)
    assert again is not None and again.predicted_ms >= 5 * latency.profile.median_ms(again.point, again.serve)


def test_longest_wait():
    assert [longest_wait(n, 4) for n in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert longest_wait(8, 4, arrivals=3) == 3
