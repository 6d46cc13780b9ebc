from __future__ import annotations

import numpy as np
import pytest

from align.geometry import (
    LANDMARKS_47,
    MIRROR_47,
    PAPER_MARGINS,
    AlignmentError,
    Margins,
    Template,
    apply_similarity,
    eye_distance,
    fit_similarity,
    load_mean_shape,
    mean_shape,
    residual,
    symmetrised,
    to_pixels,
)


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    t = np.radians(degrees)
    c, s = scale * np.cos(t), scale * np.sin(t)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def test_the_47_are_68_without_jaw_and_outer_brows():
    assert len(LANDMARKS_47) == len(set(LANDMARKS_47)) == 47
    assert not set(LANDMARKS_47) & {*range(17), 17, 18, 25, 26}


def test_mirroring_twice_changes_nothing_and_swaps_the_eyes():
    assert [MIRROR_47[i] for i in MIRROR_47] == list(range(47))
    assert MIRROR_47[LANDMARKS_47.index(36)] == LANDMARKS_47.index(45)
    assert MIRROR_47[LANDMARKS_47.index(30)] == LANDMARKS_47.index(30)


def test_mirrored_mean_shape_is_itself():
    """Each landmark's partner is where a mirror puts it: a wrong pair would be far off."""
    shape = load_mean_shape()
    assert np.abs(shape[list(MIRROR_47)] * [-1, 1] - (shape - [shape[:, 0].mean(), 0])).max() < 1e-5


@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0, 3.7, 250.0])
@pytest.mark.parametrize("degrees", [0.0, 1.0, -45.0, 90.0, 179.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1000.0, -320.5)])
def test_a_known_transform_is_found(scale, degrees, shift):
    known = similarity(scale, degrees, shift)
    shape = load_mean_shape()
    found = fit_similarity(shape, apply_similarity(known, shape))
    np.testing.assert_allclose(found, known, atol=1e-6, rtol=1e-9)


def test_two_points_are_enough_and_fitted_exactly():
    found = fit_similarity([[0, 0], [1, 0]], [[5, 5], [5, 7]])
    np.testing.assert_allclose(found, [[0, -2, 5], [2, 0, 5]], atol=1e-12)


def test_with_noise_it_is_the_least_squares_solution_of_eq_4():
    """Against NumPy's solver on the stacked rows [x, -y, 1, 0] and [y, x, 0, 1]."""
    rng = np.random.default_rng(0)
    src = rng.normal(size=(47, 2)) * 40 + 100
    dst = apply_similarity(similarity(0.7, 20, (3, 4)), src) + rng.normal(size=(47, 2))
    rows = np.vstack(
        [np.column_stack([src[:, 0], -src[:, 1], np.ones(47), np.zeros(47)]),
         np.column_stack([src[:, 1], src[:, 0], np.zeros(47), np.ones(47)])]
    )  # fmt: skip
    a, b, tx, ty = np.linalg.lstsq(rows, np.concatenate([dst[:, 0], dst[:, 1]]), rcond=None)[0]
    np.testing.assert_allclose(fit_similarity(src, dst), [[a, -b, tx], [b, a, ty]], atol=1e-9)


def test_the_sign_that_the_paper_misprints():
    """A pure rotation by 90 degrees moves (1, 0) to (0, 1) in image coordinates; the printed sign would mirror it."""
    found = fit_similarity([[1, 0], [0, 1], [-1, 0]], [[0, 1], [-1, 0], [0, -1]])
    np.testing.assert_allclose(found, [[0, -1, 0], [1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ([[1, 1]], [[1, 1]]),
        ([[2, 2], [2, 2], [2, 2]], [[0, 0], [1, 1], [2, 2]]),
        ([[np.nan, 0], [1, 1]], [[0, 0], [1, 1]]),
        ([[0, 0], [1, 1]], [[0, 0], [1, 1], [2, 2]]),
    ],
)
def test_points_without_a_similarity_are_refused(source, target):
    with pytest.raises(AlignmentError):
        fit_similarity(source, target)


def test_template_is_symmetric_and_keeps_the_papers_margins():
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS).array
    np.testing.assert_allclose(template[list(MIRROR_47)] * [-1, 1] + [1, 0], template, atol=2e-6)
    low, high = template.min(axis=0), template.max(axis=0)
    # One direction is filled to the margins, the other is centred between them, since scaling is uniform.
    assert low[1] == pytest.approx(0.2, abs=1e-5) and high[1] == pytest.approx(0.9, abs=1e-5)
    assert low[0] >= 0.2 and high[0] <= 0.8
    assert low[0] - 0.2 == pytest.approx(0.8 - high[0], abs=1e-5)
    eyes = template[[LANDMARKS_47.index(i) for i in range(36, 48)]]
    mouth = template[[LANDMARKS_47.index(i) for i in range(48, 68)]]
    assert eyes[:, 1].max() < mouth[:, 1].min()


def test_symmetrised_averages_height_and_distance_from_the_centre_line():
    shape = load_mean_shape().copy()
    left, right = LANDMARKS_47.index(36), LANDMARKS_47.index(45)
    shape[left] += [0.0, 0.2]
    even = symmetrised(shape)
    assert even[left][1] == pytest.approx(even[right][1])
    assert even[left][1] == pytest.approx((shape[left][1] + shape[right][1]) / 2)
    assert even[left][0] == pytest.approx(-even[right][0])


def test_mean_shape_undoes_position_size_and_rotation():
    shape = load_mean_shape()
    moved = [apply_similarity(similarity(s, d, (s * 3, d)), shape) for s, d in ((1, 0), (20, 10), (3, -10), (80, 0))]
    mean = mean_shape(moved)
    assert eye_distance(mean) == pytest.approx(1.0)
    assert residual(fit_similarity(mean, shape), mean, shape) < 1e-9


def test_unit_square_to_pixels_is_the_same_at_every_size():
    shape = load_mean_shape() * 50 + 200
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    matrix = template.fit(shape)
    for size in (64, 96, 224):
        points = apply_similarity(to_pixels(matrix, size), shape)
        assert np.abs(points - template.at(size)).max() < 0.01 * size
        np.testing.assert_allclose((points + 0.5) / size, apply_similarity(matrix, shape), atol=1e-9)


@pytest.mark.parametrize("margins", [(0.5, 0.2, 0.5, 0.1), (-0.1, 0.2, 0.2, 0.1)])
def test_margins_that_leave_no_face_are_refused(margins):
    with pytest.raises(ValueError, match="margins"):
        Margins(*margins)


def test_a_template_of_another_size_is_refused():
    with pytest.raises(ValueError, match="47"):
        Template(((0.5, 0.5),) * 46)


def test_many_faces_are_fitted_at_once_as_one_by_one():
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    rng = np.random.default_rng(3)
    faces = (
        template.array * rng.uniform(20, 300, (6, 1, 1)) + rng.uniform(0, 900, (6, 1, 2)) + rng.normal(0, 2, (6, 47, 2))
    )
    matrices, misfits = template.fit_all(faces)
    for face, matrix, misfit in zip(faces, matrices, misfits, strict=True):
        np.testing.assert_allclose(matrix, template.fit(face), rtol=1e-9, atol=1e-12)
        assert misfit == pytest.approx(residual(matrix, face, template.array))


def test_among_many_faces_those_that_fit_nowhere_are_told():
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    good, gone = template.array * 100, np.full((47, 2), np.nan)
    _, misfits = template.fit_all(np.stack([good, np.full((47, 2), 5.0), gone]))
    assert misfits[0] < 1e-9 and np.isinf(misfits[1:]).all()
