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
    yaw,
)
from align.geometry import LANDMARKS_47, MIRROR_47, load_mean_shape, symmetrised


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


def seen_from(yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0, nose: float = 0.667) -> np.ndarray:
    """The mean shape with a nose, as a camera far away sees the head turned right, then down, then clockwise."""
    solid = np.column_stack([symmetrised(load_mean_shape()), np.zeros(47)])
    solid[LANDMARKS_47.index(30), 2] = nose
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in np.radians([yaw_deg, pitch_deg, roll_deg]))
    turned = solid @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]).T
    turned = turned @ np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]]).T
    return 70 * turned[:, :2] @ np.array([[cr, -sr], [sr, cr]]).T + (300, 200)


@pytest.mark.parametrize("degrees", [-60, -30, -5, 0, 15, 45, 80])
@pytest.mark.parametrize(("pitch", "roll_deg"), [(0, 0), (20, 0), (-15, 40), (0, 180)])
def test_how_far_a_head_is_turned_whatever_its_pitch_and_roll(degrees, pitch, roll_deg):
    assert yaw(seen_from(degrees, pitch, roll_deg)) == pytest.approx(degrees, abs=0.2)


def test_a_head_turned_right_has_its_nose_at_the_right_and_its_mirror_image_is_turned_left():
    points = seen_from(25, 10)
    assert points[LANDMARKS_47.index(30), 0] > 310 and yaw(points) > 0
    mirrored = points[list(MIRROR_47)] * (-1, 1) + (640, 0)
    assert yaw(mirrored) == pytest.approx(-yaw(points))


def test_a_longer_nose_is_taken_for_a_further_turn():
    assert 30 < yaw(seen_from(30, nose=0.8)) < 37
