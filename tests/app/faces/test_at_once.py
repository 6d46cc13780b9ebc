from __future__ import annotations

from app.domain import Box
from app.faces.at_once import AtOnce


def test_nobody_in_a_single_picture_is_held_back():
    tracker = AtOnce()
    people = tracker.update([Box(10, 10, 40, 40), Box(100, 10, 40, 40)], 0.0)
    assert len(people) == 2 and tracker.unconfirmed() == {} and tracker.alive() == {p for p, _ in people}
