"""Figures of merit, in NumPy. Labels of -1 are unknown and left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def expectation(probabilities: ArrayLike) -> NDArray[np.float64]:
    """(n, 101) age probabilities to (n,) expected years."""
    p = np.asarray(probabilities, np.float64)
    return p @ np.arange(p.shape[1])


def deviation(probabilities: ArrayLike) -> NDArray[np.float64]:
    """(n, 101) age probabilities to (n,) standard deviations in years."""
    p = np.asarray(probabilities, np.float64)
    ages = np.arange(p.shape[1])
    return np.sqrt(np.maximum(p @ ages**2 - (p @ ages) ** 2, 0.0))


def spread(probabilities: ArrayLike) -> NDArray[np.float64]:
    """`deviation`, half a year at least: what an interval's scale multiplies. A network that is certain is not exact."""
    return np.maximum(deviation(probabilities), 0.5)


def true_age(age: ArrayLike, age_mean: ArrayLike) -> NDArray[np.float64]:
    """(n,) years that an estimate is held against: the mean of people's guesses, not rounded, where it is known (not nan)."""
    mean = np.asarray(age_mean, np.float64)
    return np.where(np.isnan(mean), np.asarray(age, np.float64), mean)


def mae(estimate: ArrayLike, age: ArrayLike) -> float:
    """Mean absolute error in years."""
    return float(np.abs(np.asarray(estimate) - np.asarray(age)).mean())


def cumulative_score(estimate: ArrayLike, age: ArrayLike, within: float = 5.0) -> float:
    """Share of estimates at most `within` years off (CS5 by default)."""
    return float((np.abs(np.asarray(estimate) - np.asarray(age)) <= within).mean())


def epsilon_error(estimate: ArrayLike, mean: ArrayLike, deviation: ArrayLike) -> NDArray[np.float64]:
    """ChaLearn LAP's error of each face, 0 to 1: 1 - exp(-(y - mu)^2 / (2 sigma^2)); NaN where no deviation is known."""
    off, sigma = np.asarray(estimate, np.float64) - np.asarray(mean), np.asarray(deviation, np.float64)
    safe = np.where(sigma > 0, sigma, np.nan)
    return 1 - np.exp(-(off**2) / (2 * safe**2))


def accuracy(probabilities: ArrayLike, label: ArrayLike) -> float:
    """Share of samples whose likeliest class is the label."""
    return float((np.asarray(probabilities).argmax(axis=1) == np.asarray(label)).mean())


def macro_f1(probabilities: ArrayLike, label: ArrayLike) -> float:
    """Unweighted mean over classes of F1; a class that is neither there nor guessed is left out."""
    p = np.asarray(probabilities)
    guess, truth, scores = p.argmax(axis=1), np.asarray(label), []
    for k in range(p.shape[1]):
        hits, either = ((guess == k) & (truth == k)).sum(), (guess == k).sum() + (truth == k).sum()
        if either:
            scores.append(2 * hits / either)
    return float(np.mean(scores))


def bootstrap_interval(
    values: ArrayLike, seed: int = 0, rounds: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of (n,) per-sample values."""
    v = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = [v[rng.integers(0, len(v), len(v))].mean() for _ in range(rounds)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
