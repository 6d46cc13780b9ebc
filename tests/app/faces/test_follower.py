"""The shipped follower on a real face that is tilted, covered and taken away."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from align.fitness import roll
from align.geometry import PAPER_MARGINS, Template, load_mean_shape
from app.domain import Box, Frame
from app.errors import ModelError
from app.faces.follower import MANIFEST, Follower, Place
from app.faces.front_end import HOLD, FrontEnd
from app.faces.search import Search
from app.faces.tracker import Tracker
from app.faces.trust import CLEAR_FRAMES
from app.faces.viola_jones import ViolaJones

TEMPLATE = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
SIZE = (640, 480)
AT = Place(Box(270, 190, 100, 100))


@pytest.fixture(scope="module")
def follow() -> Follower:
    return Follower()


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The astronaut's head, BGR."""
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[0:270, 90:360]


def placed(face: np.ndarray, degrees: float = 0.0, x: float = SIZE[0] / 2) -> np.ndarray:
    """A frame with the head tilted clockwise, centre of the face at x."""
    matrix = cv2.getRotationMatrix2D((135, 115), -degrees, 1.0)
    matrix[:, 2] += x - 135, SIZE[1] / 2 - 115
    return cv2.warpAffine(face, matrix, SIZE, borderValue=(90, 90, 90))


def gray(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_head_that_tilts_to_60_degrees_stays_one_person_and_is_read(face, follow, side):
    end = FrontEnd(follow, Search(ViolaJones()), None, TEMPLATE, Tracker())
    degrees = [*np.zeros(CLEAR_FRAMES), *np.arange(0, 60, 2), *np.full(10, 60.0), *np.arange(60, 0, -2)]
    rolls = []
    for i, tilt in enumerate(degrees):
        prepared = end(Frame(i, placed(face, side * tilt), i / 25, 0.0))
        rolls += [(tilt, roll(f.matrix)) for f in prepared.faces]
        assert {f.person for f in prepared.faces} <= {1}
    assert len(rolls) >= len(degrees) - CLEAR_FRAMES
    assert max(abs(found - rolls[0][1] - side * tilt) for tilt, found in rolls) < 8


def test_the_face_is_found_from_where_it_was_and_stays_for_200_rounds(face, follow):
    picture = gray(placed(face))
    (first,) = follow(picture, [AT])
    last = first
    for _ in range(200):
        (last,) = follow(picture, [last.place])
    assert first.presence > 0.9
    assert np.hypot(*(last.landmarks - first.landmarks).T).mean() < 0.05 * first.place.box[2] / 2.5


@pytest.mark.parametrize("edge", ["left", "right"])
def test_the_mirror_image_beyond_the_edge_is_no_face(face, follow, edge):
    """What a crop shows beyond the picture's edge is a mirror image. It was taken for one more person who stands there."""
    for x in (560.0, 580.0):
        picture, beyond = gray(placed(face, x=x)), Box(2 * SIZE[0] - x - 50, 190, 100, 100)
        if edge == "left":
            picture, beyond = np.ascontiguousarray(picture[:, ::-1]), beyond._replace(x=SIZE[0] - beyond.x - 100)
        (found,) = follow(picture, [Place(beyond)])
        assert found.presence < HOLD


def test_a_covered_face_is_held_and_one_that_is_gone_is_let_go_within_three_frames(face, follow):
    picture = placed(face)
    (one,) = follow(gray(picture), [AT])
    covered = picture.copy()
    covered[265:320, 260:380] = 40  # the mouth
    for _ in range(10):
        (one,) = follow(gray(covered), [one.place])
        assert one.presence >= HOLD
    empty = np.full_like(picture, 90)
    seen = []
    for _ in range(3):
        (one,) = follow(gray(empty), [one.place])
        seen.append(one.presence)
    assert seen[-1] < HOLD


def test_many_are_followed_as_one_is(face, follow):
    picture = gray(placed(face))
    places = [AT, Place(Box(280, 195, 90, 90), 0.1), Place(Box(20, 20, 60, 60))]
    for alone, together in zip([follow(picture, [p])[0] for p in places], follow(picture, places), strict=True):
        np.testing.assert_allclose(alone.landmarks, together.landmarks, atol=0.2)
        assert alone.presence == pytest.approx(together.presence, abs=0.02)
    assert follow(picture, []) == []


def test_a_changed_or_missing_file_is_refused(tmp_path):
    for name in ("follower.json", "follower.onnx"):
        shutil.copy(MANIFEST.with_name(name), tmp_path / name)
    with (tmp_path / "follower.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        Follower(tmp_path / "follower.json")
    (tmp_path / "follower.onnx").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        Follower(tmp_path / "follower.json")
    (tmp_path / "follower.json").write_text("{}")
    with pytest.raises(ModelError, match="not a follower's manifest"):
        Follower(tmp_path / "follower.json")
