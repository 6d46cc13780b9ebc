"""The kiosk window: the application's one bridge to Qt. It pulls the newest Result and never makes a worker wait.

Import it only when a window is wanted and `display.why_no_display()` is None.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from PyQt5.QtCore import QEventLoop, QPointF, QRect, QRectF, Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QColor, QFont, QFontDatabase, QFontMetricsF, QImage, QPainter, QPen
from PyQt5.QtWidgets import QApplication, QWidget

from app import overlay
from app.display import qt_platform
from app.domain import Box, Image, Result
from app.overlay import Colour

POLL_MS = 16
BACKGROUND = QColor(*overlay.DARK)


def show(
    latest: Callable[[], Result | None],
    finished: Callable[[], bool],
    stop: Callable[[], None],
    *,
    title: str,
    fullscreen: bool = False,
) -> None:
    """Shows results until the user closes the window or `finished()`; then calls `stop()`.

    What `latest`, `finished` or painting raise is raised here, after the window has closed.
    """
    application = QApplication.instance() or _start_qt(title)
    window, loop, hook = KioskWindow(latest, finished, stop, title=title), QEventLoop(), sys.excepthook
    window.closed.connect(loop.quit)
    sys.excepthook = lambda kind, error, trace: window.fail(error)  # without a hook PyQt5 aborts the process
    try:
        window.fill_screen() if fullscreen else window.show()
        if not window.is_closed:
            loop.exec_()
        application.processEvents()
    finally:
        sys.excepthook = hook
    if window.failure:
        raise window.failure


def _start_qt(title: str) -> QApplication:
    if sys.platform.startswith("linux"):
        os.environ.setdefault("QT_QPA_PLATFORM", qt_platform())
    QApplication.setAttribute(Qt.AA_EnableHighDpiScaling)
    return QApplication([title])


class KioskWindow(QWidget):
    """q and Esc close, F11 switches full screen, P the panel of figures."""

    closed = pyqtSignal()

    def __init__(
        self, latest: Callable[[], Result | None], finished: Callable[[], bool], stop: Callable[[], None], *, title: str
    ) -> None:
        super().__init__()
        self._latest, self._finished, self._stop = latest, finished, stop
        self._result: Result | None = None
        self._scaled: tuple[Result, Image] | None = None
        self._canvas = QtCanvas()
        self.panel = True
        self.is_closed = False
        self.failure: BaseException | None = None
        self.setWindowTitle(title)
        self.setAttribute(Qt.WA_OpaquePaintEvent)
        self.setMinimumSize(320, 180)
        self.resize(1280, 720)
        self._normal = self.geometry()
        self._timer = QTimer(self, interval=POLL_MS, timerType=Qt.PreciseTimer)
        self._timer.timeout.connect(self.poll)
        self._timer.start()

    def poll(self) -> None:
        """Takes the newest result, repaints if it is another one. Between polls Python runs its signal handlers."""
        result = self._latest()
        if result is not None and result is not self._result:
            if self._result is None and not self.isFullScreen():
                self._take_shape(result)
            self._result = result
            self.update()
        if self._finished():
            self.close()

    def halt(self) -> None:
        """Stops polling by itself."""
        self._timer.stop()

    def paintEvent(self, event: object) -> None:
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.Antialiasing)
            painter.fillRect(self.rect(), BACKGROUND)
            if self._result is None:
                self._paint_starting(painter)
            else:
                self._paint_result(painter, self._result)

    def keyPressEvent(self, event: object) -> None:
        key = event.key()
        if key in (Qt.Key_Q, Qt.Key_Escape):
            self.close()
        elif key == Qt.Key_F11:
            self.leave_full_screen() if self.isFullScreen() else self.fill_screen()
        elif key == Qt.Key_P:
            self.panel = not self.panel
            self.update()

    def changeEvent(self, event: object) -> None:
        self.setCursor(Qt.BlankCursor if self.isFullScreen() else Qt.ArrowCursor)

    def closeEvent(self, event: object) -> None:
        self._timer.stop()
        if not self.is_closed:
            self.is_closed = True
            self.closed.emit()
            self._stop()
        event.accept()

    def fill_screen(self) -> None:
        self._normal = self.geometry()
        self.setGeometry(self.screen().geometry())  # a kiosk may have no window manager that would do it
        self.showFullScreen()

    def leave_full_screen(self) -> None:
        self.showNormal()
        self.setGeometry(self._normal)

    def fail(self, failure: BaseException) -> None:
        """Closes; `show` raises the first failure."""
        self.failure = self.failure or failure
        QTimer.singleShot(0, self.close)

    def _take_shape(self, result: Result) -> None:
        """Gives the window the picture's proportions, so that it starts without bars."""
        rows, columns = result.frame.image.shape[:2]
        wanted = self.screen().availableGeometry().size() * 0.85
        wanted = wanted.boundedTo(self.size()) if columns > rows else wanted
        scale = min(wanted.width() / columns, wanted.height() / rows)
        self.resize(max(320, round(columns * scale)), max(180, round(rows * scale)))

    def _paint_result(self, painter: QPainter, result: Result) -> None:
        area = self._picture_area(result.frame.image)
        ratio = self.devicePixelRatioF()
        width, height = max(1, round(area.width() * ratio)), max(1, round(area.height() * ratio))
        if self._scaled is None or self._scaled[0] is not result or self._scaled[1].shape[:2] != (height, width):
            self._scaled = result, overlay.fitted(result.frame.image, width, height)
        picture = QImage(self._scaled[1].data, width, height, 4 * width, QImage.Format_RGB32)
        picture.setDevicePixelRatio(ratio)
        painter.drawImage(area.topLeft(), picture)
        painter.translate(area.topLeft())
        painter.setClipRect(QRectF(0, 0, area.width(), area.height()))
        overlay.draw(result, self._canvas.on(painter, area.width(), area.height()), panel=self.panel)

    def _picture_area(self, image: Image) -> QRect:
        """The largest rectangle of the image's proportions, in the middle."""
        scale = min(self.width() / image.shape[1], self.height() / image.shape[0])
        width, height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        return QRect((self.width() - width) // 2, (self.height() - height) // 2, width, height)

    def _paint_starting(self, painter: QPainter) -> None:
        canvas = self._canvas.on(painter, self.width(), self.height())
        size, middle = 2 * overlay.text_size(self.height()), QPointF(self.width() / 2, self.height() / 2)
        keys = "q closes   F11 full screen   P figures"
        for text, down, scale, colour, bold in (
            (self.windowTitle(), -1.1, 1.0, overlay.INK, True),
            ("starting...", 0.3, 0.6, overlay.MUTED, False),
            (keys, 2.2, 0.45, overlay.MUTED, False),
        ):
            left = middle.x() - canvas.measure(text, scale * size, bold) / 2
            canvas.text(text, left, middle.y() + down * size, scale * size, colour, bold)


class QtCanvas:
    """Paints at the window's own resolution. One for the window's life: it keeps the fonts that it has measured."""

    def __init__(self) -> None:
        self.width = self.height = 0.0
        self._painter: QPainter | None = None
        self._fonts: dict[tuple[int, bool], tuple[QFont, QFontMetricsF]] = {}
        known = QFontDatabase.addApplicationFontFromData(overlay.font_bytes())
        self._families = QFontDatabase.applicationFontFamilies(known) if known >= 0 else []

    def on(self, painter: QPainter, width: float, height: float) -> QtCanvas:
        self._painter, self.width, self.height = painter, width, height
        return self

    def outline(self, box: Box, radius: float, thickness: float, colour: Colour) -> None:
        self._painter.setPen(QPen(QColor(*colour), thickness))
        self._painter.setBrush(Qt.NoBrush)
        self._painter.drawRoundedRect(QRectF(*box), radius, radius)

    def fill(self, box: Box, radius: float, colour: Colour, opacity: float) -> None:
        self._painter.setPen(Qt.NoPen)
        self._painter.setBrush(QColor(*colour, round(255 * opacity)))
        self._painter.drawRoundedRect(QRectF(*box), radius, radius)

    def text(self, text: str, x: float, baseline: float, size: float, colour: Colour, bold: bool) -> None:
        self._painter.setPen(QColor(*colour))
        self._painter.setFont(self._font(size, bold)[0])
        self._painter.drawText(QPointF(x, baseline), text)

    def measure(self, text: str, size: float, bold: bool) -> float:
        return self._font(size, bold)[1].horizontalAdvance(text)

    def _font(self, size: float, bold: bool) -> tuple[QFont, QFontMetricsF]:
        key = max(1, round(size)), bold
        if key not in self._fonts:
            font = QFont(self._families[0] if self._families else "sans-serif")
            font.setPixelSize(key[0])
            font.setWeight(QFont.Bold if bold else QFont.Normal)
            font.setHintingPreference(QFont.PreferNoHinting)
            self._fonts[key] = font, QFontMetricsF(font)
        return self._fonts[key]
