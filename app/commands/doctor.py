"""`doctor`: the report, one line a finding."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from app.command import command
from models.manifest import DEFAULT_MODEL

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "doctor",
        run,
        "Check what this machine lacks for `run`. Says what to do about each thing.",
        "doctor --device cuda",
    )
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="which to try; default auto: all")
    p.add_argument("--model", default=DEFAULT_MODEL, help="a shipped network's name, or the path of a manifest")
    p.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """0 where `run` would work, 1 where something that it needs is broken."""
    from app.doctor import Level, examine

    findings = examine(args.device, args.model)
    broken = sum(f.level is Level.BROKEN for f in findings)
    if args.json:
        print(json.dumps({"ok": not broken, "findings": [dataclasses.asdict(f) for f in findings]}, indent=1))
        return int(broken > 0)
    for f in findings:
        print(f"{f.level:<8} {f.check:<12} {f.text}")
        if f.todo:
            print(f"{'':<8} {'':<12} to do: {f.todo}")
    warnings = sum(f.level is Level.WARNING for f in findings)
    print(f"\n{'`run` will not work' if broken else '`run` will work'}: {broken} broken, {warnings} warnings")
    return int(broken > 0)
