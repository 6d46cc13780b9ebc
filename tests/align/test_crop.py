from __future__ import annotations

import cv2
import numpy as np
import pytest

from align.crop import crop_batch, crop_face
from align.geometry import PAPER_MARGINS, Template, load_mean_shape, to_pixels
from align.landmarks import LandmarkPredictor


def blob(x: float, y: float, size: int = 1000) -> np.ndarray:
    yy, xx = np.mgrid[:size, :size]
    value = 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 6.0**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("scale", [2.0, 1.0, 0.6, 0.3, 0.11])
def test_a_point_lands_where_the_matrix_says(scale):
    """Also where the picture is shrunk first."""
    size = 96
    matrix = np.array([[scale, 0, size / 2 - scale * 510.3], [0, scale, size / 2 - scale * 490.7]])
    crop = crop_face(blob(510.3, 490.7), matrix, size)[..., 0].astype(float)
    yy, xx = np.mgrid[:size, :size]
    assert (crop * xx).sum() / crop.sum() == pytest.approx(size / 2, abs=0.15)
    assert (crop * yy).sum() / crop.sum() == pytest.approx(size / 2, abs=0.15)


def test_shrinking_far_does_not_alias():
    """A one-pixel chequerboard becomes an even grey instead of a pattern."""
    board = (np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = crop_face(np.repeat(board[..., None], 3, axis=2), np.array([[0.12, 0, 0], [0, 0.12, 0]]), 96)
    assert crop.std() < 3 and crop.mean() == pytest.approx(127.5, abs=3)


def test_batch_is_rgb_and_takes_matrices_into_the_unit_square():
    image = np.zeros((100, 100, 3), np.uint8)
    image[..., 0] = 200  # blue
    batch = crop_batch(image, [np.array([[0.01, 0, 0], [0, 0.01, 0]])] * 3, 64)
    assert batch.shape == (3, 64, 64, 3) and batch.dtype == np.uint8
    assert (batch[..., 2] == 200).all() and (batch[..., :2] == 0).all()


def test_far_outside_the_picture_is_mirrored_and_does_not_fail():
    image = np.full((20, 30, 3), 77, np.uint8)
    for shift in (-500.0, 500.0):
        crop = crop_face(image, np.array([[0.2, 0, shift], [0, 0.2, shift]]), 32)
        assert crop.shape == (32, 32, 3)


def test_a_one_pixel_picture():
    assert crop_face(np.full((1, 1, 3), 9, np.uint8), np.array([[0.1, 0, 0], [0, 0.1, 0]]), 16).mean() == 9


def test_a_real_face_is_upright_after_alignment_however_it_was_turned():
    from skimage.data import astronaut

    image = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    predict = LandmarkPredictor()
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    crops = []
    for degrees in (0, 15, -15):
        turned = cv2.warpAffine(image, cv2.getRotationMatrix2D((225, 115), degrees, 1), (512, 512))
        points = predict(cv2.cvtColor(turned, cv2.COLOR_BGR2GRAY), (172, 65, 105, 105))
        crops.append(crop_face(turned, to_pixels(template.fit(points), 96), 96).astype(float)[8:-8, 8:-8])
    for crop in crops[1:]:
        assert np.corrcoef(crop.ravel(), crops[0].ravel())[0, 1] > 0.93
