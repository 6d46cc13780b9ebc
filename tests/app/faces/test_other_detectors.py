"""Detectors that take Viola-Jones' place speak of boxes as it does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.errors import ModelError, UsageError
from app.faces.detector import by_features
from app.faces.detectors import open_detector


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)


def test_dlibs_detector_draws_the_box_that_viola_jones_draws(gray):
    (theirs,), ours = ([s.box for s in open_detector(d)(gray, 80)] for d in ("dlib-hog", "viola-jones"))
    ours = ours[0]
    assert np.abs(np.subtract(theirs.centre, ours.centre)).max() < 0.1 * ours.width
    assert theirs.width == pytest.approx(ours.width, rel=0.2)


def test_a_box_from_eyes_and_mouth_is_where_viola_jones_draws_it():
    """The portrait's eyes and mouth; its face as Viola-Jones draws it is 175, 64, 100, 100."""
    box = by_features(np.array([[205, 108], [247, 105], [228, 125], [211, 145], [245, 142]], np.float32), 1.0).box
    assert np.abs(np.subtract(box.centre, (225, 114))).max() < 12 and box.width == pytest.approx(85, rel=0.2)


def test_a_missing_or_wrong_network_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        open_detector(f"yunet:{tmp_path / 'none.onnx'}")
    (tmp_path / "wrong.onnx").write_bytes(b"this is no network")
    with pytest.raises(ModelError, match="is not a YuNet network"):
        open_detector(f"yunet:{tmp_path / 'wrong.onnx'}")


@pytest.mark.parametrize("spec", ["", "yunet", "yunet:", "hog", "viola-jones:x"])
def test_unknown_detectors_are_refused(spec):
    with pytest.raises(UsageError, match="viola-jones, centerface, dlib-hog or yunet:PATH"):
        open_detector(spec)
