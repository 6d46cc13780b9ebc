"""`config`: the settings in force, or a file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from app import config as settings_file
from app.command import add_config_file, command
from app.errors import UsageError

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "config",
        run,
        "Show the settings in force, or write a configuration file. Says where each setting comes from.",
        "config --write kiosk.toml",
    )
    add_config_file(p)
    p.add_argument(
        "--write",
        nargs="?",
        const="",
        metavar="OUT.toml",
        help="write a file in which every setting stands at its default with a comment; default: the user's own file",
    )
    p.add_argument("--force", action="store_true", help="with --write: replace a file that is there")


def run(args: argparse.Namespace) -> int:
    if args.force and args.write is None:
        raise UsageError("--force goes with --write")
    if args.write is None:
        loaded = settings_file.load({}, args.config)
        print(f"# {loaded.file or f'no file: there is none at {settings_file.default_file()}'}")
        print(settings_file.in_force(loaded))
        return 0
    path = Path(args.write) if args.write else settings_file.default_file()
    settings_file.write(path, replace=args.force)
    print(f"{path} written: every setting at its default. `main.py config` shows what is in force.")
    if path != settings_file.default_file():
        print(f"It is read with `--config {path}`.")
    return 0
