"""Runs the kiosk window: from Qt's start until the window is closed.

Import it only when a window is wanted and `display.why_no_display()` is None.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from PyQt5.QtCore import QEventLoop, Qt, qInstallMessageHandler
from PyQt5.QtWidgets import QApplication

from app.window import screens
from app.window.display import qt_platform
from app.window.watched import Look, Watched
from app.window.window import KioskWindow


def show(
    run: Watched,
    *,
    title: str,
    look: Look | None = None,
    begin: Callable[[], None] = lambda: None,
    screen_gone: Callable[[], None] = lambda: None,
) -> None:
    """Shows results until the user closes the window or `run.finished()`; then calls `run.stop()`.

    `begin` is called when the window is on the screen. What it, the run's answers or painting raise is raised here, after the
    window has closed. Where X or Wayland goes away Qt ends the process; `screen_gone` is called before.
    """
    application = QApplication.instance() or _start_qt(title)
    screens.check(look.screen if look else None)
    qInstallMessageHandler(partial(_heard, screen_gone))
    try:
        failure = _shown(application, KioskWindow(run, title=title, look=look), begin)
    finally:
        qInstallMessageHandler(None)
    if failure:
        raise failure


def _shown(application: QApplication, window: KioskWindow, begin: Callable[[], None]) -> BaseException | None:
    """Until the window is closed, and taken apart: after the application it would have Qt abort when Python ends."""
    loop, hook = QEventLoop(), sys.excepthook
    window.closed.connect(loop.quit)
    # Without a hook PyQt5 aborts the process.
    sys.excepthook = lambda kind, error, trace, window=window: window.fail(error)
    try:
        window.open(begin)
        if not window.is_closed:
            loop.exec_()
        application.processEvents()
    finally:
        sys.excepthook = hook
    return window.failure


def _heard(screen_gone: Callable[[], None], kind: object, context: object, text: str) -> None:
    """Collects Qt's messages; the last one, when the screen is gone, is "The X11 connection broke" or "The Wayland ..."."""
    print(text, file=sys.stderr)
    if "connection broke" in text:
        screen_gone()


def _start_qt(title: str) -> QApplication:
    if sys.platform.startswith("linux"):
        os.environ["QT_QPA_PLATFORM"] = qt_platform()
    QApplication.setAttribute(Qt.AA_EnableHighDpiScaling)
    return QApplication([title])
