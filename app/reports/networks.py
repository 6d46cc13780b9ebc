"""What is known of a network from its manifest: figures of its best and its cheapest operating point, size, licence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.network.calibrate import relative_errors
from models.manifest import DEFAULT_MODEL, WEIGHTS
from scheduler.profile import OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.manifest import Manifest


def describe(manifest: Manifest, path: Path) -> dict[str, Any]:
    """Ready for JSON."""
    points = ranked(manifest)
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


def ranked(manifest: Manifest) -> list[OperatingPoint]:
    """All points, cheapest first."""
    points = [OperatingPoint(e.name, s) for e in manifest.variants for s in e.multiply_adds]
    return sorted(points, key=lambda p: manifest.exit(p.exit).multiply_adds[p.size])


def best_point(manifest: Manifest) -> OperatingPoint:
    """The one with the least validation error over all that it estimates, as the scheduler reckons; of equals the cheapest."""
    points = ranked(manifest)
    errors, _ = relative_errors(manifest, points)
    return min(points, key=lambda p: errors[p])


def _figures(manifest: Manifest, point: OperatingPoint) -> dict[str, Any]:
    one = manifest.exit(point.exit)
    cost = {"exit": point.exit, "size": point.size, "multiply_adds": one.multiply_adds[point.size]}
    return cost | {key: one.validation[point.size][key] for key in ("mae", *manifest.tasks[1:])}


def table(found: Sequence[dict[str, Any]], *, shipped: bool) -> list[str]:
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
                f"{at['mae']:>7.2f}{_share(at, 'gender'):>9}{_share(at, 'expression'):>12}".rstrip()
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
        f"Figures are those of the manifests, on held-out faces; best: over all tasks together. `run --model {how}` takes one.",
    ]


def _share(figures: dict[str, Any], task: str) -> str:
    """Empty where the network does not tell it."""
    return f"{figures[task]:.1%}" if task in figures else ""


def licence_in_a_word(text: str) -> str:
    """The first clause about the weights."""
    first = text.removeprefix("Weights:").strip()
    for end in ",.;:":
        first = first.split(end)[0]
    return first.strip() or "licence unknown"
