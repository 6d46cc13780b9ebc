"""The arrows between rooms: imports point inward, and each heavy library is met at its own door."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(p for room in ("app", "align", "scheduler", "models") for p in (ROOT / room).rglob("*.py"))

# What each room may import of the others.
ROOMS = {
    "app": {"app", "align", "scheduler", "models"},
    "align": {"align"},
    "scheduler": {"scheduler"},
    "models": {"models", "align"},
}
# Where a library may be imported, at the top of a module or inside a function.
DOORS = {
    "PyQt5": {"app/window.py", "app/qt_canvas.py", "app/texts.py", "app/commands/bench_window.py", "app/commands/bench_responsiveness.py"},
    "torch": {"models/"},
    "onnxruntime": {"app/engine.py", "app/profiles.py", "app/commands/bench.py", "models/session.py"},
    "cv2": {
        "app/sources.py", "app/captures.py", "app/devices.py", "app/doctor.py", "app/demo.py", "app/detector.py", "app/other_detectors.py", "app/scan.py", "app/commands/bench_detectors.py", "app/commands/bench_turned.py", "app/tilt.py", "app/commands/bench_front_end.py", "app/front_end.py", "app/commands/face_views.py", "app/outputs.py", "app/image_canvas.py", "app/privacy.py",
        "align/crop.py", "align/landmark_scenes.py", "align/train_landmarks.py", "align/evaluate_landmarks.py", "models/data.py", "models/locate.py", "models/datasets/base.py", "models/batches.py", "models/evaluate.py",
    },
    "dlib": {"align/landmarks.py", "align/train_landmarks.py", "app/other_detectors.py", "models/locate.py"},
}  # fmt: skip
TORCH_FREE = {
    "models/manifest.py",
    "models/onnx_file.py",
    "models/data.py",
    "models/locate.py",
    "models/metrics.py",
    "models/evaluate.py",
    "models/compare_landmarks.py",
    "models/curves.py",
    "models/__init__.py",
    *(f"models/datasets/{p.name}" for p in (ROOT / "models" / "datasets").glob("*.py")),
}


def imports(path: Path) -> set[str]:
    """Full names of everything that a module imports, type-checking imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_inward(path):
    room = name(path).split("/")[0]
    outward = {i for i in imports(path) if i.split(".")[0] in ROOMS and i.split(".")[0] not in ROOMS[room]}
    assert not outward, f"{name(path)} imports {outward}"
    if (
        name(path)
        not in {"models/data.py", "models/locate.py", "models/batches.py", "models/evaluate.py", "models/export.py"}
        and room == "models"
    ):
        assert not {i for i in imports(path) if i.split(".")[0] == "align"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_libraries_come_in_by_their_doors(path):
    for library, doors in DOORS.items():
        if any(i.split(".")[0] == library for i in imports(path)):
            assert any(name(path).startswith(d) for d in doors), f"{name(path)} imports {library}"
    if name(path) in TORCH_FREE:
        assert not any(i.split(".")[0] == "torch" for i in imports(path))


def test_of_models_the_application_needs_only_manifest_and_file():
    """Training commands import the rest, inside their functions."""
    for path in MODULES:
        if name(path).startswith("app/") and not name(path).startswith("app/commands/"):
            assert {i for i in imports(path) if i.startswith("models.")} <= {
                "models.manifest", "models.manifest.Manifest", "models.manifest.ManifestError",
                "models.manifest.find_manifest", "models.manifest.DEFAULT_MODEL", "models.manifest.WEIGHTS",
                "models.manifest.MIRROR",
                "models.onnx_file", "models.onnx_file.at_size", "models.onnx_file.cut", "models.onnx_file.mirrored",
                "models.onnx_file.sizes_apart",
            }  # fmt: skip


def test_the_scheduler_needs_no_more_than_numpy():
    for path in MODULES:
        if name(path).startswith("scheduler/"):
            roots = {i.split(".")[0] for i in imports(path)}
            assert roots <= {*sys.stdlib_module_names, "scheduler", "numpy"}, name(path)
            assert not roots & {"time", "random", "datetime"}, f"{name(path)} must take time and chance from outside"


def test_help_starts_without_anything_heavy():
    """No work in import: the command line's help needs neither arrays nor networks."""
    code = "import sys; from app.cli import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "onnxruntime", "onnx", "cv2", "dlib", "PyQt5", "skimage", "matplotlib", "av"} & set(loaded)


def test_nothing_is_unpickled_and_no_test_sleeps():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not imports(path) & {"pickle", "dill", "joblib"}, name(path)
        assert text.count("torch.load(") == text.count("weights_only=True"), name(path)
        assert "allow_pickle=True" not in text and ".load_state_dict_from_url" not in text, name(path)
        assert not re.search(r"(?<![.\w])(eval|exec|marshal\.loads?|yaml\.load)\(", text), name(path)
    for path in sorted((ROOT / "tests").glob("*.py")):
        assert "time.sleep" not in imports(path)
        assert "time." + "sleep(" not in path.read_text(encoding="utf-8"), name(path)
