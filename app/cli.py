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
    log,
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
    import argparse
    from collections.abc import Sequence

# Who uses what. A new command goes into its group, in the order of the help.
GROUPS = {
    "Kiosk and footage": (run, cameras),
    "Care": (doctor, config, calibrate, soak),
    "Measuring and replay": (replay, log, simulate, bench),
    "Networks and research": (
        *(models, networks, prepare, train, export, evaluate, card, flops),
        *(train_landmarks, train_follower, study),
    ),
}
COMMANDS = tuple(command for group in GROUPS.values() for command in group)

EXAMPLES = """\
  main.py run                                           the camera; without one, the demo crowd
  main.py run --source clip.mp4 --results people.jsonl  a file: everybody in every frame
  main.py doctor                                        what this machine lacks
  main.py replay latency.jsonl --budget-ms 33           what another budget would have done
  main.py bench exits                                   what stopping early saves here"""

BEGIN = """\
Age, gender and expression of every face in view. To begin:

  main.py run                      the camera; without one, the demo crowd
  main.py run --source clip.mp4    a video file
  main.py doctor                   what this machine lacks, and what to do about it
  main.py --help                   all commands"""


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
        # The reader of our output is gone; Python would complain again when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def build_parser() -> Parser:
    parser = _Main(prog="main.py")
    sub = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for title, modules in GROUPS.items():
        known = len(sub._choices_actions)
        for module in modules:
            module.add(sub)
        parser.groups[title] = sub._choices_actions[known:]
    return parser


class _Main(Parser):
    """The parser of `main.py` alone: its help is an overview, a line a command, by who uses it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog=prog)
        self.groups: dict[str, list[argparse.Action]] = {}
        self.set_defaults(run=_begin)

    def format_help(self) -> str:
        lines = ["usage: main.py COMMAND [options]", "", "Age, gender and expression of every face in view.", ""]
        for title, commands in self.groups.items():
            lines += [f"{title}:", *(f"  {command.dest:<16}{command.help}" for command in commands)]
        return "\n".join([*lines, "", "Examples (`main.py COMMAND --help` explains a command):", EXAMPLES, ""])


def _begin(args: argparse.Namespace) -> int:
    print(BEGIN)
    return 0
