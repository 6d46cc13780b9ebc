"""Landmarks of a still head are averaged, those of one that moves follow at once."""

from __future__ import annotations

import numpy as np

from align.landmarks import centred_mean_shape
from align.steady import FORGET_S, MOVED, Steady

FACE = centred_mean_shape() * 50 + 100  # eyes 50 px apart


def test_a_still_head_trembles_half_as_much():
    rng, steady = np.random.default_rng(0), Steady()
    raw = [FACE + rng.normal(0, 0.5, 2) for _ in range(300)]
    shown = [steady(1, points, 50, i / 25) for i, points in enumerate(raw)]
    spread = [np.std([p[0] for p in points], axis=0).mean() for points in (raw[20:], shown[20:])]
    assert spread[1] < 0.55 * spread[0]


def test_a_head_that_moves_is_followed_at_once():
    steady = Steady()
    for i in range(5):
        moved = FACE + np.array([2 * 50 * MOVED * i, 0])
        np.testing.assert_allclose(steady(1, moved, 50, i / 25), moved)


def test_what_is_old_or_of_others_does_not_count():
    steady = Steady()
    steady(1, FACE, 50, 0.0)
    np.testing.assert_array_equal(steady(2, FACE + 1, 50, 0.04), FACE + 1)
    np.testing.assert_array_equal(steady(1, FACE + 1, 50, FORGET_S + 0.01), FACE + 1)
    steady.keep({2})
    np.testing.assert_array_equal(steady(1, FACE + 2, 50, FORGET_S + 0.02), FACE + 2)
