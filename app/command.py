"""How a command is added."""

from __future__ import annotations

import argparse


def command(
    sub: argparse._SubParsersAction, name: str, run: object, text: str, example: str
) -> argparse.ArgumentParser:
    parser = sub.add_parser(name, help=text, description=text, epilog=f"example: main.py {example}")
    parser.set_defaults(run=run)
    return parser
