"""What a service manager hears, at a socket like systemd's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from app.cli import main
from app.domain import SourceState, SourceStatus
from app.outputs.systemd import EVERY_S, Heart, notify
from tests.support.fakes import FakeClock, FakeSource


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def messages(manager: socket.socket) -> list[str]:
    out = []
    while True:
        try:
            out.append(manager.recv(4096).decode())
        except BlockingIOError:
            return out


def test_a_run_says_that_it_is_ready_and_that_it_stops(heard, tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    assert main(["run", "--no-show", "--source", str(tmp_path / "one.png")]) == 0
    first, *_, last = messages(heard)
    assert first.startswith("READY=1\nWATCHDOG=1\nSTATUS=") and last == "STOPPING=1"


def test_the_heart_beats_with_progress_or_while_a_lost_source_is_looked_for(heard):
    clock, source = FakeClock(), FakeSource([])
    totals, stats = SimpleNamespace(frames=0), SimpleNamespace(fps=24.96, misses=3)
    result = SimpleNamespace(stats=stats)
    heart = Heart(totals, lambda: result if totals.frames else None, source, clock)

    def beats() -> list[str]:
        clock.pass_ms(EVERY_S * 1e3)
        heart.beat()
        heart.beat()  # too soon
        return messages(heard)

    assert beats() == ["READY=1\nWATCHDOG=1\nSTATUS=waiting for the first picture"]
    assert beats() == []  # no picture since: it may hang
    totals.frames = 100
    assert beats() == ["READY=1\nWATCHDOG=1\nSTATUS=25.0 fps, 3 of 100 frames missed"]
    assert beats() == []
    source.state = SourceStatus(SourceState.LOST, 3.0, 1.0, "camera 0 was unplugged")
    assert [b.splitlines()[2] for b in beats() + beats()] == ["STATUS=source lost: camera 0 was unplugged"] * 2


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "@no-such-socket"])
def test_nobody_to_tell_is_no_error(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
