"""`card`: the figures in a network's model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.command import command
from app.errors import ModelError, OutputError, UsageError
from app.files import check_writable
from models.manifest import DEFAULT_MODEL, Manifest, ManifestError, find_manifest

if TYPE_CHECKING:
    import argparse


def add(sub: argparse._SubParsersAction) -> None:
    p = command(
        sub,
        "card",
        run,
        "Write measured figures into a network's model card. The card is NAME.md beside the manifest; figures are reports of `evaluate`.",
        "card --model mobilenet_v1_075 --report utkface.json ferplus.json spoilt.json",
    )
    p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"a shipped network's name, or the path of a manifest; default {DEFAULT_MODEL}",
    )
    p.add_argument(
        "--report",
        type=Path,
        nargs="+",
        required=True,
        metavar="JSON",
        help="what `evaluate --json` wrote of this network, over all its input sizes: one with ages, one with expressions, "
        "and reports of `evaluate --spoilt` on either",
    )


def run(args: argparse.Namespace) -> int:
    """Rewrites the figures in the card beside a network's manifest from reports of `evaluate --json`."""
    from app.network.calibrate import candidates
    from app.reports.networks import best_point, ranked
    from models.shipping.card import BEGIN, END, CardError, replaced, section
    from models.shipping.spoilt_card import spoilt_section

    try:
        path = find_manifest(args.model)
        manifest = Manifest.read(path)
    except ManifestError as error:
        raise ModelError(str(error)) from error
    target = path.with_suffix(".md")
    check_writable(target)
    try:
        text = target.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(
            f"{target} cannot be read: {error}. Write the card's text there, with the lines {BEGIN} and {END}"
        ) from error
    read = [_read_report(one) for one in args.report]
    points = candidates(manifest)
    best = best_point(manifest)
    listed = sorted({*points, best, ranked(manifest)[0]})
    try:
        clean, spoilt = ([r for r in read if ("kinds" in r) is wanted] for wanted in (False, True))
        lines = section(manifest, clean, listed, best, manifest.network.stat().st_size)
        by_cost = sorted(listed, key=lambda p: manifest.exit(p[0]).multiply_adds[p[1]])
        lines += spoilt_section(manifest, spoilt, by_cost)
    except CardError as error:
        raise UsageError(str(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"a report is incomplete or wrong ({error}): make it again with `main.py evaluate --json`"
        ) from error
    try:
        changed = replaced(text, lines)
    except CardError as error:
        raise UsageError(f"{target}: {error}") from error
    target.write_text(changed, encoding="utf-8")
    print(f"{target}: figures of {', '.join(str(one['dataset']) for one in read)} at {len(listed)} points")
    return 0


def _read_report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--report {path} cannot be read as JSON: {error}") from error
    if not isinstance(report, dict) or not {"sha256", "figures", "dataset"} <= report.keys():
        raise UsageError(f"--report {path} is not a report of `main.py evaluate --json`")
    return report
