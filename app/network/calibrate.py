"""Measures how long every operating point takes on this machine, and remembers it.

The profile is kept in the user's cache folder under a key of everything that it depends on: the network's hash, the
provider, threads, ONNX Runtime's version and the machine. It holds times only.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from align.crop import crop_batch
from app.errors import OutputError, UsageError
from app.network.profiles import machine, made_here, measured_for, read_profile, write_profile
from models.manifest import MIRROR
from scheduler.profile import LEAST_GAIN, OperatingPoint, PointProfile, Profile, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from app.network.engine import Engine
    from models.manifest import Manifest

ROUNDS = 7
# A slow machine gets fewer rounds, so that starting stays bearable; two are needed to tell a median from a stall.
MIN_ROUNDS, MAX_S = 2, 6.0
SLACK = 1.15
# Errors of constant answers: the median age (29) and the commoner gender over UTKFace's 19,492 pictures, the commonest
# expression over FER2013's PublicTest.
BLANK = {"mae": 15.50, "gender": 0.477, "expression": 0.749}


MULTIPLY_ADDS_PER_MS = 1e7  # about what one core does


def candidates(manifest: Manifest) -> list[OperatingPoint]:
    """The operating points that may be worth choosing, cheapest first: the others are not even measured.

    A point is left out where another is no worse and takes fewer multiply-adds by more than SLACK, since time does not
    follow multiply-adds exactly. The dearest exit stays in any case: it is what everybody compares with. A mirrored one must
    err less than all that is cheaper by what the front asks for, or starting would take longer for nothing.
    """
    points = [OperatingPoint(e.name, s) for e in manifest.variants for s in e.multiply_adds]
    costs = {p: manifest.exit(p.exit).multiply_adds[p.size] for p in points}
    errors, _ = relative_errors(manifest, points)
    points.sort(key=lambda p: (costs[p], errors[p]))
    dearest = max((p for p in points if not p.exit.endswith(MIRROR)), key=lambda p: costs[p])

    def beaten(p: OperatingPoint) -> bool:
        if p.exit.endswith(MIRROR):
            return any(errors[q] * (1 - LEAST_GAIN) <= errors[p] for q in points if costs[q] < costs[p])
        return any(errors[q] <= errors[p] and costs[q] * SLACK < costs[p] for q in points)

    return [p for p in points if p == dearest or not beaten(p)]


def best_point(manifest: Manifest) -> OperatingPoint:
    """The one that errs least, whatever it costs."""
    points = candidates(manifest)
    errors, _ = relative_errors(manifest, points)
    return min(points, key=lambda p: errors[p])


def unmeasured(engine: Engine, manifest: Manifest, points: Sequence[OperatingPoint]) -> Profile:
    """A profile for runs without a deadline: times by multiply-adds alone, which are neither shown nor decided by."""
    errors, blank = relative_errors(manifest, points)
    profiles = tuple(
        PointProfile(
            point,
            tuple(
                b * manifest.exit(point.exit).multiply_adds[point.size] / MULTIPLY_ADDS_PER_MS for b in engine.buckets
            ),
            manifest.exit(point.exit).validation[point.size]["mae"],
            errors[point],
        )
        for point in points
    )
    return Profile(tuple(engine.buckets), profiles, blank_mae=BLANK["mae"], blank_error=blank)


def calibrate(
    engine: Engine,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    rounds: int = ROUNDS,
    max_s: float = MAX_S,
    points: Sequence[OperatingPoint] | None = None,
    probe: Callable[[], float] = lambda: 0.0,
) -> Profile:
    """All of `measuring` at once.

    `points` are all of the engine's unless they are given. Where the rounds would take longer than `max_s`, fewer are made.
    Runs in moments that the probe (probe.py) calls slow do not count, unless hardly any other is left.
    """
    steps = measuring(engine, manifest, progress, clock, rounds, max_s, points, probe)
    while True:
        try:
            next(steps)
        except StopIteration as measured:
            return measured.value


def measuring(
    engine: Engine,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    rounds: int = ROUNDS,
    max_s: float = math.inf,
    points: Sequence[OperatingPoint] | None = None,
    probe: Callable[[], float] = lambda: 0.0,
) -> Generator[None, None, Profile]:
    """Times every point at every number of faces that matters, cropping included, in rounds, so that a slow spell hits all
    alike, and in an order drawn anew for each, so that every one starts cold, as in a live run. A step for each time."""
    points = [p for p in points or engine.points if p in engine.points]
    frame = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])
    buckets = measured_for(engine)
    every = [(p, b) for p in points for b in buckets]
    usual, slow = {key: list[float]() for key in every}, {key: list[float]() for key in every}
    order, chance = every.copy(), random.Random(0)
    began, done = clock(), 0
    for turn in range(rounds + 1):
        for i, (point, bucket) in enumerate(order, start=1):
            times = (slow if probe() else usual)[point, bucket]
            started = clock()
            engine.read(point, crop_batch(frame, [matrix] * bucket, point.size))
            if turn > 0:  # the first round warms every shape up
                times.append((clock() - started) * 1e3)
            if progress:
                progress(turn * len(every) + i, (rounds + 1) * len(every))
            yield
        chance.shuffle(order)
        done += turn > 0
        if done >= MIN_ROUNDS and clock() - began > max_s:
            break
    if progress:
        progress((rounds + 1) * len(every), (rounds + 1) * len(every))
    samples = {key: usual[key] if len(usual[key]) >= MIN_ROUNDS else usual[key] + slow[key] for key in every}
    medians = _consistent({key: quantile(times, 0.5) for key, times in samples.items()}, points, buckets)
    tail = quantile([t / medians[key] for key, times in samples.items() for t in times], 0.95)
    errors, blank = relative_errors(manifest, points)
    profiles = tuple(
        PointProfile(
            point,
            tuple(medians[point, b] for b in buckets),
            manifest.exit(point.exit).validation[point.size]["mae"],
            errors[point],
        )
        for point in points
    )
    return Profile(buckets, profiles, max(1.0, tail), blank_mae=BLANK["mae"], blank_error=blank)


def warm_times(engine: Engine, points: Sequence[OperatingPoint], repeats: int = 9) -> list[dict[int, float]]:
    """Milliseconds for each bucket of each point when the same run follows the same run, as networks are usually timed: code
    and weights are in the caches then, which they are not in a live run. Cropping is not included."""
    chance, out = np.random.default_rng(0), []
    for point in points:
        times = {}
        for bucket in engine.buckets:
            faces = chance.integers(0, 256, (bucket, point.size, point.size, 3), dtype=np.uint8)
            took = []
            for _ in range(repeats):
                started = time.perf_counter()
                engine.read(point, faces)
                took.append((time.perf_counter() - started) * 1e3)
            times[bucket] = quantile(took[2:], 0.5)
        out.append(times)
    return out


def _consistent(
    medians: dict[tuple[OperatingPoint, int], float], points: Sequence[OperatingPoint], buckets: Sequence[int]
) -> dict[tuple[OperatingPoint, int], float]:
    """Makes times rise with faces and depth: where they fall it is noise, which would confuse the choice.

    Depth by isotonic regression, which shares an outlier between neighbours; faces by the running maximum.
    """
    from scipy.optimize import isotonic_regression

    out = {}
    alike: dict[tuple[str, int, bool], list[OperatingPoint]] = {}
    for p in sorted(points):
        alike.setdefault((p.engine, p.size, p.exit.endswith(MIRROR)), []).append(p)
    for deeper in alike.values():
        table = np.array([isotonic_regression([medians[p, b] for p in deeper]).x for b in buckets])
        for point, times in zip(deeper, np.maximum.accumulate(table, axis=0).T, strict=True):
            out |= {(point, bucket): float(t) for bucket, t in zip(buckets, times, strict=True)}
    return out


def relative_errors(manifest: Manifest, points: Sequence[OperatingPoint]) -> tuple[dict[OperatingPoint, float], float]:
    """Validation error of each point over the tasks that there are, relative to the best: the mean of age's MAE and of gender's
    and expression's error, each divided by the least of all points. And the same of an answer that looks at nobody."""
    figures = {p: manifest.exit(p.exit).validation[p.size] for p in points}
    tasks = ["mae", *manifest.tasks[1:]]
    table = {p: [f[k] if k == "mae" else max(1 - f[k], 1e-3) for k in tasks] for p, f in figures.items()}
    best = [min(column) for column in zip(*table.values(), strict=True)]

    def relative(row: Sequence[float]) -> float:
        return sum(e / b for e, b in zip(row, best, strict=True)) / len(best)

    return {p: relative(row) for p, row in table.items()}, relative([BLANK[k] for k in tasks])


def profile_path(
    folder: Path, engine: Engine, manifest: Manifest, threads: int, points: Sequence[OperatingPoint] | None = None
) -> Path:
    """Where the profile of this machine, network and engine is remembered."""
    points = sorted(points or engine.points)
    key = {
        "network": manifest.sha256,
        "provider": engine.provider,
        "threads": threads,
        "points": [str(p) for p in points],
        "buckets": list(measured_for(engine)),
        "errors": list(relative_errors(manifest, points)[0].values()),
        **machine(),
        "node": platform.node(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return folder / f"profile-{digest}.json"


def cached_profile(
    folder: Path,
    engine: Engine,
    manifest: Manifest,
    threads: int,
    measure: Callable[[], Profile],
    again: bool = False,
    points: Sequence[OperatingPoint] | None = None,
) -> tuple[Profile, bool]:
    """The remembered profile, or (always with `again`) a new one that is then remembered; and whether it was remembered.

    A cache that cannot be read or written is not an error: the profile is measured again.
    """
    path = profile_path(folder, engine, manifest, threads, points)
    known = None if again else remembered(path)
    if known:
        return known, True
    profile = measure()
    remember(path, profile, engine, manifest, threads)
    return profile, False


def remembered(path: Path) -> Profile | None:
    with suppress(UsageError):
        return read_profile(path).profile
    return None


def remember(path: Path, profile: Profile, engine: Engine, manifest: Manifest, threads: int) -> None:
    """One measured beside other work, too: the next start is quick with it, and mends it (mending.py)."""
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_profile(path, made_here(profile, engine, manifest, threads))
