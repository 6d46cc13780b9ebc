from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from align.geometry import LANDMARKS_47, eye_distance
from align.landmarks import LandmarkModelError, LandmarkPredictor, find_model_file


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)


def test_the_model_is_found_without_importing_its_package():
    assert find_model_file().stat().st_size > 50e6
    assert "face_recognition_models" not in sys.modules


def test_47_points_of_a_real_face(gray):
    points = LandmarkPredictor()(gray, (172, 65, 105, 105))
    assert points.shape == (47, 2) and points.dtype == np.float64
    assert 35 < eye_distance(points) < 60
    nose, mouth = points[LANDMARKS_47.index(30)], points[[LANDMARKS_47.index(i) for i in range(48, 68)]].mean(axis=0)
    assert np.linalg.norm(nose - [227, 121]) < 12
    assert mouth[1] > nose[1]


def test_a_box_outside_the_picture_gives_points_anyway(gray):
    assert np.isfinite(LandmarkPredictor()(gray, (-60, -60, 100, 100))).all()


def test_a_missing_or_broken_model_is_a_clear_error(tmp_path, monkeypatch):
    broken = tmp_path / "model.dat"
    broken.write_bytes(b"not a predictor")
    with pytest.raises(LandmarkModelError, match="cannot be read"):
        LandmarkPredictor(broken)
    monkeypatch.setattr("align.landmarks._PACKAGE", "no_such_package")
    with pytest.raises(LandmarkModelError, match=r"requirements\.txt"):
        find_model_file()


def test_a_changed_model_is_refused_before_dlib_reads_it(tmp_path, monkeypatch):
    from align import landmarks

    content = landmarks.find_model_file().read_bytes()
    for name, changed in (
        ("cut", content[:-1000]),
        ("changed", content[:5000] + b"\xff" + content[5001:]),
        ("empty", b""),
    ):
        path = tmp_path / name
        path.write_bytes(changed)
        monkeypatch.setattr(landmarks, "find_model_file", lambda path=path: path)
        with pytest.raises(landmarks.LandmarkModelError, match=r"sha256 differs.*pip install"):
            landmarks.LandmarkPredictor()
