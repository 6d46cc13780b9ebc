"""`bench exits`: what stopping early saves on this machine, and what an engine with every exit costs in memory.

Everything that is compared is measured in turn in one run, so that a slow moment of the machine hits all alike.
"""

from __future__ import annotations

import json
import time
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from scheduler.profile import OperatingPoint, quantile

if TYPE_CHECKING:
    from pathlib import Path

    from models.manifest import Manifest


def bench_exits(rounds: int, model: str, device: str, json_path: Path | None) -> int:
    """Raises UsageError for a number of rounds that makes no sense."""
    if not 3 <= rounds <= 10_000:
        raise UsageError(f"--rounds must be from 3 to 10000, got {rounds}")
    if json_path:
        check_writable(json_path)
    from app.compose import load_manifest

    report = _exits(load_manifest(model), device, rounds)
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _exits(manifest: Manifest, device: str, rounds: int) -> dict[str, Any]:
    """Each exit against a network cut there and saved on its own, and against asking the whole graph for that output."""
    import onnx
    import onnxruntime
    from onnx.utils import Extractor
    from tqdm import tqdm

    from app.network.graphs import heads_of
    from app.network.onnx_cpu import OnnxEngine, session_options
    from app.network.open import open_engine

    memory = {
        what: _in_own_process(what, str(manifest.network.with_suffix(".json")), device) for what in ("engine", "whole")
    }
    engine = open_engine(manifest, device)
    if not isinstance(engine, OnnxEngine):
        raise UsageError("bench exits looks into ONNX Runtime: give --device auto, cpu or cuda")
    provider, size = engine.providers, max(manifest.input_sizes)
    model = onnx.load_model_from_string(manifest.verify())
    whole = onnxruntime.InferenceSession(manifest.verify(), session_options(), providers=provider)
    cut = {}
    for one in manifest.exits:
        part = Extractor(model).extract_model([manifest.input_name], heads_of(manifest, one.name))
        cut[one.name] = onnxruntime.InferenceSession(part.SerializeToString(), session_options(), providers=provider)

    rows = []
    print(
        f"{manifest.name} on {engine.provider}, {size} px, {engine.threads} threads; medians of {rounds} rounds in turn, ms"
    )
    print(f"{'exit':<10}{'faces':>6}{'early exit':>12}{'cut network':>13}{'ratio':>8}{'whole graph':>13}{'ratio':>8}")
    for faces in tqdm((1, 4, 16), leave=False):
        crops = np.random.default_rng(0).integers(0, 256, (faces, size, size, 3), dtype=np.uint8)
        for one in manifest.exits:
            names = heads_of(manifest, one.name)
            ways = {
                "early": partial(engine.outputs, OperatingPoint(one.name, size), crops),
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
    """Measures in a process of its own, where nothing else changes the figure."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory_mb, (what, manifest_path, device))


def _memory_mb(what: str, manifest_path: str, device: str) -> float:
    """Resident megabytes added by an engine with every exit, or by one session of the whole graph, run included."""
    import onnx.utils  # noqa: F401 - both ways start with the libraries loaded
    import onnxruntime
    import psutil

    from app.compose import load_manifest
    from app.network.onnx_cpu import session_options
    from app.network.open import open_engine

    manifest = load_manifest(manifest_path)
    largest = max(manifest.input_sizes)
    open_engine(manifest, device, exits=[manifest.exits[0].name])  # the thread pool, the arena and the provider
    before = psutil.Process().memory_info().rss
    if what == "engine":
        engine = open_engine(manifest, device)
        for point in engine.points:
            for faces in _blank(point.size):
                engine.read(point, faces)
    else:
        session = onnxruntime.InferenceSession(manifest.verify(), session_options(), providers=["CPUExecutionProvider"])
        for faces in _blank(largest):
            session.run(None, {manifest.input_name: faces})
    return (psutil.Process().memory_info().rss - before) / 1e6


def _blank(size: int) -> list[Any]:
    """Batches of 1, 4 and 16 faces."""
    return [np.zeros((n, size, size, 3), np.uint8) for n in (1, 4, 16)]


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
