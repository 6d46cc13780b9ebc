from __future__ import annotations

import cv2
import numpy as np
import pytest

from align.fitness import MAX_MISFIT
from align.geometry import PAPER_MARGINS, Template, eye_distance, load_mean_shape
from align.landmarks import LandmarkPredictor
from app.domain import Frame
from app.faces.follower import Follower
from app.faces.front_end import FrontEnd
from app.faces.search import Search
from app.faces.tracker import Tracker
from app.faces.trust import CLEAR_FRAMES
from app.faces.viola_jones import ViolaJones


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)


@pytest.mark.parametrize("width", [320, 512, 1280])
def test_the_face_is_found_at_any_size_in_pixels_of_the_frame(portrait, width):
    image = cv2.resize(portrait, (width, width))
    box = Search(ViolaJones())(image, cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 0.0, [])[0].box
    x, y = box.centre
    assert abs(x / width - 0.44) < 0.03 and abs(y / width - 0.23) < 0.03
    assert 0.15 < box.width / width < 0.28


def test_an_empty_picture_has_no_faces():
    assert ViolaJones()(np.full((300, 400), 128, np.uint8), 20) == []
    assert ViolaJones()(np.zeros((1, 1), np.uint8), 20) == []


def test_the_front_end_prepares_a_real_face(portrait):
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    front_end = FrontEnd(Follower(), Search(ViolaJones()), None, template, Tracker())
    for i in range(CLEAR_FRAMES):
        prepared = front_end(Frame(i, portrait, i / 25, 0.0))
    (face,) = prepared.faces
    assert face.person == 1 and face.misfit < MAX_MISFIT / 2
    assert set(prepared.stages_ms) == {"follow", "find", "align"} and not prepared.unserved
    # The matrix takes frame pixels to the unit square: its scale is one over the crop's side in the frame.
    side = 1 / np.hypot(face.matrix[0, 0], face.matrix[1, 0])
    points = LandmarkPredictor()(cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY), face.box)
    assert side == pytest.approx(eye_distance(points) / eye_distance(template.array), rel=0.1)
