"""When newcomers are looked for less often, and that whoever moves ends that."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from app.domain import Box
from app.faces.calm import SLOW, STAYS_S, Calm

SHAPE = (240, 640, 3)
FPS = 12


def room(i: int, noise: float = 3.0) -> np.ndarray:
    """A wall with a window, as a camera with noise sees it."""
    return _room(i % 8, noise)


@cache
def _room(i: int, noise: float) -> np.ndarray:
    picture = np.full(SHAPE, 120.0, np.float32)
    picture[60:200, 380:560] = 200
    grain = np.random.default_rng(i).standard_normal(SHAPE, np.float32)
    return np.clip(picture + noise * grain, 0, 255).astype(np.uint8)


def walker(picture: np.ndarray, x: float, y: int = 160, size: int = 24) -> np.ndarray:
    picture = picture.copy()
    picture[y : y + 3 * size, int(x) : int(x) + size] = 60
    return picture


def paces(pictures, people=(), calm=None, start=0) -> list[float]:
    calm = calm or Calm()
    return [calm(picture, (start + i) / FPS, people) for i, picture in enumerate(pictures)]


def test_an_empty_room_is_calm_after_some_seconds_whatever_the_sensor_s_noise():
    for noise in (0.0, 3.0, 8.0):
        seen = paces(room(i, noise) for i in range(int(STAYS_S + 2) * FPS))
        assert seen[0] == 1.0 and set(seen[int(STAYS_S * FPS) + 1 :]) == {SLOW}


@pytest.mark.parametrize("speed", [0.6, 4.0], ids=["slow", "brisk"])  # pixels a frame
def test_whoever_comes_ends_it(speed):
    calm = Calm()
    paces((room(i) for i in range(5 * FPS)), calm=calm)
    coming = paces((walker(room(i), speed * i) for i in range(2 * FPS)), calm=calm, start=5 * FPS)
    assert coming[0] == 1.0, "from the very frame on"
    assert set(coming) == {1.0}


def test_a_lamp_that_is_dimmed_is_nobody():
    calm = Calm()
    paces((room(i) for i in range(5 * FPS)), calm=calm)
    dimmed = (room(i) - np.uint8(12) for i in range(FPS))
    assert set(paces(dimmed, calm=calm, start=5 * FPS)) == {SLOW}


def test_people_who_are_followed_may_move_and_others_not():
    face = Box(300, 150, 40, 40)
    known = (walker(room(i), 300 + 6 * np.sin(i / 4), size=40) for i in range(6 * FPS))
    calm = Calm()
    assert paces(known, [face], calm)[-1] == SLOW
    newcomer = walker(walker(room(1), 300, size=40), 20)
    assert calm(newcomer, 6.0, [face]) == 1.0


def test_another_picture_size_and_a_source_that_begins_again_start_anew():
    calm = Calm()
    paces((room(i) for i in range(5 * FPS)), calm=calm)
    assert calm(room(1)[:200, :300], 5.1, []) == 1.0
    assert calm(room(1)[:200, :300], 0.0, []) == 1.0
    assert calm(room(1)[:8, :8], 0.1, []) == 1.0, "tiny ones too"
