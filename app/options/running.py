"""Watching people: `run` and what an operator needs around it."""

from __future__ import annotations

import argparse
from pathlib import Path

from app import config
from app.command import command
from app.config import default_text
from app.errors import UsageError
from app.settings import options
from models.manifest import DEFAULT_MODEL


def add_run(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "run",
        _run,
        "Watch a camera, a video or the demo crowd.",
        "run --source clip.mp4 --results results.jsonl --output annotated.mp4",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in options():
        if option.group not in groups:
            groups[option.group] = p.add_argument_group(option.group)
        group = groups[option.group]
        default = default_text(option)
        text = (option.help if default == "none" else f"{option.help}; default: {default}").replace("%", "%%")
        if option.kind is bool:
            group.add_argument(option.flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(option.flag, type=option.kind, metavar=option.metavar or None, help=text)
    _add_config_file(p)


def _run(args: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(args).items() if k not in ("run", "config")}
    loaded = config.load(given, args.config)
    print(f"settings  {loaded.summary()}")
    from app.commands import run

    return run.run(loaded.settings)


def add_cameras(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "cameras",
        _cameras,
        "List the cameras by number and name, with their sizes and whether they are in use.",
        "cameras",
    )
    p.add_argument("--json", action="store_true", help="print it as JSON")


def _cameras(args: argparse.Namespace) -> int:
    from app.commands import cameras

    return cameras.cameras(args.json)


def add_doctor(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "doctor",
        _doctor,
        "Check whether this machine has what `run` needs, and say what to do about what it lacks.",
        "doctor --device cuda",
    )
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="which to try; default auto: all")
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--json", action="store_true", help="print it as JSON")


def _doctor(args: argparse.Namespace) -> int:
    from app.commands import doctor

    return doctor.doctor(args.device, args.model, args.json)


def _add_config_file(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with the options of `run`, - written as _; default: the user's own, where there is one",
    )


def add_config(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "config",
        _config,
        "Show the settings in force and where each comes from, or write a configuration file to start from.",
        "config --write kiosk.toml",
    )
    _add_config_file(p)
    p.add_argument(
        "--write",
        nargs="?",
        const="",
        metavar="OUT.toml",
        help="write a file in which every setting stands at its default with a comment; default: the user's own file",
    )
    p.add_argument("--force", action="store_true", help="with --write: replace a file that is there")


def _config(args: argparse.Namespace) -> int:
    if args.force and args.write is None:
        raise UsageError("--force goes with --write")
    if args.write is None:
        loaded = config.load({}, args.config)
        print(f"# {loaded.file or f'no file: there is none at {config.default_file()}'}")
        print(config.in_force(loaded))
        return 0
    path = Path(args.write) if args.write else config.default_file()
    config.write(path, replace=args.force)
    print(f"{path} written: every setting at its default. `main.py config` shows what is in force.")
    if path != config.default_file():
        print(f"It is read with `--config {path}`.")
    return 0


def add_soak(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "soak",
        _soak,
        "Run the demo crowd at full load with faults injected: camera, pictures, network, disk; then a verdict.",
        "soak --minutes 10 --report soak.md",
    )
    p.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long; default 10")
    p.add_argument("--report", type=Path, metavar="OUT.md", help="write the verdict as a page")
    p.add_argument("--json", type=Path, metavar="OUT.json", help="write everything as JSON")


def _soak(args: argparse.Namespace) -> int:
    from app.commands import soak

    return soak.soak(args.minutes, args.report, args.json)
