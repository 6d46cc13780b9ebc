"""The window without a screen, and the check that there is a screen."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from ctypes.util import find_library
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.cli import main
from app.domain import Box, Estimate, Frame, Person, Result, SourceState, SourceStatus, Stats
from app.errors import DisplayError
from app.window import display, presenter
from tests.support.fakes import FakeClock

os.environ["QT_QPA_PLATFORM"] = "offscreen"
NO_QT = display.why_no_display()
needs_qt = pytest.mark.skipif(NO_QT is not None, reason=NO_QT or "")
if NO_QT is None:
    from PyQt5.QtCore import QEvent, QPoint, QRect, Qt
    from PyQt5.QtGui import QFontMetricsF, QKeyEvent
    from PyQt5.QtTest import QTest
    from PyQt5.QtWidgets import QApplication

    from app.window import keys, screens, window
    from app.window.show import _heard, show

SCREEN = {"DISPLAY": ":99"}


def make_result(number: int = 0, people: int = 1) -> Result:
    image = np.full((270, 480, 3), 40 + number, np.uint8)
    estimate = Estimate(34.0, 29.0, 40.0, "female", 0.9, "happy", 0.9, "b9")
    stats = Stats(
        30.0, people, people, "b9", 128, 33.0, 14.0, 9.0, 10.0, 21.0, 0, 9, 0, "CPUExecutionProvider", "b9 fits"
    )
    image[:, :20] = (200, 0, 0)
    seen = tuple(Person(i, Box(100 + 90 * i, 100, 80, 80), estimate, True) for i in range(people))
    return Result(Frame(number, image, 0.0, 0.0), seen, stats)


class Feed:
    """Stands in for the pipeline; counts the calls of stop."""

    def __init__(self) -> None:
        self.result: Result | None = None
        self.over = False
        self.stops = 0
        self.share: float | None = None
        self.is_camera = False
        self.state = SourceStatus()
        self.budget_ms, self.exit, self.exits = 33.0, "auto", ("auto", "exit_07@96", "exit_13@96")

    def status(self) -> SourceStatus:
        return self.state

    def latest(self) -> Result | None:
        return self.result

    def finished(self) -> bool:
        return self.over

    def stop(self) -> None:
        self.stops += 1

    def progress(self) -> float | None:
        return self.share

    def run(self) -> Any:
        return window.Watched(
            latest=self.latest, finished=self.finished, stop=self.stop, status=self.status, progress=self.progress,
            camera=lambda: self.is_camera, controls=self,
        )  # fmt: skip


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture(scope="session")
def application() -> Any:
    """Not pytest-qt's: without Qt's system libraries that plugin ends the whole test run."""
    return QApplication.instance() or QApplication(["tests"])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kiosk(application: Any, feed: Feed, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shown window whose timer stands still: the tests poll."""
    widget = window.KioskWindow(feed.run(), title="faces", look=window.Look(language="en"), clock=clock)
    failures: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: failures.append(error))  # else PyQt5 aborts
    widget.halt()
    widget.show()
    yield widget
    widget.close()
    assert failures == []


def pixel(kiosk: Any, x: int, y: int) -> tuple[int, int, int]:
    return kiosk.grab().toImage().pixelColor(x, y).getRgb()[:3]


def pressed(kiosk: Any, *keys: str) -> Any:
    for key in keys:
        QTest.keyClick(kiosk, getattr(Qt, f"Key_{key}"))
    return kiosk


def picture(kiosk: Any) -> Any:
    """What is on the screen, (height, width, 3) RGB."""
    image = kiosk.grab().toImage().convertToFormat(4)  # QImage.Format_RGB32
    pixels = np.frombuffer(image.constBits().asstring(image.byteCount()), np.uint8)
    return pixels.reshape(image.height(), -1, 4)[:, : image.width(), 2::-1]


@needs_qt
def test_starts_with_a_card(kiosk: Any) -> None:
    assert pixel(kiosk, 3, 3) == window.STANDARD.plate
    assert picture(kiosk)[300:420].max() > 200
    kiosk.settle()
    assert not kiosk.is_closed


@needs_qt
def test_it_begins_when_the_first_picture_of_the_window_is_painted(kiosk: Any, feed: Feed, clock: FakeClock) -> None:
    begun: list[str] = []
    kiosk.open(lambda: begun.append("after painting"))
    kiosk._seen = False
    kiosk.poll()
    assert begun == []
    kiosk.grab()
    kiosk.poll()
    kiosk.poll()
    assert begun == ["after painting"]
    kiosk._seen = False
    kiosk.open(lambda: begun.append("where nobody can see it"))
    clock.pass_ms(1000 * window.BEGIN_S + 1)
    kiosk.poll()
    assert begun[1:] == ["where nobody can see it"]


@needs_qt
def test_a_failing_beginning_is_raised(application: Any, feed: Feed) -> None:
    def begin() -> None:
        raise ValueError("no camera")

    with pytest.raises(ValueError, match="no camera"):
        show(feed.run(), title="faces", begin=begin)


@needs_qt
def test_the_corner_tells_of_the_loading_until_all_is_there(kiosk: Any, feed: Feed, clock: FakeClock) -> None:
    feed.result = dataclasses.replace(make_result(people=0), stats=dataclasses.replace(make_result().stats, frames=0))
    kiosk.settle()
    plain = picture(kiosk)
    feed.share = 0.4
    kiosk.settle()
    corner = slice(0, 90), slice(-300, None)
    assert (picture(kiosk)[corner] != plain[corner]).any(), "a plate with a bar"
    assert kiosk._history.stats is None, "the panel has no figures of frames that were not read"
    feed.share = None
    kiosk.settle()
    assert np.array_equal(picture(kiosk), plain)


@needs_qt
@pytest.mark.parametrize("camera", [True, False])
def test_a_camera_is_a_mirror_once_it_is_known_to_be_one(application: Any, feed: Feed, camera: bool) -> None:
    widget = window.KioskWindow(feed.run(), title="faces", look=window.Look(mirrored=None))
    widget.halt()
    assert not widget.mirrored
    feed.is_camera, feed.result = camera, make_result()
    widget.settle()
    assert widget.mirrored is camera
    widget.close()


@needs_qt
def test_shows_the_newest_result(kiosk: Any, feed: Feed) -> None:
    for number in (0, 7):
        feed.result = make_result(number)
        kiosk.settle()
        assert pixel(kiosk, kiosk.width() - 9, kiosk.height() // 2) == (40 + number,) * 3
    assert kiosk.failure is None


@needs_qt
def test_takes_the_pictures_shape_and_keeps_its_aspect(kiosk: Any, feed: Feed) -> None:
    feed.result = make_result()
    kiosk.settle()
    assert kiosk.width() / kiosk.height() == pytest.approx(480 / 270, abs=0.01)
    kiosk.resize(900, 300)
    kiosk.settle()
    assert pixel(kiosk, 5, 150) == window.STANDARD.plate
    assert pixel(kiosk, 640, 290) == (40, 40, 40)
    pressed(kiosk, "Z").settle()
    assert pixel(kiosk, 893, 150) == (40, 40, 40)


@needs_qt
def test_repaints_only_for_another_result_or_where_something_moves(
    kiosk: Any, feed: Feed, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []
    monkeypatch.setattr(kiosk, "update", lambda: updates.append(1))
    feed.result = make_result()
    kiosk.settle()
    assert updates
    clock.pass_ms(1000)
    kiosk.grab()
    updates.clear()
    for _ in range(3):
        kiosk.settle()
    assert updates == []
    feed.result = dataclasses.replace(feed.result)
    kiosk.settle()
    assert len(updates) == 1, "the new picture"
    clock.pass_ms(1e3 * window.GLIDE_S)
    kiosk.poll()
    assert len(updates) == 2, "people who may move, once a camera's next picture should have come"


@needs_qt
def test_mirrors_the_picture_and_the_boxes(kiosk: Any, feed: Feed) -> None:
    feed.result = make_result()
    kiosk.settle()
    blue, width, middle = (0, 0, 200), kiosk.width(), kiosk.height() // 2
    left = round(100 / 480 * width)
    assert pixel(kiosk, 9, middle) == blue and pixel(kiosk, width - 9, middle) == (40, 40, 40)
    assert max(pixel(kiosk, left, middle)) > 90
    pressed(kiosk, "M").settle()
    assert pixel(kiosk, width - 9, middle) == blue and pixel(kiosk, 9, middle) == (40, 40, 40)
    assert max(pixel(kiosk, left, middle)) < 60 and max(pixel(kiosk, width - left, middle)) > 90


@needs_qt
def test_texts_are_not_mirrored(kiosk: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same letters in the same order, and never under a painter that turns them round."""
    drawn: list[str] = []
    plain = window.QtCanvas.text

    def text(self: Any, text: str, *place: object) -> None:
        drawn.append(text)
        assert self._painter.worldTransform().m11() > 0
        plain(self, text, *place)

    monkeypatch.setattr(window.QtCanvas, "text", text)
    feed.result = make_result()
    kiosk.settle()
    kiosk.grab()
    before = set(drawn)
    drawn.clear()
    pressed(kiosk, "M").settle()
    kiosk.grab()
    assert set(drawn) == before == {"looks about 34", "29", "40", "happy"}


@needs_qt
def test_nobody_for_a_while_brings_the_invitation_and_somebody_ends_it(
    kiosk: Any, feed: Feed, clock: FakeClock
) -> None:
    feed.result = make_result(people=0)
    kiosk.settle()
    plain = picture(kiosk)
    clock.pass_ms(1000 * (window.IDLE_S + window.FADE_S))
    feed.result = make_result(people=0)
    kiosk.settle()
    invited = picture(kiosk)
    assert plain.max() == 200 and invited.max() >= 250, "its letters are white"
    assert invited[5, -5].max() < plain[5, -5].max(), "the picture is darker behind it"
    feed.result = make_result(people=1)
    kiosk.settle()
    assert pixel(kiosk, kiosk.width() - 9, kiosk.height() // 2) == (40, 40, 40)


@needs_qt
def test_an_empty_room_is_shown_less_often_where_nothing_moves_and_polled_less_often(
    kiosk: Any, feed: Feed, clock: FakeClock
) -> None:
    def shown(still: bool) -> int:
        """Of 50 pictures, 40 ms apart."""
        seen = set()
        for number in range(50):
            clock.pass_ms(40)
            empty = make_result(number, people=0)
            feed.result = dataclasses.replace(empty, stats=dataclasses.replace(empty.stats, still=still))
            kiosk.settle()
            seen.add(kiosk._shown.want.result.frame.id)
        return len(seen)

    feed.result = make_result(people=0)
    kiosk.settle()
    busy_ms = kiosk._timer.interval()
    clock.pass_ms(1000 * (window.IDLE_S + window.FADE_S))
    assert 24 <= shown(False) <= 26 and 12 <= shown(True) <= 14
    assert kiosk._timer.interval() == 40 > busy_ms
    feed.result = make_result(people=1)
    kiosk.settle()
    assert kiosk._shown.want.result is feed.result, "at once"
    kiosk.poll()
    assert kiosk._timer.interval() == busy_ms


@needs_qt
def test_a_lost_camera_hides_the_last_picture(kiosk: Any, feed: Feed) -> None:
    feed.result = make_result()
    kiosk.settle()
    feed.state = SourceStatus(SourceState.LOST, 12.0, 4.0, "camera 0 was unplugged")
    kiosk.settle()
    assert pixel(kiosk, 9, kiosk.height() // 2) == window.STANDARD.plate
    feed.state = SourceStatus()
    kiosk.settle()
    assert pixel(kiosk, 9, kiosk.height() // 2) == (0, 0, 200)


@needs_qt
def test_the_lost_card_tells_time_and_cause(kiosk: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(window.QtCanvas, "text", lambda self, text, *place: drawn.append(text))
    feed.state = SourceStatus(SourceState.LOST, 12.4, 3.2, "camera 0 was unplugged")
    kiosk.settle()
    kiosk.grab()
    assert set(drawn) == {"Back soon"}, "visitors are spared the rest"
    for status, cause in (
        (feed.state, "No picture from the camera"),
        (dataclasses.replace(feed.state, absent=True), "The camera is unplugged"),
    ):
        feed.state = status
        kiosk.panel = True
        drawn.clear()
        kiosk.settle()
        kiosk.grab()
        assert {cause, "for 12 seconds · trying again in 4 seconds", "camera 0 was unplugged"} <= set(drawn)


@needs_qt
def test_h_shows_every_key_and_c_and_l_change_looks(kiosk: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(window.QtCanvas, "text", lambda self, text, *place: drawn.append(text))
    pressed(kiosk, "H").grab()
    assert {key for key, _ in window.cards.keys(kiosk.say)} <= set(drawn)
    assert "high contrast" in drawn
    pressed(kiosk, "L").grab()
    assert "suuri kontrasti" in drawn
    pressed(kiosk, "L", "L", "F1")
    assert kiosk.say.language == "en" and not kiosk.help
    pressed(kiosk, "C")
    assert kiosk.theme is window.CONTRAST
    assert pressed(kiosk, "C").theme is window.STANDARD


def typed(kiosk: Any, key: int, *, place: int = 0, held: bool = False, modifiers: int = 0) -> None:
    """A key as X11 reports it; `place` is its code there, whatever the layout has on it."""
    event = QKeyEvent(QEvent.KeyPress, key, Qt.KeyboardModifiers(modifiers), place, 0, 0, "", held)
    QApplication.sendEvent(kiosk, event)


@needs_qt
def test_a_key_that_is_held_down_switches_once(kiosk: Any, feed: Feed) -> None:
    typed(kiosk, Qt.Key_H)
    for _ in range(25):
        typed(kiosk, Qt.Key_H, held=True)
    assert kiosk.help
    typed(kiosk, Qt.Key_P)
    for _ in range(3):
        typed(kiosk, Qt.Key_Up, held=True)
    assert feed.budget_ms == 38.0, "but a budget goes on"


@needs_qt
@pytest.mark.parametrize("modifier", ["ControlModifier", "AltModifier", "MetaModifier"])
def test_commands_of_a_desktop_do_nothing_here(kiosk: Any, modifier: str) -> None:
    for key in "HPMZCLQ":
        typed(kiosk, getattr(Qt, f"Key_{key}"), modifiers=getattr(Qt, modifier))
    assert not (kiosk.help or kiosk.panel or kiosk.mirrored or kiosk.fill or kiosk.is_closed)


@needs_qt
@pytest.mark.skipif(sys.platform != "linux", reason="places as X11 and Wayland number them")
@pytest.mark.parametrize(
    ("letters", "q"), [("РЗЬЯСДЙ", "Й"), ("ΗΠΜΖΨΛ", ";"), ("ןפצזבך", "/"), ("HPMZCL", "Q")],
    ids=["Cyrillic", "Greek", "Hebrew", "Latin"],
)  # fmt: skip
def test_letters_of_another_script_act_by_their_place(kiosk: Any, letters: str, q: str) -> None:
    places = {place: key for key, place in keys.PLACES.items()}
    for name, letter in zip("HPMZC", letters, strict=False):
        typed(kiosk, ord(letter), place=places[name])
    assert kiosk.help and kiosk.panel and kiosk.mirrored and kiosk.fill and kiosk.theme is window.CONTRAST
    typed(kiosk, ord(letters[5]), place=places["L"])
    assert kiosk.say.language == "fi"
    typed(kiosk, ord(q), place=places["Q"])
    assert kiosk.is_closed


@needs_qt
def test_a_latin_layout_goes_by_the_letter(kiosk: Any) -> None:
    """Z of a German keyboard lies where Y of an American one does; its Y, where Z does, is nothing."""
    typed(kiosk, Qt.Key_Y, place=52)
    assert not kiosk.fill
    typed(kiosk, Qt.Key_Z, place=29)
    assert kiosk.fill


@needs_qt
def test_a_notice_has_no_letters_that_no_font_has(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = window.QtCanvas()
    assert canvas.drawable("Geschätzt, näytetään: 27 – “ok”") == "Geschätzt, näytetään: 27 – “ok”"
    monkeypatch.setattr(QFontMetricsF, "inFontUcs4", lambda self, letter: letter < 0x2000)
    assert (
        canvas.drawable("Hi \U0001f469\u200d\U0001f52c\ufe0f you \u2764\ufe0f all 1\ufe0f\u20e3")
        == "Hi  you  all 1\ufe0f\u20e3"
    )


@needs_qt
def test_qt_s_last_words_complete_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    gone: list[int] = []
    _heard(lambda: gone.append(1), 1, None, "QStandardPaths: XDG_RUNTIME_DIR not set")
    assert gone == []
    _heard(lambda: gone.append(1), 1, None, "The X11 connection broke (error 1). Did the X11 server die?")
    assert gone == [1] and "Did the X11" in capsys.readouterr().err


@needs_qt
def test_the_presenter_s_thread_ends_with_the_window(application: Any, feed: Feed) -> None:
    widget = window.KioskWindow(feed.run(), title="faces")
    widget.halt()
    feed.result = make_result()
    widget.poll()  # a picture is under way
    widget.close()
    assert "presenter" not in {thread.name for thread in threading.enumerate()}
    gone = weakref.ref(widget)
    del widget
    assert gone() is None, "and it is not left to the garbage collector"


@needs_qt
def test_budget_and_exit_are_changed_from_the_panel_only(kiosk: Any, feed: Feed) -> None:
    pressed(kiosk, "Up", "Right")
    assert (feed.budget_ms, feed.exit) == (33.0, "auto")
    pressed(kiosk, "P", "Up", "Right")
    assert (feed.budget_ms, feed.exit) == (34.0, "exit_07@96")
    pressed(kiosk, "Down", "Down", "Left", "Left")
    assert (feed.budget_ms, feed.exit) == (30.0, "exit_13@96")
    pressed(kiosk, "0")
    assert (feed.budget_ms, feed.exit) == (33.0, "auto")


@needs_qt
def test_budget_steps_are_round_and_end_somewhere() -> None:
    up = [1.0]
    while up[-1] < keys.next_budget(up[-1], 1):
        up.append(keys.next_budget(up[-1], 1))
    down = [10_000.0]
    while down[-1] > keys.next_budget(down[-1], -1):
        down.append(keys.next_budget(down[-1], -1))
    assert up == down[::-1] and up[0] == 1 and up[-1] == 10_000
    assert {20, 22, 60, 65, 120, 140, 300, 400} <= set(up)
    assert keys.next_budget(66.7, 1) == 70 and keys.next_budget(66.7, -1) == 65


@needs_qt
def test_another_size_of_the_picture_is_taken_up(kiosk: Any, feed: Feed) -> None:
    """As when a camera comes back with another resolution."""
    feed.result = make_result()
    kiosk.settle()
    image = np.full((480, 640, 3), 90, np.uint8)
    feed.result = dataclasses.replace(make_result(), frame=Frame(1, image, 0.1, 0.0))
    kiosk.settle()
    assert pixel(kiosk, kiosk.width() // 2, kiosk.height() - 5) == (90, 90, 90)
    assert pixel(kiosk, 3, kiosk.height() // 2) == window.STANDARD.plate


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
    kiosk.settle()
    assert kiosk.is_closed
    assert feed.stops == 1


@needs_qt
def test_f11_switches_full_screen(kiosk: Any) -> None:
    shape = kiosk.size()
    QTest.keyClick(kiosk, Qt.Key_F11)
    assert kiosk.isFullScreen() and kiosk.windowFlags() & Qt.WindowStaysOnTopHint
    QTest.keyClick(kiosk, Qt.Key_F11)
    assert not kiosk.isFullScreen() and not kiosk.windowFlags() & Qt.WindowStaysOnTopHint
    assert kiosk.isVisible() and not kiosk.is_closed
    assert kiosk.size() == shape


@needs_qt
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_window_shows_what_an_upright_one_does(application: Any, feed: Feed, degrees: int) -> None:
    """People, panel and notice turn with the picture; a camera's is mirrored as ever."""
    shown = {}
    feed.result = make_result()
    for turn in (0, degrees):
        size = (720, 480) if turn in (0, 180) else (480, 720)
        look = window.Look(language="en", rotate=turn, mirrored=True, panel=True, notice="Hello")
        widget = window.KioskWindow(feed.run(), title="faces", look=look, clock=FakeClock())
        widget.halt()
        widget.show()
        widget.settle()
        widget.resize(*size)
        widget.settle()
        shown[turn] = picture(widget).astype(int)
        widget.close()
    back = np.rot90(shown[degrees], degrees // 90)  # counter-clockwise
    assert back.shape == shown[0].shape
    assert (np.abs(back - shown[0]).max(axis=2) > 60).mean() < 0.02, "but for the rounding of letters"
    assert np.abs(shown[degrees] - np.resize(shown[0], shown[degrees].shape)).max() > 60


class Screen:
    """As Qt tells of one."""

    def __init__(self, name: str, *geometry: int) -> None:
        self._name, self.now = name, QRect(*geometry)

    def name(self) -> str:
        return self._name

    def geometry(self) -> Any:
        return self.now


@needs_qt
def test_a_screen_is_chosen_by_number_or_name_and_followed(
    kiosk: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [Screen("eDP-1", 0, 0, 800, 600), Screen("HDMI-1", 800, 0, 1280, 720)]
    assert screens.chosen("2", there) is screens.chosen("hdmi-1", there) is there[1]
    assert screens.chosen("3", there) is screens.chosen("0", there) is screens.chosen("VGA", there) is None
    monkeypatch.setattr(screens.QGuiApplication, "screens", lambda: there)
    monkeypatch.setattr(screens.QGuiApplication, "primaryScreen", lambda: there[0])
    kiosk._place = screens.Place("HDMI-1")
    kiosk.fill_screen()
    assert kiosk.geometry() == QRect(800, 0, 1280, 720)
    kiosk.poll()
    clock.pass_ms(1e3 * screens.LOOK_S)
    there[1].now = QRect(800, 0, 1920, 1080)
    kiosk.poll()
    assert kiosk.geometry() == QRect(800, 0, 1920, 1080), "it changed its size"
    clock.pass_ms(1e3 * screens.LOOK_S)
    away = there.pop()
    kiosk.poll()
    assert kiosk.geometry() == QRect(0, 0, 800, 600), "it went away"
    clock.pass_ms(1e3 * screens.LOOK_S)
    there.append(away)
    kiosk.poll()
    assert kiosk.geometry() == QRect(800, 0, 1920, 1080), "it came back"


@needs_qt
def test_a_screen_that_is_not_there_is_refused_with_those_that_are(application: Any, feed: Feed) -> None:
    name = application.primaryScreen().name()
    with pytest.raises(DisplayError, match=f"'VGA-7' is not there. Screens here: 1 {name} "):
        show(feed.run(), title="faces", look=window.Look(screen="VGA-7"))


@needs_qt
def test_p_switches_the_panel(kiosk: Any, feed: Feed) -> None:
    feed.result = make_result()
    kiosk.settle()
    corner = 60, 60
    assert pixel(kiosk, *corner) == (40, 40, 40)
    pressed(kiosk, "P").settle()
    assert pixel(kiosk, *corner) != (40, 40, 40)
    pressed(kiosk, "P").settle()
    assert pixel(kiosk, *corner) == (40, 40, 40)


@needs_qt
def test_starts_as_asked_for(application: Any, feed: Feed) -> None:
    look = window.Look(
        fullscreen=True, mirrored=True, fill=True, panel=True, high_contrast=True, language="sv", notice="Cameras"
    )
    widget = window.KioskWindow(feed.run(), title="faces", look=look)
    widget.halt()
    widget.open()
    assert widget.isFullScreen() and widget.mirrored and widget.fill and widget.panel
    assert widget.theme is window.CONTRAST and widget.say.language == "sv"
    feed.result = make_result()
    widget.settle()
    assert pixel(widget, 3, widget.height() - 3) == (0, 0, 0), "the notice's strip"
    widget.close()


@needs_qt
@pytest.mark.parametrize(
    ("look", "says"),
    [
        ({"notice": None}, "keeps nothing"),
        ({"notice": None, "keeps": True}, "often wrong."),
        ({"notice": None, "sends": True}, "are sent to a server"),
        ({"notice": "Hello"}, "Hello"),
    ],
)
def test_a_standing_line_says_that_it_guesses_and_keeps_nothing_only_where_that_is_so(
    application: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch, look: dict[str, Any], says: str
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(window.QtCanvas, "text", lambda self, text, *place: drawn.append(text))
    widget = window.KioskWindow(feed.run(), title="faces", look=window.Look(language="en", **look))
    widget.halt()
    feed.result = make_result()
    widget.settle()
    widget.grab()
    assert says in " ".join(drawn)
    assert ("keeps nothing" in " ".join(drawn)) == (look == {"notice": None})
    widget.close()


@needs_qt
def test_show_returns_when_finished(application: Any, feed: Feed) -> None:
    feed.result, feed.over = make_result(), True
    show(feed.run(), title="faces", look=window.Look(fullscreen=True))
    assert feed.stops == 1


@needs_qt
@pytest.mark.parametrize("failure", [ValueError("boom"), KeyboardInterrupt()])
def test_show_raises_what_a_callback_raised(application: Any, feed: Feed, failure: BaseException) -> None:
    def latest() -> Result | None:
        raise failure

    with pytest.raises(type(failure)):
        show(dataclasses.replace(feed.run(), latest=latest), title="faces")
    assert feed.stops == 1


@needs_qt
def test_show_raises_what_stop_raised(application: Any, feed: Feed) -> None:
    def stop() -> None:
        raise ValueError("stop")

    feed.over = True
    hook = sys.excepthook
    with pytest.raises(ValueError, match="stop"):
        show(dataclasses.replace(feed.run(), stop=stop), title="faces")
    assert sys.excepthook is hook


@needs_qt
def test_show_raises_what_painting_raised(application: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(window.overlay, "draw", draw)
    feed.result = make_result()
    with pytest.raises(ZeroDivisionError):
        show(feed.run(), title="faces")
    assert feed.stops == 1


@needs_qt
def test_show_raises_what_the_presenter_raised(application: Any, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(presenter, "fitted", fitted)
    feed.result = make_result()
    with pytest.raises(ZeroDivisionError):
        show(feed.run(), title="faces")
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


def test_platforms_are_tried_in_turn(linux: Callable[[str], None], tmp_path: Path) -> None:
    both = {"QT_QPA_PLATFORM": "wayland;xcb", "XDG_RUNTIME_DIR": str(tmp_path), "WAYLAND_DISPLAY": "wayland-7"}
    assert display.why_no_display(both | SCREEN) is None and display.qt_platform(both | SCREEN) == "xcb"
    assert display.why_no_display(both) == (
        "the Wayland screen wayland-7 does not answer; no screen (DISPLAY is not set)"
    )


@needs_qt
@pytest.mark.parametrize("asked", ["nonsense", "waylamd;xbc", "XCB"])
def test_an_unknown_platform_is_an_error_with_or_without_show(
    asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", asked)
    for show in ([], ["--show"]):
        assert main(["run", "--source", "demo", *show]) == 7
        err = capsys.readouterr().err
        assert f"QT_QPA_PLATFORM={asked} is not a platform of this Qt, which has" in err and "offscreen" in err


@needs_qt
def test_a_platform_that_qt_would_abort_on_is_tried_in_another_process() -> None:
    reason = display.why_no_display({**os.environ, "QT_QPA_PLATFORM": "eglfs"})
    assert reason is None or "eglfs does not start" in reason or "libraries are missing" in reason


def held(kiosk: Any, clock: FakeClock, x: int, y: int) -> None:
    """A long press with the left button, which is what Qt makes of a finger."""
    QTest.mousePress(kiosk, Qt.LeftButton, Qt.NoModifier, QPoint(x, y))
    clock.pass_ms(2000)
    kiosk.poll()
    QTest.mouseRelease(kiosk, Qt.LeftButton, Qt.NoModifier, QPoint(x, y))


def touched(kiosk: Any, clock: FakeClock, what: Any) -> None:
    clock.pass_ms(500)
    sides = kiosk._sides()
    buttons = kiosk._menu.buttons(*sides, window.menu.scale(*sides, kiosk.theme))
    x, y = next(b.area for b in buttons if b.what == what).centre
    width, height = kiosk.width(), kiosk.height()
    x, y = {90: (width - y, x), 180: (width - x, height - y), 270: (y, height - x)}.get(kiosk.look.rotate, (x, y))
    QTest.mouseClick(kiosk, Qt.LeftButton, Qt.NoModifier, QPoint(round(x), round(y)))


@needs_qt
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_long_press_in_a_corner_opens_panel_and_end_however_the_screen_hangs(
    kiosk: Any, clock: FakeClock, rotate: int
) -> None:
    kiosk.look = dataclasses.replace(kiosk.look, rotate=rotate)
    clock.pass_ms(60_000)
    plain = picture(kiosk)
    held(kiosk, clock, kiosk.width() - 4, 4)
    assert (picture(kiosk) != plain).any()
    touched(kiosk, clock, window.Choice.PANEL)
    assert kiosk.panel
    held(kiosk, clock, 4, 4)
    touched(kiosk, clock, window.Choice.END)
    assert kiosk.is_closed


@needs_qt
def test_a_pin_locks_keys_and_closing_and_leaves_the_visitors_theirs(
    application: Any, feed: Feed, clock: FakeClock
) -> None:
    clock.pass_ms(60_000)
    widget = window.KioskWindow(feed.run(), title="faces", look=window.Look(language="en", pin="4711"), clock=clock)
    widget.halt()
    widget.show()
    pressed(widget, "P", "Z", "M")
    assert not (widget.panel or widget.fill or widget.mirrored)
    pressed(widget, "Escape", "L")
    assert widget.say.language != "en" and widget._menu.shows is window.Shows.NOTHING
    for key in ("Q", "H", "F11"):
        pressed(widget, key)
        assert not widget.is_closed and widget._menu.shows is window.Shows.PIN
        pressed(widget, "Escape")
    pressed(widget, "Q", "4", "7", "1", "1")
    assert widget._menu.unlocked
    pressed(widget, "Q")
    assert widget.is_closed


@needs_qt
def test_a_taskbar_does_not_close_what_a_pin_locks_but_the_run_does(
    application: Any, feed: Feed, clock: FakeClock
) -> None:
    clock.pass_ms(60_000)
    widget = window.KioskWindow(feed.run(), title="faces", look=window.Look(pin="4711"), clock=clock)
    widget.halt()
    widget.show()
    asked = SimpleNamespace(spontaneous=lambda: True, ignore=lambda: None, accept=lambda: None)
    widget.closeEvent(asked)
    assert not widget.is_closed and widget._menu.shows is window.Shows.PIN
    feed.over = True
    widget.poll()
    assert widget.is_closed
