"""Tilted heads and faces at the border, on a real face that is turned and moved."""

from __future__ import annotations

import tarfile

import cv2
import numpy as np
import pytest

from align.fitness import AT_THE_EDGE, roll
from align.geometry import PAPER_MARGINS, Template, apply_similarity, eye_distance, load_mean_shape
from align.landmarks import LandmarkPredictor
from app.domain import Box, DropCause, Frame
from app.faces.front_end import FrontEnd
from app.faces.scan import Scanner
from app.faces.tilt import find_at, landmarks_at
from app.faces.tracker import Tracker
from app.faces.viola_jones import ViolaJones

TEMPLATE = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
SIZE = (640, 480)


@pytest.fixture(scope="module")
def predict() -> LandmarkPredictor:
    return LandmarkPredictor()


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The astronaut's head, in the middle of 300x300 BGR pixels."""
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[0:270, 90:360]


def placed(face: np.ndarray, degrees: float, x: float = SIZE[0] / 2) -> np.ndarray:
    """A frame with the head tilted clockwise, centre of the face at x."""
    matrix = cv2.getRotationMatrix2D((135, 115), -degrees, 1.0)
    matrix[:, 2] += x - 135, SIZE[1] / 2 - 115
    return cv2.warpAffine(face, matrix, SIZE, borderValue=(90, 90, 90))


def front_end(predict: LandmarkPredictor) -> FrontEnd:
    return FrontEnd(Scanner(ViolaJones()), predict, TEMPLATE, Tracker(), 32)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_head_that_tilts_to_45_degrees_stays_one_person_and_is_read(face, predict, side):
    """1.5 degrees a frame, there and back; upright search loses it on the way."""
    end, rolls = front_end(predict), []
    degrees = [*np.arange(0, 45, 1.5), *np.full(20, 45.0), *np.arange(45, 0, -1.5)]
    for i, tilt in enumerate(degrees):
        prepared = end(Frame(i, placed(face, side * tilt), i / 25, 0.0))
        assert prepared.alive == {1} and len(prepared.faces) + len(prepared.unread) == 1, f"{tilt} degrees"
        rolls += [(tilt, roll(f.matrix)) for f in prepared.faces]
    assert len(rolls) > 0.9 * len(degrees)
    assert max(abs(found - rolls[0][1] - side * tilt) for tilt, found in rolls) < 8
    gray = cv2.cvtColor(placed(face, side * 45), cv2.COLOR_BGR2GRAY)
    assert ViolaJones()(gray, 60) == [], "upright search does not find it, or this test shows nothing"


@pytest.mark.parametrize("side", [-1, 1])
def test_a_turned_window_finds_what_an_upright_one_does_not(face, side):
    gray = cv2.cvtColor(placed(face, side * 40), cv2.COLOR_BGR2GRAY)
    expected = Box(SIZE[0] / 2 - 55, SIZE[1] / 2 - 50, 100, 100)
    found = find_at(ViolaJones(), gray, expected, side * 32)
    assert found and abs(found.centre[0] - SIZE[0] / 2) < 20 and abs(found.width - 100) < 25
    assert find_at(ViolaJones(), np.full_like(gray, 90), expected, side * 32) is None
    assert find_at(ViolaJones(), gray, Box(-900, -900, 100, 100), 30) is None


def test_a_face_that_leaves_is_said_to_be_at_the_edge(face, predict):
    """As long as somebody is followed; then they are gone, and nobody is read from what is left of a face."""
    end, said = front_end(predict), []
    for i in range(80):
        prepared = end(Frame(i, placed(face, 0, SIZE[0] / 2 - 5 * i), i / 25, 0.0))
        assert set(prepared.unfit) <= {person for person, _ in prepared.unread}
        assert prepared.unserved.get(DropCause.UNALIGNED, 0) == len(prepared.unfit)
        said += prepared.unfit.values()
        for f in prepared.faces:
            x = np.linalg.solve(f.matrix[:, :2], np.array([0.5, 0.5]) - f.matrix[:, 2])[0]
            assert x > 0, "a crop whose middle is outside is not read"
    assert set(said) <= {AT_THE_EDGE} and end(Frame(99, placed(face, 0, -400), 99 / 25 + 2, 0.0)).alive == set()


def test_landmarks_of_tilted_real_faces_are_those_of_the_upright_ones_turned(utkface_tar, predict):
    """Twenty UTKFace pictures turned by 40 degrees, with the roll known to within 8."""
    apart = []
    with tarfile.open(utkface_tar) as tar:
        for member in tar:
            if not member.name.endswith(".jpg") or hash_of(member.name) % 40:
                continue
            data = np.frombuffer(tar.extractfile(member).read(), np.uint8)
            image = cv2.copyMakeBorder(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), 80, 80, 80, 80, cv2.BORDER_REFLECT_101)
            found = [b for b in ViolaJones()(image, 80) if np.hypot(b.centre[0] - 180, b.centre[1] - 180) < 40]
            if len(found) != 1:
                continue
            upright = predict(image, found[0])
            matrix = cv2.getRotationMatrix2D(found[0].centre, -40, 1.0)
            turned = cv2.warpAffine(image, matrix, image.shape[::-1], borderMode=cv2.BORDER_REFLECT_101)
            tilted = landmarks_at(predict, turned, found[0], 32.0)
            error = np.hypot(*(tilted - apply_similarity(matrix, upright)).T).mean()
            apart.append(error / eye_distance(upright))
            if len(apart) == 20:
                break
    assert np.median(apart) < 0.06


def hash_of(name: str) -> int:
    return sum(name.encode())
