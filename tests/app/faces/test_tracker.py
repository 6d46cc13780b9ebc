"""Ids over time, on boxes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from app.domain import FORGET_S, Box
from app.faces.tracker import COAST_S, GONE_S, MAX_TRACKS, UNSURE_S, Tracker


def box(x: float, y: float = 100, side: float = 60) -> Box:
    return Box(x, y, side, side)


def knowing(*boxes: Box) -> Tracker:
    """A tracker that has confirmed these people, ids from 1, at the time 0."""
    tracker = Tracker()
    for person, _ in tracker.update(boxes, 0.0):
        tracker.confirm(person)
    return tracker


def ids(found: list[tuple[int, Box]]) -> list[int]:
    return [person for person, _ in found]


def test_ids_stay_while_people_move():
    tracker = knowing(box(100), box(400, 300))
    for i in range(1, 30):
        assert ids(tracker.update([box(100 + 5 * i), box(400 - 5 * i, 300)], i / 25)) == [1, 2]


def test_order_of_the_detector_does_not_matter():
    assert ids(knowing(box(100), box(300)).update([box(305), box(98)], 0.04)) == [2, 1]


def test_a_jump_is_somebody_else_and_so_is_another_size():
    tracker = knowing(box(100))
    assert ids(tracker.update([box(300)], 0.04)) == [2]
    assert ids(tracker.update([box(100, side=200)], 0.08)) == [3]


def test_a_missed_detection_keeps_the_id_and_coasts_for_a_moment():
    tracker = knowing(box(100))
    assert tracker.coasting(0.0) == []
    tracker.update([], COAST_S / 2)
    assert ids(tracker.coasting(COAST_S / 2)) == [1]
    tracker.update([], COAST_S * 2)
    assert tracker.coasting(COAST_S * 2) == [] and tracker.alive() == {1}
    assert ids(tracker.update([box(104)], COAST_S * 3)) == [1]


def test_who_leaves_is_forgotten():
    tracker = knowing(box(100))
    tracker.update([], FORGET_S + 0.1)
    assert tracker.alive() == set() and tracker.expected(FORGET_S + 0.1) == {}
    assert ids(tracker.update([box(100)], FORGET_S + 0.2)) == [2]


def test_who_walks_out_of_the_picture_is_forgotten_sooner():
    """Whoever enters by that side a second later is somebody else."""
    tracker, frame = knowing(box(60)), (640, 480)
    for i in range(1, 9):
        tracker.update([box(60 - 12 * i)], i / 25, frame=frame)
    for i in range(9, 9 + round((GONE_S + 0.1) * 25)):
        tracker.update([], i / 25, frame=frame)
    assert tracker.alive() == set()


def crossing(seen, frames: int = 50) -> list[list[int]]:
    """Two people walk through each other at 150 px/s each; `seen(i)` says which of them the detector finds."""
    tracker, out = knowing(box(100), box(400)), []
    for i in range(1, frames):
        both = [box(100 + 6 * i), box(400 - 6 * i)]
        out.append(ids(tracker.update([b for b, s in zip(both, seen(i), strict=True) if s], i / 25)))
    return out


def test_ids_survive_a_crossing():
    assert all(found == [1, 2] for found in crossing(lambda i: (True, True)))


def test_ids_survive_a_crossing_behind_somebody():
    """One hides the other for as long as their boxes overlap by half."""
    found = crossing(lambda i: (True, abs(100 + 6 * i - 400 + 6 * i) > 30))
    assert all(1 in f and set(f) <= {1, 2} for f in found) and found[-1] == [1, 2]
    assert sum(f == [1] for f in found) >= 4


@pytest.mark.parametrize("hidden_s", [0.2, 0.4, 0.8])
def test_ids_survive_an_occlusion_on_the_way(hidden_s):
    """A pillar hides somebody who walks at 100 px/s; detections stray by 2 px."""
    tracker, rng = knowing(box(50)), np.random.default_rng(0)
    for i in range(1, 60):
        hidden = 30 < i <= 30 + hidden_s * 25
        found = ids(tracker.update([] if hidden else [box(50 + 4 * i + rng.normal(0, 2))], i / 25))
        assert found == ([] if hidden else [1])


def test_a_face_found_twice_is_one_person():
    tracker = knowing(box(100))
    for i in range(1, 10):
        found = ids(tracker.update([box(100), box(108, 104, 66)], i / 25))
        assert found[0] == 1
    assert tracker.expected(10 / 25).keys() == {1} and tracker.unconfirmed() == {}


def test_the_unconfirmed_are_looked_for_but_not_shown_and_soon_dropped():
    tracker = knowing(box(100))
    assert ids(tracker.update([box(100), box(400)], 0.04)) == [1, 2]
    assert tracker.unconfirmed() == {2: 1} and tracker.alive() == {1} and 2 in tracker.expected(0.04)
    tracker.update([box(100), box(402)], 0.08)
    assert tracker.unconfirmed() == {2: 2}
    tracker.update([box(100)], 0.12)
    assert ids(tracker.coasting(0.12)) == []
    tracker.update([box(100)], 0.12 + UNSURE_S)
    assert tracker.unconfirmed() == {} and tracker.expected(0.2 + UNSURE_S).keys() == {1}


def test_the_confirmed_choose_before_the_unconfirmed():
    """A false face beside somebody does not take their next detection."""
    tracker = knowing(box(100))
    tracker.update([box(100), box(140)], 0.04)
    assert ids(tracker.update([box(118)], 0.08)) == [1]


def test_memory_is_bounded_whatever_a_detector_finds():
    tracker, rng = knowing(box(5000, 5000)), np.random.default_rng(0)
    for i in range(1, 20):
        tracker.update([box(5000, 5000)] + [box(*rng.uniform(0, 4000, 2)) for _ in range(60)], i / 25)
    assert len(tracker.expected(20 / 25)) <= MAX_TRACKS and tracker.alive() == {1}


def test_shown_boxes_are_steadier_than_found_ones_and_keep_up():
    tracker, rng = knowing(box(100)), np.random.default_rng(0)
    found = [box(100 + rng.normal(0, 3)) for _ in range(200)]
    shown = [tracker.update([b], i / 25)[0][1] for i, b in enumerate(found, 1)]
    assert np.std([b.x for b in shown[5:]]) < 0.8 * np.std([b.x for b in found[5:]])
    for i in range(201, 226):
        ((_, last),) = tracker.update([box(100 + 8 * (i - 200))], i / 25)
    assert abs(last.x - (100 + 8 * 25)) < 4, "after a second of walking at 200 px/s it lags less than 4 px"
