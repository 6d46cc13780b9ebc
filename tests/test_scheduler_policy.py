from __future__ import annotations

import pytest

from scheduler.latency import LatencyModel, OperatingPoint
from scheduler.policy import DeepestThatFits, Fixed, Load, policy_from_json, policy_from_text
from tests.fakes import POINTS, make_profile


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


def test_fixed_is_fixed():
    decision = Fixed(POINTS[1])(Load(16, 1.0), model())
    assert (decision.point, decision.serve) == (POINTS[1], 16)


def test_why_names_faces_time_and_exit():
    why = DeepestThatFits()(Load(7, 24.0), model()).why
    assert "7 faces" in why and "24 ms" in why and "exit_10" in why and "exit_13" in why


def test_policies_survive_json():
    for policy in (Fixed(POINTS[0]), DeepestThatFits(margin=1.25, headroom=0.05)):
        again = policy_from_json(policy.to_json())
        assert type(again) is type(policy) and again.to_json() == policy.to_json()
    with pytest.raises(ValueError, match="deepest-that-fits"):
        policy_from_json({"name": "magic"})


def test_policies_by_name():
    assert policy_from_text("auto", POINTS).to_json()["name"] == "deepest-that-fits"
    for text in ("exit_07", "7", "exit_07@96"):
        assert policy_from_text(text, POINTS) == Fixed(OperatingPoint("exit_07", 96))
    for text in ("exit_99", "0", "exit_07@64", ""):
        with pytest.raises(ValueError, match="exit_13@96"):
            policy_from_text(text, POINTS)


@pytest.mark.parametrize("nonsense", [{"margin": 0.9}, {"headroom": -0.1}])
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ValueError, match="at least"):
        DeepestThatFits(**nonsense)
