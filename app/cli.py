"""Command line: from words to an exit code; what each command takes and does is in its module of app/commands/.

Exit codes are listed in errors.py; 0 is a clean end; Ctrl-C ends a run cleanly once it has begun, and anything before that
with 130.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from app.command import Parser
from app.commands import (
    bench,
    calibrate,
    cameras,
    card,
    config,
    doctor,
    evaluate,
    export,
    flops,
    models,
    networks,
    prepare,
    replay,
    run,
    simulate,
    soak,
    study,
    train,
    train_follower,
    train_landmarks,
)
from app.console.telling import complain, open_streams
from app.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order of the help: watching, time, networks that are there, networks that are made.
COMMANDS = (
    *(run, cameras, doctor, config),
    *(calibrate, replay, simulate, bench, soak),
    *(models, evaluate, card),
    *(prepare, train, export, networks, flops, train_landmarks, train_follower, study),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; errors become a message on stderr and the exit code of their kind."""
    open_streams()
    try:
        args = build_parser().parse_args(argv)
        return int(args.run(args) or 0)
    except AppError as error:
        complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output is gone; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> Parser:
    parser = Parser(
        prog="main.py",
        description="Age, gender and expression of every face in view, at the frame rate asked for.",
        epilog="`main.py COMMAND --help` explains a command.",
    )
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(sub)
    return parser
