"""Paths of real data, which lie beside the checkout where they can be had; tests that need them skip otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as fuzzing

from tests.support.paths import ROOT, SHARED

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# Quick: the same few cases every time. Long (`make fuzz`): new ones, for as long as a coffee takes.
LOOSE = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
fuzzing.register_profile("quick", max_examples=60, derandomize=True, **LOOSE)
fuzzing.register_profile("long", max_examples=3_000, **LOOSE)


# What trains, films, opens windows or starts the program anew: `make check` leaves these out, `make test` does not.
SLOW = (
    "tests/align/test_train_landmarks.py",
    "tests/app/bench/",
    "tests/app/commands/",
    "tests/app/faces/",
    "tests/app/network/test_engine.py",
    "tests/app/network/test_triton.py",
    "tests/app/outputs/",
    "tests/app/reports/",
    "tests/app/sources/",
    "tests/app/test_cli.py",
    "tests/app/test_compose.py",
    "tests/app/test_doctor.py",
    "tests/app/window/",
    "tests/models/",
    "tests/test_deploy.py",
    "tests/test_end_to_end.py",
    "tests/test_fuzz.py",
    "tests/test_privacy_default.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(ROOT).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile"):
        fuzzing.load_profile("quick")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor write the user's remembered profiles and settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    for name in [n for n in os.environ if n.startswith("ELASTIC_FACES_")]:
        monkeypatch.delenv(name)


def _shared(relative: str) -> Path:
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"{relative} is not beside the checkout (../shared)")
    return path


@pytest.fixture
def talking_clip() -> Path:
    return _shared("clips/head-pose-face-detection-male.gif")


@pytest.fixture
def walking_clip() -> Path:
    return _shared("clips/face-demographics-walking.gif")


@pytest.fixture
def utkface_tar() -> Path:
    return _shared("data/utkface.tar")


@pytest.fixture
def fer2013_tar() -> Path:
    return _shared("data/fer2013.tar")


@pytest.fixture
def ferplus_csv() -> Path:
    return _shared("data/ferplus.csv")


@pytest.fixture
def imagenet_weights() -> Path:
    return _shared("weights/mobilenet_0.75_imagenet.npz")
