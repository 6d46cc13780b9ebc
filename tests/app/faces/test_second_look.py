"""When the second look is taken, and what becomes of its answers. No test waits for a clock."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from app.domain import Box
from app.errors import ModelError
from app.faces.detector import Sighting
from app.faces.detectors import missing_detector, open_detectors
from app.faces.second_look import COARSE_PX, FILE_EVERY_S, FINE_PX, LookBeside, TimedLook
from tests.support.fakes import FakeClock

PICTURE = np.zeros((720, 1280, 3), np.uint8)


class Scripted:
    """A detector that takes 40 ms of a clock's time and sees one face in the middle."""

    in_colour, scan_px = True, 10.0

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.failure: Exception | None = None
        self._clock = clock

    def __call__(self, picture, smallest, largest=math.inf) -> list[Sighting]:
        if self.failure:
            raise self.failure
        if self._clock:
            self._clock.pass_ms(40)
        height, width = picture.shape[:2]
        self.sizes.append((width, height))
        return [Sighting(Box(width / 2, height / 2, width / 10, width / 10), 0.9)]


def test_a_file_is_looked_at_at_a_fixed_rhythm_of_its_own_time():
    look = TimedLook(Scripted())
    answers = [look(PICTURE, i / 25) for i in range(26)]
    assert [i for i, a in enumerate(answers) if a] == [0, 5, 10, 15, 20, 25]
    assert FILE_EVERY_S == 0.2 and all(a.time_s == i / 25 for i, a in enumerate(answers) if a)
    assert look(PICTURE, 0.0), "a file that begins again"


def test_boxes_are_of_the_frame_whatever_the_scale():
    detector = Scripted()
    look = TimedLook(detector, every_s=0.01)
    for i in range(4):
        (found,) = look(PICTURE, i / 25).found
        assert found.box == pytest.approx((640, 360, 128, 128), abs=1)
    longer = [w for w, _ in detector.sizes]
    assert longer[1] == longer[3] == COARSE_PX < longer[0] == longer[2] <= FINE_PX[1]


def test_looks_that_were_begun_ahead_answer_in_their_turn_and_alike():
    alone, ahead = TimedLook(Scripted()), TimedLook(Scripted(), threads=3)
    for i in range(16):
        ahead.begin(PICTURE, i / 25)
    answers = [ahead(PICTURE, i / 25) for i in range(16)]
    assert answers == [alone(PICTURE, i / 25) for i in range(16)] and sum(a is not None for a in answers) == 4
    ahead.close()


def test_a_failure_ahead_reaches_the_frame_that_it_is_of():
    detector = Scripted()
    look = TimedLook(detector)
    detector.failure = RuntimeError("out of memory")
    look.begin(PICTURE, 0.0)
    look.begin(PICTURE, 0.04)
    with pytest.raises(RuntimeError, match="out of memory"):
        look(PICTURE, 0.0)
    assert look(PICTURE, 0.04) is None
    look.close()


def test_in_every_frame_all_looks_are_fine():
    detector = Scripted()
    look = TimedLook(detector, every_s=0.0)
    assert all(look(PICTURE, i / 100).fine for i in range(3)) and len({w for w, _ in detector.sizes}) == 1


def test_small_pictures_are_enlarged_but_not_beyond_twice():
    for width, expected in ((480, FINE_PX[0]), (200, 400), (1920, FINE_PX[1])):
        detector = Scripted()
        TimedLook(detector)(np.zeros((width // 2, width, 3), np.uint8), 0.0)
        assert detector.sizes[0][0] == expected


def test_a_live_picture_is_looked_at_beside_and_as_often_as_its_share_allows():
    clock = FakeClock()
    look = LookBeside(Scripted(clock), share=0.2, clock=clock, work_clock=clock)
    try:
        assert look(PICTURE, 0.0) is None, "it is only begun"
        look.wait()
        begun = []
        for i in range(1, 41):
            clock.pass_ms(10)
            answer = look(PICTURE, i / 100)
            if answer:
                begun.append(answer.time_s)
            look.wait()
        assert begun[0] == 0.0 and all(b - a >= 0.15 for a, b in itertools.pairwise(begun))
        assert len(begun) >= 2
    finally:
        look.close()
    assert not look._thread.is_alive()


def test_a_failure_beside_reaches_the_frames_path():
    detector = Scripted()
    detector.failure = RuntimeError("out of memory")
    look = LookBeside(detector)
    look(PICTURE, 0.0)
    look.wait()
    with pytest.raises(RuntimeError, match="out of memory"):
        look(PICTURE, 0.1)
    detector.failure, look._rest_s = None, 0.0
    look(PICTURE, 0.2)
    look.wait()
    assert look(PICTURE, 0.3).time_s == 0.2, "the next look is taken all the same"
    look.close()


def test_without_the_cnn_the_program_says_so_and_goes_on(monkeypatch):
    monkeypatch.setattr("app.faces.centerface.find_spec", lambda name: None)
    first, second = open_detectors("both")
    assert first is not None and second is None and "pip install --no-deps" in missing_detector("both")
    assert not missing_detector("viola-jones")
    with pytest.raises(ModelError, match="not installed"):
        open_detectors("centerface")
