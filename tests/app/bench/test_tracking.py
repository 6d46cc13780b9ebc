"""The tracking benchmark's parts: the crowd that crosses, the metrics, and what ours must win against the plain tracker."""

from __future__ import annotations

import numpy as np
import pytest

from app.bench.crossing import PEOPLE, CrossingCrowd
from app.cli import main
from app.domain import Box
from app.faces.tracker import Tracker
from app.sources.stands import HEIGHT, WIDTH

pytest.importorskip("motmetrics", reason="py-motmetrics comes with requirements-dev.txt")


@pytest.fixture(scope="module")
def crowd() -> CrossingCrowd:
    return CrossingCrowd()


def test_people_of_the_crossing_crowd_hide_each_other_and_come_back(crowd):
    hidden = [PEOPLE - len(crowd.truth(i)) for i in range(0, 1000, 5)]
    assert max(hidden) >= 1 and hidden.count(0) > 30
    for i in range(0, 1000, 50):
        for _, box in crowd.truth(i):
            x, y = box.centre
            assert 0 < x < WIDTH and 0 < y < HEIGHT


def test_a_hidden_face_is_really_covered(crowd):
    """Where the truth says that somebody hides a face, the picture with everybody differs from one with that person alone."""
    frame, person, box = next((i, p, b) for i in range(0, 1000, 5) for p, b, share in crowd.in_view(i) if share < 0.1)
    alone = CrossingCrowd()
    alone._order = [person]
    x, y, w, h = (round(v) for v in box)
    cut = np.s_[y + h // 4 : y + 3 * h // 4, x + w // 4 : x + 3 * w // 4]
    apart = np.abs(crowd.picture(frame)[cut].astype(int) - alone.picture(frame)[cut])
    assert (apart.max(axis=2) > 8).mean() > 0.8


def test_the_metrics_count_a_switch_a_fragment_and_a_false_box():
    from app.bench.tracking import scores

    box, other = Box(0, 0, 10, 10), Box(50, 50, 10, 10)
    truth = [[(1, box)]] * 10
    shown = [[(7, box)]] * 4 + [[]] * 2 + [[(8, box), (9, other)]] + [[(8, box)]] * 3
    figures = scores(truth, shown)
    assert (figures["num_switches"], figures["num_fragmentations"], figures["num_false_positives"]) == (1, 1, 1)
    assert figures["recall"] == 0.8 and figures["mota"] == pytest.approx(1 - 4 / 10)


def test_crossings_cost_ours_few_ids_and_the_plain_tracker_many(crowd):
    """On true boxes of who is visible, which stray by 3 % and are missed at random one time in ten."""
    from app.bench.tracking import Plain, scores

    switches = {}
    for kind in (Plain, Tracker):
        tracker, rng, truth, shown = kind(), np.random.default_rng(0), [], []
        for i in range(500):
            seen = crowd.truth(i)
            found = [
                Box(b.x + rng.normal(0, 0.03 * b.width), b.y + rng.normal(0, 0.03 * b.width), b.width, b.height)
                for _, b in seen
            ]
            found = [b for b in found if rng.random() > 0.1]
            people = tracker.update(found, i / 25)
            if kind is Tracker:
                for person, _ in people:
                    tracker.confirm(person)
            truth.append(seen)
            shown.append(people)
        switches[kind] = scores(truth, shown)["num_switches"]
    assert switches[Tracker] <= 8 and switches[Plain] >= 5 * switches[Tracker]


@pytest.mark.parametrize("frames", ["49", "1001"])
def test_counts_that_make_no_sense(frames, capsys):
    assert main(["bench", "tracking", "--frames", frames]) == 2
    assert "--frames must be from 50 to 1000" in capsys.readouterr().err
