"""Whether this machine can do what `run` needs, found out by doing a little of it. Each check is a line and what to do.

Every check stands alone and imports what it needs itself: what is broken must not hide the rest.
"""

from __future__ import annotations

import importlib.metadata as metadata
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from models.manifest import DEFAULT_MODEL, WEIGHTS, Manifest, ManifestError, find_manifest

if TYPE_CHECKING:
    from app.network.engine import Engine

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
OPENCV_WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
# What `run` does without: a window, pictures of `replay`, figures of `bench`, metrics, names of cameras.
SPARED = {"pyqt5", "matplotlib", "psutil", "prometheus-client", "cv2-enumerate-cameras"}
LITTLE_DISK = 1 << 30
DAY_S = 86_400


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  # `run` works, though not with everything
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    text: str
    todo: str = ""  # what to do about it


def examine(device: str = "auto", model: str = DEFAULT_MODEL) -> list[Finding]:
    """All findings, in the order in which one would repair things. Takes some seconds; changes nothing."""
    engines: list[Engine] = []
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("opencv", check_opencv),
        ("faces", check_faces),
        ("models", lambda: check_models(model)),
        ("provider", lambda: check_providers(device, model, engines)),
        ("calibration", lambda: check_calibration(model, engines)),
        ("qt", check_qt),
        ("screen", check_screen),
        ("cameras", check_cameras),
        ("disk", check_disk),
    ]
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += check()
        except Exception as error:  # a check that fails must not hide the others
            found.append(Finding(name, Level.BROKEN, f"could not be checked: {type(error).__name__}: {error}", INSTALL))
    return found


INSTALL = "run `pip install -r requirements.txt`, or `make setup`"


def check_python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Finding(
            "python",
            Level.BROKEN,
            f"{version} is too old",
            "install Python 3.11 or later: `make run PYTHON=python3.11`",
        )
    else:
        yield Finding("python", Level.OK, f"{version} at {sys.executable}")


def check_packages(requirements: Path = ROOT / "requirements.txt") -> Iterator[Finding]:
    """Every package of requirements.txt against its range there."""
    from packaging.requirements import Requirement

    fine = 0
    for line in requirements.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        spared = wanted.name.lower() in SPARED
        there = version_of(wanted.name)
        range_ = f"{wanted.name}{wanted.specifier}"
        if there is None and wanted.name == "onnxruntime-gpu" and version_of("onnxruntime"):
            yield Finding(
                "packages",
                Level.WARNING,
                "onnxruntime is installed instead of onnxruntime-gpu: no CUDA",
                f"for a GPU: `pip uninstall -y onnxruntime && pip install '{range_}'`",
            )
        elif there is None:
            level = Level.WARNING if spared else Level.BROKEN
            yield Finding("packages", level, f"{wanted.name} is not installed", f"run `pip install '{range_}'`")
        elif not wanted.specifier.contains(there, prereleases=True):
            yield Finding(
                "packages",
                Level.WARNING,
                f"{wanted.name} {there} is outside {wanted.specifier}, with which this was tested",
                f"run `pip install '{range_}'`",
            )
        else:
            fine += 1
    yield Finding("packages", Level.OK, f"{fine} installed as requirements.txt wants them")
    if version_of("onnxruntime") and version_of("onnxruntime-gpu"):
        yield Finding(
            "packages",
            Level.WARNING,
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
            "run `pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu`",
        )


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_opencv() -> Iterator[Finding]:
    wheels = [name for name in OPENCV_WHEELS if version_of(name)]
    headless = "opencv-python-headless"
    repair = f"run `pip uninstall -y {' '.join(wheels)} && pip install '{headless}>=4.10,<5'`"
    if len(wheels) > 1:
        yield Finding(
            "opencv", Level.BROKEN, f"{' and '.join(wheels)} are installed at once and overwrite each other", repair
        )
    elif wheels and not wheels[0].endswith("headless"):
        yield Finding(
            "opencv",
            Level.WARNING,
            f"{wheels[0]} brings a Qt of its own, which can keep the window from opening",
            repair,
        )
    try:
        import cv2

        from app.faces.viola_jones import ViolaJones

        ViolaJones()
    except Exception as error:  # ImportError, AttributeError of OpenCV 5, whatever a half-overwritten wheel raises
        yield Finding(
            "opencv", Level.BROKEN, f"does not work: {type(error).__name__}: {error}", repair if wheels else INSTALL
        )
    else:
        yield Finding("opencv", Level.OK, f"{cv2.__version__}, face detector loaded")


def check_faces() -> Iterator[Finding]:
    from app.errors import ModelError
    from app.faces.detectors import BOTH, missing_detector
    from app.faces.follower import Follower

    try:
        Follower()
    except ModelError as error:
        yield Finding("faces", Level.BROKEN, str(error), INSTALL)
    else:
        yield Finding("faces", Level.OK, "the network that follows them is loaded")
    if missing := missing_detector(BOTH):
        yield Finding("faces", Level.WARNING, missing, "`make setup`, or the command above")


def check_models(model: str, folder: Path = WEIGHTS) -> Iterator[Finding]:
    """Hashes of all shipped networks and of the one asked for."""
    again = "fetch both files again (`git checkout models/weights`)"
    try:
        asked = find_manifest(model).resolve()
    except ManifestError as error:
        yield Finding("models", Level.BROKEN, str(error), "name a shipped one, or the path of a manifest")
        asked = None
    for path in sorted({*folder.glob("*.json"), *([asked] if asked else [])}, key=lambda p: p.name):
        try:
            manifest = Manifest.read(path)
            manifest.verify()
        except ManifestError as error:
            level = Level.BROKEN if path.resolve() == asked else Level.WARNING
            yield Finding("models", level, str(error), again)
        else:
            yield Finding("models", Level.OK, f"{manifest.name}: hash as its manifest says")


def check_providers(device: str, model: str, engines: list[Engine]) -> Iterator[Finding]:
    """One inference through every operating point on the CPU, and on CUDA, where each takes seconds to load, through the
    cheapest and the dearest that `run` would take; engines that work are left in `engines`."""
    from app.compose import load_manifest
    from app.errors import AppError
    from app.network.calibrate import candidates
    from app.network.onnx_cuda import cuda_diagnosis, nvidia_driver
    from app.network.open import load_all, open_engine

    manifest = load_manifest(model)
    for wanted in ("cpu", "cuda") if device == "auto" else (device,):
        if wanted == "cuda" and device == "auto" and not nvidia_driver():
            yield Finding("provider", Level.OK, "cuda: no NVIDIA driver here, so the CPU is used")
            continue
        began_s = time.perf_counter()
        try:
            likely = candidates(manifest)
            engine = open_engine(manifest, wanted, points=(likely[0], likely[-1]) if wanted == "cuda" else None)
            load_all(engine)
        except AppError as error:
            level = Level.WARNING if device == "auto" and wanted == "cuda" else Level.BROKEN
            yield Finding("provider", level, f"{wanted}: {error}", "" if level is Level.BROKEN else cuda_diagnosis())
        else:
            engines.append(engine)
            took_s = time.perf_counter() - began_s
            yield Finding(
                "provider",
                Level.OK,
                f"{wanted}: {engine.provider} read faces at {len(engine.points)} operating points, {took_s:.1f} s with loading",
            )


def check_calibration(model: str, engines: list[Engine]) -> Iterator[Finding]:
    """Whether the profile of this machine is remembered for the provider that `run` would take."""
    from app.compose import load_manifest
    from app.errors import UsageError
    from app.network.calibrate import candidates, profile_path
    from app.network.engine import default_threads
    from app.network.profiles import read_profile
    from app.settings import cache_folder

    folder = cache_folder()
    if not engines:
        yield Finding("calibration", Level.WARNING, "not checked, because no provider works")
        return
    manifest = load_manifest(model)
    path = profile_path(folder, engines[-1], manifest, default_threads(), candidates(manifest))
    others = len(list(folder.glob("profile-*.json"))) - path.exists()
    elsewhere = f"; {others} for other machines, models or versions" if others > 0 else ""
    if not path.exists():
        yield Finding(
            "calibration", Level.OK, f"none yet for this machine and model: the next run measures it{elsewhere}"
        )
    else:
        age_d = (time.time() - path.stat().st_mtime) / DAY_S
        try:
            read_profile(path)
        except UsageError as error:
            yield Finding("calibration", Level.WARNING, str(error), "run once with `--recalibrate`")
        else:
            yield Finding("calibration", Level.OK, f"of this machine and model, {age_d:.0f} days old{elsewhere}")
    if not os.access(next(p for p in (folder, *folder.parents) if p.exists()), os.W_OK):
        yield Finding(
            "calibration",
            Level.WARNING,
            f"{folder} cannot be written: every run measures anew",
            "set XDG_CACHE_HOME to a folder that can",
        )


def check_qt() -> Iterator[Finding]:
    from app.window.display import no_libraries, qt_folder, qt_platform

    folder = qt_folder()
    if folder is None:
        yield Finding(
            "qt", Level.WARNING, "PyQt5 is not installed: no window, everything else works", "run `pip install PyQt5`"
        )
    elif reason := no_libraries(folder, qt_platform()):
        what, _, todo = reason.partition("; ")
        yield Finding(
            "qt", Level.WARNING, f"no window can be opened: {what}", todo.partition(": ")[2] or "install them"
        )
    else:
        yield Finding("qt", Level.OK, f"PyQt5 {version_of('PyQt5')} has its system libraries")


def check_screen() -> Iterator[Finding]:
    from app.window.display import qt_folder, why_no_display

    if qt_folder() is None:
        return
    reason = why_no_display()
    if reason:
        yield Finding(
            "screen",
            Level.WARNING,
            reason,
            "without one `run` shows no window; with one, start it there or set DISPLAY",
        )
    else:
        yield Finding("screen", Level.OK, "a window can be opened")


def check_cameras() -> Iterator[Finding]:
    from app.sources.cameras import CameraState, line, list_cameras

    found = list_cameras()
    for camera in found:
        denied, busy = camera.state is CameraState.DENIED, camera.state is CameraState.BUSY
        todo = (
            "run `sudo usermod -aG video $USER`, then log in again"
            if denied
            else "close the other program"
            if busy
            else ""
        )
        yield Finding("cameras", Level.WARNING if todo else Level.OK, line(camera).strip(), todo)
    if not found:
        yield Finding(
            "cameras",
            Level.WARNING,
            "none was found: `--source auto` shows the demo crowd",
            "plug one in; see `main.py cameras`",
        )


def check_disk(folder: Path | None = None) -> Iterator[Finding]:
    """Where files would be written by default."""
    folder = folder or Path.cwd()
    free = shutil.disk_usage(folder).free
    text = f"{free / (1 << 30):.1f} GB free at {folder}"
    if free < LITTLE_DISK:
        yield Finding("disk", Level.WARNING, text, "make room before you use --output, --results or --log")
    else:
        yield Finding("disk", Level.OK, text)
