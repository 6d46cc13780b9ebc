"""How many landmark searches a frame may cost."""

from __future__ import annotations

import numpy as np

from align.geometry import PAPER_MARGINS, Template, load_mean_shape
from app.domain import Box, DropCause, Frame
from app.front_end import CONFIRM_HITS, LOOKS, FrontEnd
from app.tracker import Tracker
from tests.fakes import FakePredictor, FakeScanner

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
