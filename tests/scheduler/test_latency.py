from __future__ import annotations

import dataclasses
import json
import random

import pytest

from scheduler.latency import LONGEST_PROFILED_TAIL, TAIL_STEP, LatencyModel
from scheduler.load import Known, Load
from scheduler.policy import ValuePerPerson
from scheduler.profile import OperatingPoint, PointProfile, Profile, quantile
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
    assert ValuePerPerson()(Load(1, 30.0, people=(Known(),)), latency).point.engine == "for one"
    assert ValuePerPerson()(Load(4, 30.0, people=(Known(),) * 4), latency).point.engine == "over all"


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


LOAD, SLOW = Load(4, 30.0), Load(4, 30.0, probe=7.0)


def observed(ratios: list[float], model: LatencyModel | None = None) -> LatencyModel:
    model = model or LatencyModel(make_profile())
    for ratio in ratios:
        model.observe(POINTS[0], 1, 2.0 * ratio, LOAD)
    return model


def test_a_lasting_slowdown_is_known_after_four_frames_and_moves_points_that_were_not_run():
    model = observed([2.0] * 4, observed([1.0] * 100))
    assert model.slowdown > 1.8
    assert model.predict_ms(POINTS[2], 1, LOAD) > 1.9 * 4.0
    assert observed([1.0] * 4, model).slowdown < 1.2


def test_one_stall_poisons_nothing():
    model = observed([1.0] * 20 + [80.0] + [1.0])
    assert model.slowdown == pytest.approx(1.0)
    assert model.predict_ms(POINTS[0], 1, LOAD) < 2.0 * (1 + 2 * TAIL_STEP)


def test_a_slow_moment_that_was_foretold_is_no_news_about_the_machine():
    told, untold = LatencyModel(make_profile()), LatencyModel(make_profile())
    for i in range(60):
        slow = i % 20 in (7, 8, 9)
        took = 8.0 * (6.0 if slow else 1.0)
        told.observe(POINTS[0], 4, took, SLOW if slow else LOAD)
        untold.observe(POINTS[0], 4, took, LOAD)
    assert told.slowdown == pytest.approx(1.0) and told.tail < 1.2
    assert untold.tail > 1.5 * told.tail
    assert told.predict_ms(POINTS[0], 4, SLOW) > 6 * 8.0 > told.predict_ms(POINTS[0], 4, LOAD)
    assert (
        told.most_faces(POINTS[0], 30.0, SLOW._replace(faces=32)) < told.most_faces(POINTS[0], 30.0, Load(32, 30.0)) / 5
    )


def test_a_moment_slower_than_the_probe_said_moves_the_tail():
    model = LatencyModel(make_profile())
    before = model.tail
    model.observe(POINTS[0], 4, 8.0 * 20.0, SLOW._replace(left_ms=150.0))
    assert model.tail > before * 1.4


def test_a_surprise_that_costs_no_deadline_and_a_frame_that_was_lost_anyway_leave_the_tail_alone():
    model = LatencyModel(make_profile())
    for left_ms in (200.0, 5.0):
        before = model.tail
        model.observe(POINTS[0], 4, 8.0 * 20.0, Load(4, left_ms))
        assert model.tail <= before


def test_where_frames_are_filled_one_in_200_is_late():
    noise = random.Random(3)
    model, late, frames = LatencyModel(make_profile()), 0, 20_000
    for i in range(2000 + frames):
        load = Load(64, noise.uniform(20.0, 60.0))
        faces = max(model.most_faces(POINTS[0], load.left_ms, load), 1)
        took = model.profile.median_ms(POINTS[0], faces) * noise.lognormvariate(0, 0.1)
        late += i >= 2000 and took > load.left_ms
        model.observe(POINTS[0], faces, took, load)
    assert late / frames == pytest.approx(0.005, rel=0.3)


def test_a_profile_from_a_busy_machine_does_not_hold_for_ever():
    busy = LatencyModel(make_profile(tail=3.0))
    assert busy.tail == LONGEST_PROFILED_TAIL
    assert observed([1.0] * 300, busy).tail == 1.0


def test_of_points_that_cost_the_same_the_best_is_taken():
    points = tuple(PointProfile(p, (3.0,), 5.0, error) for p, error in zip(POINTS, (1.01, 1.02, 1.0), strict=True))
    assert Profile((1,), points).front == (POINTS[2],)


def test_nobody_takes_no_time():
    assert LatencyModel(make_profile()).predict_ms(POINTS[0], 0, LOAD) == 0.0


def test_within_a_frame_its_last_batch_has_shown_the_machine():
    model = observed([1.0] * 10)
    model.observe(POINTS[0], 1, 10.0, LOAD)
    assert model.pace(LOAD) == pytest.approx(1.0) and model.pace(LOAD.after(1, 20.0, 1)) == 5.0


def test_a_slow_moment_that_lasts_is_still_foretold():
    """The probe says four times; the network takes four times as long; nothing is multiplied with itself when that goes on."""
    model, slow = observed([1.0] * 40), LOAD._replace(probe=4.0)
    for _ in range(12):
        assert model.pace(slow) == pytest.approx(4.0, rel=0.05)
        model.observe(POINTS[0], 4, 8.0 * 4.0, slow)
