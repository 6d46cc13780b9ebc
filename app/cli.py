"""Command line: flags to settings to an exit code; what each command takes is in app/options/.

Exit codes are listed in errors.py; 0 is a clean end; Ctrl-C ends a run cleanly once it has begun, and anything before that
with 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from app.errors import AppError
from app.options import networks, running, timing, training

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; errors become a message on stderr and the exit code of their kind."""
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args) or 0)
    except AppError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output is gone; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Age, gender and expression of every face in view, at the frame rate asked for.",
        epilog="`main.py COMMAND --help` explains a command.",
    )
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        *(running.add_run, running.add_cameras, running.add_doctor, running.add_config),
        *(timing.add_calibrate, timing.add_replay, timing.add_simulate, timing.add_bench, running.add_soak),
        *(networks.add_models, networks.add_evaluate, networks.add_card),
        *(training.add_prepare, training.add_train, networks.add_export, networks.add_flops),
        *(training.add_train_landmarks, training.add_study_elastic),
    ):
        add(sub)
    return parser
