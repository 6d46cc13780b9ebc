"""`bench responsiveness`: for how long our own work holds the window's event loop, with the demo crowd in view.

A timer in the loop of the real window ticks every TICK_MS; by how much a tick comes late is how long an event has to wait:
for painting, for the interpreter's lock, or for a core. Measured in turn: the window alone with one still picture, with the
whole pipeline in its process, and with the front end in a process of its own.
"""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import UsageError
from app.files import check_writable
from scheduler.profile import quantile

if TYPE_CHECKING:
    from app.pipeline import Pipeline

TICK_MS = 4
WARM_FRAMES = 50
ALONE, INSIDE, APART = "window alone", "one process", "capture apart"


class Beat:
    """Ticks in the running event loop and notes by how much each tick is late."""

    def __init__(self) -> None:
        from PyQt5.QtCore import Qt, QTimer

        self.late_ms: list[float] = []
        self.on = False
        self._last_s = time.perf_counter()
        self._timer = QTimer(interval=TICK_MS, timerType=Qt.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now_s = time.perf_counter()
        if self.on:
            self.late_ms.append(max(0.0, (now_s - self._last_s) * 1e3 - TICK_MS))
        self._last_s = now_s

    def stop(self) -> None:
        self._timer.stop()


def bench_responsiveness(faces: str | None, frames: int, model: str, out: Path | None) -> int:
    """Raises UsageError."""
    if not (faces or "10").isdecimal() or not 0 <= int(faces or 10) <= 40:
        raise UsageError(f"--faces must be a size of the demo crowd, 0 to 40, got {faces!r}")
    if not 20 <= frames <= 10_000:
        raise UsageError(f"--frames must be from 20 to 10000, got {frames}")
    if out:
        check_writable(out)
    from app.window.display import qt_platform, why_no_display

    if why_no_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PyQt5.QtWidgets import QApplication

    application = QApplication.instance() or QApplication(["bench"])
    people = int(faces or 10)
    print(
        f"{people} faces, {frames} frames of the demo at 25 a second in the window ({qt_platform()}), budget of `run`; by how "
        f"much a tick every {TICK_MS} ms comes late, ms"
    )
    heads = (("", 16), ("p50", 7), ("p95", 7), ("p99", 7), ("max", 7), ("over 20 ms", 12))
    heads += (("fps", 7), ("frame age p95", 15), ("missed", 9), ("read", 7))
    print("".join(f"{head:>{width}}" for head, width in heads))
    report: dict[str, Any] = {"faces": people, "frames": frames, "tick_ms": TICK_MS}
    for name in (ALONE, INSIDE, APART):
        report[name] = figures = _run(name, people, frames, model)
        pipeline = (
            ""
            if name == ALONE
            else (
                f"{figures['fps']:>7.1f}{figures['frame_age_p95_ms']:>12.1f} ms{figures['missed']:>9.1%}{figures['read']:>7.0%}"
            )
        )
        print(
            f"{name:16}{figures['p50_ms']:>7.1f}{figures['p95_ms']:>7.1f}{figures['p99_ms']:>7.1f}{figures['max_ms']:>7.1f}"
            f"{figures['over_20_ms']:>12.2%}{pipeline}",
            flush=True,
        )
    del application
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _run(name: str, people: int, frames: int, model: str) -> dict[str, float]:
    from app.compose import load_manifest, make_front_end
    from app.faces.front_end_process import FrontEndProcess
    from app.settings import Settings
    from app.window.show import show
    from app.window.watched import Look, Watched

    make = partial(make_front_end, Settings(), load_manifest(model).template, True)
    side = FrontEndProcess(make) if name == APART else make()
    if name == APART:
        side.ready()
    pipeline = _pipeline(side, people, model)
    beat, results, stopped = Beat(), [], []

    def latest() -> Any:
        """Called by every poll: counts what is shown, and ends the run."""
        result = pipeline.latest()
        if name == ALONE and results:
            pipeline.stop()  # one picture is enough
            result = results[0]
        if result is not None and (not results or result is not results[-1]):
            results.append(result)
        now_s = time.perf_counter()
        if results and not stopped and not beat.on:
            beat.on = name == ALONE or pipeline.totals.frames >= WARM_FRAMES
            beat.began_s = now_s
        if beat.on and now_s - beat.began_s >= frames / 25:
            beat.on = False
            stopped.append(True)
        return result

    def finished() -> bool:
        return bool(stopped) or (name != ALONE and pipeline.finished())

    pipeline.start()
    try:
        show(Watched(latest=latest, finished=finished, stop=pipeline.stop), title="bench", look=Look())
    finally:
        beat.stop()
        pipeline.close()
    if pipeline.failure:
        raise pipeline.failure
    totals, late = pipeline.totals, beat.late_ms
    span_s = (totals.last_result_s or 0) - (totals.first_result_s or 0)
    return {
        **{f"p{q}_ms": quantile(late, q / 100) for q in (50, 95, 99)},
        "max_ms": max(late),
        "over_20_ms": sum(t > 20 for t in late) / len(late),
        "fps": (totals.frames - 1) / span_s if span_s > 0 else 0.0,
        "frame_age_p95_ms": quantile(totals.ages_ms, 0.95),
        "missed": totals.misses / totals.frames,
        "read": totals.read / max(totals.faces, 1),
    }


def _pipeline(side: Any, people: int, model: str) -> Pipeline:
    from app.camera import View
    from app.compose import load_manifest, load_profile
    from app.controls import Controls
    from app.network.onnx_cpu import CpuEngine
    from app.network.probe import probe_of
    from app.people.estimates import People
    from app.pipeline import Pipeline
    from app.rounds.delivery import Outlets
    from app.rounds.serving import Scheduling
    from app.settings import Settings
    from app.sources.demo import DemoSource
    from scheduler.latency import LatencyModel
    from scheduler.policy import ValuePerPerson

    manifest = load_manifest(model)
    engine = CpuEngine(manifest)
    profile, _ = load_profile(engine, manifest)
    view = View(source=DemoSource(lambda _: people, loop=True), front_end=side)
    known = People(manifest.genders, manifest.expressions)
    pipeline = Pipeline([view], known, Controls(Settings().frame_budget_ms))
    policy, latency = ValuePerPerson(period_ms=40.0), LatencyModel(profile)
    pipeline.equip(Scheduling(engine=engine, policy=policy, latency=latency, probe=probe_of(engine)), Outlets())
    return pipeline
