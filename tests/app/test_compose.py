"""The wiring: what a setting turns into."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from app.compose import build, load_manifest
from app.errors import UsageError
from app.network.calibrate import best_point
from app.settings import Settings
from models.manifest import DEFAULT_MODEL
from scheduler.policy import Fixed, ValuePerPerson

BEST = best_point(load_manifest(DEFAULT_MODEL))


@pytest.fixture
def picture(tmp_path) -> str:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((64, 64, 3), np.uint8))
    return str(tmp_path / "one.png")


def test_a_fixed_exit_loads_one_point_and_auto_many(picture):
    fixed = build(Settings(source=picture, exit="13", budget_ms=50.0))
    assert isinstance(fixed.pipeline.rounds.policy, Fixed) and len(fixed.network.engine.points) == 1
    auto = build(Settings(source=picture, budget_ms=50.0, realtime=True))
    assert isinstance(auto.pipeline.rounds.policy, ValuePerPerson) and len(auto.network.engine.points) > 3
    unhurried = build(Settings(source=picture, budget_ms=50.0))
    assert unhurried.pipeline.controls.budget_ms == math.inf
    assert isinstance(unhurried.pipeline.rounds.policy, Fixed) and unhurried.network.engine.points == (BEST,)
    assert unhurried.network.profile_from == "", "nothing had to be measured"
    for app in (fixed, auto, unhurried):
        app.pipeline.close()


@pytest.mark.parametrize(
    ("asked", "got"),
    [("12", "exit_12@96"), ("12@64", "exit_12@64"), ("12+mirror", "exit_12+mirror@96"), ("exit_12+mirror@96",) * 2],
)
def test_a_fixed_exit_may_be_mirrored(picture, asked, got):
    app = build(Settings(source=picture, exit=asked))
    assert [str(p) for p in app.network.engine.points] == [got]
    app.pipeline.close()


def test_a_mirrored_exit_has_the_largest_input_only(picture):
    with pytest.raises(UsageError, match=r"exit_12\+mirror runs at 96 px"):
        build(Settings(source=picture, exit="12+mirror@64"))


def test_log_and_results_are_made_only_when_asked_for(picture, tmp_path):
    app = build(Settings(source=picture))
    assert app.pipeline._deliver.sinks == () and app.pipeline._log is None
    app.pipeline.close()
