"""`bench probe`: whether a fixed piece of work before a run of the network foretells how slow that run will be.

Pauses as a live run has them, the probe, then a run at a point and with a number of faces drawn by chance, which does not
depend on what the probe said. A run's ratio is its time over the median of all runs with the same point and faces.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from scheduler.latency import quantile

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 3000
PAUSE_S = (0.004, 0.03)
FACES = (1, 2, 4, 8)
# What the probe said, in classes: 0 is as usual, then times slower.
CLASSES = ((0.0, 0.0), (1.5, 3.0), (3.0, 6.0), (6.0, float("inf")))
LONGEST = 0.01  # the share of runs that are asked whether they were foretold


def bench_probe(frames: int, model: str, json_path: Path | None) -> int:
    """Raises UsageError for a number of frames of which no tail can be told."""
    if not 300 <= frames <= 1_000_000:
        raise UsageError(f"--frames must be from 300 to 1000000, got {frames}")
    if json_path:
        check_writable(json_path)
    runs = _measure(frames, model)
    report = figures(runs)
    print(f"{frames} runs after pauses of {PAUSE_S[0] * 1e3:g} to {PAUSE_S[1] * 1e3:g} ms; time over the usual time")
    print(f"{'the probe said':<20}{'runs':>8}{'p50':>8}{'p95':>8}{'p99':>8}{'p99.75':>9}{'longest':>9}")
    for row in report["classes"]:
        print(f"{row['said']:<20}{row['share']:>8.1%}" + "".join(f"{row[k]:>{w}.2f}" for k, w in COLUMNS))
    print(f"of the longest hundredth of the runs ({report['longest_from']:.1f} times as long as usual and more) "
          f"{report['foretold']:.0%} were foretold; the probe takes {report['probe_us_p50']:.0f} us "
          f"(p99 {report['probe_us_p99']:.0f})")  # fmt: skip
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


COLUMNS = (("p50", 8), ("p95", 8), ("p99", 8), ("p9975", 9), ("longest", 9))


def _measure(frames: int, model: str) -> list[tuple[float, float, float]]:
    """What the probe said, the run's ratio, and microseconds of the probe, of each frame."""
    from tqdm import tqdm

    from align.crop import crop_batch
    from app.calibrate import candidates
    from app.compose import load_manifest
    from app.engine import OnnxEngine
    from app.probe import Probe

    manifest = load_manifest(model)
    engine = OnnxEngine(manifest, "cpu", points=candidates(manifest))
    picture = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])
    chance, probe = random.Random(0), Probe()
    rows = []
    for point in engine.points:  # the first run of its kind is no moment of the machine's
        for faces in FACES:
            engine.run(point, crop_batch(picture, [matrix] * faces, point.size))
    for _ in tqdm(range(frames), leave=False, disable=None):
        point, faces = chance.choice(engine.points), chance.choice(FACES)
        time.sleep(chance.uniform(*PAUSE_S))
        began = time.perf_counter()
        said = probe()
        started = time.perf_counter()
        engine.run(point, crop_batch(picture, [matrix] * faces, point.size))
        rows.append(((point, faces), said, time.perf_counter() - started, (started - began) * 1e6))
    alike: dict[Any, list[float]] = {}
    for what, _, took, _ in rows:
        alike.setdefault(what, []).append(took)
    usual = {what: quantile(each, 0.5) for what, each in alike.items()}
    return [(said, took / usual[what], probe_us) for what, said, took, probe_us in rows]


def figures(runs: list[tuple[float, float, float]]) -> dict[str, Any]:
    """`runs`: what the probe said, the run's time over its usual time, and the probe's own microseconds."""
    classes = []
    for low, high in CLASSES:
        ratios = [ratio for said, ratio, _ in runs if low <= said < high or low == said == high] or [0.0]
        name = (
            "as usual"
            if high == 0
            else f"{low:g} times and more"
            if high == float("inf")
            else f"{low:g} to {high:g} times"
        )
        classes.append({"said": name, "share": sum(r > 0 for r in ratios) / len(runs), **_quantiles(ratios)})
    ratios = [ratio for _, ratio, _ in runs]
    from_ = quantile(ratios, 1 - LONGEST)
    longest = [said for said, ratio, _ in runs if ratio >= from_]
    probe_us = [us for _, _, us in runs]
    return {
        "frames": len(runs),
        "classes": [*classes, {"said": "all", "share": 1.0, **_quantiles(ratios)}],
        "longest_from": from_,
        "foretold": sum(said > 0 for said in longest) / len(longest),
        "probe_us_p50": quantile(probe_us, 0.5),
        "probe_us_p99": quantile(probe_us, 0.99),
    }


def _quantiles(ratios: list[float]) -> dict[str, float]:
    each = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p9975": 0.9975, "longest": 1.0}
    return {name: quantile(ratios, q) for name, q in each.items()}
