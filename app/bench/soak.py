"""What `soak` runs and judges: hours of a kiosk in minutes, with every fault that it is to survive."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.sources.captures import STALL_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.compose import App

SAMPLE_S = 1.0
WARM = 0.5  # share of the time that memory is not judged in: caches and allocators' arenas fill for some minutes
HORIZON_MIN = 30.0
GROWTH_MB = 20.0  # what memory may seem to grow by in HORIZON_MIN; the fragmentation of an allocator is that large
GAP_S = STALL_S + 1.5  # without a result, other than while the source is lost: a stall is noticed after STALL_S
TERM_S = 2.0
RUN_S = 8.0  # before SIGTERM is sent


@dataclass
class Watch:
    """What was seen from outside while it ran."""

    minutes: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    longest_gap_s: float = 0.0
    told: list[str] = field(default_factory=list)
    filled: dict[str, bool] = field(default_factory=dict)


def soak(minutes: float, folder: Path) -> dict[str, Any]:
    """Everything that was seen, ready for JSON, with the verdicts; the run's outputs are written into `folder`."""
    result = _under_faults(minutes, folder) | {"sigterm": _ends_on_sigterm(folder)}
    return result | {"verdicts": verdicts(result)}


def _under_faults(minutes: float, folder: Path) -> dict[str, Any]:
    from app.bench.faults import DemoDevice, FaultyEngine, Timetable
    from app.compose import build
    from app.network.calibrate import machine
    from app.settings import Settings
    from app.sources.demo import DemoCrowd
    from app.sources.live import LiveSource

    timetable = Timetable()
    device = DemoDevice(DemoCrowd(_crowd), timetable)
    source = LiveSource(device, time.monotonic, None)
    settings = Settings(
        source="demo",
        budget_ms=66.7,
        results=folder / "results.csv",
        output=folder / "video.mp4",
        events=folder / "events.jsonl",
        log=folder / "latency.jsonl",
        show=False,
    )
    app = build(settings, sources=[source], wrap=lambda engine: FaultyEngine(engine, timetable))
    watch = Watch()
    app.pipeline.faults.tell = watch.told.append
    started = time.monotonic()
    app.pipeline.start()
    try:
        _watch(app, watch, minutes * 60, settings)
    finally:
        early = app.pipeline.finished()
        timetable.active = False
        asked = time.monotonic()
        app.pipeline.close()
    closing_s = time.monotonic() - asked
    return {
        "minutes": (asked - started) / 60,
        "machine": machine(),
        "ended_early": early,
        "failure": str(app.pipeline.failure or ""),
        "frames": app.pipeline.totals.frames,
        "reconnects": app.pipeline.totals.reconnects,
        "misses": app.pipeline.totals.misses,
        "injected": dict(timetable.came) | {f"disk full: {name}": int(done) for name, done in watch.filled.items()},
        "counted": dict(app.pipeline.faults.counts) | {c.name.lower(): n for c, n in app.pipeline.totals.drops.items()},
        "logged": _logged(settings.log),
        "told": watch.told,
        "complete": {name: _complete(path) for name, path in settings.written.items()},
        "longest_gap_s": watch.longest_gap_s,
        "closing_s": closing_s,
        "memory": _slope(watch),
        "threads": [watch.threads[len(watch.threads) // 4], watch.threads[-1]],
        "files": [watch.files[len(watch.files) // 4], watch.files[-1]],
        "series": {"minutes": watch.minutes, "memory_mb": watch.memory_mb},
    }


def _crowd(time_s: float) -> int:
    """Up to 32 people and down to none again within the demo's 40 s."""
    return round(32 * (1 - abs(time_s - 20) / 20))


def _watch(app: App, watch: Watch, seconds: float, settings: Any) -> None:
    """Samples until the time is over; the disks fill up one after another in the last third."""
    import psutil

    from app.bench.faults import fill_disk
    from app.domain import SourceState

    process, began, last, last_s = psutil.Process(), time.monotonic(), -1, time.monotonic()
    disks = [(0.70, "results", settings.results), (0.80, "video", settings.output), (0.92, "log", settings.log)]
    while (passed := time.monotonic() - began) < seconds and not app.pipeline.wait(SAMPLE_S / 4):
        frames, now_s = app.pipeline.totals.frames, time.monotonic()
        if frames != last or app.source.status().state is SourceState.LOST:
            last, last_s = frames, now_s
        watch.longest_gap_s = max(watch.longest_gap_s, now_s - last_s)
        if disks and passed > disks[0][0] * seconds:
            _, name, path = disks.pop(0)
            watch.filled[name] = fill_disk(path)
        if not watch.minutes or passed / 60 - watch.minutes[-1] >= SAMPLE_S / 60:
            watch.minutes.append(passed / 60)
            watch.memory_mb.append(_memory_mb(process))
            watch.threads.append(threading.active_count())
            watch.files.append(process.num_fds())


def _memory_mb(process: Any) -> float:
    """Resident memory of this process and of the front end's."""
    import psutil

    total = process.memory_info().rss
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            total += child.memory_info().rss
    return total / 2**20


def _slope(watch: Watch) -> dict[str, float]:
    """The slope of memory over time, after warming up: Theil and Sen's median with its 95 % interval, in MB a minute."""
    from scipy.stats import theilslopes

    first = int(len(watch.minutes) * WARM)
    slope, _, low, high = theilslopes(watch.memory_mb[first:], watch.minutes[first:])
    ends = {"first_mb": watch.memory_mb[first], "last_mb": watch.memory_mb[-1], "most_mb": max(watch.memory_mb)}
    return {"mb_per_minute": float(slope), "low": float(low), "high": float(high), **ends}


def _logged(path: Path) -> dict[str, int]:
    """How often each fault stands in the latency log, by its cause."""
    from scheduler.reading import read_log

    log = read_log(path)
    events = Counter(f"{e.name}: {e.details['part']}" if e.name == "fault" else e.name for e in log.events)
    return dict(events) | {f"drop: {cause}": count for cause, count in log.drops.items()}


def _complete(path: Path) -> bool:
    """Whether what was written can be read to its end: text in whole lines, video by its own index."""
    if path.suffix == ".mp4":
        import av

        try:
            with av.open(str(path)) as video:
                return sum(1 for _ in video.decode(video=0)) > 0
        except (av.FFmpegError, OSError):
            return False
    text = path.read_text(encoding="utf-8")
    return len(text) > 0 and text.endswith("\n")


def _ends_on_sigterm(folder: Path) -> dict[str, Any]:
    """A run of its own, as a service would be stopped."""
    outputs = {n: folder / f"term-{n}" for n in ("results.jsonl", "log.jsonl", "video.mp4")}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, str(root / "main.py"), "run", "--source", "demo", "--no-show", "--loop"]
    command += ["--results", outputs["results.jsonl"], "--log", outputs["log.jsonl"], "--output", outputs["video.mp4"]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (outputs["log.jsonl"].exists() and process.poll() is None):
            time.sleep(0.1)
        time.sleep(RUN_S)
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        try:
            _, errors = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            _, errors = process.communicate()
    return {
        "seconds": time.monotonic() - sent,
        "code": process.returncode,
        "errors": errors[-500:],
        "complete": {name: path.exists() and _complete(path) for name, path in outputs.items()},
    }


def verdicts(result: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    """Per point: whether it is met, and the figure."""
    memory, term, logged, injected = (result[k] for k in ("memory", "sigterm", "logged", "injected"))
    growth = memory["mb_per_minute"] * HORIZON_MIN
    expected = {
        "broken pictures": "drop: broken",
        "engine throws": "fault: network",
        "camera stalls": "source_lost",
        "camera unplugged, back at another size": "source_back",
        "disk full: results": "fault: output",
    }
    complete = [name for name, whole in term["complete"].items() if whole]
    missing = [f for f, entry in expected.items() if injected.get(f) and not logged.get(entry)]
    never = [f for f in expected if not injected.get(f)]
    told = any("latency log" in line for line in result["told"])
    return {
        "no crash": (not result["ended_early"], f"{result['frames']} frames, {result['reconnects']} reconnects"),
        "no deadlock": (
            result["longest_gap_s"] < GAP_S and result["closing_s"] < 10,
            f"longest time without a result {result['longest_gap_s']:.1f} s, closed within {result['closing_s']:.1f} s",
        ),
        "memory flat": (
            memory["low"] <= 0 or growth < GROWTH_MB,
            f"{memory['mb_per_minute']:+.2f} MB a minute (95 %: {memory['low']:+.2f} to {memory['high']:+.2f}), "
            f"{memory['last_mb']:.0f} MB at the end, all processes",
        ),
        "no threads or files left behind": (
            result["threads"][1] <= result["threads"][0] + 2 and result["files"][1] <= result["files"][0] + 2,
            "threads {} and {}, open files {} and {}".format(*result["threads"], *result["files"]),
        ),
        "every fault in the log": (
            not missing and not never and told,
            ("missing: " + ", ".join(missing + never))
            if missing or never
            else f"{sum(injected.values())} injected; the log's own end told on stderr",
        ),
        "SIGTERM": (
            term["seconds"] <= TERM_S and term["code"] == 0 and all(term["complete"].values()),
            f"ended after {term['seconds']:.2f} s with code {term['code']}, files complete: {', '.join(complete) or 'none'}",
        ),
    }


def table(result: dict[str, Any]) -> Sequence[str]:
    """For people."""
    lines = [f"{result['minutes']:.1f} minutes, {result['frames']} frames"]
    lines += [f"{'ok ' if met else 'NOT'} {name:<32} {text}" for name, (met, text) in result["verdicts"].items()]
    return [*lines, "injected: " + _items(result["injected"]), "in the log: " + _items(result["logged"])]


def _items(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _times(messages: Sequence[str]) -> list[str]:
    """Each message once, and how often it was told."""
    return [message if count == 1 else f"{message} ({count} times)" for message, count in Counter(messages).items()]


def markdown(result: dict[str, Any]) -> str:
    """The report as a page."""
    memory = result["series"]
    step = max(1, len(memory["minutes"]) // 12)
    samples = list(zip(memory["minutes"], memory["memory_mb"], strict=True))[::step]
    about = result["machine"]
    rows = [f"| {name} | {'yes' if met else '**no**'} | {text} |" for name, (met, text) in result["verdicts"].items()]
    return "\n".join(
        [
            "# Soak report",
            "",
            f"`main.py soak --minutes {result['minutes']:.0f}` on {about['cores']} cores ({about['processor']}): the demo "
            "crowd, up to 32 people and down to none every 40 s, 25 frames a second, budget 66.7 ms, with results, events, "
            "video and latency log written. Faults come in a cycle of 55 s; the disk is full for the results at 70 % of the "
            "time, for the video at 80 %, for the latency log at 92 %.",
            "",
            "| point | met | figure |",
            "|---|---|---|",
            *rows,
            "",
            f"Injected: {_items(result['injected'])}.",
            "",
            f"In the latency log: {_items(result['logged'])}.",
            "",
            f"Told on stderr: {'; '.join(_times(result['told'])) or 'nothing'}.",
            "",
            f"Frames {result['frames']}, missed deadlines {result['misses']}, reconnects {result['reconnects']}.",
            "",
            "| minute | " + " | ".join(f"{m:.1f}" for m, _ in samples) + " |",
            "|---|" + "---|" * len(samples),
            "| memory, MB | " + " | ".join(f"{mb:.0f}" for _, mb in samples) + " |",
            "",
        ]
    )
