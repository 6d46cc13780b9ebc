"""The follower's benchmark on made movements; its figures on real faces are in its card."""

from __future__ import annotations

import numpy as np
import pytest

from align.landmarks import centred_mean_shape
from app.bench.following import astray, distance, half_covered, spoilt
from app.bench.movement import movements, tremble
from app.cli import main

TRUTH = centred_mean_shape() * 60 + 200


def crops(shifts: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """A crop of 100 px whose left edge is at these places."""
    return [(i, np.array([[0.01, 0, -0.01 * x], [0, 0.01, 0]])) for i, x in enumerate(shifts)]


def test_movement_is_what_the_crop_moves_by():
    steps = movements(crops(np.array([0.0, 10, 30])))
    assert [s[0] for s in steps[::2]] == [pytest.approx(-0.1), pytest.approx(-0.2)] and steps[0][1:] == (0, 0)


def test_tremble_is_the_noise_and_not_the_way():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.5, 400)
    assert tremble(crops(noise)) == pytest.approx(0.5 * 0.96, rel=0.15)
    assert tremble(crops(noise + np.linspace(0, 40, 400))) == pytest.approx(0.5 * 0.96, rel=0.15)
    assert tremble(crops(np.arange(50.0) ** 1.5)) is None, "a head that moves"
    assert tremble(crops(noise[:10])) is None


def test_a_stray_place_is_off_by_what_was_asked_for():
    rng = np.random.default_rng(0)
    places = [astray(TRUTH, rng, 0.05, 0.0, 0.0) for _ in range(400)]
    x = np.array([p.box[0] for p in places]) / places[0].box[2]
    assert x.std() == pytest.approx(0.05, rel=0.15)
    assert distance(TRUTH + np.array([6, 0]), TRUTH) == pytest.approx(0.1, rel=0.01)


def test_spoilt_pictures_keep_the_face_where_the_landmarks_are():
    gray = np.full((400, 400), 120, np.uint8)
    for picture, points in spoilt(gray, TRUTH, np.random.default_rng(0)).values():
        assert picture.dtype == np.uint8 and 0 < points.min() < points.max() < picture.shape[0]
    for k in range(4):
        assert 0.05 < (half_covered(gray, TRUTH, k) != gray).mean() < 0.2


@pytest.mark.parametrize("args", [[], ["--utkface", "none"], ["--utkface", "none", "--count", "2"]])
def test_nonsense_is_refused(args, capsys):
    assert main(["bench", "following", *args]) in (2, 4)
    assert capsys.readouterr().err.startswith("error: ")
