from __future__ import annotations

import numpy as np
import pytest

from align.fitness import (
    AT_THE_EDGE,
    MAX_MISFIT,
    MIN_SIDE,
    TOO_SMALL,
    TURNED_AWAY,
    crop_side,
    roll,
    share_outside,
    unfit,
    unsteadiness,
)


def crop(x: float, y: float, side: float, degrees: float = 0.0) -> np.ndarray:
    """The matrix of a crop with its centre at (x, y), of a head tilted clockwise."""
    angle = np.radians(-degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / side
    return np.column_stack([turn, np.array([0.5, 0.5]) - turn @ (x, y)])


@pytest.mark.parametrize("degrees", [-45, -10, 0, 30, 60])
def test_a_crops_side_and_roll_are_read_from_its_matrix(degrees):
    matrix = crop(200, 150, 80, degrees)
    assert crop_side(matrix) == pytest.approx(80) and roll(matrix) == pytest.approx(degrees)
    down = matrix[:, :2] @ [-np.sin(np.radians(degrees)), np.cos(np.radians(degrees))]
    assert down[1] > 0 and down[0] == pytest.approx(0), "the chin of a head that is tilted clockwise points left"


@pytest.mark.parametrize(("x", "share"), [(200, 0.0), (40, 0.0), (20, 0.25), (0, 0.5), (-40, 1.0)])
def test_the_share_of_a_crop_outside_the_frame(x, share):
    assert share_outside(crop(x, 150, 80), 400, 300) == pytest.approx(share, abs=0.05)
    assert share_outside(crop(399 - x, 150, 80), 400, 300) == pytest.approx(share, abs=0.05)
    assert share_outside(crop(200, x, 80, 90), 400, 300) == pytest.approx(share, abs=0.05)


def test_why_a_crop_is_not_read():
    assert unfit(crop(200, 150, 80, 40), 0.02, 400, 300) is None
    assert unfit(crop(200, 150, 80), MAX_MISFIT * 1.1, 400, 300) == TURNED_AWAY
    assert unfit(crop(0, 150, 80), 0.02, 400, 300) == AT_THE_EDGE
    assert unfit(crop(200, 150, MIN_SIDE * 0.95), 0.02, 400, 300) == TOO_SMALL


def test_landmarks_that_follow_the_box_are_unsteady_and_those_that_stay_are_not():
    shape = np.random.default_rng(0).uniform(0, 1, (47, 2))
    box = (100.0, 80.0, 60.0, 60.0)
    assert unsteadiness(lambda b: shape * 60 + (100, 80), box) == 0
    calls = []

    def follow(b):
        calls.append(b)
        return shape * b[2] + b[:2]

    assert unsteadiness(follow, box) == pytest.approx(0.08 * np.sqrt(2)) and len(calls) == 3
    calls.clear()
    assert 0.05 < unsteadiness(follow, box, enough=0.05) < 0.08 and len(calls) == 2
