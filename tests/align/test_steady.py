"""Landmarks of a still head are averaged, those of one that moves follow at once."""

from __future__ import annotations

import numpy as np

from align.landmarks import centred_mean_shape
from align.steady import FORGET_S, MOVED, Steady

FACE = centred_mean_shape() * 50 + 100  # eyes 50 px apart


def one(steady, person, points, time_s):
    """One of two people in the frame; the other one jumps about."""
    elsewhere = FACE + 1e3 * time_s
    return steady([7, person], np.stack([elsewhere, points]), np.array([50.0, 50.0]), time_s)[1]


def test_a_still_head_trembles_half_as_much():
    rng, steady = np.random.default_rng(0), Steady()
    raw = [FACE + rng.normal(0, 0.5, 2) for _ in range(300)]
    shown = [one(steady, 1, points, i / 25) for i, points in enumerate(raw)]
    spread = [np.std([p[0] for p in points], axis=0).mean() for points in (raw[20:], shown[20:])]
    assert spread[1] < 0.55 * spread[0]


def test_a_head_that_moves_is_followed_at_once():
    steady = Steady()
    for i in range(5):
        moved = FACE + np.array([2 * 50 * MOVED * i, 0])
        np.testing.assert_allclose(one(steady, 1, moved, i / 25), moved)


def test_what_is_old_or_of_others_does_not_count():
    steady = Steady()
    one(steady, 1, FACE, 0.0)
    np.testing.assert_array_equal(one(steady, 2, FACE + 1, 0.04), FACE + 1)
    np.testing.assert_array_equal(one(steady, 1, FACE + 1, FORGET_S + 0.01), FACE + 1)
    steady.keep({2})
    np.testing.assert_array_equal(one(steady, 1, FACE + 2, FORGET_S + 0.02), FACE + 2)
