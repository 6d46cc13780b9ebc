from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from app.cli import main
from app.errors import DisplayError
from app.kiosk.alone import alone, lock_file

pytest.importorskip("fcntl")


def test_a_second_one_is_told_of_the_first_and_may_start_when_that_has_ended(tmp_path):
    path = tmp_path / "lock"
    with alone(path):
        with pytest.raises(DisplayError, match=rf"already \(process {os.getpid()}\).*--fullscreen"), alone(path):
            pass
        with pytest.raises(DisplayError, match="already"), alone(path):
            pass
    with alone(path), alone(tmp_path / "another screen"):
        pass


def test_where_there_can_be_no_lock_nobody_is_kept_from_starting(tmp_path):
    with alone(tmp_path / "no" / "folder" / "lock"):
        pass


def test_each_screen_has_its_own(tmp_path):
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)}
    files = {
        lock_file({**runtime, **screen})
        for screen in ({"DISPLAY": ":0"}, {"DISPLAY": ":1"}, {"WAYLAND_DISPLAY": "w/0"})
    }
    assert len(files) == 3 and all(file.parent == tmp_path for file in files)


def test_a_run_in_full_screen_says_that_one_is_running(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    with alone(lock_file()):
        assert main(["run", "--show", "--fullscreen", "--source", str(tmp_path / "one.png")]) == 7
        assert "already" in capsys.readouterr().err
        assert main(["run", "--show", "--source", str(tmp_path / "one.png"), "--exit", "4@40"]) == 0
