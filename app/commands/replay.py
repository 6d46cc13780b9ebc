"""`replay`: a latency log, decided again."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from typing import TYPE_CHECKING, Any

from app.errors import UsageError
from app.files import check_writable
from models.manifest import MIRROR
from scheduler.compare import prediction_error
from scheduler.log import LatencyLog, LogError, read_log
from scheduler.policy import Policy, policy_from_json, policy_from_text
from scheduler.replay import Replayed, Summary, as_recorded, differs, exact, replay, summarise

if TYPE_CHECKING:
    from pathlib import Path


PLOTS = (".png", ".svg", ".pdf")


def replay_log(
    path: Path,
    budget_ms: float | None,
    policy_text: str | None,
    plot: Path | None,
    json_path: Path | None,
    *,
    against: Path | None = None,
    rivals: bool = False,
    report: Path | None = None,
) -> int:
    """Prints how the log was decided and, where asked, what would have been otherwise. Raises UsageError."""
    outs = [out for out in (plot, json_path, report) if out]
    for out in outs:
        check_writable(out)
        if out.resolve() in (path.resolve(), against.resolve() if against else None):
            raise UsageError(f"{out} is the log and would be overwritten: choose another file")
    if len({out.resolve() for out in outs}) != len(outs):
        raise UsageError("--plot, --json and --report must be different files")
    if plot and plot.suffix.lower() not in PLOTS:
        raise UsageError(f"--plot {plot}: pictures are written as {', '.join(PLOTS)}")
    if budget_ms is not None and not 1 <= budget_ms <= 10_000:
        raise UsageError(f"--budget-ms must be from 1 to 10000, got {budget_ms:g}")
    began = time.perf_counter()
    gc.disable()  # a log is a great many small things that hold no cycles: a third of the time went into looking for some
    try:
        log = _read(path)
        decided = list(exact(log)) if log.repeatable else []
    finally:
        gc.enable()
    took_s = time.perf_counter() - began
    recorded_policy = policy_from_json(log.policy)
    if log.cut:
        print("note: the log's last line is incomplete and was left out")

    wrong = [(r, d) for r, d in decided if differs(r, d)]
    print(
        f"{len(log.frames)} frames; decided again under the recorded policy: "
        f"{len(log.frames) - len(wrong)} the same, {len(wrong)} different"
        if log.repeatable
        else f"{len(log.frames)} frames of schema {log.header['schema']}: that version's decisions cannot be made again"
    )
    print(f"read and decided at {len(log.frames) / took_s * 60 / 1e6:.2f} million frames a minute")
    for record, decision in wrong[:5]:
        before = f"{record.exit}@{record.size}" if record.exit else "nothing"
        now = f"{decision.point} for {decision.serve}" if decision else "nothing"
        print(f"  frame {record.id}: recorded {before} for {record.served}, now {now}")
    budget = log.frames[-1].budget_ms
    recorded = as_recorded(log)
    runs = [(recorded, summarise(recorded, log.profile, "as recorded", budget))]
    if budget_ms is not None or policy_text is not None:
        runs.append(_other(log, recorded_policy, budget_ms, policy_text, budget))
    for line in table([s for _, s in runs]):
        print(line)
    extra: dict[str, Any] = {}
    if any(r.served for r in log.frames):
        p50, p95, below = prediction_error(log)
        print(
            f"prediction off by {p50:.1%} (median), {p95:.0%} (95 of 100 batches); "
            f"{below:.1%} of the batches took no longer than predicted"
        )
        extra["prediction"] = {"off_p50": p50, "off_p95": p95, "below": below}
        if against or rivals or report:
            try:
                extra |= _study(log, path, budget_ms, against, rivals, report)
            except ValueError as error:
                raise UsageError(f"log {path} cannot be simulated: {error}") from error
    elif against or rivals or report:
        raise UsageError(f"log {path} has no frame in which the network ran: there is nothing to compare")
    if json_path:
        figures = [dataclasses.asdict(s) for _, s in runs]
        for row in figures:
            row["expected_mae"] = row["expected_mae"] if row["served"] else None
        everything = {"frames": len(log.frames), "different": len(wrong), "runs": figures, **extra}
        json_path.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    if plot:
        draw(runs, plot)
        print(f"drawn: {plot}")
    return 1 if wrong else 0


def _study(
    log: LatencyLog, path: Path, budget_ms: float | None, against: Path | None, with_rivals: bool, report: Path | None
) -> dict[str, Any]:
    """What other rules would have made of it, and how far a simulation is from it; as figures."""
    from app.reports import comparison as study
    from app.reports.outcomes import outcome_table

    extra: dict[str, Any] = {}
    outcomes = study.rivals(log, budget_ms) if with_rivals or report else []
    if outcomes:
        extra["rivals"] = [o.to_json() for o in outcomes]
        for line in outcome_table(outcomes):
            print(line)
    if against or report:
        live = _read(against) if against else log
        comparison = study.compare(log, live)
        extra["comparison"] = comparison.to_json()
        for line in study.comparison_table(comparison):
            print(line)
        if report:
            from app.reports.page import write_report

            write_report(report, log, path.name, outcomes, comparison)
            print(f"report: {report}")
    return extra


def _read(path: Path) -> LatencyLog:
    try:
        log = read_log(path)
    except LogError as error:
        raise UsageError(str(error)) from error
    if not log.frames:
        raise UsageError(f"log {path} has a header and no frames: there is nothing to replay")
    return log


def _other(
    log: LatencyLog, recorded: Policy, budget_ms: float | None, text: str | None, budget: float
) -> tuple[list[Replayed], Summary]:
    points = tuple(p.point for p in log.profile.points)
    try:
        policy = recorded if text is None else policy_from_text(text, points)
    except ValueError as error:
        raise UsageError(f"--policy: {error}. A log of `--exit auto` holds all that it could choose") from error
    frames = list(replay(log, policy, budget_ms))
    return frames, summarise(frames, log.profile, text or "same policy", budget_ms or budget)


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


__all__ = ["draw", "replay_log", "table"]
