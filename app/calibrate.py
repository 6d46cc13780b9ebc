"""Measures how long every operating point takes on this machine, and remembers it.

The profile is kept in the user's cache folder under a key of everything that it depends on: the network's hash, the
provider, threads, ONNX Runtime's version and the machine. It holds times only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align.crop import crop_batch
from scheduler.latency import OperatingPoint, PointProfile, Profile, quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.engine import Engine
    from models.manifest import Manifest

ROUNDS = 7
# A slow machine gets fewer rounds, so that starting stays bearable; two are needed to tell a median from a stall.
MIN_ROUNDS, MAX_S = 2, 6.0


def machine() -> dict[str, Any]:
    """What a profile or log says about where it was made."""
    import onnxruntime

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def calibrate(
    engine: Engine,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    rounds: int = ROUNDS,
    max_s: float = MAX_S,
) -> Profile:
    """Times every (point, bucket), cropping included, in rounds, so that a slow moment hits all alike."""
    frame = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])
    samples: dict[tuple[OperatingPoint, int], list[float]] = {(p, b): [] for p in engine.points for b in engine.buckets}
    began, done = clock(), 0
    for turn in range(rounds + 1):
        for (point, bucket), times in samples.items():
            started = clock()
            engine.run(point, crop_batch(frame, [matrix] * bucket, point.size))
            if turn > 0:  # the first round warms every shape up
                times.append((clock() - started) * 1e3)
        done += turn > 0
        if progress:
            progress(turn + 1, rounds + 1)
        if done >= MIN_ROUNDS and clock() - began > max_s:
            break
    medians = {key: quantile(times, 0.5) for key, times in samples.items()}
    tail = quantile([t / medians[key] for key, times in samples.items() for t in times], 0.95)
    points = tuple(
        PointProfile(
            point,
            # More faces never take less time: what says so is noise, and would confuse the choice.
            tuple(float(t) for t in np.maximum.accumulate([medians[point, b] for b in engine.buckets])),
            manifest.exit(point.exit).validation[point.size]["mae"],
        )
        for point in engine.points
    )
    return Profile(engine.buckets, points, max(1.0, tail), engine.pads)


def cached_profile(
    folder: Path, engine: Engine, manifest: Manifest, threads: int, measure: Callable[[], Profile], again: bool = False
) -> tuple[Profile, bool]:
    """The remembered profile, or (always with `again`) a new one that is then remembered; and whether it was remembered.

    A cache that cannot be read or written is no error: the profile is measured again.
    """
    key = {
        "network": manifest.sha256,
        "provider": engine.provider,
        "threads": threads,
        "points": [str(p) for p in engine.points],
        "buckets": list(engine.buckets),
        "maes": [manifest.exit(p.exit).validation[p.size]["mae"] for p in engine.points],
        **machine(),
        "node": platform.node(),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"profile-{digest}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        if not again:
            return Profile.from_json(json.loads(path.read_text(encoding="utf-8"))["profile"]), True
    profile = measure()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"machine": machine(), "profile": profile.to_json()}, indent=1), encoding="utf-8")
        os.replace(draft, path)
    return profile, False
