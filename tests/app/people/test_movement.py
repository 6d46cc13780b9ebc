from __future__ import annotations

from app.domain import Box
from app.people.movement import Movement


def test_who_stands_still_is_sharp_and_who_runs_is_not():
    movement = Movement()
    assert movement.sharpness(1, Box(100, 100, 50, 50)) == 1.0, "never seen: nothing speaks against it"
    assert movement.sharpness(1, Box(100, 100, 50, 50)) == 1.0
    assert 0.4 < movement.sharpness(1, Box(110, 100, 50, 50)) < 0.6
    assert movement.sharpness(1, Box(150, 100, 50, 50)) == 0.0
    movement.keep({2})
    assert movement.sharpness(1, Box(400, 100, 50, 50)) == 1.0, "forgotten"
