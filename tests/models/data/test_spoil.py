from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from models.data.spoil import KINDS, as_a_camera, spoilt

FACE_PX = 60


@pytest.fixture(scope="module")
def portrait():
    """(75, 75, 3) uint8 RGB with a face of 60 px."""
    import cv2

    return cv2.resize(astronaut()[20:240, 110:330], (75, 75), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_the_same_twice_and_changes_more_the_stronger_it_is(portrait, kind):
    before = portrait.copy()
    # Over several draws: a cover may fall on something of its own colour.
    levels = [[spoilt(portrait, kind, level, FACE_PX, i) for i in range(6)] for level in range(3)]
    assert (portrait == before).all()
    assert all(p.shape == portrait.shape and p.dtype == np.uint8 for level in levels for p in level)
    assert all((p == spoilt(portrait, kind, 2, FACE_PX, i)).all() for i, p in enumerate(levels[2]))
    weak, middle, strong = (np.mean([np.abs(p.astype(float) - portrait).mean() for p in level]) for level in levels)
    assert 0 < weak < middle < strong


def test_pictures_of_two_faces_are_spoilt_differently(portrait):
    assert (spoilt(portrait, "noise", 1, FACE_PX, 1) != spoilt(portrait, "noise", 1, FACE_PX, 2)).any()


def test_strengths_are_what_their_units_say(portrait):
    grey = np.full((75, 75, 3), 128, np.uint8)
    assert spoilt(grey, "noise", 1, FACE_PX, 0).std() == pytest.approx(10, rel=0.1)
    assert spoilt(grey, "coarse noise", 1, FACE_PX, 0).std() == pytest.approx(10, rel=0.1)
    assert spoilt(grey, "contrast", 1, FACE_PX, 0).mean() == pytest.approx(128, abs=1)
    assert len(np.unique(spoilt(portrait, "palette", 1, FACE_PX, 0).reshape(-1, 3), axis=0)) <= 16
    assert np.ptp(spoilt(portrait, "grey", 2, FACE_PX, 0), axis=2).max() <= 1


def test_a_moving_point_becomes_a_line_as_long_as_is_said():
    point = np.zeros((101, 101, 3), np.uint8)
    point[50, 50] = 255
    line = KINDS["motion"].spoil(point, 20, 100, np.random.default_rng(0))
    rows, columns = np.nonzero(line[..., 0])
    assert np.hypot(np.ptp(rows), np.ptp(columns)) == pytest.approx(20, abs=2)
    assert line[..., 0].sum() == pytest.approx(255, rel=0.2)


def test_a_cover_takes_about_as_much_of_the_face_as_is_said(portrait):
    shares = []
    for i in range(20):
        inside = (spoilt(portrait, "cover", 1, FACE_PX, i) != portrait).any(axis=2)[7:68, 7:68]
        shares.append(inside.mean())
    assert np.mean(shares) == pytest.approx(0.2, abs=0.03)


def test_odd_sizes_are_spoilt_too():
    odd = np.random.default_rng(0).integers(0, 256, (33, 31, 3), np.uint8)
    for kind in KINDS:
        assert spoilt(odd, kind, 2, 25, 0).shape == odd.shape


def test_training_draws_every_kind_and_repeats_itself(portrait):
    def pictures(seed):
        rng = np.random.default_rng(seed)
        return [as_a_camera(portrait, FACE_PX, rng) for _ in range(40)]

    first = pictures(1)
    assert all((a == b).all() for a, b in zip(first, pictures(1), strict=True))
    assert all(p.shape == portrait.shape and p.dtype == np.uint8 for p in first)
    assert sum((p != portrait).any() for p in first) >= 38
