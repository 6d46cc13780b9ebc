"""Figures of merit against hand-made distributions whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from models.judging import metrics
from models.judging.figures import figures


def certain(values, classes: int) -> np.ndarray:
    return np.eye(classes)[np.asarray(values)]


def labels(age, gender=None, expression=None, ethnicity=None, **more) -> dict[str, np.ndarray]:
    unknown = np.full(len(age), -1)
    parts = {"gender": gender, "expression": expression, "ethnicity": ethnicity}
    return {"age": np.asarray(age), **{k: unknown if v is None else np.asarray(v) for k, v in parts.items()}, **more}


def probabilities(age, gender=None, expression=None) -> dict[str, np.ndarray]:
    n = len(age)
    return {
        "age": certain(age, 101),
        "gender": certain(gender if gender is not None else [0] * n, 2),
        "expression": certain(expression if expression is not None else [0] * n, 7),
    }


def test_age_figures_by_hand():
    row = figures(probabilities([10, 30, 52, 70]), labels([12, 30, 58, 64]))
    assert row["mae"] == pytest.approx(3.5) and row["cs5"] == pytest.approx(0.5)
    assert row["mae_21_60"] == pytest.approx(3.0)
    assert row["mae_by_decade"]["10-19"] == {"mae": 2.0, "faces": 1}
    assert row["mae_by_decade"]["60-69"] == {"mae": 6.0, "faces": 1}
    assert "gender" not in row and "expression" not in row and "epsilon" not in row


def test_gender_by_decade_and_each_expression_by_hand():
    row = figures(
        probabilities([12, 14, 15, 33], gender=[0, 1, 1, 0], expression=[3, 3, 1, 0]),
        labels([12, 14, 16, 33], gender=[0, 0, -1, 0], expression=[3, 1, 1, -1]),
    )
    assert row["mae_by_decade"]["10-19"] == {"mae": pytest.approx(1 / 3), "faces": 3, "gender": 0.5}
    assert row["mae_by_decade"]["30-39"] == {"mae": 0.0, "faces": 1, "gender": 1.0}
    assert row["recall_by_expression"] == {
        "disgust": {"recall": 0.5, "faces": 2},
        "happy": {"recall": 1.0, "faces": 1},
    }


def test_unknown_labels_count_nowhere():
    row = figures(probabilities([10, 99], gender=[0, 1], expression=[3, 3]), labels([12, -1], [-1, 1], [3, -1]))
    assert row["mae"] == pytest.approx(2.0) and row["gender"] == 1.0 and row["expression"] == 1.0


def test_coverage_counts_ages_inside_the_scaled_deviation():
    """Two peaks at 20 and 40 have a deviation of 10 years about 30."""
    p = probabilities([0] * 4)
    p["age"] = np.tile((certain([20], 101) + certain([40], 101)) / 2, (4, 1))
    row = figures(p, labels([30, 34, 36, 60]), {50: 0.5, 68: 1.0, 90: 2.9})
    assert (row["coverage_50"], row["coverage_68"], row["coverage_90"]) == (0.5, 0.75, 0.75)


def test_epsilon_error_is_chalearns():
    values = metrics.epsilon_error([30, 35, 30], [30, 30, 30], [4.0, 5.0, 0.0])
    assert values[0] == 0.0 and values[1] == pytest.approx(1 - np.exp(-0.5)) and np.isnan(values[2])
    row = figures(probabilities([30, 35]), labels([30, 30], age_std=np.array([4.0, 5.0])))
    assert row["epsilon"] == pytest.approx((1 - np.exp(-0.5)) / 2)


def test_groups_have_their_own_error_and_bias():
    row = figures(
        probabilities([30, 30, 50, 50], gender=[0, 1, 1, 1]),
        labels([20, 34, 50, 40], [0, 0, 1, 1], ethnicity=[0, 2, 2, 4]),
    )
    groups = row["groups"]
    assert set(groups) == {"male", "female", "White", "Asian", "others"}
    assert groups["male"]["mae"] == 7.0 and groups["male"]["bias"] == 3.0 and groups["male"]["gender"] == 0.5
    assert groups["Asian"]["faces"] == 2 and groups["Asian"]["mae"] == 2.0


def test_the_bootstrap_finds_the_standard_error():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = metrics.bootstrap_interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
