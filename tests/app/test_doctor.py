"""`doctor` on machines that lack something, each faked where the program meets the machine."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import shutil
import sys
import time
import types
from pathlib import Path

import pytest

from app import doctor
from app.cli import main
from app.doctor import Finding, Level
from app.network import calibrate, engine
from app.sources.cameras import Camera, CameraState
from models.manifest import WEIGHTS
from tests.support.fakes import make_profile


def worst(findings: list[Finding]) -> Level:
    return max((f.level for f in findings), key=list(Level).index)


def texts(findings: list[Finding]) -> str:
    return "\n".join(f"{f.level} {f.text} | {f.todo}" for f in findings)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Says which packages are installed in which version, instead of those that are; None: not installed."""

    def installed(**packages: str | None) -> None:
        really = metadata.version

        def version(name: str) -> str:
            key = name.lower().replace("-", "_")
            if key in packages:
                if packages[key] is None:
                    raise metadata.PackageNotFoundError(name)
                return packages[key]
            return really(name)

        monkeypatch.setattr(metadata, "version", version)

    return installed


def test_here_run_works_and_every_check_says_something(capsys, monkeypatch):
    monkeypatch.setattr("app.sources.cameras.list_cameras", list)
    assert main(["doctor", "--json", "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    checks = {f["check"] for f in report["findings"]}
    assert checks >= {
        "python",
        "packages",
        "opencv",
        "faces",
        "models",
        "provider",
        "calibration",
        "qt",
        "screen",
        "cameras",
        "disk",
    }
    assert all(f["todo"] for f in report["findings"] if f["level"] != "ok")
    (provider,) = [f for f in report["findings"] if f["check"] == "provider"]
    assert provider["level"] == "ok" and "CPUExecutionProvider read faces at 45 operating points" in provider["text"]


def test_a_missing_and_an_old_package_and_one_that_run_does_without(installed):
    installed(dlib_bin=None, scipy="1.2.0", matplotlib=None)
    findings = list(doctor.check_packages())
    by_level = {level: [f.text for f in findings if f.level is level] for level in Level}
    assert by_level[Level.BROKEN] == ["dlib-bin is not installed"]
    assert any("scipy 1.2.0 is outside" in t for t in by_level[Level.WARNING])
    assert any("matplotlib is not installed" in t for t in by_level[Level.WARNING])
    assert all("pip install" in f.todo for f in findings if f.level is not Level.OK)


def test_packages_of_other_machines_are_not_asked_for(tmp_path, installed):
    installed(nothing=None)
    (tmp_path / "r.txt").write_text('# a comment\n\nnothing>=1; platform_system == "Plan 9"\nnumpy>=2.0  # arrays\n')
    assert [f.level for f in doctor.check_packages(tmp_path / "r.txt")] == [Level.OK]


def test_both_onnx_runtimes(installed):
    installed(onnxruntime="1.22.0", onnxruntime_gpu="1.22.0")
    assert "overwrite each other" in texts(list(doctor.check_packages()))
    installed(onnxruntime="1.22.0", onnxruntime_gpu=None)
    findings = list(doctor.check_packages())
    assert "instead of onnxruntime-gpu" in texts(findings) and worst(findings) is Level.WARNING


def test_both_opencv_wheels_are_broken_and_the_windowed_one_is_a_warning(installed):
    installed(
        opencv_python="4.14.0",
        opencv_python_headless="4.14.0",
        opencv_contrib_python=None,
        opencv_contrib_python_headless=None,
    )
    findings = list(doctor.check_opencv())
    assert worst(findings) is Level.BROKEN
    assert (
        "pip uninstall -y opencv-python opencv-python-headless && pip install 'opencv-python-headless"
        in findings[0].todo
    )
    installed(
        opencv_python="4.14.0",
        opencv_python_headless=None,
        opencv_contrib_python=None,
        opencv_contrib_python_headless=None,
    )
    findings = list(doctor.check_opencv())
    assert worst(findings) is Level.WARNING and "Qt of its own" in texts(findings)


def test_an_opencv_that_does_not_load_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    findings = list(doctor.check_opencv())
    assert worst(findings) is Level.BROKEN and "does not work" in texts(findings)


def test_a_changed_network_is_found_by_its_hash(tmp_path):
    for suffix in (".json", ".onnx"):
        shutil.copy(WEIGHTS / f"mobilenet_v1_075{suffix}", tmp_path / f"mine{suffix}")
    manifest = json.loads((tmp_path / "mine.json").read_text())
    manifest["network"]["file"] = "mine.onnx"
    (tmp_path / "mine.json").write_text(json.dumps(manifest))
    assert worst(list(doctor.check_models("mobilenet_v1_075", tmp_path))) is Level.OK
    with (tmp_path / "mine.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff\x00\xff")
    findings = list(doctor.check_models("mobilenet_v1_075", tmp_path))
    assert worst(findings) is Level.WARNING and "sha256 differs" in texts(
        findings
    )  # shipped, but not the one asked for
    assert worst(list(doctor.check_models(str(tmp_path / "mine.json"), tmp_path))) is Level.BROKEN
    assert worst(list(doctor.check_models("no_such", tmp_path))) is Level.BROKEN


def driver(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """Whether the machine has NVIDIA's driver, wherever that is asked."""
    for module in ("onnx_cuda", "open"):
        monkeypatch.setattr(f"app.network.{module}.nvidia_driver", lambda: there)


def test_the_wrong_cuda(monkeypatch):
    """A driver is there and the wheel is built for CUDA, but its libraries are not."""
    import onnxruntime

    driver(monkeypatch, True)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    for device, expected in (("auto", Level.WARNING), ("cuda", Level.BROKEN)):
        engines: list[engine.Engine] = []
        findings = list(doctor.check_providers(device, "mobilenet_v1_075", engines))
        assert worst(findings) is expected, device
        assert "CUDA or cuDNN libraries are missing or of another version" in texts(findings)
        assert len(engines) == (device == "auto")


def test_cuda_asked_for_without_a_driver(monkeypatch, capsys):
    driver(monkeypatch, False)
    assert main(["doctor", "--device", "cuda"]) == 1
    out = capsys.readouterr().out
    assert "broken   provider" in out and "NVIDIA driver" in out and "`run` will not work" in out


@pytest.mark.parametrize(
    ("found", "level", "says"),
    [
        ([], Level.WARNING, "demo crowd"),
        ([Camera(0, "C920", "/dev/video0", "", ((640, 480),), CameraState.FREE)], Level.OK, "640x480"),
        ([Camera(0, "C920", state=CameraState.DENIED)], Level.WARNING, "usermod"),
        ([Camera(0, "C920", state=CameraState.BUSY)], Level.WARNING, "close the other program"),
    ],
)
def test_cameras(monkeypatch, found, level, says):
    monkeypatch.setattr("app.sources.cameras.list_cameras", lambda: found)
    findings = list(doctor.check_cameras())
    assert worst(findings) is level and says in texts(findings)


def test_no_screen_and_no_qt(monkeypatch):
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    (screen,) = doctor.check_screen()
    assert screen.level is Level.WARNING and "DISPLAY is not set" in screen.text
    monkeypatch.setattr("app.window.display.missing_libraries", lambda modules: ["libxkbcommon-x11.so.0"])
    (qt,) = doctor.check_qt()
    assert (
        qt.level is Level.WARNING
        and qt.todo == "sudo apt-get install libxkbcommon-x11-0"
        and "libxkbcommon-x11.so.0" in qt.text
    )
    monkeypatch.setattr("app.window.display.qt_folder", lambda: None)
    (qt,) = doctor.check_qt()
    assert "PyQt5 is not installed" in qt.text and list(doctor.check_screen()) == []


def test_calibration_is_found_when_it_is_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engines: list[engine.Engine] = []
    list(doctor.check_providers("cpu", "mobilenet_v1_075", engines))

    def check() -> Finding:
        return next(doctor.check_calibration("mobilenet_v1_075", engines))

    assert "none yet" in check().text
    from app.compose import load_manifest
    from app.settings import cache_folder

    folder = cache_folder()
    manifest = load_manifest("mobilenet_v1_075")
    points = calibrate.candidates(manifest)
    calibrate.cached_profile(folder, engines[0], manifest, engine.default_threads(), make_profile, points=points)
    assert check() == Finding("calibration", Level.OK, "of this machine and model, 0 days old")
    (folder / "profile-other.json").write_text("{}")
    later = time.time() + 3.2 * doctor.DAY_S
    monkeypatch.setattr(doctor, "time", types.SimpleNamespace(time=lambda: later))
    assert "3 days old; 1 for other machines" in check().text
    next(p for p in folder.glob("profile-*.json") if "other" not in p.name).write_text("garbage")
    assert check().level is Level.WARNING and "--recalibrate" in check().todo


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=10_000_000))
    (disk,) = doctor.check_disk(Path.cwd())
    assert disk.level is Level.WARNING and "0.0 GB free" in disk.text


def test_a_check_that_fails_itself_does_not_hide_the_others(monkeypatch):
    def broken():
        raise RuntimeError("libwhatever.so.3: undefined symbol")

    monkeypatch.setattr(doctor, "check_faces", broken)
    monkeypatch.setattr(doctor, "check_providers", lambda *_: [])
    findings = doctor.examine()
    assert [f.text for f in findings if f.check == "faces"] == [
        "could not be checked: RuntimeError: libwhatever.so.3: undefined symbol"
    ]
    assert findings[-1].check == "disk"
