"""`bench copies`: what copies to and from the device take of a run, and whether a batch's size can still surprise it.

Every pair of operating point and batch is run once on a fresh engine, then many times in an order drawn by chance, so that
shapes change from run to run as in a live crowd; then in turn with runs whose faces and results are left on the device. What
those save is all that copying beside the network's work could win.
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
    from collections.abc import Callable
    from pathlib import Path

    from scheduler.latency import OperatingPoint


def bench_copies(rounds: int, model: str, device: str, json_path: Path | None) -> int:
    """Raises UsageError, ModelError and DeviceError."""
    if not 10 <= rounds <= 10_000:
        raise UsageError(f"--rounds must be from 10 to 10000, got {rounds}")
    if json_path:
        check_writable(json_path)
    provider, rows = _measure(rounds, model, device)
    print(f"{provider}, {rounds} runs of each in an order drawn by chance; milliseconds")
    head = f"{'operating point':<18}{'faces':>6}{'first run':>11}{'p50':>8}{'p99':>8}{'slowest':>9}"
    print(f"{head}{'in turn':>9}{'on device':>11}{'copies':>8}")
    for one in rows:
        share = 1 - one["on_device_ms"] / one["in_turn_ms"]
        print(
            f"{one['point']:<18}{one['faces']:>6}{one['first_ms']:>11.1f}{one['p50_ms']:>8.2f}{one['p99_ms']:>8.2f}"
            f"{one['slowest_ms']:>9.2f}{one['in_turn_ms']:>9.2f}{one['on_device_ms']:>11.2f}{share:>8.1%}"
        )
    if json_path:
        json_path.write_text(json.dumps({"provider": provider, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(rounds: int, model: str, device: str) -> tuple[str, list[dict[str, Any]]]:
    from tqdm import tqdm

    from app.calibrate import candidates
    from app.compose import load_manifest
    from app.engine import OnnxEngine

    manifest = load_manifest(model)
    points = candidates(manifest)
    chosen = sorted({0, len(points) // 2, len(points) - 1})
    points = [points[i] for i in chosen]
    engine = OnnxEngine(manifest, device, points=points)
    batches = (engine.buckets[0], engine.buckets[len(engine.buckets) // 2], engine.buckets[-1])
    pictures, chance = np.random.default_rng(0), random.Random(0)
    faces: dict[tuple[OperatingPoint, int], Any] = {
        (p, n): pictures.integers(0, 256, (n, p.size, p.size, 3), dtype=np.uint8) for p in points for n in batches
    }
    first = {(p, n): _ms(lambda p=p, crops=crops: engine.run(p, crops)) for (p, n), crops in faces.items()}
    order = [key for key in faces for _ in range(rounds)]
    chance.shuffle(order)
    times: dict[tuple[OperatingPoint, int], list[float]] = {key: [] for key in faces}
    for p, n in tqdm(order, desc="runs", leave=False, disable=None):
        times[p, n].append(_ms(lambda p=p, n=n: engine.run(p, faces[p, n])))
    rows = []
    for (p, n), crops in faces.items():
        run = engine.on_device(p, crops)
        run()
        here, there = list[float](), list[float]()
        for _ in range(rounds):
            here.append(_ms(lambda p=p, crops=crops: engine.run(p, crops)))
            there.append(_ms(run))
        rows.append(
            {
                "point": str(p),
                "faces": n,
                "first_ms": first[p, n],
                "p50_ms": quantile(times[p, n], 0.5),
                "p99_ms": quantile(times[p, n], 0.99),
                "slowest_ms": max(times[p, n]),
                "in_turn_ms": quantile(here, 0.5),
                "on_device_ms": quantile(there, 0.5),
            }
        )
    return engine.provider, rows


def _ms(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3
