"""`soak`: the demo crowd at full load with injected faults, then a verdict, point by point."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from app.command import command
from app.errors import SoakFailed, UsageError
from app.files import check_writable

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "soak",
        run,
        "Run the demo crowd at full load with faults, then judge. Faults: camera, pictures, network, disk.",
        "soak --minutes 10 --report soak.md",
    )
    p.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long; default 10")
    p.add_argument("--report", type=Path, metavar="OUT.md", help="write the verdict as a page")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Raises SoakFailed when a point is not met."""
    if not 0.9 <= args.minutes <= 24 * 60:
        raise UsageError(f"--minutes must be from 0.9 (one cycle of faults) to {24 * 60}, got {args.minutes:g}")
    if not Path("/dev/full").exists() or not Path("/proc/self/fd").exists():
        raise UsageError("soak fills disks by way of Linux's /dev/full: run it on Linux")
    for path in filter(None, (args.report, args.json)):
        check_writable(path)
    from app.bench.soak import markdown, soak, table

    with TemporaryDirectory() as folder:
        result = soak(args.minutes, Path(folder))
    print("\n".join(table(result)))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.report:
        args.report.write_text(markdown(result), encoding="utf-8")
    failed = [name for name, (met, _) in result["verdicts"].items() if not met]
    if failed:
        raise SoakFailed(f"not met: {', '.join(failed)}")
    return 0
