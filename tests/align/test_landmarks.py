from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from align.crop import crop_face, doubled_crop
from align.geometry import LANDMARKS_47, apply_similarity, eye_distance, fit_similarity
from align.landmarks import (
    BOX_CENTRE,
    BOX_SIDE,
    MANIFEST,
    LandmarkModelError,
    LandmarkPredictor,
    TeacherPredictor,
    _array,
    centred_mean_shape,
    coarse_points,
    detector_box,
    face_box,
    find_teacher_file,
    mirrored,
    patch_matrix,
    teacher_box,
    verified_files,
)
from tests.support.needs import needs_teacher

BOX = (176.0, 66.0, 97.0, 97.0)  # as Viola-Jones draws it on the portrait


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module")
def predict() -> LandmarkPredictor:
    return LandmarkPredictor()


def off(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance in eye distances."""
    return float(np.hypot(*(a - b).T).mean() / eye_distance(b))


def test_47_points_of_a_real_face(gray, predict):
    points = predict(gray, BOX)
    assert points.shape == (47, 2) and points.dtype == np.float64
    assert 35 < eye_distance(points) < 60
    nose, mouth = points[LANDMARKS_47.index(30)], points[[LANDMARKS_47.index(i) for i in range(48, 68)]].mean(axis=0)
    assert np.linalg.norm(nose - [227, 121]) < 12
    assert mouth[1] > nose[1]


@needs_teacher
def test_our_points_are_the_teachers(gray, predict):
    assert off(predict(gray, BOX), TeacherPredictor()(gray, teacher_box(BOX))) < 0.05


@pytest.mark.parametrize("size", [40, 150, 1600])
def test_the_same_points_at_any_size(gray, predict, size):
    """Also where the face is smaller than a patch, and where it is shrunk into one."""
    k = size / 512
    if k > 1:
        scaled = cv2.resize(gray, (size, size), interpolation=cv2.INTER_CUBIC)
    else:
        k = k * 4
        scaled = cv2.resize(gray, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    points = (predict(scaled, tuple(k * v for v in BOX)) + 0.5) / k - 0.5
    assert off(points, predict(gray, BOX)) < 0.05


def test_points_do_not_drift_when_the_box_does(gray, predict):
    """Boxes a tenth off, too large and too small give the points of the right one."""
    points = predict(gray, BOX)
    x, y, w, h = BOX
    for dx, dy, k in ((0.1, 0, 1), (-0.1, 0, 1), (0, 0.1, 1), (0, -0.1, 1), (0, 0, 1.15), (0, 0, 0.87)):
        box = (x + dx * w + (1 - k) * w / 2, y + dy * h + (1 - k) * h / 2, k * w, k * h)
        assert off(predict(gray, box), points) < 0.04, (dx, dy, k)


def test_from_landmarks_to_box_to_landmarks_stays_put(gray, predict):
    first = points = predict(gray, BOX)
    for _ in range(20):
        points = predict(gray, face_box(points)[0])
    assert off(points, first) < 0.04


@pytest.mark.parametrize("degrees", [-45, -30, 30, 45])
def test_a_tilted_head_needs_no_tilted_box(gray, predict, degrees):
    upright = predict(gray, BOX)
    matrix = cv2.getRotationMatrix2D((224, 110), degrees, 1)
    turned = cv2.warpAffine(gray, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT_101)
    truth = apply_similarity(matrix, upright)
    assert off(predict(turned, face_box(truth)[0]), truth) < 0.06


def test_a_known_turn_takes_it_further(gray, predict):
    matrix = cv2.getRotationMatrix2D((224, 110), -90, 1)  # clockwise
    turned = cv2.warpAffine(gray, matrix, (512, 512), borderMode=cv2.BORDER_REFLECT_101)
    truth = apply_similarity(matrix, predict(gray, BOX))
    box, roll = face_box(truth)
    assert roll == pytest.approx(np.pi / 2, abs=0.15)
    assert off(predict(turned, box, np.pi / 2), truth) < 0.06


def test_the_mirrored_picture_has_mirrored_landmarks(gray, predict):
    x, y, w, h = BOX
    back = mirrored(predict(np.ascontiguousarray(gray[:, ::-1]), (512 - x - w, y, w, h)), 512)
    assert off(back, predict(gray, BOX)) < 0.04


def test_a_box_outside_the_picture_or_without_area_gives_points_anyway(gray, predict):
    for box in ((-60, -60, 100, 100), (5000, 5000, 40, 40), (100, 100, 0, 0), (0, 0, 1e5, 1e5)):
        assert np.isfinite(predict(gray, box)).all(), box
    assert np.isfinite(predict(np.zeros((1, 1), np.uint8), (0, 0, 1, 1))).all()


def test_box_of_landmarks_and_patch_agree(gray, predict):
    """In the patch that is cut at the landmarks' own box and turn, the face is upright and in the middle."""
    points = predict(gray, BOX)
    matrix = cv2.getRotationMatrix2D((224, 110), 33, 1.7)
    turned = apply_similarity(matrix, points)
    for shape in (points, turned, coarse_points(turned)):
        box, roll = face_box(shape)
        again, still = face_box(apply_similarity(patch_matrix(box, roll, 201), shape))
        assert again == pytest.approx((30, 30, 140, 140), abs=0.5) and still == pytest.approx(0, abs=1e-6)


def test_the_box_of_landmarks_is_that_of_the_mean_shape_fitted_to_them():
    shape = centred_mean_shape() * 41 + np.random.default_rng(3).normal(0, 3, (47, 2)) + (200, 90)
    shape = apply_similarity(cv2.getRotationMatrix2D((200, 90), -25, 1.3), shape)
    for mean, points in ((centred_mean_shape(), shape), (coarse_points(centred_mean_shape()), coarse_points(shape))):
        matrix = fit_similarity(mean, points)
        (x, y), side = apply_similarity(matrix, [BOX_CENTRE])[0], BOX_SIDE * np.hypot(*matrix[:, 0])
        box, roll = face_box(points)
        assert box == pytest.approx((x - side / 2, y - side / 2, side, side))
        assert roll == pytest.approx(np.arctan2(matrix[1, 0], matrix[0, 0])) and 0.2 < roll < 0.7


@pytest.mark.parametrize(
    "places", [[(0, 255), (17, 1), (120, 64)], [(0, 256), (17, 1)], [(-1, 5), (3, 4)], [(70000, -70000), (0, 0)]]
)
def test_dlibs_points_are_read_in_the_quick_way_and_in_the_other(places):
    import dlib

    parts = dlib.points()
    for x, y in places:
        parts.append(dlib.point(x, y))
    assert _array(parts).tolist() == [list(p) for p in places]


def test_answers_inside_the_patch_are_read_in_the_quick_way(gray, predict):
    """Else dlib keeps its points in another form than it did, and each face takes a good deal longer."""

    class Slow:
        def __init__(self, parts):
            self.parts = parts

        def __getstate__(self):
            return self.parts.__getstate__()

        def __len__(self):
            return len(self.parts)

    for trees, size in ((predict._coarse, 101), (predict._fine, 242)):
        patch = crop_face(gray, patch_matrix(BOX, 0.0, size), size)
        parts = trees._predict(patch, trees._box).parts()
        assert _array(Slow(parts)).tolist() == [[p.x, p.y] for p in parts]


def test_a_doubled_crop_shows_the_same_place_as_a_whole_one(gray):
    smooth, matrix = cv2.GaussianBlur(gray, (0, 0), 3), patch_matrix(BOX, 0.3, 242)
    patch = doubled_crop(smooth, matrix, 242)
    whole, doubled = crop_face(smooth, matrix, 242).astype(int), patch.astype(int)
    apart = [
        np.abs(whole - np.roll(doubled, by, axis=(0, 1))).mean() for by in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    assert apart[0] < 0.4 * min(apart[1:]), "not a quarter of a pixel away"


def test_boxes_of_the_two_detectors_turn_into_each_other():
    assert teacher_box((100, 100, 100, 100)) == pytest.approx((104.75, 115.75, 90.5, 90.5))
    assert detector_box(teacher_box((10, 20, 30, 30))) == pytest.approx((10, 20, 30, 30))


def test_what_is_shipped_is_small_and_what_its_manifest_says():
    files = verified_files(MANIFEST)
    assert sum(p.stat().st_size for p in files) <= 12_000_000
    entry = json.loads(MANIFEST.read_text())
    assert [entry["files"][k]["bytes"] for k in ("coarse", "fine")] == [p.stat().st_size for p in files]


@pytest.fixture
def copied(tmp_path) -> Path:
    for path in (MANIFEST, *verified_files(MANIFEST)):
        shutil.copy(path, tmp_path)
    return tmp_path / MANIFEST.name


def test_a_changed_file_is_not_loaded(copied):
    LandmarkPredictor(copied)
    coarse = copied.with_name("landmarks_47_coarse.dat")
    content = bytearray(coarse.read_bytes())
    content[len(content) // 2] ^= 1
    coarse.write_bytes(content)
    with pytest.raises(LandmarkModelError, match="SHA-256"):
        LandmarkPredictor(copied)


def test_missing_and_broken_files_are_clear_errors(copied):
    coarse = copied.with_name("landmarks_47_coarse.dat")
    coarse.unlink()
    with pytest.raises(LandmarkModelError, match=r"coarse\.dat cannot be read"):
        LandmarkPredictor(copied)
    coarse.write_bytes(b"not a predictor")
    entry = json.loads(copied.read_text())
    entry["files"]["coarse"]["sha256"] = "9ab3ea0d3b1c4a3b3c8c9a1cbe4d2d0d"
    copied.write_text(json.dumps(entry))
    with pytest.raises(LandmarkModelError, match="SHA-256"):
        LandmarkPredictor(copied)
    for text in ("{", "[]", '{"files": {}}', '{"files": {"coarse": 3}}'):
        copied.write_text(text)
        with pytest.raises(LandmarkModelError, match="not a landmark model's manifest"):
            LandmarkPredictor(copied)
    with pytest.raises(LandmarkModelError, match="cannot be read"):
        LandmarkPredictor(copied.with_name("none.json"))


@needs_teacher
def test_the_teacher_is_found_without_importing_its_package():
    assert find_teacher_file().stat().st_size > 50e6
    assert "face_recognition_models" not in sys.modules


def test_a_missing_teacher_says_what_to_install(monkeypatch):
    monkeypatch.setattr("align.landmarks._TEACHER_PACKAGE", "no_such_package")
    with pytest.raises(LandmarkModelError, match=r"models/requirements\.txt"):
        find_teacher_file()


@needs_teacher
def test_a_changed_teacher_is_refused_before_dlib_reads_it(tmp_path, monkeypatch):
    content = find_teacher_file().read_bytes()
    for name, changed in (
        ("cut", content[:-1000]),
        ("changed", content[:5000] + b"\xff" + content[5001:]),
        ("empty", b""),
    ):
        path = tmp_path / name
        path.write_bytes(changed)
        monkeypatch.setattr("align.landmarks.find_teacher_file", lambda path=path: path)
        with pytest.raises(LandmarkModelError, match=r"sha256 differs.*pip install"):
            TeacherPredictor()
