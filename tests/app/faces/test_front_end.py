"""How many landmark searches a frame may cost."""

from __future__ import annotations

import numpy as np
import pytest

from align.geometry import PAPER_MARGINS, Template, load_mean_shape
from app.domain import Box, DropCause, Frame
from app.faces.front_end import CONFIRM_HITS, LOOKS, FrontEnd
from app.faces.tracker import Tracker
from tests.support.fakes import FakeClock, FakePredictor, FakeScanner

TEMPLATE = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
PICTURE = np.zeros((300, 1000, 3), np.uint8)
MANY = 2 * LOOKS + 2
CROWD = [Box(30.0 + 60 * i, 80.0, 40.0, 40.0) for i in range(MANY)]


class Counting(FakePredictor):
    """Landmarks that go along with the box, as on what is no face, unless `steady`."""

    def __init__(self, *, steady: bool) -> None:
        super().__init__(load_mean_shape())
        self.calls, self._steady = 0, steady

    def __call__(self, gray, box):
        self.calls += 1
        return super().__call__(gray, box) if self._steady else self._shape * box[2] + np.array(box[:2])


def searches(predict: Counting, boxes: list[list[Box]]) -> tuple[list[int], list[int]]:
    """Landmark searches and faces held back, frame by frame."""
    end = FrontEnd(FakeScanner(lambda i: boxes[i]), predict, TEMPLATE, Tracker(), 32)
    counts, held_back = [], []
    for i in range(len(boxes)):
        before = predict.calls
        prepared = end(Frame(i, PICTURE, i / 25, 0.0))
        counts.append(predict.calls - before)
        held_back.append(prepared.unserved.get(DropCause.UNCONFIRMED, 0))
    return counts, held_back


def test_all_faces_of_the_first_frame_are_looked_at():
    counts, held_back = searches(Counting(steady=True), [CROWD])
    assert held_back == [0] and counts == [3 * len(CROWD)], "and what was found then is not looked for again"


def test_a_crowd_that_comes_at_once_is_looked_at_over_several_frames():
    counts, held_back = searches(Counting(steady=True), [[]] + 5 * [CROWD])
    assert held_back == [0, MANY - LOOKS, MANY - 2 * LOOKS, 0, 0, 0], (
        "found in three frames they are shown all the same"
    )
    assert counts[0] == 0 and counts[-1] == MANY
    assert all(n <= MANY + 2 * LOOKS for n in counts)


def test_what_is_unsteady_costs_no_more_either():
    counts, _ = searches(Counting(steady=False), [[]] + CONFIRM_HITS * [CROWD])
    assert counts[1:CONFIRM_HITS] == [2 * LOOKS] * (CONFIRM_HITS - 1), "two searches show that they go along"


class Slow(FakePredictor):
    """Every prediction takes 4 ms."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(load_mean_shape())
        self._clock = clock

    def __call__(self, gray, box):
        self._clock.pass_ms(4)
        return super().__call__(gray, box)


def test_no_face_is_begun_that_would_be_done_too_late_and_all_have_their_turn():
    clock = FakeClock()
    end = FrontEnd(FakeScanner(CROWD[:5]), Slow(clock), TEMPLATE, Tracker(), 32, 1.0, clock)
    assert len(end(Frame(0, PICTURE, 0.0, clock())).faces) == 5
    turns, took_ms = [], []
    for i in range(1, 6):
        born = clock()
        prepared = end(Frame(i, PICTURE, i / 25, born, budget_ms=10.0))
        took_ms.append(round((clock() - born) * 1e3))
        turns.append({face.person for face in prepared.faces})
        assert prepared.unserved == {DropCause.NO_TIME: 3}
    assert took_ms == [8] * 5, "of 10 ms: a third face would take 12"
    assert set().union(*turns[:3]) == set().union(*turns[2:]) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(("fps", "budget_ms", "fits"), [(18, 1e6, 5), (18, 10.0, 2), (9, 1e6, 11), (9, 41.0, 10)])
def test_no_more_is_aligned_than_keeps_up_with_the_source(fps, budget_ms, fits):
    """A face takes 4 ms: 0.4 of the time between frames, or the budget's share where that is less, holds so many."""
    clock = FakeClock()
    end = FrontEnd(FakeScanner(lambda _: CROWD), Slow(clock), TEMPLATE, Tracker(), 32, 1.0, clock)
    for i in range(8):
        prepared = end(Frame(i, PICTURE, i / fps, clock(), budget_ms))
    assert len(prepared.faces) == fits < MANY
    everybody = {person for person, _ in prepared.unread} | {face.person for face in prepared.faces}
    assert len(everybody) == MANY
