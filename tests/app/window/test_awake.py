"""The screen saver is kept away by a real D-Bus service, and nothing happens where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("PyQt5.QtDBus")
ROOT = Path(__file__).parents[3]

# A screen saver, and a window's Awake, in one process on one bus.
SCRIPT = """
    import sys
    from PyQt5.QtCore import QCoreApplication, QObject, Q_CLASSINFO, QTimer, pyqtSlot
    from PyQt5.QtDBus import QDBusAbstractAdaptor, QDBusConnection

    from app.window.awake import PATH, SERVICE, Awake

    said = []

    XML = (
        '<interface name="%s"><method name="Inhibit"><arg type="s" direction="in"/><arg type="s" direction="in"/>'
        '<arg type="u" direction="out"/></method><method name="UnInhibit"><arg type="u" direction="in"/></method></interface>'
    )

    class Saver(QDBusAbstractAdaptor):
        Q_CLASSINFO("D-Bus Interface", SERVICE)
        Q_CLASSINFO("D-Bus Introspection", XML % SERVICE)

        @pyqtSlot(str, str, result="uint")
        def Inhibit(self, name, why):
            said.append(("inhibit", name))
            QTimer.singleShot(50, lambda: awake(False))
            return 77

        @pyqtSlot("uint")
        def UnInhibit(self, cookie):
            said.append(("release", cookie))
            QTimer.singleShot(0, application.quit)

    application = QCoreApplication(sys.argv)
    bus, owner = QDBusConnection.sessionBus(), QObject()
    saver = Saver(owner)
    if "--nobody" not in sys.argv:
        assert bus.registerObject(PATH, owner) and bus.registerService(SERVICE)
    awake = Awake("Elastic Faces", QDBusConnection.connectToBus(QDBusConnection.SessionBus, "window"))
    awake(True)
    awake(True)
    QTimer.singleShot(800 if "--nobody" in sys.argv else 15000, application.quit)
    application.exec_()
    awake.close()
    print(said)
"""


def said(tmp_path: Path, *arguments: str) -> str:
    if not shutil.which("dbus-run-session"):
        pytest.skip("needs dbus-run-session (Debian: dbus-daemon)")
    script = tmp_path / "saver.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = ["dbus-run-session", "--", sys.executable, str(script), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_asked_for_once_and_given_back(tmp_path):
    assert said(tmp_path) == "[('inhibit', 'Elastic Faces'), ('release', 77)]"


def test_a_bus_without_such_a_service_is_left_alone(tmp_path):
    assert said(tmp_path, "--nobody") == "[]"


def test_without_a_bus_nothing_happens():
    code = "from app.window.awake import Awake; a = Awake('x'); a(True); a(False); a.close(); print('well')"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DBUS")}
    environment |= {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "well", done.stderr
