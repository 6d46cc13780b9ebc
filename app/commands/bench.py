"""`bench`: what stopping early saves, and what the scheduler makes of a growing crowd, on this machine.

Everything that is compared is measured in turn in one run, so that a slow moment of the machine hits all alike.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from scheduler.latency import LatencyModel, OperatingPoint, quantile
from scheduler.policy import Fixed, LeastError, Load, Policy

if TYPE_CHECKING:
    from pathlib import Path

    from app.engine import OnnxEngine
    from models.manifest import Manifest
    from scheduler.latency import Profile


def bench(what: str, faces: str, budget_ms: float, rounds: int, model: str, device: str, json_path: Path | None) -> int:
    """Raises UsageError for sizes that make no sense."""
    low, high = _range(faces)
    if not 3 <= rounds <= 10_000:
        raise UsageError(f"--rounds must be from 3 to 10000, got {rounds}")
    if not 0.1 <= budget_ms <= 10_000:
        raise UsageError(f"--budget-ms must be from 0.1 to 10000, got {budget_ms:g}")
    if json_path:
        check_writable(json_path)
    from app.compose import load_manifest

    manifest = load_manifest(model)
    report = (
        _exits(manifest, device, rounds)
        if what == "exits"
        else _scheduler(manifest, device, range(low, high + 1), budget_ms, rounds)
    )
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,3})(?:\.\.(\d{1,3}))?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 128:
        raise UsageError(f"--faces must be a range such as 1..16, up to 128, got {text!r}")
    return low, high


# --- exits -----------------------------------------------------------------------------------------------------------


def _exits(manifest: Manifest, device: str, rounds: int) -> dict[str, Any]:
    """Each exit against a network cut there and saved on its own, and against asking the whole graph for that output."""
    import onnx
    import onnxruntime
    from onnx.utils import Extractor
    from tqdm import tqdm

    from app.engine import HEADS, OnnxEngine, session_options

    memory = {
        what: _in_own_process(what, str(manifest.network.with_suffix(".json")), device) for what in ("engine", "whole")
    }
    engine = OnnxEngine(manifest, device)
    provider, size = engine.providers, max(manifest.input_sizes)
    model = onnx.load_model_from_string(manifest.verify())
    whole = onnxruntime.InferenceSession(manifest.verify(), session_options(), providers=provider)
    cut = {}
    for one in manifest.exits:
        part = Extractor(model).extract_model([manifest.input_name], [one.output(h) for h in HEADS])
        cut[one.name] = onnxruntime.InferenceSession(part.SerializeToString(), session_options(), providers=provider)

    rows = []
    print(
        f"{manifest.name} on {engine.provider}, {size} px, {engine.threads} threads; medians of {rounds} rounds in turn, ms"
    )
    print(f"{'exit':<10}{'faces':>6}{'early exit':>12}{'cut network':>13}{'ratio':>8}{'whole graph':>13}{'ratio':>8}")
    for faces in tqdm((1, 4, 16), leave=False):
        crops = np.random.default_rng(0).integers(0, 256, (faces, size, size, 3), dtype=np.uint8)
        for one in manifest.exits:
            names = [one.output(h) for h in HEADS]
            ways = {
                "early": partial(engine.run, OperatingPoint(one.name, size), crops),
                "cut": partial(cut[one.name].run, names, {manifest.input_name: crops}),
                "whole": partial(whole.run, names, {manifest.input_name: crops}),
            }
            ms = {name: quantile(t, 0.5) for name, t in _in_turn(ways, rounds).items()}
            rows.append({"exit": one.name, "faces": faces, **ms})
            tqdm.write(
                f"{one.name:<10}{faces:>6}{ms['early']:>12.2f}{ms['cut']:>13.2f}{ms['early'] / ms['cut']:>8.2f}"
                f"{ms['whole']:>13.2f}{ms['early'] / ms['whole']:>8.2f}"
            )
    print(
        "memory that loading and runs of 1 to 16 faces add to a process: "
        f"{memory['engine']:.0f} MB for an engine with every exit, {memory['whole']:.0f} MB for one session of the whole graph"
    )
    return {"model": manifest.name, "provider": engine.provider, "size": size, "rows": rows, "memory_mb": memory}


def _in_own_process(what: str, manifest_path: str, device: str) -> float:
    """A figure that nothing else in this process can blur."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory_mb, (what, manifest_path, device))


def _memory_mb(what: str, manifest_path: str, device: str) -> float:
    """Resident megabytes added by an engine with every exit, or by one session of the whole graph, run included."""
    import onnx.utils  # noqa: F401 - both ways start with the libraries loaded
    import onnxruntime
    import psutil

    from app.compose import load_manifest
    from app.engine import OnnxEngine, session_options

    manifest = load_manifest(manifest_path)
    size = max(manifest.input_sizes)
    batches = [np.zeros((n, size, size, 3), np.uint8) for n in (1, 4, 16)]
    OnnxEngine(manifest, device, exits=[manifest.exits[0].name])  # the thread pool, the arena and the provider
    before = psutil.Process().memory_info().rss
    if what == "engine":
        engine = OnnxEngine(manifest, device)
        for point in engine.points:
            for faces in batches:
                engine.run(point, faces)
    else:
        session = onnxruntime.InferenceSession(manifest.verify(), session_options(), providers=["CPUExecutionProvider"])
        for faces in batches:
            session.run(None, {manifest.input_name: faces})
    return (psutil.Process().memory_info().rss - before) / 1e6


def _in_turn(ways: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, called in turn; the first three rounds warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 3):
        for name, call in ways.items():
            started = time.perf_counter()
            call()
            if turn >= 3:
                times[name].append((time.perf_counter() - started) * 1e3)
    return times


# --- scheduler -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class _Arm:
    """A policy under measurement at one crowd size."""

    policy: Policy
    latency: LatencyModel
    times_ms: list[float] = dataclasses.field(default_factory=list)
    ranks: list[int] = dataclasses.field(default_factory=list)
    served: list[int] = dataclasses.field(default_factory=list)


def _scheduler(manifest: Manifest, device: str, crowd: range, budget_ms: float, rounds: int) -> dict[str, Any]:
    """Auto and each fixed exit on the real engine. A frame is missed where cropping and network take longer than the budget."""
    from tqdm import tqdm

    from app.calibrate import candidates
    from app.compose import load_profile
    from app.engine import OnnxEngine

    points = [OperatingPoint(e.name, max(manifest.input_sizes)) for e in manifest.exits]
    engine = OnnxEngine(manifest, device, points={*points, *candidates(manifest)})
    profile, remembered = load_profile(engine, manifest)
    blocks = [manifest.exit(p.exit).block for p in engine.points]
    arms: dict[str, tuple[Policy, LatencyModel]] = {"auto": (LeastError(period_ms=budget_ms), LatencyModel(profile))}
    arms |= {p.exit: (Fixed(p), LatencyModel(profile)) for p in points}
    rows = []
    print(
        f"{manifest.name} on {engine.provider}, budget {budget_ms:g} ms, {rounds} frames a cell in turn, "
        f"profile {'remembered' if remembered else 'measured now'}"
    )
    print("per policy: p95 ms / miss rate; auto also: mean exit (mirrored or not), share of faces served")
    print(f"{'faces':<6}{'auto':>34}" + "".join(f"{p.exit:>15}" for p in points))
    for faces in tqdm(crowd, leave=False):
        cell = _measure({n: _Arm(*a) for n, a in arms.items()}, engine, blocks, profile, faces, budget_ms, rounds)
        rows.append({"faces": faces, **cell})
        tqdm.write(
            f"{faces:<6}{_cell(cell['auto'], full=True):>34}" + "".join(f"{_cell(cell[p.exit]):>15}" for p in points)
        )
    print(_verdict(rows, points[0].exit, rounds))
    return {
        "model": manifest.name,
        "provider": engine.provider,
        "budget_ms": budget_ms,
        "rounds": rounds,
        "profile": profile.to_json(),
        "rows": rows,
    }


def _verdict(rows: list[dict[str, Any]], first: str, rounds: int) -> str:
    """Whether auto missed more than the first exit did, and whether chance explains it (Fisher's exact test, one-sided)."""
    from scipy.stats import fisher_exact

    more, beyond = [], []
    for row in rows:
        auto, shallow = row["auto"]["misses"], row[first]["misses"]
        if auto > shallow:
            more.append(f"{row['faces']} ({auto} against {shallow})")
            table = [[auto, rounds - auto], [shallow, rounds - shallow]]
            if fisher_exact(table, alternative="greater").pvalue < 0.05:
                beyond.append(str(row["faces"]))
    return (
        f"of {len(rows) * rounds} frames auto missed {sum(r['auto']['misses'] for r in rows)}, "
        f"{first} {sum(r[first]['misses'] for r in rows)}; more at {', '.join(more) or 'no'} faces, "
        f"beyond chance (p < 0.05) at {', '.join(beyond) or 'none'}"
    )


def _measure(
    arms: dict[str, _Arm],
    engine: OnnxEngine,
    blocks: list[int],
    profile: Profile,
    faces: int,
    budget_ms: float,
    rounds: int,
) -> dict[str, Any]:
    from align.crop import crop_batch
    from app.probe import probe_of

    probe = probe_of(engine)
    frame = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
    matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])
    ranks = {p: i for i, p in enumerate(engine.points)}
    names = list(arms)
    for turn in range(rounds + 3):
        # The order turns: who runs after a deep exit finds other caches than who runs after a shallow one.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            arm = arms[name]
            started = time.perf_counter()
            load = Load(faces, budget_ms, probe=probe() if name == "auto" else 0.0)
            decision = arm.policy(load, arm.latency)
            engine.run(decision.point, crop_batch(frame, [matrix] * decision.serve, decision.point.size))
            took = (time.perf_counter() - started) * 1e3
            arm.latency.observe(decision.point, decision.serve, took, probe=load.probe)
            if turn >= 3:
                arm.times_ms.append(took)
                arm.ranks.append(ranks[decision.point])
                arm.served.append(decision.serve)
    return {
        name: {
            "p50_ms": quantile(a.times_ms, 0.5),
            "p95_ms": quantile(a.times_ms, 0.95),
            "misses": sum(t > budget_ms for t in a.times_ms),
            "miss_rate": sum(t > budget_ms for t in a.times_ms) / len(a.times_ms),
            "mean_exit": float(np.mean([blocks[r] for r in a.ranks])),
            "served": float(np.mean(a.served) / faces),
            "expected_mae": float(np.mean([profile.mae(engine.points[r]) for r in a.ranks])),
        }
        for name, a in arms.items()
    }


def _cell(figures: dict[str, float], full: bool = False) -> str:
    text = f"{figures['p95_ms']:.1f} / {figures['miss_rate']:.1%}"
    return text + f"; exit {figures['mean_exit']:.1f}, {figures['served']:.0%}" if full else text
