"""OpenVINO asked for by name: beside ONNX Runtime, by itself, and where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from app.cli import main
from app.compose import build, load_manifest
from app.errors import DeviceError, UsageError
from app.network.calibrate import calibrate
from app.network.open import load_all, open_engine
from app.network.openvino import engine_name, precisions_of
from app.settings import Settings
from models.manifest import DEFAULT_MODEL
from scheduler.profile import OperatingPoint
from tests.support.paths import ROOT

needs_openvino = pytest.mark.skipif(
    not find_spec("openvino"), reason="needs OpenVINO: pip install -r requirements-openvino.txt"
)
POINTS = (OperatingPoint("exit_04", 40), OperatingPoint("exit_05", 40))


@pytest.fixture(scope="module")
def manifest():
    return load_manifest(DEFAULT_MODEL)


@needs_openvino
def test_every_precision_is_an_engine_beside_onnx_runtime_and_calibrate_measures_all(manifest):
    heard = []
    engine = open_engine(manifest, "openvino", 1, points=POINTS)
    load_all(engine, lambda done, of: heard.append((done, of)))
    names = ["", *map(engine_name, precisions_of())]
    assert [p.engine for p in engine.points] == [n for n in names for _ in POINTS]
    assert heard == [(i, 2 * len(names)) for i in range(1, 2 * len(names) + 1)] and set(engine.ready) == set(
        engine.points
    )
    assert engine.provider.startswith("CPUExecutionProvider + OpenVINO CPU")
    profile = calibrate(engine, manifest, rounds=1)
    assert {p.point for p in profile.points} == set(engine.points)
    assert len({profile.error(p) for p in engine.points}) == len(POINTS), "errors are the exit's, whoever reads"
    engine.close()


@needs_openvino
@pytest.mark.parametrize(
    ("exit", "point"), [("4@40", "openvino/exit_04@40"), ("openvino-bf16/4@40", "openvino-bf16/exit_04@40")]
)
def test_a_fixed_exit_opens_one_engine_alone(tmp_path, exit, point):
    import cv2
    import numpy as np

    if point.split("/")[0] not in map(engine_name, precisions_of()):
        pytest.skip("this processor has no bf16")
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    app = build(Settings(source=str(tmp_path / "one.png"), device="openvino", exit=exit))
    assert [str(p) for p in app.network.engine.points] == [point] and app.network.engine.provider.startswith(
        "OpenVINO CPU"
    )
    app.pipeline.close()


@needs_openvino
def test_what_this_machine_lacks_is_said(manifest):
    with pytest.raises(DeviceError, match=r"knows no GPU on this machine, only CPU.*--device openvino"):
        open_engine(manifest, "openvino:GPU", points=POINTS)
    with pytest.raises(DeviceError, match=r"no openvino-f8 .* it has openvino"):
        open_engine(manifest, "openvino", points=[POINTS[0]._replace(engine="openvino-f8")])


@needs_openvino
def test_it_reports_nothing_to_its_maker(tmp_path):
    """Imported by itself it writes an id to the home folder and asks a server's name (watched: version 2026.4)."""
    watch = (
        "import os, sys\n"
        "def hook(event, args):\n"
        "    if event.startswith('socket.') or event in ('os.mkdir', 'subprocess.Popen', 'urllib.Request'):\n"
        "        print('BAD', event, args)\n"
        "    if event == 'open' and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):\n"
        "        print('BAD', event, args)\n"
        "sys.addaudithook(hook)\n"
        "from app.network.openvino import precisions_of\n"
        "print(precisions_of())\n"
    )
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", watch], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "f32" in done.stdout and "BAD" not in done.stdout, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_says_what_to_install_and_auto_goes_on(manifest, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError, match=r"pip install -r requirements-openvino\.txt.*--device cpu"):
        open_engine(manifest, "openvino", points=POINTS)
    assert main(["calibrate", "--device", "openvino"]) == 5
    assert "requirements-openvino.txt" in capsys.readouterr().err
    assert {p.engine for p in open_engine(manifest, "auto", points=POINTS).points} == {""}


def test_an_engine_that_was_not_asked_for_is_refused(tmp_path, manifest):
    with pytest.raises(UsageError, match="needs --device openvino"):
        build(Settings(source="demo", exit="openvino/4@40", show=False))
    with pytest.raises(UsageError, match="must be auto, cpu"):
        open_engine(manifest, "abacus")
