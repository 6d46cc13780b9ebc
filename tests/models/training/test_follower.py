"""The follower's training: scenes that are what they say, and a run that goes on where it was stopped."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from align.follow_crop import CROP_PX, matrix_around
from align.geometry import apply_similarity
from align.landmarks import centred_mean_shape, face_box
from models.data.follower_scenes import face_scene, make_batch, read_things, spoilt
from models.data.taught import Taught
from models.networks.follower import mean_in_crop
from models.session import cpu_session
from models.training.follower import Recipe, rate_at, train


@pytest.fixture(scope="module")
def taught() -> Taught:
    """Eight drawn faces, 200 px: dots where the landmarks are."""
    rng = np.random.default_rng(0)
    pixels, landmarks = [], []
    for _ in range(8):
        points = centred_mean_shape() * rng.uniform(55, 70) + rng.uniform(95, 105, 2)
        picture = np.full((200, 200), 150, np.uint8)
        for x, y in points:
            cv2.circle(picture, (round(x), round(y)), 3, 30, -1)
        pixels.append(picture)
        landmarks.append(points.astype(np.float32))
    return Taught(np.stack(pixels), np.stack(landmarks))


def test_the_crop_around_a_face_holds_its_box_upright():
    for degrees in (0, 50, -120):
        turn = cv2.getRotationMatrix2D((0, 0), -degrees, 37.0)
        points = apply_similarity(turn, centred_mean_shape()) + np.array([300, 200])
        np.testing.assert_allclose(apply_similarity(matrix_around(points), points), mean_in_crop(), atol=0.01)


def test_landmarks_of_a_scene_lie_where_the_picture_shows_them(taught):
    """The dots are dark: where a scene puts a landmark, it is darker than the crop on average."""
    rng, darker = np.random.default_rng(1), []
    for k in range(200):
        crop, points, _ = face_scene(taught.pixels[k % 8], taught.landmarks[k % 8], [taught.pixels[0]], rng)
        inside = ((points > 1) & (points < CROP_PX - 2)).all(axis=1)
        if inside.any():
            at = np.rint(points[inside]).astype(int)
            darker.append(crop[at[:, 1], at[:, 0]].mean() < crop.mean())
    assert np.mean(darker) > 0.85


def test_presence_says_whether_the_face_is_in_the_middle(taught):
    rng = np.random.default_rng(2)
    for k in range(150):
        _, points, present = face_scene(taught.pixels[k % 8], taught.landmarks[k % 8], [taught.pixels[0]], rng)
        (x, y, side, _), _ = face_box(points)
        off = np.hypot(x + side / 2 - CROP_PX / 2, y + side / 2 - CROP_PX / 2) / side
        if present == 1:
            assert off < 0.33
        elif present == 0:
            assert off > 0.5 or not 1 / 2.05 < side / (0.76 * CROP_PX) < 2.05


def test_the_same_seed_gives_the_same_batch_and_things_are_no_faces(taught):
    things = read_things()
    one, other = (make_batch([taught], [1.0], things, 24, np.random.default_rng([1, 5])) for _ in range(2))
    np.testing.assert_array_equal(one.crops, other.crops)
    assert (one.present[~one.placed] == 0).all() or np.isnan(one.present[~one.placed]).any()
    assert spoilt(one.crops[0], np.random.default_rng(3)).dtype == np.uint8


def test_each_cycle_begins_anew_and_falls():
    recipe = Recipe(cycles=((100, 1.0), (50, 0.5)), warm_up=10)
    rates = [rate_at(recipe, step) for step in range(recipe.steps)]
    assert rates[0] == 0.1 and max(rates[:100]) == 1.0 and rates[99] < 0.02
    assert max(rates[100:]) == 0.5 and rates[-1] < 0.01


def test_a_stopped_training_goes_on_and_its_network_takes_any_batch(taught, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    recipe = Recipe(cycles=((4, 1e-3),), batch=8, warm_up=1)
    quiet = {"save_every": 2, "say": lambda text: None}
    train([taught], [1.0], whole, recipe, **quiet)
    train([taught], [1.0], halves, Recipe(cycles=((2, 1e-3),), batch=8, warm_up=1), **quiet)
    manifest = train([taught], [1.0], halves, recipe, **quiet)
    entry = json.loads(manifest.read_text())
    assert entry["bytes"] == (halves / "follower.onnx").stat().st_size < 3e6 and entry["about"]["recipe"]["batch"] == 8
    session = cpu_session(str(halves / "follower.onnx"))
    for n in (1, 3, 17):
        landmarks, presence = session.run(None, {"crops": np.zeros((n, CROP_PX, CROP_PX), np.uint8)})
        assert landmarks.shape == (n, 47, 2) and presence.shape == (n,) and ((presence >= 0) & (presence <= 1)).all()
