"""`models`: the networks that ship."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from app.command import command
from app.errors import ModelError, UsageError
from models.manifest import WEIGHTS, Manifest, ManifestError

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "models",
        run,
        "List the shipped networks, with exits, cost and licence.",
        "models",
    )
    p.add_argument("--folder", type=Path, metavar="DIR", help="list the networks that `export` wrote there instead")
    p.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints what is known of each network in a folder, the shipped ones unless one is given, the default first.

    Raises UsageError for a folder without any, and ModelError, after the others were listed, for manifests that are broken.
    """
    from app.reports.networks import describe, table

    place = args.folder or WEIGHTS
    found, broken = [], []
    for path in sorted(place.glob("*.json")):
        try:
            found.append(describe(Manifest.read(path), path))
        except ManifestError as error:
            broken.append(str(error))
    if not found and not broken:
        raise UsageError(f"there is no manifest in {place}: `main.py export` writes them")
    found.sort(key=lambda one: (not one["default"], one["name"]))
    print(json.dumps(found, indent=1) if args.json else "\n".join(table(found, shipped=args.folder is None)))
    if broken:
        raise ModelError("; ".join(broken))
    return 0
