"""A run whose window is there before anything else."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from app.cli import main
from app.domain import SourceState
from app.errors import SourceError, UsageError
from app.kiosk.opening import LOADED, OPEN, Opening
from app.settings import Settings

WAIT_S = 60.0


@pytest.fixture
def picture(tmp_path) -> str:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    return str(tmp_path / "one.png")


def opened(settings: Settings, on_begun=lambda begun: None) -> tuple[Opening, threading.Event]:
    loaded = threading.Event()
    return Opening(settings, on_begun, lambda app: loaded.set()), loaded


def test_before_it_begins_everything_can_be_asked_and_it_can_be_closed(picture):
    opening, _ = opened(Settings(source=picture))
    assert opening.latest() is None and not opening.finished() and not opening.camera()
    assert opening.status().state is SourceState.OK and opening.progress() == 0.0 and opening.controls.exits == ()
    opening.close()
    assert opening.failure is None and opening.begun is None


def test_a_run_is_loaded_behind_the_window_and_ends_with_its_source(picture):
    opening, loaded = opened(Settings(source=picture, exit="4@40"))
    opening.start()
    assert loaded.wait(WAIT_S)
    assert opening.begun.pipeline.wait(WAIT_S) and opening.finished()
    opening.close()
    assert opening.failure is None and opening.progress() is None
    assert opening.latest().frame.image.shape == (64, 64, 3) and opening.controls.exits == ("exit_04@40",)


def test_what_fails_closes_the_window_and_is_kept(tmp_path, picture):
    for settings, kind in (
        (Settings(source=str(tmp_path / "nowhere.mp4")), SourceError),
        (Settings(source=picture, profile=str(tmp_path / "none.json")), UsageError),
    ):
        opening, _ = opened(settings)
        opening.start()
        opening._thread.join(WAIT_S)
        assert opening.finished()
        opening.close()
        assert isinstance(opening.failure, kind)


def test_a_fault_of_the_program_is_told_as_one(picture, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("app.compose.load", broken)
    opening, _ = opened(Settings(source=picture))
    opening.start()
    opening._thread.join(WAIT_S)
    opening.close()
    assert "ZeroDivisionError: by nought" in str(opening.failure) and opening.failure.exit_code == 70


def test_the_user_may_end_it_while_it_loads(picture):
    opening, loaded = opened(Settings(source=picture), on_begun=lambda begun: opening.stop())
    opening.start()
    opening._thread.join(WAIT_S)
    opening.close()
    assert not loaded.is_set() and opening.failure is None and opening.app is None


def test_progress_rises_through_loading_and_measuring(picture):
    opening, _ = opened(Settings(source=picture))
    shares = []
    for done, total in ((0, 1), (1, 4), (4, 4), (1, 50), (50, 50)):
        opening._step(done, total)
        shares.append(opening.progress())
    assert shares == sorted(shares) and shares[0] == OPEN and shares[2] == LOADED and shares[-1] == 1.0


@pytest.mark.parametrize("args", [["--source", "nowhere.mp4"], ["--source", "97"]])
def test_errors_have_their_exit_codes_in_a_window_too(args, capsys):
    assert main(["run", "--show", *args]) == 3
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_in_a_window_is_summed_up(picture, capsys):
    assert main(["run", "--show", "--source", picture, "--exit", "4@40"]) == 0
    out = capsys.readouterr().out
    assert "source " in out and "network " in out and "frames    1" in out
