"""`models` and `card`: the networks that ship, and the figures in their cards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app.errors import ModelError, OutputError, UsageError
from app.files import check_writable
from app.network.calibrate import candidates, relative_errors
from models.manifest import DEFAULT_MODEL, WEIGHTS, Manifest, ManifestError, find_manifest
from scheduler.latency import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def models(folder: Path | None = None, as_json: bool = False) -> int:
    """Prints what is known of each network in a folder, the shipped ones unless one is given, the default first.

    Raises UsageError for a folder without any, and ModelError, after the others were listed, for manifests that are broken.
    """
    place = folder or WEIGHTS
    found, broken = [], []
    for path in sorted(place.glob("*.json")):
        try:
            found.append(_describe(Manifest.read(path), path))
        except ManifestError as error:
            broken.append(str(error))
    if not found and not broken:
        raise UsageError(f"there is no manifest in {place}: `main.py export` writes them")
    found.sort(key=lambda one: (not one["default"], one["name"]))
    print(json.dumps(found, indent=1) if as_json else "\n".join(_table(found, shipped=folder is None)))
    if broken:
        raise ModelError("; ".join(broken))
    return 0


def _describe(manifest: Manifest, path: Path) -> dict[str, Any]:
    """Ready for JSON."""
    points = _ranked(manifest)
    return {
        "name": path.stem,
        "default": path.parent == WEIGHTS and path.stem == DEFAULT_MODEL,
        "manifest": str(path),
        "bytes": manifest.network.stat().st_size,
        "input_sizes": manifest.input_sizes,
        "exits": [e.name for e in manifest.exits],
        "best": _figures(manifest, best_point(manifest)),
        "cheapest": _figures(manifest, points[0]),
        "dearest": _figures(manifest, points[-1]),
        "licence": manifest.licence,
    }


def _ranked(manifest: Manifest) -> list[OperatingPoint]:
    """All points, cheapest first."""
    points = [OperatingPoint(e.name, s) for e in manifest.variants for s in e.multiply_adds]
    return sorted(points, key=lambda p: manifest.exit(p.exit).multiply_adds[p.size])


def best_point(manifest: Manifest) -> OperatingPoint:
    """The one with the least validation error over all that it estimates, as the scheduler reckons; of equals the cheapest."""
    points = _ranked(manifest)
    errors, _ = relative_errors(manifest, points)
    return min(points, key=lambda p: errors[p])


def _figures(manifest: Manifest, point: OperatingPoint) -> dict[str, Any]:
    one = manifest.exit(point.exit)
    cost = {"exit": point.exit, "size": point.size, "multiply_adds": one.multiply_adds[point.size]}
    return cost | {key: one.validation[point.size][key] for key in ("mae", "gender", "expression")}


def _table(found: Sequence[dict[str, Any]], *, shipped: bool) -> list[str]:
    wide = max(len(one["name"]) for one in found) + 2 if found else 4
    lines = [
        f"{'name':<{wide}}{'file':>9}{'exits':>7}  {'':<9}{'at':<18}{'mult-adds':>10}{'MAE':>7}{'gender':>9}{'expression':>12}"
    ]
    for one in found:
        head = f"{one['name']:<{wide}}{one['bytes'] / 1e6:>6.1f} MB{len(one['exits']):>7}  "
        for which in ("best", "cheapest"):
            at = one[which]
            lines.append(
                f"{head}{which:<9}{at['exit'] + '@' + str(at['size']):<18}{at['multiply_adds'] / 1e6:>8.1f} M"
                f"{at['mae']:>7.2f}{at['gender']:>9.1%}{at['expression']:>12.1%}"
            )
            head = " " * len(head)
        span = " to ".join(f"{one[which]['multiply_adds'] / 1e6:.1f}" for which in ("cheapest", "dearest"))
        sizes = ", ".join(map(str, one["input_sizes"]))
        lines.append(f"  input {sizes} px; {span} M multiply-adds a face; {licence_in_a_word(one['licence'])}")
        if one["default"]:
            lines[-1] += "; the default"
    how = "NAME" if shipped else "FOLDER/NAME.json"
    return [
        *lines,
        f"Figures are those of the manifests, on held-out faces; best: over all three together. `run --model {how}` takes one.",
    ]


def licence_in_a_word(text: str) -> str:
    """The first clause about the weights."""
    first = text.removeprefix("Weights:").strip()
    for end in ",.;:":
        first = first.split(end)[0]
    return first.strip() or "licence unknown"


def card(model: str, reports: Sequence[Path]) -> int:
    """Rewrites the figures in the card beside a network's manifest from reports of `evaluate --json`."""
    from models.shipping.card import BEGIN, END, CardError, replaced, section

    try:
        path = find_manifest(model)
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
    read = [_read_report(one) for one in reports]
    points = candidates(manifest)
    best = best_point(manifest)
    listed = sorted({*points, best, _ranked(manifest)[0]})
    try:
        lines = section(manifest, read, listed, best, manifest.network.stat().st_size)
    except CardError as error:
        raise UsageError(str(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"a report lacks or garbles {error}: make it anew with `main.py evaluate --json`") from error
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
        raise UsageError(f"--report {path} is no report of `main.py evaluate --json`")
    return report
