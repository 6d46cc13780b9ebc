"""The arrows between rooms: imports point inward, and each heavy library is met at its own door."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MODULES = sorted(p for room in ("app", "align", "scheduler", "models") for p in (ROOT / room).rglob("*.py"))

# What stands on what. A room may import itself and the rooms named here; everything may import the nouns.
NOUNS = {"app.domain", "app.errors", "app.mailbox", "app.files"}
CORES = {"align", "scheduler", "models.manifest"}
ROOMS: dict[str, set[str]] = {
    "align": set(),
    "scheduler": set(),
    "app.domain": set(),
    "app.errors": set(),
    "app.mailbox": set(),
    "app.files": {"app.errors"},
    "app.totals": {"app.domain"},
    "app.settings": {"app.errors", "app.files", "models.manifest"},
    "app.config": NOUNS | {"app.settings"},
    "app.console": NOUNS,
    "app.controls": {"scheduler"},
    "app.faults": NOUNS | {"scheduler"},
    "app.sources": NOUNS,
    "app.faces": NOUNS | {"align"},
    "app.network": NOUNS | CORES | {"models.onnx_file"},
    "app.people": NOUNS,
    "app.overlay": NOUNS,
    "app.window": NOUNS | {"app.overlay"},
    "app.outputs": NOUNS | {"app.overlay", "app.people", "app.sources", "app.totals", "scheduler"},
    "app.camera": NOUNS | {"app.controls", "app.faults", "app.totals", "app.sources", "app.faces"},
    "app.rounds": NOUNS | CORES
    | {"app.camera", "app.controls", "app.faces", "app.faults", "app.network", "app.people", "app.totals"},
    "app.pipeline": NOUNS | {"app.camera", "app.controls", "app.faces", "app.faults", "app.people", "app.rounds"}
    | {"app.totals", "scheduler"},
    "app.compose": NOUNS | CORES
    | {"app.camera", "app.controls", "app.faults", "app.settings", "app.rounds", "app.pipeline", "app.sources", "app.faces", "app.network", "app.people", "app.outputs"},
    "models.manifest": set(),
    "models.onnx_file": set(),
    "models.session": set(),
    "models.networks": {"align"},
    "models.data": {"align"},
    "models.judging": {"align", "models.data", "models.manifest", "models.onnx_file", "models.session"},
}  # fmt: skip
ROOMS["models.training"] = ROOMS["models.judging"] | {"models.networks", "models.judging"}
ROOMS["models.shipping"] = ROOMS["models.training"] | {"models.training"}
# Above the composition root: what measures, explains and is typed.
TOP = {
    "app.doctor": 1,
    "app.reports": 1,
    "app.kiosk": 1,
    "app.footage": 1,
    "app.bench": 2,
    "app.command": 1,
    "app.commands": 3,
    "app.cli": 4,
}
# Where a library may be imported, at the top of a module or inside a function.
DOORS = {
    "PyQt5": {"app/window/", "app/overlay/texts.py", "app/bench/responsiveness.py"},
    "torch": {"models/"},
    "onnxruntime": {"app/network/", "app/faces/onnx.py", "app/bench/exits.py", "models/session.py"},
    "cv2": {
        "app/sources/", "app/faces/", "app/overlay/image_canvas.py", "app/outputs/", "app/bench/", "app/doctor.py",
        "align/", "models/data/", "models/judging/",
    },
    "dlib": {"align/", "app/faces/", "models/data/"},
}  # fmt: skip
TORCH_FREE = (
    "models/manifest",
    "models/onnx_file",
    "models/session",
    "models/judging/",
    "models/data/views",
    "models/data/locate",
    "models/data/sets/",
    "models/training/curves",
)


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


def room_of(module: str) -> str:
    """The room, or the module at the top of its package, that a dotted name lies in."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in ("app", "models") else parts[0]


def ours(path: Path) -> set[str]:
    """Rooms that a module imports from, its own left out."""
    mine = room_of(name(path).removesuffix(".py").replace("/", "."))
    found = {i for i in imports(path) if i.split(".")[0] in ("app", "align", "scheduler", "models")}
    return {room_of(i) for i in found if i not in ("app", "models")} - {mine}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_downward(path):
    mine, others = room_of(name(path).removesuffix(".py").replace("/", ".")), ours(path)
    if mine in TOP:
        higher = {o for o in others if TOP.get(o, 0) > TOP[mine]}
        assert not higher, f"{name(path)} imports {higher}"
    elif not name(path).endswith("__init__.py"):
        assert others <= ROOMS[mine], f"{name(path)} imports {others - ROOMS[mine]}"


def test_no_two_modules_import_each_other():
    names = {name(p).removesuffix(".py").replace("/", "."): p for p in MODULES}
    needs = {m: {i for i in imports(p) if i in names and i != m} for m, p in names.items()}
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle of imports: {' -> '.join((*way[way.index(module) :], module))}"
        if module not in done:
            for other in needs[module]:
                walk(other, (*way, module))
            done.add(module)

    for module in names:
        walk(module, ())


def test_every_room_says_what_it_is_for_and_none_is_a_warehouse():
    for folder in {p.parent for p in MODULES}:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert text, f"{name(folder)} has no paragraph that says what it is for"
    assert len(list((ROOT / "app").glob("*.py"))) <= 16
    assert len(list((ROOT / "models").glob("*.py"))) <= 6


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_libraries_come_in_by_their_doors(path):
    for library, doors in DOORS.items():
        if any(i.split(".")[0] == library for i in imports(path)):
            assert any(name(path).startswith(d) for d in doors), f"{name(path)} imports {library}"
    if name(path).startswith(TORCH_FREE):
        assert not any(i.split(".")[0] == "torch" for i in imports(path))


def test_no_test_imports_another():
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert not {i for i in imports(path) if ".test_" in i}, name(path)


def test_the_scheduler_needs_no_more_than_numpy():
    for path in MODULES:
        if name(path).startswith("scheduler/"):
            roots = {i.split(".")[0] for i in imports(path)}
            assert roots <= {*sys.stdlib_module_names, "scheduler", "numpy"}, name(path)
            assert not roots & {"time", "random", "datetime"}, f"{name(path)} must take time and chance from outside"
            assert not roots & {"threading", "concurrent", "multiprocessing", "asyncio", "queue"}, name(path)


def test_help_starts_without_anything_heavy():
    """No work in import: the command line's help needs neither arrays nor networks."""
    code = "import sys; from app.cli import build_parser; build_parser(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "torch", "onnxruntime", "onnx", "cv2", "dlib", "PyQt5", "skimage", "matplotlib", "av"} & set(
        loaded
    )


def test_nothing_is_unpickled_and_no_test_sleeps():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not imports(path) & {"pickle", "dill", "joblib"}, name(path)
        assert text.count("torch.load(") == text.count("weights_only=True"), name(path)
        assert "allow_pickle=True" not in text and ".load_state_dict_from_url" not in text, name(path)
        assert not re.search(r"(?<![.\w])(eval|exec|marshal\.loads?|yaml\.load)\(", text), name(path)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        assert "time.sleep" not in imports(path)
        assert "time." + "sleep(" not in path.read_text(encoding="utf-8"), name(path)


def test_commands_are_a_module_each():
    """cli.py knows them all, and nothing else lies among them."""
    from app.cli import COMMANDS

    files = {p.stem for p in (ROOT / "app" / "commands").glob("*.py")} - {"__init__"}
    assert files == {module.__name__.rpartition(".")[2] for module in COMMANDS}


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    yield from (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef))


def _depth(node: ast.AST) -> int:
    """How deep blocks are nested; an elif does not count."""
    blocks = (ast.If, ast.For, ast.While, ast.With, ast.Try)
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, _depth(child) + (isinstance(child, blocks) and not is_elif))
    return deepest


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_are_walked_straight_through(path):
    """At most 60 lines, five blocks deep, eight parameters: beyond that are objects that want a name."""
    for function in _functions(path):
        arguments = [*function.args.args, *function.args.kwonlyargs]
        count = len(arguments) - (bool(arguments) and arguments[0].arg in ("self", "cls"))
        assert function.end_lineno - function.lineno < 60, f"{name(path)}: {function.name} is long"
        assert _depth(function) <= 5, f"{name(path)}: {function.name} is deep"
        assert count <= 8, f"{name(path)}: {function.name} takes {count} things"
