"""Keeps the screen saver away while somebody is in view, by the desktop's own service (org.freedesktop.ScreenSaver).

Without D-Bus, or where nobody offers that service, nothing happens. Nothing here waits for an answer.
"""

from __future__ import annotations

from typing import Any

SERVICE, PATH = "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"
STAYS_S = 60.0  # after the last person has left


class Awake:
    """Told whether somebody is there, as often as one likes."""

    def __init__(self, name: str, bus: Any = None) -> None:
        """`bus`: a QDBusConnection; default the session's."""
        self._name, self._bus = name, bus
        self._cookie: int | None = None  # what undoes it
        self._wanted = self._failed = False
        self._watcher: Any = None  # of a question that is under way

    def __call__(self, somebody: bool) -> None:
        if somebody == self._wanted or self._failed:
            return
        self._wanted = somebody
        if somebody and self._watcher is None and self._cookie is None:
            self._inhibit()
        elif not somebody and self._cookie is not None:
            self._release()

    def close(self) -> None:
        self(False)
        self._failed = True

    def _inhibit(self) -> None:
        try:
            from PyQt5.QtDBus import QDBusConnection, QDBusMessage, QDBusPendingCallWatcher
        except ImportError:
            self._failed = True
            return
        self._bus = self._bus or QDBusConnection.sessionBus()
        if not self._bus.isConnected():
            self._failed = True
            return
        message = QDBusMessage.createMethodCall(SERVICE, PATH, SERVICE, "Inhibit")
        message.setArguments([self._name, "somebody is looking at the screen"])
        self._watcher = QDBusPendingCallWatcher(self._bus.asyncCall(message))
        self._watcher.finished.connect(self._answered)

    def _answered(self, watcher: Any) -> None:
        from PyQt5.QtDBus import QDBusPendingReply

        reply, self._watcher = QDBusPendingReply(watcher), None
        if reply.isError():
            self._failed = True  # no such service: it is not asked again
            return
        self._cookie = int(reply.value())
        if not self._wanted:
            self._release()

    def _release(self) -> None:
        from PyQt5.QtCore import QMetaType
        from PyQt5.QtDBus import QDBusArgument, QDBusMessage

        cookie = QDBusArgument()
        cookie.add(self._cookie, QMetaType.UInt)
        self._cookie = None
        message = QDBusMessage.createMethodCall(SERVICE, PATH, SERVICE, "UnInhibit")
        message.setArguments([cookie])
        self._bus.send(message)
