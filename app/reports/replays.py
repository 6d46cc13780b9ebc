"""A latency log decided again: frame by frame as recorded, or under another policy or budget; as a table and as a picture."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from app.errors import UsageError
from models.manifest import MIRROR
from scheduler.load import Decision
from scheduler.log import FrameRecord, LatencyLog, LogError
from scheduler.reading import read_log
from scheduler.replay import Replayed, Summary, differs, exact, replay, summarise
from scheduler.rules import policy_from_json, policy_from_text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class DecidedAgain:
    """A log, and the frames in which the recorded policy decides otherwise than recorded: the code has changed since."""

    log: LatencyLog
    different: list[tuple[FrameRecord, Decision | None]]
    took_s: float  # to read and decide


def decide_again(path: Path) -> DecidedAgain:
    """Raises UsageError for what is not a log."""
    began = time.perf_counter()
    gc.disable()  # a log makes many small objects without cycles: looking for cycles took a third of the time
    try:
        log = read(path)
        decided = list(exact(log)) if log.repeatable else []
    finally:
        gc.enable()
    took_s = time.perf_counter() - began
    return DecidedAgain(log, [(r, d) for r, d in decided if differs(r, d)], took_s)


def read(path: Path) -> LatencyLog:
    """A log with frames. Raises UsageError."""
    try:
        log = read_log(path)
    except LogError as error:
        raise UsageError(str(error)) from error
    if not log.frames:
        raise UsageError(f"log {path} has a header and no frames: there is nothing to replay")
    return log


def otherwise(log: LatencyLog, budget_ms: float | None, policy: str | None) -> tuple[list[Replayed], Summary]:
    """The log under another budget, another policy, or both; None: as recorded. Raises UsageError."""
    points = tuple(p.point for p in log.profile.points)
    try:
        rule = policy_from_json(log.policy) if policy is None else policy_from_text(policy, points)
    except ValueError as error:
        raise UsageError(f"--policy: {error}. A log of `--exit auto` holds all that it could choose") from error
    frames = list(replay(log, rule, budget_ms))
    return frames, summarise(frames, log.profile, policy or "same policy", budget_ms or log.frames[-1].budget_ms)


def table(summaries: list[Summary]) -> list[str]:
    """Lines for people, a row per run."""
    lines = [f"{'policy':<14}{'budget':>9}{'misses':>16}{'age p50':>10}{'p95':>9}{'read':>8}{'MAE':>7}  exits"]
    for s in summaries:
        total = sum(s.exits.values()) or 1
        exits = ", ".join(f"{name} {n / total:.0%}" for name, n in s.exits.items()) or "none"
        share = s.served / s.faces if s.faces else 1.0
        lines.append(
            f"{s.policy:<14}{s.budget_ms:>6.1f} ms{s.misses:>8} ({s.misses / s.frames:>5.1%}"
            f"){s.age_p50_ms:>7.1f} ms{s.age_p95_ms:>6.1f} ms"
            f"{share:>8.1%}{s.expected_mae:>7.2f}  {exits}"
        )
    return lines


def draw(runs: list[tuple[list[Replayed], Summary]], path: Path) -> None:
    """Faces, operating points and frame ages over the frames; one column of colour per run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    points = sorted(
        {f.decision.point for frames, _ in runs for f in frames if f.decision},
        key=lambda p: (p.exit.endswith(MIRROR), p.exit, p.size),
    )
    rank = {point: i for i, point in enumerate(points)}
    figure, (top, middle, bottom) = pyplot.subplots(
        3, 1, sharex=True, figsize=(10, 7.5), height_ratios=(1, 1.6, 2), layout="constrained"
    )
    ids = [f.record.id for f in runs[0][0]]
    top.step(ids, [f.record.wanted for f in runs[0][0]], color="0.75", where="post", lw=0.7, label="aligned in time")
    top.step(ids, [f.record.faces for f in runs[0][0]], color="0.2", where="post", label="in view")
    top.set_ylabel("faces")
    top.legend(loc="upper right", fontsize="small")
    for (frames, summary), colour in zip(runs, ("tab:blue", "tab:orange"), strict=False):
        ids = [f.record.id for f in frames]
        label = f"{summary.policy}, {summary.budget_ms:.0f} ms"
        chosen = [(f.record.id, rank[f.decision.point]) for f in frames if f.decision]
        middle.plot(*zip(*chosen, strict=True), ".", ms=3, color=colour, label=label) if chosen else None
        bottom.plot(ids, [f.age_ms for f in frames], lw=0.7, color=colour, label=label)
        if isfinite(summary.budget_ms):  # a file has no deadline
            bottom.axhline(summary.budget_ms, color=colour, ls="--", lw=1)
        missed = [f for f in frames if f.miss]
        bottom.plot([f.record.id for f in missed], [f.age_ms for f in missed], "x", ms=4, color=colour)
    middle.set_yticks(range(len(points)), [str(p) for p in points])
    middle.set_ylabel("operating point")
    bottom.set_ylabel("frame age, ms (dashed: deadline, x: missed)")
    bottom.set_xlabel("frame")
    bottom.set_ylim(bottom=0)
    bottom.legend(loc="upper right", fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
