from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest

from scheduler.crowd import Crowd, from_counts, make_crowd
from scheduler.fairness import longest_wait, longest_wait_ms
from scheduler.latency import LatencyModel
from scheduler.load import Decision, Load
from scheduler.policy import DeepestThatFits, Fixed, InTurn, ValuePerPerson
from scheduler.rivals import RIVALS, Alert, Kalman, best, compete
from scheduler.simulate import Outcome, Step, simulate
from scheduler.world import FrontEnd, Moment, Noise, World, draw_moments, make_world
from tests.support.fakes import POINTS, make_profile


def world(
    crowd: str = "const:4", frames: int = 400, budget_ms: float = 33.0, moments=None, probes=(), front_ms: float = 0.0
) -> World:
    noise = Noise(moments=moments or [1.0] * frames, probes=probes)
    made = make_crowd(crowd, frames, 25.0)
    return make_world(made, make_profile(), budget_ms, noise, front_end=FrontEnd(ms=front_ms))


@dataclasses.dataclass
class Always(InTurn):
    decision: Decision

    def __call__(self, load, latency):
        return self.decision


def run(w: World, rule=None, **changes) -> Outcome:
    return simulate(w, rule or ValuePerPerson(period_ms=w.period_ms, least=0.0), LatencyModel(w.profile), **changes)


def steps(w: World, rule=None) -> list[Step]:
    kept: list[Step] = []
    run(w, rule, on_step=kept.append)
    return kept


# --- what is on screen -----------------------------------------------------------------------------------------------


def test_streaming_mae_is_that_of_the_definition():
    """Four people, 8 ms a frame, judged here by brute force in steps of a tenth of a millisecond."""
    stay = Crowd("stay", 25.0, (4,) * 50, (4,) + (0,) * 49)
    w = make_world(stay, make_profile(), 33.0, Noise(moments=[1.0] * 50))
    outcome = run(w, Fixed(POINTS[0]), memory_s=0.5)
    times = np.arange(0, 49 * 40.0, 0.1) + 0.05
    shown = np.floor((times - 8.0) / 40.0)  # the last frame that was done
    stale = times - 40.0 * shown
    errors = np.where(shown < 0, 15.5, 5.5 + 10.0 * (1 - np.exp(-stale / 500)))
    assert outcome.streaming_mae == pytest.approx(errors.mean(), abs=2e-3)


def test_who_is_read_in_turns_counts_with_older_answers():
    """Two of four a frame at the deepest point: each answer stays for two frames."""
    stay = Crowd("stay", 25.0, (4,) * 50, (4,) + (0,) * 49)
    w = make_world(stay, make_profile(), 9.0, Noise(moments=[1.0] * 50))

    outcome = run(w, Always(Decision(POINTS[2], 2, 8.0)), memory_s=0.5)
    errors = []
    for half in (0, 1):
        times = np.arange(0, 49 * 40.0, 0.1) + 0.05
        turn = np.floor(((times - 8.0) / 40.0 - half) / 2)
        stale = times - 40.0 * (2 * turn + half)
        errors.append(np.where(turn < 0, 15.5, 4.8 + 10.7 * (1 - np.exp(-stale / 500))).mean())
    assert outcome.points == {"exit_13@96": 50} and outcome.served == 100
    assert outcome.streaming_mae == pytest.approx(np.mean(errors), abs=2e-3)


def test_a_stale_screen_is_worse_and_an_empty_room_is_nothing():
    fresh, stale = (run(world(), Fixed(POINTS[0]), memory_s=m).streaming_mae for m in (1e6, 0.1))
    assert fresh < stale
    assert math.isnan(run(world("const:0")).streaming_mae)


# --- the path of a frame ---------------------------------------------------------------------------------------------


def test_a_rule_that_takes_too_long_drops_frames_and_comes_late():
    """32 faces at 4 ms are 128 ms: of the frames 40 ms apart three of four are dropped, and none is in time."""
    outcome = run(world("const:32", 401), Fixed(POINTS[2]))
    assert outcome.misses == 401 and outcome.dropped == pytest.approx(401 * 0.69, rel=0.05)
    assert outcome.age_p50_ms > 128


def test_the_capture_side_takes_its_share():
    for front_ms, expected in ((0.0, 16), (20.0, 6)):
        step = steps(world("const:16", 10, 33.0, front_ms=front_ms), DeepestThatFits(margin=1.0))[-1]
        assert step.left_ms == pytest.approx(33.0 - front_ms) and step.served == expected
        assert step.age_ms == pytest.approx(front_ms + step.took_ms)


@pytest.mark.parametrize("crowd", ["step", "ramp", "burst", "demo", "const:20"])
@pytest.mark.parametrize("budget_ms", [16.0, 33.0, 66.0])
def test_on_a_steady_machine_auto_is_never_late(crowd, budget_ms):
    outcome = run(world(crowd, 1500, budget_ms))
    assert outcome.misses == 0 and outcome.left_unread == 0 and outcome.served > 0


@pytest.mark.parametrize("stalls", [0, 3])
def test_after_a_twofold_slowdown_frames_are_in_time_again_within_five(stalls):
    """Also where single stalls, tenfold, came before."""
    moments = [1.0] * 100 + [2.0] * 100
    for i in range(stalls):
        moments[20 + 20 * i] = 10.0
    for crowd in ("const:1", "const:8", "const:32"):
        for budget_ms in (16.0, 33.0, 66.0):
            seen = steps(world(crowd, 200, budget_ms, moments))
            late = [s.frame for s in seen if s.frame >= 100 and s.age_ms > budget_ms]
            assert all(frame < 105 for frame in late), (crowd, budget_ms, late)
            assert seen[-1].frame == 199


def test_one_stall_makes_no_other_frame_late_and_changes_the_choice_for_a_moment_only():
    moments = [1.0] * 200
    moments[100] = 10.0
    seen = steps(world("const:4", 200, 33.0, moments))
    assert [s.frame for s in seen if s.age_ms > 33.0 and s.frame < 100] == []
    served = {s.frame: (s.point, s.served) for s in seen}
    assert served[115] == served[99]


# --- fairness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("faces", "budget_ms"), [(32, 10.0), (20, 16.0), (9, 4.0), (32, 66.0)])
def test_nobody_waits_longer_than_the_bound(faces, budget_ms):
    """With people coming and going; the bound is computed from the fewest served in a frame."""
    w = world(f"const:{faces}", 600, budget_ms)
    seen = steps(w, DeepestThatFits())
    fewest = min(s.served for s in seen)
    arrivals = max(sum(w.arrivals[i : i + 20]) for i in range(1, 580))
    bound = longest_wait(faces, fewest, arrivals)
    assert bound <= 20, "the window over which arrivals are counted must hold the wait"
    outcome = run(w, DeepestThatFits())
    assert 0 < outcome.longest_wait_ms <= outcome.wait_bound_ms + 1e-6 <= bound * w.period_ms + 1e-5


def test_without_newcomers_the_bound_is_met_exactly():
    stay = Crowd("stay", 25.0, (10,) * 100, (10,) + (0,) * 99)
    w = make_world(stay, make_profile(), 12.0, Noise(moments=[1.0] * 100))
    outcome = run(w, Always(Decision(POINTS[2], 3, 12.0)))
    assert outcome.longest_wait_ms == longest_wait(10, 3) * 40.0


@pytest.mark.parametrize("crowd", ["step", "ramp", "burst", "demo", "const:20"])
def test_the_wait_is_the_same_by_counts_alone_and_within_its_bound(crowd):
    """As `bench crowd` works it out from a live run, which knows no people. Stalls drop frames."""
    moments = [12.0 if i % 97 == 0 else 1.0 for i in range(500)]
    w = world(crowd, 500, 20.0, moments)
    seen = {s.frame: s.served for s in steps(w, DeepestThatFits())}
    turns = [(born, n, seen.get(i, 0)) for i, (born, n) in enumerate(zip(w.born_ms, w.faces, strict=True))]
    outcome = run(w, DeepestThatFits())
    assert outcome.dropped > 0 and longest_wait_ms(turns, w.arrivals) == outcome.longest_wait_ms
    assert outcome.longest_wait_ms <= outcome.wait_bound_ms <= 3 * max(outcome.longest_wait_ms, 40.0)


def test_newcomers_come_first():
    """Ten people in turns of few; two more come at frame 50 and are read in that frame."""
    crowd = Crowd("two more", 25.0, (10,) * 50 + (12,) * 50, (10, *[0] * 49, 2, *[0] * 49))
    w = make_world(crowd, make_profile(), 12.0, Noise(moments=[1.0] * 100))
    news = []

    class Listening(ValuePerPerson):
        def __call__(self, load, latency):
            news.append(load.new)
            return super().__call__(load, latency)

    run(w, Listening(period_ms=40.0))
    assert news[49:52] == [0, 2, 0]


# --- further batches of a frame --------------------------------------------------------------------------------------


def test_what_a_careful_prediction_left_over_is_used_by_further_batches():
    """A machine with rare fourfold stalls must be expected to stall; where it did not, there is time for others."""
    moments = [4.0 if i % 40 == 0 else 1.0 for i in range(1200)]
    w = world("const:12", 1200, 33.0, moments)
    one, more = (run(w, ValuePerPerson(period_ms=40.0, least=0.0, batches=n)) for n in (1, 3))
    assert more.served > 1.3 * one.served and more.streaming_mae < one.streaming_mae
    assert more.misses <= one.misses, "further batches do not make stalls seem rarer than they are"


# --- sameness, noise, crowds -----------------------------------------------------------------------------------------


def noisy(seed: int) -> World:
    chance = random.Random(seed)
    recorded = [chance.lognormvariate(0, 0.1) for _ in range(300)]
    return world("burst", 600, 25.0, draw_moments(recorded, 600, random.Random(5).random))


def test_twice_the_same_world_is_the_same_run_bit_for_bit():
    assert run(noisy(1)) == run(noisy(1)) != run(noisy(2))
    assert steps(noisy(1)) == steps(noisy(1))


def test_who_hears_of_slow_moments_beforehand_is_late_less_often():
    slow = [i % 25 in (11, 12) for i in range(1000)]
    w = world("const:12", 1000, 16.0, [7.0 if s else 1.0 for s in slow], probes=[8.0 if s else 0.0 for s in slow])
    told, untold = (next(compete(w, w.profile, [r])) for r in RIVALS if r.name in ("value per person", "no probe"))
    assert told.miss_share == 0 < untold.miss_share
    with pytest.raises(ValueError, match="same number"):
        dataclasses.replace(w, probes=[0.0])


def test_a_drawn_noise_is_made_of_stretches_of_the_recorded_one():
    recorded = [Moment(float(i), i / 2) for i in range(200)]
    drawn = draw_moments(recorded, 500, random.Random(1).random)
    assert len(drawn) == 500 and set(drawn) <= set(recorded)
    assert all(b.ratio - a.ratio == 1 for start in range(0, 500, 50) for a, b in zip(drawn[start : start + 49], drawn[start + 1 : start + 50], strict=True))  # fmt: skip
    assert draw_moments([], 3, random.Random(1).random) == [(1.0, 0.0)] * 3


def test_made_crowds():
    assert max(make_crowd("step", 300, 25).faces) == 32 and make_crowd("step", 300, 25).faces[0] == 0
    assert make_crowd("ramp", 301, 25).faces[150] == 32 and make_crowd("ramp", 301, 25).faces[-1] == 0
    assert set(make_crowd("burst", 300, 25).faces) == {2, 32}
    assert max(make_crowd("demo", 1000, 25).faces) == 12 and make_crowd("demo", 1000, 25).faces[0] == 0
    stays = make_crowd("const:8", 1000, 25)
    assert sum(stays.arrivals) == pytest.approx(8 + 8 * 40 / 8, abs=2), "each of eight stays eight seconds"
    for text in ("const:x", "const:999", "crowd", ""):
        with pytest.raises(ValueError, match="known"):
            make_crowd(text, 10, 25)
    for faces, arrivals in (((1,), (0,)), ((2, 1), (2, 2)), ((), ()), ((-1,), (0,))):
        with pytest.raises(ValueError):
            Crowd("x", 25, faces, arrivals)


def test_a_crowd_that_is_seen_once_in_ten_seconds():
    assert make_crowd("burst", 10, 0.1).faces


def test_a_crowd_from_counts_adds_up():
    crowd = from_counts("x", 25.0, [0, 3, 5, 5, 2, 0, 4])
    gone = [b + new - n for b, new, n in zip((0, *crowd.faces), crowd.arrivals, crowd.faces, strict=False)]
    assert min(gone) >= 0 and sum(crowd.arrivals) >= 9


# --- rivals ----------------------------------------------------------------------------------------------------------


def test_every_rival_runs_in_the_same_world_and_the_oracle_is_never_late():
    w = noisy(3)
    table = {rival.name: o for rival, o in zip(RIVALS, compete(w, w.profile), strict=True)}
    assert {o.frames for o in table.values()} == {600}
    assert table["oracle"].misses == 0
    assert table["value per person"].miss_share <= 0.01


def test_the_best_of_several_tries_misses_little_before_all():
    outcomes = [run(world("const:12"), Fixed(p)) for p in POINTS]
    assert [o.miss_share > 0.01 for o in outcomes] == [False, True, True]
    assert best(outcomes) is outcomes[0]


def test_alerts_filter_follows_a_slowdown():
    kalman = Kalman(make_profile())
    for _ in range(5):
        kalman.observe(POINTS[0], 1, 4.0, Load(1, 33.0))
    assert kalman.slowdown == pytest.approx(2.0, abs=0.05)
    assert Alert()(Load(8, 33.0), kalman).point == POINTS[0]


@pytest.mark.parametrize("wrong", [{"moments": (1.0,)}, dict.fromkeys(("budget_ms", "born_ms", "ready_ms", "faces", "arrivals", "moments"), ())])  # fmt: skip
def test_a_world_that_does_not_add_up_is_refused(wrong):
    good = {k: getattr(world(frames=3), k) for k in World.__dataclass_fields__}
    with pytest.raises(ValueError, match="same number"):
        World(**{**good, **wrong})
