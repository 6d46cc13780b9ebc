"""Whether a window can be shown, found out without starting Qt.

Qt aborts the whole process, past every `except`, when its platform plugin cannot be loaded or no screen answers.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xinput.so.0": "libxcb-xinput0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
    "libxcb.so.1": "libxcb1",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxkbcommon.so.0": "libxkbcommon0",
}

# Platforms that draw to nowhere, for tests and measuring.
NO_SCREEN_NEEDED = {"offscreen", "minimal"}


def why_no_display(environment: Mapping[str, str] = os.environ) -> str | None:
    """None where a Qt window can be opened, else the reason, for people. Takes some 30 ms."""
    if qt_folder() is None:
        return "PyQt5 is not installed (pip install PyQt5)"
    if not sys.platform.startswith("linux"):
        return None
    reasons = []
    for platform in asked_platforms(environment) or [_usual(environment)]:
        reason = _why_not(platform, environment)
        if reason is None:
            return None
        reasons.append(reason)
    return "; ".join(reasons)


def qt_platform(environment: Mapping[str, str] = os.environ) -> str:
    """The Qt platform plugin for this screen: the first of those asked for that works, or X11 (also on Wayland where it has
    an X server)."""
    asked = asked_platforms(environment)
    working = (platform for platform in asked if len(asked) == 1 or _why_not(platform, environment) is None)
    return next(working, asked[0] if asked else _usual(environment))


def asked_platforms(environment: Mapping[str, str] = os.environ) -> list[str]:
    """QT_QPA_PLATFORM: names, to be tried in turn, each perhaps with options behind a colon."""
    return [name for name in environment.get("QT_QPA_PLATFORM", "").split(";") if name.split(":")[0]]


def unknown_platform(environment: Mapping[str, str] = os.environ) -> str | None:
    """A sentence, where QT_QPA_PLATFORM names no platform that this Qt has: that is a mistake, not a missing screen."""
    folder, asked = qt_folder(), asked_platforms(environment)
    if folder is None or not asked or not sys.platform.startswith("linux"):
        return None
    known = known_platforms(folder, environment)
    if not known or any(name.split(":")[0] in known for name in asked):
        return None
    return f"QT_QPA_PLATFORM={';'.join(asked)} is not a platform of this Qt, which has {', '.join(sorted(known))}"


def known_platforms(folder: Path, environment: Mapping[str, str] = os.environ) -> set[str]:
    """Names of the platform plugins that can be found; empty where they lie elsewhere, as a distribution's own Qt has them."""
    folders = [*folder.glob("Qt*/plugins/platforms")]
    folders += [Path(p, "platforms") for p in environment.get("QT_PLUGIN_PATH", "").split(":") if p]
    folders += [Path(p) for p in environment.get("QT_QPA_PLATFORM_PLUGIN_PATH", "").split(":") if p]
    names = {path.stem.removeprefix("libq") for place in folders for path in place.glob("libq*.so")}
    return names | ({"wayland"} if any(name.startswith("wayland") for name in names) else set())


def _usual(environment: Mapping[str, str]) -> str:
    return "wayland" if not environment.get("DISPLAY") and environment.get("WAYLAND_DISPLAY") else "xcb"


def _why_not(platform: str, environment: Mapping[str, str]) -> str | None:
    """Why a platform shows no window here."""
    folder, name = qt_folder(), platform.split(":")[0]
    if folder is None:
        return "PyQt5 is not installed (pip install PyQt5)"
    display = environment.get("DISPLAY", "")
    if name == "xcb":
        return "no screen (DISPLAY is not set)" if not display else no_libraries(folder, name) or _no_x_server(display)
    if unknown := unknown_platform({**environment, "QT_QPA_PLATFORM": name}):
        return unknown
    if name.startswith("wayland"):
        return no_libraries(folder, "wayland-generic" if name == "wayland" else name) or _no_wayland(environment)
    return no_libraries(folder, name) or (None if name in NO_SCREEN_NEEDED else _qt_says_no(platform, environment))


def _qt_says_no(platform: str, environment: Mapping[str, str]) -> str | None:
    """Asks Qt in a process of its own, which it may abort."""
    code = "from PyQt5.QtGui import QGuiApplication; QGuiApplication(['trial'])"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, "QT_QPA_PLATFORM": platform},
            capture_output=True, text=True, errors="replace", timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"Qt's platform {platform} does not start: {error}"
    words = done.stderr.strip().splitlines()
    return (
        f"Qt's platform {platform} does not start ({words[0] if words else done.returncode})"
        if done.returncode
        else None
    )


def qt_folder() -> Path | None:
    """Where PyQt5 is installed."""
    spec = importlib.util.find_spec("PyQt5")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def no_libraries(folder: Path, platform: str) -> str | None:
    """Which system libraries the Qt in `folder` lacks, for people; None where it has them all."""
    modules = [*folder.glob("QtWidgets*.so"), *folder.glob(f"Qt*/plugins/platforms/libq{platform}.so")]
    missing = missing_libraries(modules)
    if not missing:
        return None
    packages = sorted({PACKAGES[name] for name in missing if name in PACKAGES})
    install = f"; on Debian and Ubuntu: sudo apt-get install {' '.join(packages)}" if packages else ""
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    return f"system libraries are missing: {', '.join(missing[:4])}{more}{install}"


def missing_libraries(modules: list[Path]) -> list[str]:
    """Shared libraries that the modules need and the system lacks: all of them where `ldd` exists, else the first."""
    try:
        command = ["ldd", *map(str, modules)]
        listing = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        return sorted(set(re.findall(r"^\s*(\S+) => not found", listing, re.MULTILINE)))
    except (OSError, subprocess.SubprocessError):
        return next(filter(None, map(_first_missing, modules)), [])


def _first_missing(module: Path) -> list[str]:
    try:
        ctypes.CDLL(str(module))
    except OSError as error:
        return [str(error).split(":")[0]]
    return []


def _no_x_server(display: str) -> str | None:
    parsed = re.fullmatch(r"(?P<host>.*):(?P<number>\d+)(\.\d+)?", display)
    if not parsed:
        return f"the screen DISPLAY={display} is not of the form host:number"
    host, silent = parsed["host"], f"the screen DISPLAY={display} does not answer"
    if host and host != "unix" and "/" not in host:
        try:  # first, because libxcb would wait for minutes
            socket.create_connection((host, 6000 + int(parsed["number"])), timeout=2).close()
        except (OSError, OverflowError):
            return silent
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return None  # reported with the other libraries
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(display.encode(), None))
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return f"{silent}, or does not let this user in" if failed else None


def _no_wayland(environment: Mapping[str, str]) -> str | None:
    path = Path(environment.get("XDG_RUNTIME_DIR", ""), environment.get("WAYLAND_DISPLAY", "wayland-0"))
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(path))
    except OSError:
        return f"the Wayland screen {path.name} does not answer"
    return None
