"""What `pip install .` would install: one name among a Python's packages, with every room and file in it."""

from __future__ import annotations

import runpy
import subprocess
from fnmatch import fnmatch

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def said(monkeypatch) -> dict:
    """What setup.py tells setuptools."""
    setuptools = pytest.importorskip("setuptools")
    given: dict = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: given.update(options))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return given


def test_one_name_is_taken_and_every_room_is_in_it(said):
    assert {name.split(".")[0] for name in said["packages"]} == {"elastic_faces"}
    assert {f"elastic_faces.rooms.{room}" for room in ("app.window", "models.networks", "align", "scheduler")} <= set(
        said["packages"]
    )
    assert all((ROOT / folder).is_dir() for folder in said["package_dir"].values())
    assert "numpy>=2.0,<3" in said["install_requires"] and not [r for r in said["install_requires"] if "#" in r]
    assert any(r.startswith("torch==") for r in said["extras_require"]["training"])


def test_every_file_of_the_rooms_that_is_no_code_is_taken_along(said):
    files = subprocess.run(
        ["git", "ls-files", "app", "models", "align", "scheduler"], cwd=ROOT, capture_output=True, text=True
    )
    if files.returncode:
        pytest.skip("not a git checkout")
    patterns = [
        "/".join((*package.removeprefix("elastic_faces.rooms.").split("."), one))
        for package, some in said["package_data"].items()
        if package != "elastic_faces.rooms"
        for one in some
    ]
    others = [name for name in files.stdout.split() if not name.endswith(".py")]
    assert others and not [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)]
