"""`log`: latency logs that others may have, and every rule on each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command
from app.errors import UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "log",
        run,
        "Compare rules on latency logs, or make a log fit to share.",
        "log docs/results/logs",
    )
    p.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="logs, or folders with logs")
    p.add_argument(
        "--share",
        type=Path,
        metavar="OUT.jsonl",
        help="write a copy of the log, without what could tell where it was made, to give away under CC0",
    )
    p.add_argument("--budget-ms", type=float, metavar="MS", help="another budget than the logs' own")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError."""
    paths = [found for path in args.logs for found in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    if not paths:
        raise UsageError(f"no log (*.jsonl) in {', '.join(map(str, args.logs))}")
    if args.share:
        return _share(paths, args.share)
    from app.reports.comparison import rivals
    from app.reports.outcomes import outcome_table
    from app.reports.replays import read

    for path in paths:
        log = read(path)
        machine = log.header.get("machine", {})
        print(f"{path.name}: {len(log.frames)} frames, {machine.get('processor', 'an unnamed machine')}")
        try:
            outcomes = rivals(log, args.budget_ms)
        except ValueError as error:
            raise UsageError(f"log {path} cannot be simulated: {error}") from error
        for line in outcome_table(outcomes):
            print(line)
    return 0


def _share(paths: list[Path], out: Path) -> int:
    from app.reports.sharing import LICENCE, shared

    if len(paths) != 1:
        raise UsageError("--share takes one log")
    if out.exists() and out.samefile(paths[0]):
        raise UsageError(f"{out} is the log itself: name another file")
    check_writable(out)
    left_out = shared(paths[0], out)
    print(f"{out}: no pictures, nobody's age or face; left out: {', '.join(left_out) or 'nothing'}")
    print(f"whoever gets it may use it freely ({LICENCE}); it holds your processor's name and this run's times")
    return 0
