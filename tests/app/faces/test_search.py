"""Where and when newcomers are looked for in the frame's path, on scripted and on the real detector."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from app.domain import Box
from app.faces.detector import Sighting, by_features, same_place
from app.faces.search import STRIPS, SWEEP_S, Search, parts
from app.faces.viola_jones import ViolaJones

WIDTH, HEIGHT = 1280, 720


class Counting:
    """A detector that finds nothing and counts its calls."""

    in_colour, scan_px = False, 20.0

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, picture, smallest, largest=math.inf) -> list[Sighting]:
        self.calls.append(picture.shape)
        return []


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)[50:180, 160:290]  # her face


def scene(portrait: np.ndarray, *faces: Box) -> np.ndarray:
    out = np.full((HEIGHT, WIDTH), 120, np.uint8)
    for box in faces:
        side = round(box.width)
        x, y = round(box.x), round(box.y)
        out[y : y + side, x : x + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return out


def sweep(search: Search, gray: np.ndarray, known=(), frames: int = 12) -> list[Sighting]:
    image = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    return [s for i in range(frames) for s in search(image, gray, i * SWEEP_S / 8, known)]


@pytest.mark.parametrize(("x", "side"), [(0, 90), (300, 90), (640, 150), (1180, 100), (500, 420)])
def test_a_face_is_found_wherever_it_is_and_whatever_its_size(portrait, x, side):
    face = Box(x, 200, side, side)
    found = Search(ViolaJones())(*_both(scene(portrait, face)), 0.0, [])
    assert any(same_place(s.box, face) for s in found)


def test_known_faces_are_painted_over(portrait):
    face = Box(400, 200, 120, 120)
    assert any(same_place(s.box, face) for s in sweep(Search(ViolaJones()), scene(portrait, face)))
    assert not any(same_place(s.box, face) for s in sweep(Search(ViolaJones()), scene(portrait, face), [face]))


def test_all_parts_are_looked_at_within_a_sweep_and_none_twice():
    detector = Counting()
    search, gray = Search(detector), np.zeros((HEIGHT, WIDTH), np.uint8)
    search(*_both(gray), 0.0, [])
    assert len(detector.calls) == STRIPS + 1, "the first frame is looked at whole"
    detector.calls.clear()
    for i in range(1, 101):
        search(*_both(gray), i * SWEEP_S / 100, [])
    assert len(detector.calls) in (STRIPS, STRIPS + 1)


def test_every_frame_means_every_frame():
    detector = Counting()
    search, gray = Search(detector, every_frame=True), np.zeros((HEIGHT, WIDTH), np.uint8)
    for i in range(3):
        search(*_both(gray), i / 100, [])
    assert len(detector.calls) == 3 * (STRIPS + 1)


def test_another_size_of_picture_is_looked_at_whole_at_once():
    detector = Counting()
    search = Search(detector)
    search(*_both(np.zeros((HEIGHT, WIDTH), np.uint8)), 0.0, [])
    detector.calls.clear()
    search(*_both(np.zeros((480, 640), np.uint8)), 0.01, [])
    assert len(detector.calls) == STRIPS + 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (20, 30)])
def test_tiny_pictures_have_no_parts(shape):
    assert parts(shape) == []


def test_the_smallest_face_wanted_sets_the_scale(portrait):
    face = Box(600, 300, 40, 40)
    assert not Search(ViolaJones())(*_both(scene(portrait, face)), 0.0, [])
    assert any(same_place(s.box, face) for s in Search(ViolaJones(), 36.0)(*_both(scene(portrait, face)), 0.0, []))


@pytest.mark.parametrize("degrees", [0, 30, -60, 90])
def test_five_points_tell_the_turn_also_in_profile(degrees):
    points = np.array([[-10, 0], [10, 0], [0, 10], [-7, 20], [7, 20]], float)
    for squeezed in (1.0, 0.1):
        turn = np.radians(degrees)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        seen = by_features((points * (squeezed, 1)) @ rotation.T + 50, 1.0)
        assert math.degrees(seen.roll) == pytest.approx(degrees, abs=1)


def _both(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), gray
