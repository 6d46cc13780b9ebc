"""Every figure that a network is judged by, from one exit's probabilities over labelled faces; and their tables and plots.

Intervals are 95 % percentile bootstraps over faces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.sets.base import EXPRESSIONS
from models.judging import metrics
from models.manifest import MIRROR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ADULTS = (21, 60)
ETHNICITIES = ("White", "Black", "Asian", "Indian", "others")  # UTKFace's labels, in its order


def figures(
    p: Mapping[str, NDArray], labels: Mapping[str, NDArray], scales: Mapping[int, float] | None = None
) -> dict[str, Any]:
    """All figures that the labels allow, ready for JSON.

    p: age (n, 101), gender (n, 2), expression (n, 7), of what the network tells. labels: age, gender, expression, ethnicity,
    each (n,), -1 where unknown (an expression of 7 is one that the network has no class for), and optionally
    expression_fer2013, another label beside it, and age_mean and age_std of people's guesses, (n,), NaN where unknown. Where
    people guessed, an age is held against the mean of their guesses, not rounded. scales: interval scale by coverage in
    per cent.
    """
    out: dict[str, Any] = {}
    nobody = np.full(len(labels["age"]), -1)
    age, gender, expression = (labels[task] if task in p else nobody for task in ("age", "gender", "expression"))
    truth = metrics.true_age(age, labels["age_mean"]) if "age_mean" in labels else age
    adult = (age >= ADULTS[0]) & (age <= ADULTS[1])
    known = age >= 0
    if known.any():
        estimate = metrics.expectation(p["age"])
        error = np.where(known, np.abs(estimate - truth), np.nan)
        out |= _mean("mae", error) | _mean("cs5", np.where(known, error <= 5, np.nan))
        out["mae_by_decade"] = _decades(error, p, labels)
        if adult.any():
            out |= _mean("mae_21_60", np.where(adult, error, np.nan))
        if scales:
            half = metrics.spread(p["age"])
            for coverage, scale in scales.items():
                out |= _mean(f"coverage_{coverage}", np.where(known, error <= scale * half, np.nan))
        deviation = labels.get("age_std")
        if deviation is not None and (deviation > 0).any():
            out |= _mean("epsilon", metrics.epsilon_error(estimate, labels.get("age_mean", age), deviation))
    if (gender >= 0).any():
        right = np.where(gender >= 0, p["gender"].argmax(axis=1) == gender, np.nan)
        out |= _mean("gender", right)
        if (adult & (gender >= 0)).any():
            out |= _mean("gender_21_60", np.where(adult, right, np.nan))
    if (expression >= 0).any():
        told = expression >= 0
        out |= _mean("expression", np.where(told, p["expression"].argmax(axis=1) == expression, np.nan))
        if "expression_fer2013" in labels:
            out["expression_fer2013"] = metrics.accuracy(p["expression"][told], labels["expression_fer2013"][told])
        out["macro_f1"] = metrics.macro_f1(p["expression"][told], expression[told])
        out["recall_by_expression"] = {
            name: {"recall": float((p["expression"][shown].argmax(axis=1) == i).mean()), "faces": int(shown.sum())}
            for i, name in enumerate(EXPRESSIONS)
            if (shown := expression == i).any()
        }
    groups = _groups(p, labels)
    return out | ({"groups": groups} if groups else {})


def _mean(name: str, values: NDArray) -> dict[str, Any]:
    """The mean of what is not NaN, and its interval."""
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    return {name: float(values.mean()), f"{name}_95": metrics.bootstrap_interval(values)}


def _decades(error: NDArray, p: Mapping[str, NDArray], labels: Mapping[str, NDArray]) -> dict[str, dict[str, float]]:
    """MAE and, of those whose gender is known, its accuracy."""
    age, gender, out = labels["age"], labels["gender"], {}
    for first in range(0, 101, 10):
        decade = (age >= first) & (age < first + 10)
        if not decade.any():
            continue
        out[f"{first}-{first + 9}"] = {"mae": float(error[decade].mean()), "faces": int(decade.sum())}
        told = decade & (gender >= 0)
        if "gender" in p and told.any():
            right = p["gender"][told].argmax(axis=1) == gender[told]
            out[f"{first}-{first + 9}"]["gender"] = float(right.mean())
    return out


def _groups(p: Mapping[str, NDArray], labels: Mapping[str, NDArray]) -> dict[str, dict[str, float]]:
    """MAE, mean signed error and, where the network tells it, gender accuracy by gender and by ethnicity label."""
    age, gender, ethnicity = labels["age"], labels["gender"], labels["ethnicity"]
    masks = {name: gender == i for i, name in enumerate(("male", "female"))}
    masks |= {name: ethnicity == i for i, name in enumerate(ETHNICITIES)}
    truth = metrics.true_age(age, labels["age_mean"]) if "age_mean" in labels else age
    off = metrics.expectation(p["age"]) - truth
    right = p["gender"].argmax(axis=1) == gender if "gender" in p else None
    out = {}
    for name, mask in masks.items():
        chosen = mask & (age >= 0) & (gender >= 0)
        if chosen.any():
            out[name] = {
                "faces": int(chosen.sum()),
                "mae": float(np.abs(off[chosen]).mean()),
                "mae_95": metrics.bootstrap_interval(np.abs(off[chosen])),
                "bias": float(off[chosen].mean()),
            }
            if right is not None:
                out[name]["gender"] = float(right[chosen].mean())
    return out


_COLUMNS = {
    "mae": "MAE",
    "mae_95": "95 %",
    "cs5": "CS5",
    "mae_21_60": "MAE 21-60",
    "epsilon": "epsilon",
    "gender": "gender",
    "gender_21_60": "21-60",
    "expression": "expression",
    "expression_95": "95 %",
    "macro_f1": "macro F1",
    "expression_fer2013": "FER2013's",
    "coverage_50": "in 50 %",
    "coverage_68": "in 68 %",
    "coverage_90": "in 90 %",
}


def table(report: Mapping[str, Any]) -> list[str]:
    """A report of `evaluate` for people: per input size a row per exit, then the groups of the last one."""
    first = next(iter(next(iter(report["figures"].values())).values()))
    columns = [c for c in _COLUMNS if c in first]
    lines = [
        f"{report['model']} on {report['dataset']}, {report['pictures']} pictures, {report['alignment']}",
        *report["data"],
        f"{'exit':<15}{'size':>6}{'M mult-adds':>13}" + "".join(f"{_COLUMNS[c]:>13}" for c in columns),
    ]
    for size, exits in report["figures"].items():
        for name, row in exits.items():
            cost = report["multiply_adds"].get(size, {}).get(name)
            lines.append(
                f"{name:<15}{size:>6}{cost / 1e6 if cost else float('nan'):>13.1f}"
                + "".join(f"{_cell(c, row[c]):>13}" for c in columns)
            )
    best = list(report["figures"].values())[-1]
    name, row = list(best.items())[-1]
    for group, values in row.get("groups", {}).items():
        lines.append(
            f"{name} on {group}: {values['faces']} faces, MAE {values['mae']:.2f}, mean error {values['bias']:+.2f}"
            + (f", gender {values['gender']:.1%}" if "gender" in values else "")
        )
    return lines


def _cell(column: str, value: Any) -> str:
    years = column.startswith("mae")
    if isinstance(value, (tuple, list)):
        return "-".join(f"{v:.2f}" if years else f"{v:.1%}" for v in value)
    return f"{value:.2f}" if years else f"{value:.3f}" if column == "epsilon" else f"{value:.1%}"


def _error(row: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    """An exit's error and how far its interval reaches below and above."""
    flip = (lambda v: v) if key == "mae" else (lambda v: 1 - v)
    error, (low, high) = flip(row[key]), sorted(map(flip, row[f"{key}_95"]))
    return error, error - low, high - error


def draw(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Error against multiply-adds, as in the paper's Fig. 6: a line per network and input size, a mark per exit; mirrored exits
    have a line of their own."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 5), layout="constrained")
    key, title = next(
        (k, text)
        for k, text in (("mae", "MAE, years"), ("expression", "expression, error"))
        if k in next(iter(next(iter(reports[0]["figures"].values())).values()))
    )
    for report in reports:
        for size, exits in report["figures"].items():
            costs = report["multiply_adds"].get(size, {})
            for mirrored in (False, True):
                known = {k: v for k, v in exits.items() if k in costs and key in v and k.endswith(MIRROR) == mirrored}
                if known:
                    points = [(costs[name], *_error(row, key)) for name, row in known.items()]
                    cost, error, below, above = zip(*points, strict=True)
                    label = f"{report['model']}, {size} px{', mirrored' if mirrored else ''}"
                    style = {"marker": "o", "capsize": 2, "lw": 1, "elinewidth": 0.4}
                    axis.errorbar(cost, error, yerr=(below, above), label=label, **style)
    axis.set(xscale="log", xlabel="multiply-adds", ylabel=title, title="Exits: error against cost (bars: 95 %)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
