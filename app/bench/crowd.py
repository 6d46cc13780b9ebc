"""`bench crowd`: the live engine under crowds that come and go, other programs that come and go, and four budgets.

Frames are born at a steady rate; the loop takes the newest, as the pipeline does, and everything from birth to the end of
the network counts against the budget (there is no front end). For each frame that was missed it is worked out whether
the cheapest point could have made it for one face, had it met the same moment; and a second, shorter run of the same
crowd uses nothing but the cheapest point.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from app.bench.crowd_figures import HEAD, Cell, figures, line
from app.bench.crowd_loop import Loop
from app.errors import UsageError
from app.files import check_writable
from app.reports.worlds import BENCHMARK, read_crowd
from scheduler.compare import further_moments, moments
from scheduler.fairness import longest_wait_ms, wait_bound_ms
from scheduler.latency import LatencyModel
from scheduler.load import Load
from scheduler.log import LogWriter
from scheduler.policy import Policy, ValuePerPerson
from scheduler.profile import Profile, quantile
from scheduler.world import Moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.network.engine import Engine

FPS = 30.0
HOGS = (0, 1, 2)
MOST_FACES = 32
CONTROL = 0.25  # share of the time for the run with the cheapest point alone


@dataclass(frozen=True)
class Plan:
    """Every budget is met with every number of HOGS, each by every crowd for `frames` frames."""

    budgets_ms: tuple[float, ...]
    shapes: tuple[str, ...]
    frames: int


@dataclass
class Measured:
    """What came of it: a row per cell, and the machine's ups and downs for `simulate --noise`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    further: list[float] = field(default_factory=list)


def make_plan(minutes: float, budgets: str, crowds: str) -> Plan:
    """Raises UsageError for what makes no sense, before anything is measured."""
    if not 0.05 <= minutes <= 600:
        raise UsageError(f"--minutes must be from 0.05 to 600, got {minutes:g}")
    try:
        limits = [float(b) for b in budgets.split(",")]
    except ValueError:
        limits = []
    if not limits or not all(1 <= b <= 10_000 for b in limits):
        raise UsageError(f"--budgets must be milliseconds from 1 to 10000 with commas between, got {budgets!r}")
    shapes = crowds.split(",")
    for shape in shapes:
        read_crowd(shape, 12, FPS, MOST_FACES)
    frames = max(round(minutes * 60 * FPS / len(limits) / len(HOGS) / (1 + CONTROL) / len(shapes)), 12)
    return Plan(tuple(limits), tuple(shapes), frames)


def bench_crowd(
    model: str, device: str, minutes: float, budgets: str, json_path: Path | None, log: Path | None, crowds: str
) -> int:
    """Raises UsageError for what makes no sense."""
    plan = make_plan(minutes, budgets, crowds)
    for path in (json_path, log):
        if path:
            check_writable(path)
    from app.compose import load_manifest, load_profile
    from app.network.calibrate import candidates
    from app.network.open import open_engine
    from app.network.probe import probe_of
    from app.network.profiles import machine

    manifest = load_manifest(model)
    engine = open_engine(manifest, device, points=candidates(manifest))
    profile, remembered = load_profile(engine, manifest)
    policy, began = ValuePerPerson(period_ms=1000 / FPS), time.perf_counter()
    loop = Loop(engine, policy, LatencyModel(profile), began, probe_of(engine))
    writer = _log(log, manifest, engine, profile, policy) if log else None
    source = "remembered" if remembered else "measured now"
    print(
        f"{manifest.name} on {engine.provider}, {engine.threads} threads, profile {source}; "
        f"crowds {', '.join(plan.shapes)} of up to {MOST_FACES}, {plan.frames} frames each at {FPS:g} fps"
    )
    print(HEAD)
    measured = _measure(plan, loop, profile, writer)
    if writer:
        writer.close()
    for text in _told(measured):
        print(text)
    if json_path:
        report = {
            "type": BENCHMARK,
            "machine": machine(),
            "model": manifest.name,
            "provider": engine.provider,
            "threads": engine.threads,
            "fps": FPS,
            "frames_per_crowd": plan.frames,
            "profile": profile.to_json(),
            "policy": policy.to_json(),
            "cells": measured.rows,
            "moments": [round(m.ratio, 3) for m in measured.moments],
            "probes": [round(m.probe, 2) for m in measured.moments],
            "further_moments": [round(m, 3) for m in measured.further],
        }
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(plan: Plan, loop: Loop, profile: Profile, writer: LogWriter | None) -> Measured:
    """Every cell, each beside a shorter run with the cheapest point alone; prints a line for each."""
    from tqdm import tqdm

    shapes = dict.fromkeys(plan.shapes, plan.frames)
    shorter = dict.fromkeys(plan.shapes, max(round(plan.frames * CONTROL), 3))
    measured = Measured()
    with tqdm(total=len(plan.budgets_ms) * len(HOGS), leave=False) as bar:
        for budget, hogs in product(plan.budgets_ms, HOGS):
            cell = run_cell(loop, profile, budget, hogs, shapes, writer)
            control = run_cell(loop.with_the_cheapest_alone(profile), profile, budget, hogs, shorter)
            measured.rows.append(figures(cell, control, profile))
            measured.moments += moments(cell.records, profile)
            measured.further += further_moments(cell.records, profile)
            tqdm.write(line(measured.rows[-1]))
            bar.update()
    return measured


def _told(measured: Measured) -> Iterator[str]:
    keys = ("miss_share", "decide_us_p99", "decide_usual_us_p99", "slow")
    worst = {key: max(r[key] for r in measured.rows) for key in keys}
    yield (
        f"worst cell: misses {worst['miss_share']:.2%}, decision p99 {worst['decide_us_p99']:.0f} us, "
        f"{worst['decide_usual_us_p99']:.0f} us in usual moments; slow moments {worst['slow']:.1%} of frames"
    )
    if again := measured.further:
        p50, p95 = quantile(again, 0.5), quantile(again, 0.95)
        yield f"second batches of a frame: {p50:.2f} times as slow as its first (median; 95 of 100 up to {p95:.2f})"


def _log(path: Path, manifest: Any, engine: Engine, profile: Profile, policy: Policy) -> LogWriter:
    from app.files import TextFile
    from app.network.profiles import made_here

    header = made_here(profile, engine, manifest, engine.threads).to_json()
    return LogWriter(
        TextFile(path),
        {
            **{k: header[k] for k in ("created", "machine", "model", "profile")},
            "settings": {"source": "bench crowd", "live": True, "provider": engine.provider, "threads": engine.threads},
            "policy": policy.to_json(),
            "correction": LatencyModel(profile).to_json(),
        },
    )


def run_cell(
    loop: Loop, profile: Profile, budget_ms: float, hogs: int, shapes: dict[str, int], writer: LogWriter | None = None
) -> Cell:
    """All crowds once, for this many frames each. Hogs are there in the second and the last quarter of each."""
    cell, late, cheap = Cell(budget_ms, hogs), False, profile.front[0]
    with _hogs(hogs) as switch:
        for shape, frames in shapes.items():
            crowd = read_crowd(shape, frames, FPS, MOST_FACES)
            turns = list[tuple[float, int, int]]()
            begin, taken, new = time.perf_counter() + 0.05, -1, 0
            while taken < frames - 1:
                wait_s = begin + (taken + 1) / FPS - time.perf_counter()
                if wait_s > 0:
                    time.sleep(wait_s)
                newest = max(min(int((time.perf_counter() - begin) * FPS), frames - 1), taken + 1)
                cell.dropped += newest - taken - 1
                turns += [(i * 1e3 / FPS, crowd.faces[i], 0) for i in range(taken + 1, newest)]
                new = min(new + sum(crowd.arrivals[taken + 1 : newest + 1]), crowd.faces[newest])
                if switch(newest * 4 // frames in (1, 3)):
                    cell.hogs_came.append(len(cell.records))
                load = Load(crowd.faces[newest], budget_ms, new, late)
                record, decide_us = loop.frame(len(cell.records), begin + newest / FPS, budget_ms, load)
                taken, new, late = newest, max(new - record.read, 0), record.miss
                turns.append((newest * 1e3 / FPS, crowd.faces[newest], record.read))
                cell.records.append(record)
                if record.served:
                    cell.decide_us.append(decide_us[0])
                    cell.decide_cpu_us.append(decide_us[1])
                    cell.usual_us += [] if record.probe else [decide_us[0]]
                if record.miss and record.served:
                    moment = record.measured_ms / profile.median_ms(record.point, record.served)
                    waited_ms = budget_ms - record.left_ms
                    cell.avoidable += waited_ms + profile.median_ms(cheap, 1) * moment <= budget_ms
                if writer:
                    writer.frame(record)
            cell.waits.append((longest_wait_ms(turns, crowd.arrivals), wait_bound_ms(turns, crowd.arrivals)))
    return cell


@contextmanager
def _hogs(count: int) -> Iterator[Any]:
    """Processes that spin while they are switched on. Yields a function that switches and tells whether they came just now."""
    context = multiprocessing.get_context("spawn")
    on = context.Event()
    processes = [context.Process(target=_spin, args=(on, os.getpid()), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()

    def switch(wanted: bool) -> bool:
        came = wanted and count > 0 and not on.is_set()
        (on.set if wanted else on.clear)()
        return came

    try:
        yield switch
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _spin(on: Any, parent: int) -> None:
    """Until whoever started it is gone: a benchmark that was killed must not leave a busy machine behind."""
    while os.getppid() == parent:
        if not on.wait(1.0):
            continue
        for _ in range(100_000):
            pass
