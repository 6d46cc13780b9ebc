"""The window without a screen, and the check that there is a screen."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app import display
from app.domain import Box, Estimate, Frame, Person, Result, Stats

os.environ["QT_QPA_PLATFORM"] = "offscreen"
NO_QT = display.why_no_display()
needs_qt = pytest.mark.skipif(NO_QT is not None, reason=NO_QT or "")
if NO_QT is None:
    from PyQt5.QtCore import Qt
    from PyQt5.QtTest import QTest
    from PyQt5.QtWidgets import QApplication

    from app import window

SCREEN = {"DISPLAY": ":99"}


def make_result(number: int = 0) -> Result:
    image = np.full((270, 480, 3), 40 + number, np.uint8)
    estimate = Estimate(34.0, 29.0, 40.0, "female", 0.9, "happy", 0.9, "b9")
    stats = Stats(30.0, 1, 1, "b9", 128, 33.0, 14.0, 9.0, 10.0, 21.0, 0, 9, 0, "CPUExecutionProvider", "b9 fits")
    return Result(Frame(number, image, 0.0, 0.0), (Person(1, Box(200, 100, 80, 80), estimate, True),), stats)


class Feed:
    """Stands in for the pipeline; counts the calls of stop."""

    def __init__(self) -> None:
        self.result: Result | None = None
        self.over = False
        self.stops = 0

    def latest(self) -> Result | None:
        return self.result

    def finished(self) -> bool:
        return self.over

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture(scope="session")
def application() -> Any:
    """Not pytest-qt's: without Qt's system libraries that plugin ends the whole test run."""
    return QApplication.instance() or QApplication(["tests"])


@pytest.fixture
def kiosk(application: Any, feed: Feed) -> Iterator[Any]:
    """A shown window whose timer stands still: the tests poll."""
    widget = window.KioskWindow(feed.latest, feed.finished, feed.stop, title="faces")
    widget.halt()
    widget.show()
    yield widget
    widget.close()


def pixel(kiosk: Any, x: int, y: int) -> tuple[int, int, int]:
    return kiosk.grab().toImage().pixelColor(x, y).getRgb()[:3]


@needs_qt
def test_starts_with_a_card(kiosk: Any) -> None:
    assert pixel(kiosk, 3, 3) == window.overlay.DARK
    kiosk.poll()
    assert not kiosk.is_closed


@needs_qt
def test_shows_the_newest_result(kiosk: Any, feed: Feed) -> None:
    for number in (0, 7):
        feed.result = make_result(number)
        kiosk.poll()
        assert pixel(kiosk, kiosk.width() - 9, kiosk.height() // 2) == (40 + number,) * 3
    assert kiosk.failure is None


@needs_qt
def test_takes_the_pictures_shape_and_keeps_its_aspect(kiosk: Any, feed: Feed) -> None:
    feed.result = make_result()
    kiosk.poll()
    assert kiosk.width() / kiosk.height() == pytest.approx(480 / 270, abs=0.01)
    kiosk.resize(900, 300)
    assert pixel(kiosk, 5, 150) == window.overlay.DARK
    assert pixel(kiosk, 640, 290) == (40, 40, 40)


@needs_qt
def test_repaints_only_for_another_result(kiosk: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    updates: list[int] = []
    monkeypatch.setattr(kiosk, "update", lambda: updates.append(1))
    feed.result = make_result()
    for _ in range(3):
        kiosk.poll()
    assert len(updates) == 1
    feed.result = dataclasses.replace(feed.result)
    kiosk.poll()
    assert len(updates) == 2


@needs_qt
@pytest.mark.parametrize("key", ["Key_Q", "Key_Escape"])
def test_keys_close(kiosk: Any, feed: Feed, key: str) -> None:
    signals: list[int] = []
    kiosk.closed.connect(lambda: signals.append(1))
    QTest.keyClick(kiosk, getattr(Qt, key))
    kiosk.close()
    assert signals == [1]
    assert kiosk.is_closed
    assert feed.stops == 1


@needs_qt
def test_closing_stops(kiosk: Any, feed: Feed) -> None:
    kiosk.close()
    assert feed.stops == 1


@needs_qt
def test_finished_closes_after_taking_the_last_result(kiosk: Any, feed: Feed) -> None:
    feed.result, feed.over = make_result(), True
    kiosk.poll()
    assert kiosk.is_closed
    assert feed.stops == 1


@needs_qt
def test_f11_switches_full_screen(kiosk: Any) -> None:
    shape = kiosk.size()
    QTest.keyClick(kiosk, Qt.Key_F11)
    assert kiosk.isFullScreen()
    QTest.keyClick(kiosk, Qt.Key_F11)
    assert not kiosk.isFullScreen()
    assert kiosk.size() == shape


@needs_qt
def test_p_switches_the_panel(kiosk: Any, feed: Feed) -> None:
    feed.result = make_result()
    kiosk.poll()
    corner = kiosk.height() // 20
    assert pixel(kiosk, corner, corner) != (40, 40, 40)
    QTest.keyClick(kiosk, Qt.Key_P)
    assert pixel(kiosk, corner, corner) == (40, 40, 40)


@needs_qt
def test_show_returns_when_finished(application: Any, feed: Feed) -> None:
    feed.result, feed.over = make_result(), True
    window.show(feed.latest, feed.finished, feed.stop, title="faces", fullscreen=True)
    assert feed.stops == 1


@needs_qt
@pytest.mark.parametrize("failure", [ValueError("boom"), KeyboardInterrupt()])
def test_show_raises_what_a_callback_raised(application: Any, feed: Feed, failure: BaseException) -> None:
    def latest() -> Result | None:
        raise failure

    with pytest.raises(type(failure)):
        window.show(latest, feed.finished, feed.stop, title="faces")
    assert feed.stops == 1


@needs_qt
def test_show_raises_what_stop_raised(application: Any, feed: Feed) -> None:
    def stop() -> None:
        raise ValueError("stop")

    feed.over = True
    hook = sys.excepthook
    with pytest.raises(ValueError, match="stop"):
        window.show(feed.latest, feed.finished, stop, title="faces")
    assert sys.excepthook is hook


@needs_qt
def test_show_raises_what_painting_raised(application: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(window.overlay, "draw", draw)
    feed.result = make_result()
    with pytest.raises(ZeroDivisionError):
        window.show(feed.latest, feed.finished, feed.stop, title="faces")
    assert feed.stops == 1


@pytest.fixture
def linux(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Linux with PyQt5; the function says what ldd answers."""
    place = SimpleNamespace(submodule_search_locations=["/somewhere/PyQt5"])
    monkeypatch.setattr(display.importlib.util, "find_spec", lambda name: place)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(display, "_no_x_server", lambda screen: None)

    def answer(listing: str) -> None:
        done = SimpleNamespace(stdout=listing)
        monkeypatch.setattr(display.subprocess, "run", lambda *args, **options: done)

    answer("")
    return answer


def test_display_is_fine(linux: Callable[[str], None]) -> None:
    assert display.why_no_display(SCREEN) is None


def test_no_screen(linux: Callable[[str], None]) -> None:
    assert display.why_no_display({}) == "no screen (DISPLAY is not set)"


@pytest.mark.parametrize("platform", ["offscreen", "minimal"])
def test_no_screen_is_needed(linux: Callable[[str], None], platform: str) -> None:
    assert display.why_no_display({"QT_QPA_PLATFORM": platform}) is None


def test_pyqt5_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display.importlib.util, "find_spec", lambda name: None)
    assert "PyQt5 is not installed" in (display.why_no_display(SCREEN) or "")


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_always_have_a_screen(
    linux: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert display.why_no_display({}) is None


def test_missing_libraries_are_named_with_their_packages(linux: Callable[[str], None]) -> None:
    linux(
        "/somewhere/QtWidgets.abi3.so:\n\tlibGL.so.1 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x1)\n"
        "/somewhere/libqxcb.so:\n\tlibGL.so.1 => not found\n\tlibxcb-icccm.so.4 => not found\n"
        "\tlibodd.so.1 => not found\n"
    )
    assert display.why_no_display(SCREEN) == (
        "system libraries are missing: libGL.so.1, libodd.so.1, libxcb-icccm.so.4; "
        "on Debian and Ubuntu: sudo apt-get install libgl1 libxcb-icccm4"
    )


def test_without_ldd_the_first_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: str) -> None:
        raise OSError("libGL.so.1: cannot open shared object file: No such file or directory")

    def run(*args: object, **options: object) -> None:
        raise FileNotFoundError("ldd")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(display.ctypes, "CDLL", load)
    assert display.missing_libraries([Path("QtWidgets.abi3.so"), Path("libqxcb.so")]) == ["libGL.so.1"]


@pytest.mark.skipif(find_library("xcb") is None, reason="libxcb is not installed")
@pytest.mark.parametrize("screen", [":4711", "unix:4711.0", "localhost:4711"])
def test_dead_display(screen: str) -> None:
    assert f"DISPLAY={screen} does not answer" in (display._no_x_server(screen) or "")


def test_nonsense_display() -> None:
    assert "host:number" in (display._no_x_server("nonsense") or "")


def test_wayland_without_an_x_server(linux: Callable[[str], None], tmp_path: Path) -> None:
    environment = {"WAYLAND_DISPLAY": "wayland-7", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert display.qt_platform(environment) == "wayland"
    assert display.why_no_display(environment) == "the Wayland screen wayland-7 does not answer"
    assert display.qt_platform(environment | SCREEN) == "xcb"
