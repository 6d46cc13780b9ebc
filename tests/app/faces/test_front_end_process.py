"""The front end in its own process: same answers, clear ends, nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
from functools import partial
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.compose import load_manifest, make_front_end
from app.domain import Frame
from app.errors import DeviceError, InternalError, ModelError
from app.faces.calm import Calm
from app.faces.front_end_process import SPARED, FrontEndProcess
from app.settings import Settings

TEMPLATE = load_manifest("mobilenet_v1_075").template


def frames(side: int, count: int = 4) -> list[Frame]:
    from skimage.data import astronaut

    portrait = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    pictures = [cv2.resize(np.roll(portrait, 4 * i, axis=1), (side, side)) for i in range(count)]
    return [Frame(i, picture, i / 25, 0.0) for i, picture in enumerate(pictures)]


@pytest.fixture
def capture():
    process = FrontEndProcess(partial(make_front_end, Settings(every_frame=True), TEMPLATE, True))
    process.ready()
    yield process
    process.close()


def test_it_answers_as_the_front_end_does_also_when_the_picture_changes_size(capture):
    here = make_front_end(Settings(every_frame=True), TEMPLATE, True)
    for frame in (*frames(400), *frames(640), *frames(300)):
        theirs, ours = capture(frame), here(frame)
        assert theirs.frame is frame and len(theirs.faces) == len(ours.faces) == 1
        for a, b in zip(theirs.faces, ours.faces, strict=True):
            assert (a.person, a.box) == (b.person, b.box)
            np.testing.assert_array_equal(a.matrix, b.matrix)
        for name in ("unread", "alive", "unserved", "places", "unfit"):
            assert getattr(theirs, name) == getattr(ours, name), name
        assert theirs.places, "where faces may be is what privacy hides"
        assert set(theirs.stages_ms) == {"follow", "find", "align"}


def test_an_empty_room_is_not_searched_in_every_picture():
    """While nothing moves; who then comes goes over at once."""
    calls = 0

    class Quiet(Calm):
        def __call__(self, image, time_s, people):
            nonlocal calls
            calls += 1
            return 1.0 if image.any() else 0.1

    process = FrontEndProcess(partial(make_front_end, Settings(), TEMPLATE, True), Quiet())
    try:
        dark = np.zeros((400, 400, 3), np.uint8)
        answers = [process(Frame(i, dark, i / 25, 0.0)) for i in range(2 * SPARED + 3)]
        asked = [answer.stages_ms["find"] > 0 for answer in answers]
        assert asked == [True, *[False] * SPARED, True, *[False] * SPARED, True] and calls == len(asked)
        assert all(answer.still for answer in answers)
        somebody = process(frames(400)[0])
        assert somebody.stages_ms["find"] > 0 and not somebody.still
    finally:
        process.close()


def test_why_a_face_is_not_read_comes_over_too(capture):
    """A face that is too small: in the other process as in this one."""
    picture = cv2.copyMakeBorder(frames(70)[0].image, 80, 80, 80, 80, cv2.BORDER_REPLICATE)
    for i in range(4):
        answer = capture(Frame(i, picture, i / 25, 0.0))
    assert answer.unread and set(answer.unfit.values()) == {"too small"}


def test_signals_of_a_terminal_are_left_to_the_first_process(capture):
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(capture._process.pid, number)
    assert len(capture(frames(400)[0]).faces) == 1


def test_a_signal_while_it_starts_does_not_end_it():
    """As `systemctl stop` sends it to all processes of a service that is starting."""
    process = FrontEndProcess(partial(make_front_end, Settings(every_frame=True), TEMPLATE, True))
    try:
        os.kill(process._process.pid, signal.SIGTERM)
        assert len(process(frames(400)[0]).faces) == 1
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "ours are as they were"
    finally:
        process.close()


def test_when_it_dies_that_is_said_and_its_memory_is_freed(capture):
    capture(frames(400)[0])
    name = capture._memory.name
    capture._process.kill()
    with pytest.raises(InternalError, match="has ended"):
        capture.ready()
    capture.close()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)


def test_the_frame_after_its_death_finds_a_new_process(capture):
    assert len(capture(frames(400)[0]).faces) == 1
    first = capture._process.pid
    capture._process.kill()
    capture._process.join(10)
    assert len(capture(frames(400)[0]).faces) == 1
    assert capture._process.pid != first


def test_what_goes_wrong_at_its_start_is_raised_here(tmp_path):
    broken = FrontEndProcess(
        partial(make_front_end, Settings(detector=f"yunet:{tmp_path / 'none.onnx'}"), TEMPLATE, True)
    )
    with pytest.raises(ModelError, match="there is no file"):
        broken.ready()
    broken.close()


def test_a_fault_over_there_does_not_hang_anybody(capture):
    with pytest.raises(InternalError, match="the front end failed"):
        capture(Frame(0, np.zeros((40, 40), np.uint8), 0.0, 0.0))
    assert len(capture(frames(400)[0]).faces) == 1


def test_shared_memory_that_is_too_small_is_refused_in_words(capture, monkeypatch):
    """As in a container with /dev/shm of 64 MB: the pages are asked for before anybody writes into them."""

    def none_left(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(Path("/dev/shm").iterdir())
    monkeypatch.setattr(os, "posix_fallocate", none_left)
    with pytest.raises(DeviceError, match=r"No space left.*--shm-size"):
        capture(frames(400)[0])
    assert set(Path("/dev/shm").iterdir()) == before
    monkeypatch.undo()
    assert len(capture(frames(400)[0]).faces) == 1
