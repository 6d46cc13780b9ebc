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
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import UsageError
from app.files import check_writable
from app.network.engine import bucket_of
from app.reports.worlds import BENCHMARK, read_crowd
from scheduler.compare import further_moments, moments
from scheduler.fairness import longest_wait_ms, wait_bound_ms
from scheduler.latency import LatencyModel, OperatingPoint, Profile, quantile
from scheduler.log import Batch, FrameRecord, LogWriter
from scheduler.policy import LeastError, Load, Policy
from scheduler.simulate import Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from app.network.engine import OnnxEngine

FPS = 30.0
BUDGETS_MS = (16.0, 33.0, 66.0, 100.0)
HOGS = (0, 1, 2)
CROWDS = "step,ramp,burst,clips"
MOST_FACES = 32
CONTROL = 0.25  # share of the time for the run with the cheapest point alone
CALM = 5  # frames in time in a row after which a change of the machine is overcome


@dataclass
class Cell:
    """One budget with so many hogs. Times in milliseconds."""

    budget_ms: float
    hogs: int
    records: list[FrameRecord] = field(default_factory=list)
    decide_us: list[float] = field(default_factory=list)
    decide_cpu_us: list[float] = field(default_factory=list)  # without the time that others had the core
    usual_us: list[float] = field(default_factory=list)  # in moments that the probe called usual
    hogs_came: list[int] = field(default_factory=list)  # the first frames with them
    waits: list[tuple[float, float]] = field(default_factory=list)  # longest and its bound, of each crowd
    dropped: int = 0
    avoidable: int = 0  # missed although the cheapest point could have made it


def bench_crowd(
    model: str,
    device: str,
    minutes: float,
    budgets: str,
    json_path: Path | None,
    log: Path | None,
    crowds: str = CROWDS,
) -> int:
    """Raises UsageError for what makes no sense."""
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
        read_crowd(shape, 12, FPS, MOST_FACES)  # refused before anything is measured
    for path in (json_path, log):
        if path:
            check_writable(path)
    from tqdm import tqdm

    from app.compose import load_manifest, load_profile
    from app.network.calibrate import candidates
    from app.network.engine import OnnxEngine
    from app.network.probe import probe_of
    from app.network.profiles import machine

    manifest = load_manifest(model)
    points = candidates(manifest)
    engine = OnnxEngine(manifest, device, points=points)
    profile, remembered = load_profile(engine, manifest, points=points)
    policy, began = LeastError(period_ms=1000 / FPS), time.perf_counter()
    probe = probe_of(engine)
    loop = Loop(engine, policy, LatencyModel(profile), began, probe)
    frames = max(round(minutes * 60 * FPS / len(limits) / len(HOGS) / (1 + CONTROL) / len(shapes)), 12)
    writer = _log(log, manifest, engine, profile, policy) if log else None
    source = "remembered" if remembered else "measured now"
    print(
        f"{manifest.name} on {engine.provider}, {engine.threads} threads, profile {source}; "
        f"crowds {', '.join(shapes)} of up to {MOST_FACES}, {frames} frames each at {FPS:g} fps"
    )
    rows, recorded, again = [], list[Moment](), list[float]()  # the machine's ups and downs, for `simulate --noise`
    print(HEAD)
    with tqdm(total=len(limits) * len(HOGS), leave=False) as bar:
        for budget in limits:
            for hogs in HOGS:
                cell = run_cell(loop, profile, budget, hogs, dict.fromkeys(shapes, frames), writer)
                cheapest = Loop(engine, replace(policy), LatencyModel(_only_cheapest(profile)), began, probe)
                control = run_cell(
                    cheapest, profile, budget, hogs, {s: max(round(frames * CONTROL), 3) for s in shapes}
                )
                rows.append(figures(cell, control, profile))
                recorded += moments(cell.records, profile)
                again += further_moments(cell.records, profile)
                tqdm.write(line(rows[-1]))
                bar.update()
    if writer:
        writer.close()
    worst = {key: max(r[key] for r in rows) for key in ("miss_share", "decide_us_p99", "decide_usual_us_p99", "slow")}
    print(
        f"worst cell: misses {worst['miss_share']:.2%}, decision p99 {worst['decide_us_p99']:.0f} us, "
        f"{worst['decide_usual_us_p99']:.0f} us in usual moments; slow moments {worst['slow']:.1%} of frames"
    )
    if again:
        p50, p95 = quantile(again, 0.5), quantile(again, 0.95)
        print(f"second batches of a frame: {p50:.2f} times as slow as its first (median; 95 of 100 up to {p95:.2f})")
    if json_path:
        report = {
            "type": BENCHMARK,
            "machine": machine(),
            "model": manifest.name,
            "provider": engine.provider,
            "threads": engine.threads,
            "fps": FPS,
            "frames_per_crowd": frames,
            "profile": profile.to_json(),
            "policy": policy.to_json(),
            "cells": rows,
            "moments": [round(m.ratio, 3) for m in recorded],
            "probes": [round(m.probe, 2) for m in recorded],
            "further_moments": [round(m, 3) for m in again],
        }
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _only_cheapest(profile: Profile) -> Profile:
    return replace(profile, points=tuple(p for p in profile.points if p.point == profile.front[0]))


def _log(path: Path, manifest: Any, engine: OnnxEngine, profile: Profile, policy: Policy) -> LogWriter:
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


class Loop:
    """Takes frames through policy and engine, one after another, and remembers them."""

    def __init__(
        self, engine: OnnxEngine, policy: Policy, latency: LatencyModel, began: float, probe: Callable[[], float]
    ) -> None:
        self._engine, self._policy, self._latency, self._began, self._probe = engine, policy, latency, began, probe
        self._picture = np.random.default_rng(0).integers(0, 256, (540, 960, 3), dtype=np.uint8)
        self._matrix = np.array([[0.01, 0.001, -1.0], [-0.001, 0.01, -1.0]])

    def frame(self, number: int, born: float, budget_ms: float, load: Load) -> tuple[FrameRecord, tuple[float, float]]:
        """Decides and runs; the record, and the microseconds that the decision took, by the clock and on the core.
        `load.left_ms` and `load.probe` are filled in here."""
        from align.crop import crop_batch

        engine, latency = self._engine, self._latency
        probe = self._probe() if load.faces else 0.0
        load = load._replace(left_ms=budget_ms - (time.perf_counter() - born) * 1e3, probe=probe)
        point, served, predicted, took, decide_us, slowdown, tail = None, 0, 0.0, 0.0, (0.0, 0.0), latency.slowdown, 1.0
        further = list[Batch]()
        if load.faces:
            asked, on_core = time.perf_counter(), time.thread_time()
            decision = self._policy(load, latency)
            own = time.thread_time() - on_core
            decided = time.perf_counter()
            decide_us = (decided - asked) * 1e6, own * 1e6
            point, served = decision.point, decision.serve
            predicted, tail = decision.predicted_ms, latency.tail(point)
            engine.read(point, crop_batch(self._picture, [self._matrix] * served, point.size))
            took = (time.perf_counter() - decided) * 1e3
            latency.observe(point, served, took, probe=load.probe)
            further = self._further(load, served, born, budget_ms)
        age = (time.perf_counter() - born) * 1e3
        record = FrameRecord(
            id=number,
            time_s=born - self._began,
            faces=load.faces,
            wanted=load.faces,
            new=load.new,
            served=served,
            exit=point.exit if point else "",
            size=point.size if point else 0,
            bucket=bucket_of(self._engine.buckets, served) if served else 0,
            budget_ms=budget_ms,
            left_ms=load.left_ms,
            probe=load.probe,
            predicted_ms=predicted,
            measured_ms=took,
            slowdown=slowdown,
            tail=tail,
            age_ms=age,
            miss=age > budget_ms,
            provider=engine.provider,
            further=tuple(further),
        )
        return record, decide_us

    def _further(self, load: Load, served: int, born: float, budget_ms: float) -> list[Batch]:
        """Asks again after each batch whether there is time for another, as the pipeline does."""
        from align.crop import crop_batch

        further = list[Batch]()
        while served < load.faces:
            left_ms = budget_ms - (time.perf_counter() - born) * 1e3
            again = self._policy.again(load.after(served, left_ms, 1 + len(further)), self._latency)
            if again is None:
                return [*further, Batch(left_ms)]
            started = time.perf_counter()
            point, count = again.point, again.serve
            self._engine.read(point, crop_batch(self._picture, [self._matrix] * count, point.size))
            took = (time.perf_counter() - started) * 1e3
            self._latency.observe(point, count, took, True)
            further.append(Batch(left_ms, count, point.exit, point.size, again.predicted_ms, took))
            served += count
        return further


def run_cell(
    loop: Loop, profile: Profile, budget_ms: float, hogs: int, shapes: dict[str, int], writer: LogWriter | None = None
) -> Cell:
    """All crowds once, for so many frames each. Hogs are there in the second and the last quarter of each."""
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
                    moment = record.measured_ms / profile.median_ms(_point(record), record.served)
                    waited_ms = budget_ms - record.left_ms
                    cell.avoidable += waited_ms + profile.median_ms(cheap, 1) * moment <= budget_ms
                if writer:
                    writer.frame(record)
            cell.waits.append((longest_wait_ms(turns, crowd.arrivals), wait_bound_ms(turns, crowd.arrivals)))
    return cell


def _point(record: FrameRecord) -> OperatingPoint:
    return OperatingPoint(record.exit, record.size)


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


# --- figures ---------------------------------------------------------------------------------------------------------


def figures(cell: Cell, control: Cell, profile: Profile) -> dict[str, Any]:
    """A cell in numbers. Misses are frames without a result in time, dropped ones included."""
    frames, misses = len(cell.records) + cell.dropped, sum(r.miss for r in cell.records) + cell.dropped
    others, others_missed = (
        len(control.records) + control.dropped,
        sum(r.miss for r in control.records) + control.dropped,
    )
    ran = [r for r in cell.records if r.served]
    off = [abs(expected(r) - r.measured_ms) / r.measured_ms for r in ran] or [0.0]
    ages = [r.age_ms for r in cell.records]
    low, high = interval(misses, frames)
    return {
        "budget_ms": cell.budget_ms,
        "hogs": cell.hogs,
        "frames": frames,
        "misses": misses,
        "miss_share": misses / frames,
        "miss_low": low,
        "miss_high": high,
        "dropped": cell.dropped,
        "avoidable": cell.avoidable,
        "cheapest_frames": others,
        "cheapest_misses": others_missed,
        "cheapest_share": others_missed / others,
        "age_p50_ms": quantile(ages, 0.5),
        "age_p95_ms": quantile(ages, 0.95),
        "age_p99_ms": quantile(ages, 0.99),
        "read": sum(r.read for r in ran) / max(sum(r.faces for r in cell.records), 1),
        "mae": sum(profile.mae(p) * n for r in ran for p, n, _ in r.batches()) / max(sum(r.read for r in ran), 1),
        "runs": sum(len(list(r.batches())) for r in ran) / max(len(ran), 1),
        "longest_wait_ms": max(w for w, _ in cell.waits),
        "wait_bound_ms": max(b for _, b in cell.waits),
        "error_p50": quantile(off, 0.5),
        "error_p95": quantile(off, 0.95),
        "below_prediction": sum(r.measured_ms <= r.predicted_ms for r in ran) / max(len(ran), 1),
        "decide_us_p50": quantile(cell.decide_us or [0.0], 0.5),
        "decide_us_p99": quantile(cell.decide_us or [0.0], 0.99),
        "decide_cpu_us_p99": quantile(cell.decide_cpu_us or [0.0], 0.99),
        "decide_usual_us_p99": quantile(cell.usual_us or [0.0], 0.99),
        "slow": 1 - len(cell.usual_us) / max(len(ran), 1),
        "recovery_frames": [recovery(cell.records, start) for start in cell.hogs_came],
    }


def expected(record: FrameRecord) -> float:
    """The prediction without its tail: what half of the batches were thought to stay under."""
    return record.predicted_ms / record.tail


def recovery(records: list[FrameRecord], start: int) -> int:
    """Frames from `start` until CALM in a row are in time; 0 where the change made none late."""
    calm = 0
    for i, record in enumerate(records[start:]):
        calm = 0 if record.miss else calm + 1
        if calm == CALM:
            return i + 1 - CALM
    return len(records) - start


def interval(misses: int, frames: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, misses, frames - misses + 1)) if misses else 0.0
    high = float(beta.ppf(0.975, misses + 1, frames - misses)) if misses < frames else 1.0
    return low, high


HEAD = (
    f"{'budget':<9}{'hogs':>4}{'misses (95 %)':>24}{'avoidable':>11}{'cheapest alone':>16}"
    f"{'age p50':>9}{'p95':>7}{'p99':>7}{'read':>6}"
    f"{'MAE':>6}{'off p50':>9}{'p95':>6}{'slow':>7}{'decide p99':>12}{'usual':>10}{'recovery':>10}{'wait (bound)':>18}"
)


def line(f: dict[str, Any]) -> str:
    misses = f"{f['miss_share']:.2%} ({f['miss_low']:.1%}-{f['miss_high']:.1%})"
    wait = f"{f['longest_wait_ms']:.0f} ({f['wait_bound_ms']:.0f}) ms"
    slowest = f"{max(f['recovery_frames'])}" if f["recovery_frames"] else "-"
    return (
        f"{f['budget_ms']:<6g} ms{f['hogs']:>4}{misses:>24}{f['avoidable']:>11}{f['cheapest_share']:>16.2%}"
        f"{f['age_p50_ms']:>9.1f}{f['age_p95_ms']:>7.1f}{f['age_p99_ms']:>7.1f}{f['read']:>6.0%}{f['mae']:>6.2f}"
        f"{f['error_p50']:>9.1%}{f['error_p95']:>6.0%}{f['slow']:>7.1%}{f['decide_us_p99']:>9.0f} us"
        f"{f['decide_usual_us_p99']:>7.0f} us{slowest:>10}{wait:>18}"
    )
