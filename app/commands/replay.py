"""`replay`: a latency log, decided again."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command
from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse

    from app.reports.replays import DecidedAgain
    from scheduler.log import LatencyLog

PLOTS = (".png", ".svg", ".pdf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a log beside how it was decided."""

    budget_ms: float | None = None
    policy: str | None = None
    rivals: bool = False
    against: Path | None = None

    def __post_init__(self) -> None:
        if self.budget_ms is not None and not 1 <= self.budget_ms <= 10_000:
            raise UsageError(f"--budget-ms must be from 1 to 10000, got {self.budget_ms:g}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outputs:
    plot: Path | None = None
    json: Path | None = None
    report: Path | None = None

    def check(self, *logs: Path | None) -> None:
        """Raises UsageError and OutputError for what cannot be written or must not be replaced."""
        outs = [out for out in (self.plot, self.json, self.report) if out]
        for out in outs:
            check_writable(out)
            if out.resolve() in [log.resolve() for log in logs if log]:
                raise UsageError(f"{out} is the log and would be overwritten: choose another file")
        if len({out.resolve() for out in outs}) != len(outs):
            raise UsageError("--plot, --json and --report must be different files")
        if self.plot and self.plot.suffix.lower() not in PLOTS:
            raise UsageError(f"--plot {self.plot}: pictures are written as {', '.join(PLOTS)}")


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "replay",
        run,
        "Decide every frame of a latency log again. As recorded, or under another policy or budget.",
        "replay latency.jsonl --budget-ms 33 --plot replay.png",
    )
    p.add_argument("log", type=Path, help="a log written by `run --log`")
    p.add_argument("--budget-ms", type=float, metavar="MS", help="what another budget would have done")
    p.add_argument("--policy", help="what another policy would have done: auto, or an exit (exit_09, or 9)")
    p.add_argument(
        "--plot", type=Path, metavar="OUT.png", help="draw faces, exits, latency and deadline over the frames"
    )
    p.add_argument(
        "--rivals",
        action="store_true",
        help="every other rule, and an oracle that knows all times beforehand, over the same frames",
    )
    p.add_argument(
        "--against",
        type=Path,
        metavar="LIVE.jsonl",
        help="compare this other run with a simulation of its crowd on LOG's machine",
    )
    p.add_argument("--report", type=Path, metavar="OUT.html", help="everything with pictures, in one file")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write the figures as JSON")


def run(args: argparse.Namespace) -> int:
    question = Question(budget_ms=args.budget_ms, policy=args.policy, rivals=args.rivals, against=args.against)
    return replay_log(args.log, question, Outputs(plot=args.plot, json=args.json, report=args.report))


def replay_log(path: Path, question: Question, outputs: Outputs) -> int:
    """Prints how the log was decided and, where asked, what another budget or policy would have done. Raises UsageError."""
    from app.reports.replays import decide_again, draw, otherwise, table
    from scheduler.replay import as_recorded, summarise

    outputs.check(path, question.against)
    again = decide_again(path)
    log = again.log
    endless = math.isinf(log.frames[-1].budget_ms) and question.budget_ms is None
    if endless and (question.rivals or question.against or question.policy or outputs.report):
        raise UsageError(f"{path} is of a file, whose frames had no deadline: add --budget-ms, such as 33")
    _print_decisions(again)
    recorded = as_recorded(log)
    runs = [(recorded, summarise(recorded, log.profile, "as recorded", log.frames[-1].budget_ms))]
    if question.budget_ms is not None or question.policy is not None:
        runs.append(otherwise(log, question.budget_ms, question.policy))
    for line in table([s for _, s in runs]):
        print(line)
    extra = _beyond(log, path, question, outputs.report)
    if outputs.json:
        figures = [dataclasses.asdict(s) for _, s in runs]
        for row in figures:
            row["expected_mae"] = row["expected_mae"] if row["served"] else None
            row["budget_ms"] = row["budget_ms"] if math.isfinite(row["budget_ms"]) else None
        everything = {"frames": len(log.frames), "different": len(again.different), "runs": figures, **extra}
        outputs.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    if outputs.plot:
        draw(runs, outputs.plot)
        print(f"drawn: {outputs.plot}")
    return 1 if again.different else 0


def _print_decisions(again: DecidedAgain) -> None:
    log, wrong = again.log, again.different
    if log.cut:
        print("note: the log's last line is incomplete and was left out")
    print(
        f"{len(log.frames)} frames; decided again under the recorded policy: "
        f"{len(log.frames) - len(wrong)} the same, {len(wrong)} different"
        if log.repeatable
        else f"{len(log.frames)} frames of schema {log.header['schema']}: that version's decisions cannot be made again"
    )
    print(f"read and decided at {len(log.frames) / again.took_s * 60 / 1e6:.2f} million frames a minute")
    for record, decision in wrong[:5]:
        before = f"{record.exit}@{record.size}" if record.exit else "nothing"
        now = f"{decision.point} for {decision.serve}" if decision else "nothing"
        print(f"  frame {record.id}: recorded {before} for {record.served}, now {now}")


def _beyond(log: LatencyLog, path: Path, question: Question, report: Path | None) -> dict[str, Any]:
    """How good the predictions were and, where asked, what others would have done; as figures."""
    from scheduler.compare import prediction_error

    studied = question.against or question.rivals or report
    if not any(r.served for r in log.frames):
        if studied:
            raise UsageError(f"log {path} has no frame in which the network ran: there is nothing to compare")
        return {}
    p50, p95, below = prediction_error(log)
    print(
        f"prediction off by {p50:.1%} (median), {p95:.0%} (95 of 100 batches); "
        f"{below:.1%} of the batches took no longer than predicted"
    )
    extra: dict[str, Any] = {"prediction": {"off_p50": p50, "off_p95": p95, "below": below}}
    try:
        return extra | (_study(log, path, question, report) if studied else {})
    except ValueError as error:
        raise UsageError(f"log {path} cannot be simulated: {error}") from error


def _study(log: LatencyLog, path: Path, question: Question, report: Path | None) -> dict[str, Any]:
    """What other rules would have made of it, and how far a simulation is from it; as figures."""
    from app.reports import comparison as study
    from app.reports.outcomes import outcome_table
    from app.reports.replays import read

    extra: dict[str, Any] = {}
    outcomes = study.rivals(log, question.budget_ms) if question.rivals or report else []
    if outcomes:
        extra["rivals"] = [o.to_json() for o in outcomes]
        for line in outcome_table(outcomes):
            print(line)
    if question.against or report:
        live = read(question.against) if question.against else log
        comparison = study.compare(log, live)
        extra["comparison"] = comparison.to_json()
        for line in study.comparison_table(comparison):
            print(line)
        if report:
            from app.reports.page import write_report

            write_report(report, log, path.name, outcomes, comparison)
            print(f"report: {report}")
    return extra
