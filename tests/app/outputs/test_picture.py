"""An annotated picture of a still, and what is said where there is more than one frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from app.domain import Box, Estimate, Frame, Person, Result
from app.errors import OutputError
from app.outputs.formats import check_annotated_name
from app.outputs.picture import PICTURE_SUFFIXES, PictureWriter
from tests.support.builders import STATS

ESTIMATE = Estimate(34.2, 29.0, 39.4, "male", 0.97, "happy", 0.8, "exit_13")


def result(i: int = 0) -> Result:
    image = np.full((270, 480, 3), 90, np.uint8)
    return Result(Frame(i, image, 0.04 * i, 0.0), (Person(1, Box(100, 80, 60, 60), ESTIMATE, True),), STATS)


@pytest.mark.parametrize("suffix", [*PICTURE_SUFFIXES, ".PNG"])
def test_the_frame_is_written_with_its_people_at_its_own_size(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    writer, one = PictureWriter(path), result()
    writer.deliver(one)
    assert not path.exists()
    writer.close()
    written = cv2.imread(str(path))
    assert written.shape == one.frame.image.shape
    assert np.abs(written.astype(int) - 90).max() > 60, "a box and a label are painted"
    assert (one.frame.image == 90).all(), "on a copy"


def test_a_source_of_several_frames_is_refused_and_nothing_is_written(tmp_path):
    writer = PictureWriter(tmp_path / "out.png")
    writer.deliver(result(0))
    with pytest.raises(OutputError, match=r"a picture holds one frame.*\.mp4"):
        writer.deliver(result(1))
    writer.close()
    assert not list(tmp_path.iterdir())


def test_other_names_are_refused_with_all_that_are_possible():
    with pytest.raises(OutputError, match=r"out\.bmp: annotated video is written as .*\.mp4.*picture as .*\.png"):
        check_annotated_name(Path("out.bmp"))
