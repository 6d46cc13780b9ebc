from __future__ import annotations

import dataclasses
import json
import random

import pytest

from scheduler.latency import (
    BRIEF,
    LONGEST_PROFILED_TAIL,
    TAIL_STEP,
    LatencyModel,
    OperatingPoint,
    PointProfile,
    Profile,
    quantile,
)
from scheduler.policy import LeastError, Load
from tests.support.fakes import POINTS, make_profile


def test_an_engine_that_is_sooner_for_some_faces_stays_beside_the_one_that_is_quicker_over_all():
    plain = make_profile()
    times = {"for one": (0.8, 1.2, 1.2, 1.2, 1.2), "never": (1.0,) * 5, "over all": (1.1, 0.95, 0.9, 0.88, 0.86)}
    others = [
        dataclasses.replace(
            p,
            point=p.point._replace(engine=name),
            median_ms=tuple(a * b for a, b in zip(p.median_ms, share, strict=True)),
        )
        for name, share in times.items()
        for p in plain.points[2:]
    ]
    profile = dataclasses.replace(plain, points=(*others, *plain.points))
    last = POINTS[2]
    assert profile.front == (*POINTS[:2], last._replace(engine="for one"), last._replace(engine="over all"))
    latency = LatencyModel(profile)
    assert LeastError()(Load(1, 30.0), latency).point.engine == "for one"
    assert LeastError()(Load(4, 30.0), latency).point.engine == "over all"


def test_between_buckets_time_is_interpolated():
    profile = make_profile(ms=(2.0, 3.0, 4.0))
    assert profile.median_ms(POINTS[0], 1) == 2.0
    assert profile.median_ms(POINTS[0], 3) == pytest.approx(6.0)
    assert profile.median_ms(POINTS[0], 12) == pytest.approx(24.0)


def test_a_padding_engine_takes_the_next_buckets_time():
    profile = make_profile(padded=True)
    assert profile.median_ms(POINTS[0], 5) == profile.median_ms(POINTS[0], 8) == 16.0


def test_more_than_the_largest_bucket_runs_in_several_batches():
    profile = make_profile()
    assert profile.median_ms(POINTS[1], 35) == pytest.approx(2 * 48 + 3 * 3)
    assert profile.median_ms(POINTS[1], 32) == pytest.approx(2 * 48)


def test_time_never_falls_with_more_faces():
    profile = make_profile(padded=True)
    for point in POINTS:
        times = [profile.median_ms(point, n) for n in range(1, 60)]
        assert times == sorted(times)


def test_front_leaves_out_what_costs_more_and_knows_less():
    worse = PointProfile(OperatingPoint("exit_12", 96), (3.5, 7.0), 5.2, 5.2)
    points = tuple(
        PointProfile(p, (t, 2 * t), mae, mae)
        for p, t, mae in zip(POINTS, (2.0, 3.0, 4.0), (5.5, 5.0, 4.8), strict=True)
    )
    assert Profile((1, 2), (*points, worse)).front == POINTS


def test_a_dearer_point_that_is_not_better_is_dropped():
    points = tuple(
        PointProfile(p, (t,), 5.0, error) for p, t, error in zip(POINTS, (2, 3, 4), (1.2, 1.0, 1.0), strict=True)
    )
    assert Profile((1,), points).front == POINTS[:2]


def test_most_faces_is_the_inverse_of_the_median():
    for profile in (make_profile(), make_profile(padded=True), make_profile(ms=(0.3, 0.7, 1.1))):
        for point in POINTS:
            for ms in (0.1, 3.0, 6.9, 31.0, 33.3, 64.0, 200.0):
                n = profile.most_faces(point, ms, 1000)
                assert n == 0 or profile.median_ms(point, n) <= ms * (1 + 1e-12)
                assert profile.median_ms(point, n + 1) >= ms
            assert profile.most_faces(point, 1e6, 7) == 7 and profile.most_faces(point, -1.0, 7) == 0


def test_json_there_and_back_is_the_same_to_the_bit():
    profile = make_profile(ms=(0.1 + 0.2, 1 / 3, 4.0), tail=1.0999999999999999)
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


@pytest.mark.parametrize(
    "nonsense",
    [
        {"buckets": ()},
        {"buckets": (2, 4, 8, 16, 32)},
        {"buckets": (1, 2, 2, 4, 8)},
        {"points": ()},
        {"tail": 0.9},
        {"tail": float("nan")},
        {"points": (PointProfile(POINTS[0], (1.0,), 5.0, 1.0),)},
        {"points": (PointProfile(POINTS[0], (1.0, 2.0, 0.0, 1.0, 1.0), 5.0, 1.0),)},
        {"points": (PointProfile(POINTS[0], (1.0,) * 5, -1.0, 1.0),)},
        {"points": (PointProfile(POINTS[0], (1.0,) * 5, 5.0, float("nan")),)},
        {"points": (PointProfile(POINTS[0], (1.0,) * 5, 5.0, 1.0),) * 2},
    ],
)
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ValueError):
        make_profile(**nonsense)


def test_quantile_is_numpys():
    import numpy as np

    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    for q in (0.0, 0.05, 0.5, 0.95, 1.0):
        assert quantile(values, q) == pytest.approx(np.quantile(values, q))


def observed(ratios: list[float], model: LatencyModel | None = None) -> LatencyModel:
    model = model or LatencyModel(make_profile())
    for ratio in ratios:
        model.observe(POINTS[0], 1, 2.0 * ratio)
    return model


def test_a_lasting_slowdown_is_known_after_four_frames_and_moves_points_that_were_not_run():
    model = observed([2.0] * 4, observed([1.0] * 100))
    assert model.slowdown > 1.8
    assert model.predict_ms(POINTS[2], 1) > 1.9 * 4.0
    assert observed([1.0] * 4, model).slowdown < 1.2


def test_one_stall_poisons_nothing():
    model = observed([1.0] * 20 + [80.0] + [1.0])
    assert model.slowdown == pytest.approx(1.0)
    assert model.predict_ms(POINTS[0], 1) < 2.0 * (1 + 2 * TAIL_STEP)


def test_a_slow_moment_that_was_foretold_is_no_news_about_the_machine():
    told, untold = LatencyModel(make_profile()), LatencyModel(make_profile())
    for i in range(60):
        slow = i % 20 in (7, 8, 9)
        took = 8.0 * (6.0 if slow else 1.0)
        told.observe(POINTS[0], 4, took, probe=7.0 if slow else 0.0)
        untold.observe(POINTS[0], 4, took)
    assert told.slowdown == pytest.approx(1.0) and told.first_tail < 1.2 and abs(told.biases[POINTS[0]] - 1) < 0.02
    assert untold.first_tail > 1.5 * told.first_tail
    assert told.predict_ms(POINTS[0], 4, 7.0) > 6 * 8.0 > told.predict_ms(POINTS[0], 4)
    assert told.most_faces(POINTS[0], 30.0, 32, 7.0) < told.most_faces(POINTS[0], 30.0, 32) / 5


def test_a_slow_moment_that_lasts_is_the_machine():
    """The slowdown takes over while the probe still calls it slow, so nothing is late when the probe gets used to it."""
    model = observed([1.5] * 40)
    levels = []
    for i in range(12):
        probe = 4.0 if i < BRIEF + 3 else 0.0
        levels.append(model.level(probe))
        model.observe(POINTS[0], 4, 8.0 * 6.0, probe=probe)
    assert min(levels) > 5.4 and max(levels) < 6.4


def test_a_slow_spell_with_a_usual_frame_in_it_is_not_multiplied_with_itself():
    model = observed([1.0] * 40)
    levels = []
    for probe in [6.0] * 7 + [0.0] + [6.0] * 7:
        levels.append(model.level(probe))
        model.observe(POINTS[0], 4, 8.0 * (probe or 1.0), probe=probe)
    assert max(levels) < 6.5
    assert observed([1.0] * 6, model).level(6.0) == pytest.approx(6.0, rel=0.1)


def test_a_moment_slower_than_the_probe_said_moves_the_tail():
    model = LatencyModel(make_profile())
    before = model.first_tail
    model.observe(POINTS[0], 4, 8.0 * 20.0, probe=5.0)
    assert model.first_tail > before * 1.4


def test_the_tail_of_a_point_comes_to_lie_above_399_of_400_runs():
    noise = random.Random(3)
    ratios = [noise.lognormvariate(0, 0.1) for _ in range(21_000)]
    model = observed(ratios[:1000])
    longer = 0
    for ratio in ratios[1000:]:
        longer += 2.0 * ratio > model.predict_ms(POINTS[0], 1)
        observed([ratio], model)
    assert longer / 20_000 == pytest.approx(0.0025, rel=0.3)


def test_what_a_point_takes_beyond_its_profile_is_learnt_for_that_point():
    """Every other run is of a point that takes 1.3 times what the profile says."""
    model = LatencyModel(make_profile())
    for _ in range(100):
        model.observe(POINTS[0], 1, 2.0)
        model.observe(POINTS[1], 1, 3.0 * 1.3)
    assert model.predict_ms(POINTS[1], 1) >= 3.0 * 1.3
    assert model.biases[POINTS[0]] < model.biases[POINTS[1]]


def test_a_profile_from_a_busy_machine_does_not_hold_for_ever():
    busy = LatencyModel(make_profile(tail=3.0))
    assert busy.tail(POINTS[0]) == LONGEST_PROFILED_TAIL
    assert observed([1.0] * 300, busy).tail(POINTS[0]) == 1.0


def test_points_that_are_seldom_run_share_what_the_others_learnt_of_noise():
    noise = random.Random(5)
    model = observed([noise.lognormvariate(0, 0.3) for _ in range(600)])
    assert model.predict_ms(POINTS[2], 1) > 1.4 * model.expect_ms(POINTS[2], 1)


def test_biases_stay_within_half_and_one_and_a_half():
    model = LatencyModel(make_profile())
    for _ in range(2000):
        model.observe(POINTS[0], 1, 2.0)
        model.observe(POINTS[0], 1, 2.0)
        model.observe(POINTS[1], 1, 60.0)
    assert min(model.biases.values()) >= 0.5 and max(model.biases.values()) <= 1.5


def test_of_points_that_cost_the_same_the_best_is_taken():
    points = tuple(PointProfile(p, (3.0,), 5.0, error) for p, error in zip(POINTS, (1.01, 1.02, 1.0), strict=True))
    assert Profile((1,), points).front == (POINTS[2],)


def test_nobody_takes_no_time():
    assert LatencyModel(make_profile()).predict_ms(POINTS[0], 0) == 0.0
