"""Scenes, the file format, the second fit of the leaf values, and a whole small training run."""

from __future__ import annotations

import json
import tarfile

import cv2
import numpy as np
import pytest

from align import train_landmarks as training
from align.geometry import apply_similarity, eye_distance, load_mean_shape
from align.landmark_scenes import (
    box_of_face,
    coarse_patch,
    fine_patch,
    jittered,
    make_scene,
    picture_rng,
    picture_turns,
)
from align.landmarks import LandmarkPredictor, _load, box_in_patch, face_box
from align.shape_file import ShapeFileError, read_shape_model, write_shape_model
from align.shape_fit import predict_shapes, refit_leaves
from tests.support.needs import needs_teacher

SIZE = 61


def discs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches with three bright discs and their centres: something that trees learn quickly."""
    rng = np.random.default_rng(seed)
    points = np.array([[20.0, 22], [40, 22], [30, 42]]) + rng.normal(0, 3, (n, 3, 2))
    patches = np.full((n, SIZE, SIZE), 40, np.uint8)
    for patch, shape in zip(patches, points, strict=True):
        for i, (x, y) in enumerate(shape):
            cv2.circle(patch, (round(x * 8), round(y * 8)), 40, 120 + 40 * i, -1, cv2.LINE_AA, 3)
    return patches, points.astype(np.float32)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> bytes:
    patches, points = discs(250, 0)
    growth = training.Growth(levels=3, trees=12, depth=3, features=60)
    path = tmp_path_factory.mktemp("grown") / "discs.dat"
    training.grow(patches, points, growth, 1, 1).save(str(path))
    return path.read_bytes()


def error(model, patches, points) -> float:
    corner, side = box_in_patch(SIZE)
    shapes = predict_shapes(model, patches, corner, side).reshape(len(patches), -1, 2) * side + corner
    return float(np.hypot(*(shapes - points).transpose(2, 0, 1)).mean())


def test_a_predictor_read_and_written_unrounded_is_the_same_file(grown):
    assert write_shape_model(read_shape_model(grown), 24) == grown


def test_our_evaluation_is_dlibs(grown, tmp_path):
    import dlib

    (tmp_path / "d").write_bytes(grown)
    predictor = _load(tmp_path / "d")
    patches, _ = discs(40, 1)
    corner, side = box_in_patch(SIZE)
    low, high = round(corner), round(corner + side)
    ours = predict_shapes(read_shape_model(grown), patches, low, high - low).reshape(40, -1, 2) * (high - low) + low
    theirs = [[(p.x, p.y) for p in predictor(patch, dlib.rectangle(low, low, high, high)).parts()] for patch in patches]
    np.testing.assert_allclose(ours, theirs, atol=0.51)


def test_fitting_the_leaves_again_helps_on_unseen_faces_and_rounding_does_no_harm(grown, tmp_path):
    model = read_shape_model(grown)
    patches, points = discs(1500, 2)
    unseen = discs(300, 3)
    before = error(model, *unseen)
    corner, side = box_in_patch(SIZE)
    refit_leaves(model, patches, ((points - corner) / side).reshape(len(points), -1), corner, side, ridge=5.0)
    after = error(model, *unseen)
    assert after < 0.8 * before
    content = write_shape_model(model, 8)
    assert len(content) < 0.85 * len(write_shape_model(model, 24))
    assert error(read_shape_model(content), *unseen) == pytest.approx(after, rel=0.02)
    (tmp_path / "d").write_bytes(content)
    _load(tmp_path / "d")  # dlib reads it too


def test_what_is_no_predictor_is_refused(grown):
    for content in (b"", b"\x01", grown[: len(grown) // 2], b"\x01\x02" + grown[2:], b"\xff" * 100, bytes(1000)):
        with pytest.raises(ShapeFileError):
            read_shape_model(content)


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    """The portrait's face as a 200 px picture, and its landmarks there."""
    from skimage.data import astronaut

    gray = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY)[10:210, 124:324]
    return gray, LandmarkPredictor()(gray, (52.0, 56.0, 97.0, 97.0))


def test_landmarks_go_with_their_picture(face):
    """Whatever is done to the picture: the predictor finds the scene's landmarks in the scene."""
    gray, landmarks = face
    predict = LandmarkPredictor()
    rng = np.random.default_rng(0)
    errors = []
    for turn, mirror in ((0, False), (0, True), (35, False), (-35, True)):
        scene = make_scene(gray, landmarks, rng, turn, mirror, None, (90.0, 150.0))
        found = predict(scene.canvas, face_box(scene.landmarks)[0])
        errors.append(np.hypot(*(found - scene.landmarks).T).mean() / eye_distance(scene.landmarks))
    assert max(errors) < 0.12 and np.median(errors) < 0.07


def test_a_scene_depends_on_the_pictures_name_and_the_seed_alone(face):
    gray, landmarks = face
    one, two, other = (
        make_scene(gray, landmarks, picture_rng(n, s), 5, False, None) for n, s in (("a", 1), ("a", 1), ("b", 1))
    )
    np.testing.assert_array_equal(one.canvas, two.canvas)
    assert one.canvas.shape != other.canvas.shape or (one.canvas != other.canvas).any()
    turns = np.array([[t for t, _ in picture_turns(picture_rng(str(i), 1))] for i in range(300)])
    assert np.abs(turns[:, :2]).max() <= 20 and 40 < np.abs(turns[:, 2]).max() <= 45


def test_the_detectors_box_is_used_where_it_is_of_this_face(face):
    _, landmarks = face
    box, _ = face_box(landmarks)
    assert box_of_face(landmarks, [(0, 0, 30, 30), box]) == box
    assert box_of_face(landmarks, [(0, 0, 30, 30)]) is None
    assert box_of_face(landmarks, [(box[0] - 50, box[1] - 50, box[2] + 100, box[3] + 100)]) is None


def test_patches_hold_the_face_in_their_middle(face):
    gray, landmarks = face
    rng = np.random.default_rng(0)
    for turn in (0, 40):
        scene = make_scene(gray, landmarks, rng, turn, False, None)
        patch, points = fine_patch(scene, rng)
        (x, y, w, _), roll = face_box(points)
        assert patch.shape == (201, 201) and abs(np.rad2deg(roll)) < 20
        assert x == pytest.approx(30, abs=30) and y == pytest.approx(30, abs=30) and w == pytest.approx(140, rel=0.25)
        patch, points = coarse_patch(scene, rng)
        assert patch.shape == (101, 101) and np.rad2deg(face_box(points)[1]) == pytest.approx(turn, abs=12)


def test_jitter_has_the_deviation_that_is_asked_for():
    rng = np.random.default_rng(0)
    boxes = np.array([jittered((100, 50, 80, 80), rng, 0.05) for _ in range(2000)])
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    np.testing.assert_allclose(centres.mean(axis=0), [140, 90], atol=0.5)
    np.testing.assert_allclose(centres.std(axis=0) / 80, 0.05, rtol=0.1)
    assert np.log(boxes[:, 2] / 80).std() == pytest.approx(0.05, rel=0.1)


def whole_face(gray):
    height, width = gray.shape
    return [(0.2 * width, 0.2 * height, 0.6 * width, 0.6 * height)]


def whole_picture(gray):
    height, width = gray.shape
    return 0.075 * width, 0.075 * height, 0.9 * width, 0.9 * height


def make_detector():
    return whole_face


def make_locator():
    return whole_picture


@needs_teacher
def test_a_whole_run_learns_and_goes_on_where_it_was(utkface_tar, tmp_path):
    with tarfile.open(utkface_tar) as archive:
        members = [m for m in archive if m.name.endswith(".jpg")][::400]
        archive.extractall(tmp_path, members, filter="data")
    pictures = sorted(tmp_path.rglob("*.jpg"))
    recipe = training.Recipe(
        coarse=training.Growth(levels=3, trees=10, depth=3), fine=training.Growth(levels=3, trees=10, depth=3)
    )
    tools = training.Tools(make_detector, make_locator)
    said: list[str] = []
    out = tmp_path / "run"
    manifest = training.train_landmarks(pictures, out, tools, recipe=recipe, workers=1, say=said.append)
    predict = LandmarkPredictor(manifest)
    gray = cv2.imread(str(pictures[0]), cv2.IMREAD_GRAYSCALE)
    assert predict(gray, (40, 30, 120, 120)).shape == (47, 2)
    assert (out / "report.txt").read_text().splitlines() == said
    assert "turned 0 to 5 degrees" in "\n".join(said)
    assert json.loads(manifest.read_text())["about"]["pictures"] == len(pictures)
    # Again: nothing is made anew, and the files are the same to the bit.
    files = {p.name: p.read_bytes() for p in out.iterdir()}
    stamps = {p: p.stat().st_mtime_ns for p in out.glob("scenes-*.npz")}
    training.train_landmarks(pictures, out, tools, recipe=recipe, workers=1, say=said.append)
    again = {p.name: p.read_bytes() for p in out.iterdir()}
    assert {k for k in files if again[k] != files[k]} == {"report.txt"}  # no word of growing trees
    assert {p: p.stat().st_mtime_ns for p in out.glob("scenes-*.npz")} == stamps
    with pytest.raises(training.LandmarkTrainingError, match="--out"):
        training.train_landmarks(pictures[:-1], out, tools, recipe=recipe, workers=1)


@needs_teacher
def test_too_few_pictures_are_refused(tmp_path):
    (tmp_path / "1_0_0_1.jpg").write_bytes(b"no picture")
    tools = training.Tools(make_detector, make_locator)
    with pytest.raises(training.LandmarkTrainingError, match="pictures"):
        training.train_landmarks([tmp_path / "1_0_0_1.jpg"], tmp_path / "run", tools, workers=1, say=lambda line: None)


def test_the_mean_shape_fits_its_own_frame():
    """The box of the mean shape lies where the constants say."""
    (*_, w, h), roll = face_box(apply_similarity([[50, 0, 100], [0, 50, 100]], load_mean_shape()))
    assert w == h == pytest.approx(2.544 * 50) and roll == pytest.approx(0)
