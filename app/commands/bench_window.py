"""`bench window`: how long painting holds the window's event loop, and what the presenter's thread takes off it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from app.errors import DisplayError, UsageError
from scheduler.latency import quantile

if TYPE_CHECKING:
    from pathlib import Path

    from app.domain import Result

SIZES = ((1280, 720), (1920, 1080))
CROWDS = (0, 1, 5, 10, 32)
FRAME = 500  # of the demo, with everybody seated


def bench_window(rounds: int, json_path: Path | None) -> int:
    """Paints the demo crowd as the kiosk does. Raises DisplayError where there is no Qt."""
    from app.display import why_no_display

    if not 5 <= rounds <= 10_000:
        raise UsageError(f"--rounds must be from 5 to 10000, got {rounds}")
    if reason := why_no_display():
        raise DisplayError(f"{reason}. Without a screen: QT_QPA_PLATFORM=offscreen main.py bench window")
    print(f"{rounds} paintings each, while people glide; milliseconds, p50 and p95")
    print(f"{'size':>10}{'faces':>7}{'panel':>7}{'painting':>16}{'of which CPU':>16}{'scaling, beside':>18}")
    rows = []
    for size in SIZES:
        for people in CROWDS:
            for panel in (False, True) if people == 10 else (False,):
                row = {"size": size, "faces": people, "panel": panel, **_measure(size, people, panel, rounds)}
                cells = "".join(f"{row[k][0]:>10.1f}{row[k][1]:>6.1f}" for k in ("paint_ms", "cpu_ms", "scale_ms"))
                print(f"{size[0]:>5}x{size[1]:<4}{people:>7}{'yes' if panel else 'no':>7}{cells}", flush=True)
                rows.append(row)
    if json_path:
        import json

        json_path.write_text(json.dumps({"rounds": rounds, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure(size: tuple[int, int], people: int, panel: bool, rounds: int) -> dict[str, Any]:
    from app import presenter, window

    results = _results(people)
    newest = [results[0]]
    kiosk, surface = window.hidden(lambda: newest[0], size, window.Look(panel=panel, language="en"))
    paint, cpu, scale = list[float](), list[float](), list[float]()
    for i in range(rounds + 3):
        newest[0] = results[i % len(results)]
        started = time.perf_counter()
        presenter.present(presenter.Want(newest[0], *size, False, False))
        scale.append((time.perf_counter() - started) * 1e3)
        kiosk.settle()
        started, began = time.perf_counter(), time.thread_time()
        kiosk.render(surface)
        paint.append((time.perf_counter() - started) * 1e3)
        cpu.append((time.thread_time() - began) * 1e3)
    kiosk.close()
    measured = {"paint_ms": paint[3:], "cpu_ms": cpu[3:], "scale_ms": scale[3:]}
    return {name: [quantile(times, 0.5), quantile(times, 0.95)] for name, times in measured.items()}


def _results(people: int) -> list[Result]:
    """Some frames of the demo; what is known of everybody is made up."""
    from app.demo import DemoCrowd
    from app.domain import Estimate, Frame, Person, Result, Stats

    crowd, results = DemoCrowd(lambda _: people), []
    for number in range(FRAME, FRAME + 8):
        seen = tuple(
            Person(i, box, Estimate(20.0 + i, 14.0 + i, 26.0 + i, "female", 0.9, "happy", 0.9, "exit_09"), True)
            for i, box in crowd.truth(number)
        )
        stats = Stats(
            fps=25.0, faces=people, served=people, exit="exit_09", input_size=96, budget_ms=66.7, left_ms=24.0,
            predicted_ms=20.0, measured_ms=18.0, frame_age_ms=40.0, misses=0, frames=number, dropped=0,
            provider="CPUExecutionProvider", why="",
        )  # fmt: skip
        results.append(Result(Frame(number, crowd.picture(number), number / 25, 0.0), seen, stats))
    return results
