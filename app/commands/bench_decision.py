"""`bench decision`: what the scheduler's decision takes between a frame's alignment and its network, and why.

For each made frame the thread sleeps, as it does while the capture side works, asks the probe and decides; decides the same
once more, with code and data at hand; and runs the network as decided. In turn with that, after a sleep and a probe of its
own, a plain loop of additions that takes as long as a decision at hand: what is slow about that is the machine and not the
decision. Moments in which the probe says that the machine is slow are told from usual ones.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from scheduler.latency import LatencyModel, quantile
from scheduler.policy import LeastError, Load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES, WARMUP = 600, 20
PAUSE_S = 0.012
PERIOD_MS = 1000 / 30
MOST_FACES, LEFT_MS = 32, (8.0, 30.0)
FIRST, USUAL, SLOW = "after a pause", "in usual moments", "in slow moments"
AGAIN, PLAIN, PROBE = "again at once", "plain loop after a pause", "probe after a pause"


def bench_decision(frames: int, model: str, device: str, json_path: Path | None) -> int:
    """Raises UsageError for a number of frames of which no tail can be told."""
    if not 100 <= frames <= 100_000:
        raise UsageError(f"--frames must be from 100 to 100000, got {frames}")
    if json_path:
        check_writable(json_path)
    rows = _measure(frames, model, device)
    print(f"{frames} frames of up to {MOST_FACES} faces, {PAUSE_S * 1e3:g} ms of sleep before each; microseconds")
    quantiles = f"{'p50':>8}{'p95':>8}{'p99':>8}"
    print(f"{'decision':<27}{'frames':>7}  by the clock:{quantiles}   on the core:{quantiles}")
    for row in rows:
        name = "  " * (row["what"] in (USUAL, SLOW)) + row["what"]
        clock, core = ("".join(f"{row[f'{k}{q}_us']:>8.0f}" for q in ("p50", "p95", "p99")) for k in ("", "core_"))
        print(f"{name:<27}{row['frames']:>7}{'':>15}{clock}{'':>15}{core}")
    if json_path:
        json_path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(frames: int, model: str, device: str) -> list[dict[str, Any]]:
    from tqdm import tqdm

    from align.crop import crop_batch
    from app.calibrate import candidates
    from app.compose import load_manifest, load_profile
    from app.engine import OnnxEngine
    from app.probe import probe_of

    manifest = load_manifest(model)
    points = candidates(manifest)
    engine = OnnxEngine(manifest, device, points=points)
    profile = load_profile(engine, manifest, points=points)[0]
    rule, latency, chance = LeastError(period_ms=PERIOD_MS), LatencyModel(profile), random.Random(0)
    probe = probe_of(engine)
    picture = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])
    taken: dict[str, list[tuple[float, float]]] = {what: [] for what in (PROBE, FIRST, USUAL, SLOW, AGAIN, PLAIN)}
    additions, warm = 100, list[float]()
    for i in tqdm(range(WARMUP + frames), leave=False, disable=None):
        load = Load(chance.randint(1, MOST_FACES), chance.uniform(*LEFT_MS), chance.choice((0, 0, 0, 1)))
        time.sleep(PAUSE_S)
        said, asking = timed(probe)
        load = load._replace(probe=said)
        decision, first = timed(lambda load=load: rule(load, latency))
        _, again = timed(lambda load=load: rule(load, latency))
        started = time.perf_counter()
        engine.run(decision.point, crop_batch(picture, [matrix] * decision.serve, decision.point.size))
        latency.observe(decision.point, decision.serve, (time.perf_counter() - started) * 1e3, probe=said)
        time.sleep(PAUSE_S)
        probe()
        _, plain = timed(lambda n=additions: sum_up(n))
        if i < WARMUP:  # until a loop at hand takes what a decision at hand takes
            at_hand = timed(lambda n=additions: sum_up(n))[1][0]
            warm.append(again[0])
            additions = max(round(additions * quantile(warm, 0.5) / at_hand), 1)
            continue
        for what, took in (
            (PROBE, asking),
            (FIRST, first),
            (SLOW if said else USUAL, first),
            (AGAIN, again),
            (PLAIN, plain),
        ):
            taken[what].append(took)
    return [row(what, each) for what, each in taken.items() if each]


def timed(call: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What it gave, and the microseconds that it took by the clock and on the core."""
    began, on_core = time.perf_counter(), time.thread_time()
    result = call()
    own = time.thread_time() - on_core
    return result, ((time.perf_counter() - began) * 1e6, own * 1e6)


def sum_up(count: int) -> float:
    """So many additions."""
    total = 0.0
    for i in range(count):
        total += i
    return total


def row(what: str, each: list[tuple[float, float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {"what": what, "frames": len(each)}
    for name, values in (("", [clock for clock, _ in each]), ("core_", [core for _, core in each])):
        figures |= {f"{name}p{round(q * 100)}_us": quantile(values, q) for q in (0.5, 0.95, 0.99)}
    return figures
