from __future__ import annotations

import pytest

from app.controls import Controls
from scheduler.policy import DeepestThatFits, Fixed
from tests.support.fakes import POINTS, make_profile


def controls(policy, points):
    made = Controls(33.0)
    assert made.exits == () and made.exit == "auto" and made.now.policy is None, "before there is a network"
    made.offer(policy, make_profile(), points)
    return made


def test_a_run_on_auto_may_take_any_exit_and_go_back():
    operations = controls(DeepestThatFits(margin=1.3), POINTS)
    rules = ("auto", "deepest-that-fits")
    assert operations.exits == (*rules, "exit_07@96", "exit_10@96", "exit_13@96") and operations.exit == "auto"
    before = operations.now
    operations.exit = "exit_10@96"
    assert operations.now.policy == Fixed(POINTS[1]) and before.exit == "auto", "what a frame has, it keeps"
    operations.exit = "deepest-that-fits"
    assert operations.now.policy == DeepestThatFits()
    operations.exit = "auto"
    assert operations.now.policy == DeepestThatFits(margin=1.3) and operations.now.policy is not before.policy


def test_a_run_with_a_fixed_exit_has_no_other():
    operations = controls(Fixed(POINTS[2]), POINTS[2:])
    assert operations.exits == ("exit_13@96",) and operations.exit == "exit_13@96"
    for unknown in ("auto", "exit_07@96"):
        with pytest.raises(ValueError, match="known: exit_13@96"):
            operations.exit = unknown


@pytest.mark.parametrize("budget", [0.0, -5.0, 1e6, float("nan"), float("inf")])
def test_a_budget_that_makes_no_sense_is_refused(budget):
    operations = controls(DeepestThatFits(), POINTS)
    with pytest.raises(ValueError, match="budget"):
        operations.budget_ms = budget
    assert operations.budget_ms == 33.0


def test_points_come_when_they_are_loaded_and_may_be_withdrawn():
    operations = controls(DeepestThatFits(), POINTS[:1])
    assert operations.exits == ("auto", "deepest-that-fits", "exit_07@96")
    operations.allow(POINTS[2:])
    assert operations.now.points == (POINTS[0], POINTS[2])
    operations.withdraw(POINTS[:1])
    assert operations.exits == ("auto", "deepest-that-fits", "exit_13@96")
    with pytest.raises(ValueError, match="no operating point"):
        operations.withdraw(POINTS)
    before, anew = operations.now.profile, make_profile((1.0, 2.0, 3.0)).only(POINTS[1:])
    operations.allow(POINTS, anew)
    assert operations.now.profile is anew != before and operations.now.points == POINTS[1:], (
        "one that it lacks stays out"
    )
