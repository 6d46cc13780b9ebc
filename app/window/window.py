"""The kiosk window: the application's bridge to Qt. It pulls the newest Result and never makes a worker wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from PyQt5.QtCore import QRect, Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QColor, QImage, QPainter
from PyQt5.QtWidgets import QWidget

from app.domain import Box, Result, SourceState, SourceStatus
from app.overlay import people as overlay
from app.overlay.layout import Labels
from app.overlay.motion import Motion
from app.overlay.style import CONTRAST, STANDARD, Style
from app.overlay.texts import LANGUAGES, Texts, load_texts
from app.overlay.view import View
from app.window import cards, menu, panel
from app.window.awake import STAYS_S, Awake
from app.window.framing import Framing
from app.window.keys import meant, next_budget, typed
from app.window.menu import Choice, Menu, Shows
from app.window.presenter import Presenter, Ready, Want
from app.window.qt_canvas import QtCanvas
from app.window.screens import Place
from app.window.watched import Controls, Look, Watched

SLOWEST_RATE, FASTEST_RATE = 25.0, 60.0  # of the display, Hz
FREE_KEYS = frozenset({Qt.Key_L, Qt.Key_C})  # of visitors, where a PIN locks the others
BEGIN_S = 0.5  # after which a run begins although its window was not painted yet
IDLE_S, FADE_S = 4.0, 0.5  # nobody in view for this long: the invitation appears, and takes this long to
# Before people glide on, after painting: times as long as it took, for two cores have a network to run as well; and at least
# this long, as a camera's next picture shows them further on anyway.
RESTS, GLIDE_S = 3.0, 0.045
# Between pictures of a room under the invitation: every other one of a camera, fewer while nothing moves in it. What merely
# breathes or counts seconds is painted with them, or this much later where none come.
BREATH_S, STILL_S, BREATH_ALONE_S = 0.075, 0.15, 0.11
IDLE_RATE = 25.0  # Hz, at which is polled under the invitation: often enough for a camera


class KioskWindow(QWidget):
    """The keys are listed by cards.keys."""

    closed = pyqtSignal()

    def __init__(
        self, run: Watched, *, title: str, look: Look | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._run, self._controls, self._clock = run, run.controls, clock
        self.look = look = look or Look()
        self.mirrored, self.fill, self.panel = bool(look.mirrored), look.fill, look.panel
        self.theme = CONTRAST if look.high_contrast else STANDARD
        self.say = load_texts(look.language)
        self.help = self.is_closed = False
        self.failure: BaseException | None = None
        self._at_start: tuple[float, str] | None = None  # budget and exit, once they may be changed
        self._note_start()
        self._begin: Callable[[], None] | None = None  # until it was called
        self._opened_s, self._seen = 0.0, False  # whether the window was painted
        self._newest: Result | None = None  # as taken from the pipeline
        self._shown: Ready | None = None  # as on the screen
        self._status = SourceStatus()
        self._progress: float | None = run.progress()
        self._seen_s = self._painted_s = self._rests_until_s = self._asked_s = clock()
        self._history, self._motion, self._labels = panel.History(), Motion(), Labels()
        self._presenter, self._canvas = Presenter(), QtCanvas()
        self._notice = self._canvas.drawable(look.notice or "")
        self._place, self._framing = Place(look.screen), Framing()
        self._menu, self._awake = Menu(look.pin, clock), Awake(title)
        self._keys = self._key_table()
        self.setWindowTitle(title)
        self.setAttribute(Qt.WA_OpaquePaintEvent)
        self.setMinimumSize(320, 180)
        self.resize(1280, 720)
        self._normal = self.geometry()
        rate = self.screen().refreshRate()
        rate = min(max(rate, SLOWEST_RATE), FASTEST_RATE) if rate > 0 else FASTEST_RATE
        self._intervals_ms = (
            max(1, int(1000 / rate)),
            int(1000 / IDLE_RATE),
        )  # with somebody there, and under the invitation
        self._timer = QTimer(self, interval=self._intervals_ms[0], timerType=Qt.PreciseTimer)
        self._timer.timeout.connect(self.poll)
        self._timer.start()

    def open(self, begin: Callable[[], None] = lambda: None) -> None:
        """`begin` is called when the first picture is on the screen, or soon if nobody can see it."""
        self._begin, self._opened_s = begin, self._clock()
        if self.look.screen:
            self.move(self._place.screen().geometry().topLeft())
            self._normal = self.geometry()
        self.fill_screen() if self.look.fullscreen else self.show()

    def poll(self) -> None:
        """Takes what is new and repaints where something moves. Between polls Python runs its signal handlers."""
        now_s, result = self._clock(), self._run.latest()
        if self._begin and (self._seen or now_s - self._opened_s > BEGIN_S):
            begin, self._begin = self._begin, None
            begin()
        if result is not None and result is not self._newest:
            self._take(result, now_s)
        ready = self._presenter.ready()
        if ready is not None and ready is not self._shown:
            self._turn_to(ready, now_s)
        self._status, self._progress = self._run.status(), self._run.progress()
        self._note_start()
        if self._timer.interval() != (interval_ms := self._intervals_ms[self._idle(now_s) == 1]):
            self._timer.setInterval(interval_ms)
        breathes = self._status.state is SourceState.LOST or self._idle(now_s) > 0 or self._progress is not None
        if (self._motion.moving and now_s >= self._rests_until_s) or (
            breathes and now_s - self._painted_s >= BREATH_ALONE_S
        ):
            self.update()
        if self._menu.poll(*self._sides()):
            self.update()
        self._awake(self._newest is not None and now_s - self._seen_s < STAYS_S)
        if (moved := self._place.changed(now_s)) and self.isFullScreen():
            self.setGeometry(moved)
            self.showFullScreen()  # which it no longer is for Qt, once its geometry was set
        if self._run.finished():
            self.close()

    def _note_start(self) -> None:
        if self._at_start is None and self._controls and self._controls.exits:
            self._at_start = self._controls.budget_ms, self._controls.exit

    def halt(self) -> None:
        """Stops polling by itself."""
        self._timer.stop()

    def settle(self) -> None:
        """Polls until the newest result is on the screen."""
        self.poll()
        if not self.is_closed and self._presenter.wait(10):
            self.poll()

    def _take(self, result: Result, now_s: float) -> None:
        first, self._newest = self._newest is None, result
        if first and self.look.mirrored is None:
            self.mirrored = self._run.camera()
        if result.stats.frames:  # or else the network is still loaded
            self._history.add(result.stats, now_s)
        if result.people or result.stats.faces or first:
            self._seen_s = now_s
        if first and not self.isFullScreen():
            self._take_shape(result)
        if self._idle(now_s) < 1 or now_s - self._asked_s >= (STILL_S if result.stats.still else BREATH_S):
            self._asked_s = now_s
            self._ask()

    def _ask(self) -> None:
        """For the newest picture at the window's present size."""
        if self._newest is not None:
            ratio = self.devicePixelRatioF()
            size = tuple(max(1, round(side * ratio)) for side in self._sides())
            rows, columns = self._newest.frame.image.shape[:2]
            boxes = [person.box for person in self._newest.people]
            focus = self._framing(boxes, (columns, rows), self._clock()) if self.fill else None
            self._presenter.ask(Want(self._newest, *size, self.mirrored, self.fill, focus))

    def _turn_to(self, ready: Ready, now_s: float) -> None:
        old, result = self._shown, ready.want.result
        self._shown = ready
        if old is None or old.want.result is not result:
            if old is not None and old.want.result.frame.image.shape != result.frame.image.shape:
                self._motion.forget()
            self._motion.follow(result.people, now_s)
        self.update()

    def _idle(self, now_s: float) -> float:
        """How much of the invitation is to be seen, 0 to 1."""
        return 0.0 if self._shown is None else min(1.0, max(0.0, (now_s - self._seen_s - IDLE_S) / FADE_S))

    # --- painting --------------------------------------------------------------------------------------------------

    def paintEvent(self, event: object) -> None:
        now_s = self._painted_s = self._clock()
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.Antialiasing)
            self._turn(painter)
            canvas = self._canvas.on(painter, *self._sides())
            if self._status.state is SourceState.LOST:
                cards.lost(canvas, self.theme, self.say, self._status, operator=self.panel)
            elif self._shown is None:
                painter.fillRect(0, 0, *self._sides(), QColor(*self.theme.plate))
                cards.starting(canvas, self.theme, self.say, title=self.windowTitle(), share=self._progress)
            else:
                self._paint_picture(painter, self._shown)
            self._paint_over(canvas, now_s)
            if self.help:
                cards.help_card(canvas, self.theme, self.say, title=self.windowTitle())
            self._menu.draw(canvas, self.theme, self.say)
        self._rests_until_s = max(now_s + GLIDE_S, self._clock() + RESTS * (self._clock() - now_s))
        self._seen = True

    def _sides(self) -> tuple[int, int]:
        """Width and height of what is painted: those of the window, or the other way round where it is turned on its side."""
        sides = self.width(), self.height()
        return sides[::-1] if self.look.rotate in (90, 270) else sides

    def _turn(self, painter: QPainter) -> None:
        """Clockwise, for a screen that is mounted the other way round."""
        corner = {90: (self.width(), 0), 180: (self.width(), self.height()), 270: (0, self.height())}
        if self.look.rotate in corner:
            painter.translate(*corner[self.look.rotate])
            painter.rotate(self.look.rotate)

    def _paint_over(self, canvas: QtCanvas, now_s: float) -> None:
        """People under panel and notice, which they keep off as far as labels go."""
        laid = panel.lay_out(self._history, self._setting(), canvas, self.theme, self.say) if self.panel else None
        text = (
            self._notice
            if self.look.notice is not None
            else cards.standing(self.say, keeps=self.look.keeps, sends=self.look.sends)
        )
        notice = cards.notice_area(text, canvas, self.theme)
        if self._shown is not None and self._status.state is not SourceState.LOST:
            loads = self._progress is not None
            corner = cards.loading_area(canvas, self.theme, self.say) if loads else None
            taken = [area for area in (laid and laid.area, notice, corner, *self._paint_names(canvas)) if area]
            self._paint_people(self._shown, taken, now_s)
            if loads:
                cards.loading(canvas, self.theme, self.say, self._progress)
        if notice:
            cards.notice(text, canvas, self.theme)
        if laid:
            panel.draw(laid, self._history, canvas, self.theme, self.say, now_s=now_s)

    def _paint_names(self, canvas: QtCanvas) -> list[Box]:
        """Paints the names of several cameras over the wall; returns where."""
        wall, ready = self._run.wall(), self._shown
        cells = wall.cells() if wall else []
        if not cells or ready is None or ready.want.result.frame.camera:
            return []  # the picture of before the last key
        rows, columns = ready.want.result.frame.image.shape[:2]
        view = View.of((columns, rows), self._sides(), mirrored=ready.want.mirrored, fill=ready.want.fill)
        return [cards.camera_name(cell, view.box(cell.area), canvas, self.theme, self.say) for cell in cells]

    def _paint_picture(self, painter: QPainter, ready: Ready) -> None:
        sides = self._sides()
        ratio, area = ready.want.width / max(1, sides[0]), ready.view.area
        rows, columns = ready.picture.shape[:2]
        picture = QImage(ready.picture.data, columns, rows, 4 * columns, QImage.Format_RGB32)
        if (columns, rows) != sides:
            painter.fillRect(0, 0, *sides, QColor(*self.theme.plate))
        picture.setDevicePixelRatio(ratio)
        painter.drawImage(QRect(round(area.x / ratio), round(area.y / ratio), 0, 0).topLeft(), picture)

    def _paint_people(self, ready: Ready, taken: list[Box], now_s: float) -> None:
        people, idle = self._motion.at(now_s), self._idle(now_s)
        if people:
            rows, columns = ready.want.result.frame.image.shape[:2]
            size = self._sides()
            want = ready.want
            view = View.of((columns, rows), size, mirrored=want.mirrored, fill=want.fill, focus=want.focus)
            style = Style(theme=self.theme, say=self.say, labels=self.look.labels, detail=self.panel)
            overlay.draw(people, self._canvas, view, self._labels, style, taken=taken, now_s=now_s)
        elif (crowd := ready.want.result.crowd) and idle == 0:
            cards.count(self._canvas, self.theme, self.say, crowd.present)
        elif idle > 0 and not self.panel and not self.help:
            since_s = now_s - self._seen_s - IDLE_S
            cards.idle(
                self._canvas, self.theme, self._languages(), now_s=since_s, opacity=idle, labels=self.look.labels
            )

    def _languages(self) -> list[Texts]:
        """All of them, the chosen one first."""
        names = list(LANGUAGES)
        first = names.index(self.say.language)
        return [self.say, *(load_texts(name) for name in names[first + 1 :] + names[:first])]

    def _setting(self) -> panel.Setting | None:
        controls = self._controls
        return (
            panel.Setting(controls.budget_ms, controls.exit, len(controls.exits), self._run.picture())
            if controls
            else None
        )

    # --- keys ------------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: object) -> None:
        key = meant(event)
        if self._menu.type(typed(event)):
            pass
        elif self._menu.shows is not Shows.NOTHING and key == Qt.Key_Escape:
            self._menu.close()
        elif not self._menu.unlocked and key not in FREE_KEYS:
            if key in (Qt.Key_Q, Qt.Key_Escape, Qt.Key_P, Qt.Key_H, Qt.Key_F1, Qt.Key_F11):
                self._menu.open()
        elif act := self._keys.get(key):
            act()
        elif Qt.Key_1 <= key <= Qt.Key_9 and (wall := self._run.wall()):
            wall.toggle(key - Qt.Key_0)
        elif self.panel and self._controls and self._at_start:
            self._change(key, self._controls)
        self.update()

    def _key_table(self) -> dict[int, Callable[[], object]]:
        """What each key does, whether the panel is open or not; cards.keys() is what visitors read of it."""
        return {
            Qt.Key_Q: self.close,
            Qt.Key_Escape: self.close,
            Qt.Key_F11: self._switch_full_screen,
            Qt.Key_P: lambda: self._switch("panel"),
            Qt.Key_H: lambda: self._switch("help"),
            Qt.Key_F1: lambda: self._switch("help"),
            Qt.Key_M: lambda: self._switch("mirrored"),
            Qt.Key_Z: lambda: self._switch("fill"),
            Qt.Key_C: self._switch_contrast,
            Qt.Key_L: self._next_language,
        }

    def _switch(self, what: str) -> None:
        """Switches something on or off; mirroring and filling change the picture, too."""
        setattr(self, what, not getattr(self, what))
        if what in ("mirrored", "fill"):
            self._ask()

    def _switch_full_screen(self) -> None:
        self.leave_full_screen() if self.isFullScreen() else self.fill_screen()

    def _switch_contrast(self) -> None:
        self.theme = STANDARD if self.theme is CONTRAST else CONTRAST

    def _next_language(self) -> None:
        names = list(LANGUAGES)
        self.say = load_texts(names[(names.index(self.say.language) + 1) % len(names)])

    def _change(self, key: int, controls: Controls) -> None:
        """Budget and exit of the run; they hold from the next frame on."""
        turn = {Qt.Key_Down: -1, Qt.Key_Left: -1, Qt.Key_Up: 1, Qt.Key_Right: 1}.get(key, 0)
        if key in (Qt.Key_Up, Qt.Key_Down):
            controls.budget_ms = next_budget(controls.budget_ms, turn)
        elif key in (Qt.Key_Left, Qt.Key_Right):
            exits = controls.exits
            controls.exit = exits[(exits.index(controls.exit) + turn) % len(exits)]
        elif key == Qt.Key_0:
            controls.budget_ms, controls.exit = self._at_start

    # --- fingers ---------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: Any) -> None:
        self._menu.press(*self._content(event), *self._sides())

    def mouseMoveEvent(self, event: Any) -> None:
        self._menu.move(*self._content(event), *self._sides())

    def mouseReleaseEvent(self, event: Any) -> None:
        sides = self._sides()
        chosen = self._menu.release(*self._content(event), *sides, menu.scale(*sides, self.theme))
        if chosen is Choice.END:
            self.close()
        elif chosen in (Choice.PANEL, Choice.HELP):
            self._switch(chosen.value)
        self.update()

    def _content(self, event: Any) -> tuple[float, float]:
        """Where the event is on what is painted, which may be turned."""
        x, y, width, height = event.x(), event.y(), self.width(), self.height()
        turned = {90: (y, width - x), 180: (width - x, height - y), 270: (height - y, x)}
        return turned.get(self.look.rotate, (x, y))

    # --- the window itself -----------------------------------------------------------------------------------------

    def resizeEvent(self, event: object) -> None:
        self._ask()

    def changeEvent(self, event: object) -> None:
        self.setCursor(Qt.BlankCursor if self.isFullScreen() else Qt.ArrowCursor)

    def closeEvent(self, event: Any) -> None:
        if event.spontaneous() and not self._menu.unlocked:  # Alt and F4, a taskbar
            self._menu.open()
            event.ignore()
            return
        self._timer.stop()
        self._awake.close()
        self._presenter.close()
        self._keys = {}  # they hold the window: the garbage collector would take it apart at any time, on any thread
        if not self.is_closed:
            self.is_closed = True
            self.closed.emit()
            self._run.stop()
        event.accept()

    def fill_screen(self) -> None:
        self._normal = self.geometry()
        self.setWindowFlag(Qt.WindowStaysOnTopHint)  # over a notification, an update's question, a taskbar
        self.setGeometry(self._place.screen().geometry())  # a kiosk may have no window manager that would do it
        self.showFullScreen()

    def leave_full_screen(self) -> None:
        self.setWindowFlag(Qt.WindowStaysOnTopHint, False)
        self.showNormal()
        self.setGeometry(self._normal)

    def fail(self, failure: BaseException) -> None:
        """Closes; `show` raises the first failure."""
        self.failure = self.failure or failure
        QTimer.singleShot(0, self.close)

    def _take_shape(self, result: Result) -> None:
        """Gives the window the picture's proportions, so that it starts without bars."""
        rows, columns = result.frame.image.shape[:2]
        if self.look.rotate in (90, 270):
            rows, columns = columns, rows
        wanted = self.screen().availableGeometry().size() * 0.85
        wanted = wanted.boundedTo(self.size()) if columns > rows else wanted
        scale = min(wanted.width() / columns, wanted.height() / rows)
        self.resize(max(320, round(columns * scale)), max(180, round(rows * scale)))
