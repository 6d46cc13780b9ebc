"""What a landmark predictor is worth beside its teacher: a table and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def table(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    lines = [
        f"{report['pictures']} held-out pictures, face detected on {report['found']}",
        "error, eye distances            mean   median      p90  pictures",
    ]
    for name, e in report["errors"].items():
        lines.append(f"{name:<28}{e['mean']:>8.4f} {e['median']:>8.4f} {e['p90']:>8.4f} {e['pictures']:>9}")
    t = report["time"]
    lines.append(
        f"per face {t['ours_ms']:.2f} ms, teacher {t['teacher_ms']:.2f} ms, ratio {t['ratio']:.2f}; "
        f"loads in {t['load_ms']:.0f} ms; {report['bytes'] / 1e6:.2f} MB"
    )
    return lines


def draw(report: dict[str, Any], path: Path) -> None:
    """Error over how far the box strays, and over the head's tilt."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, word, label in (
        (axes[0], "box astray", "standard deviation of the box, % of its side"),
        (axes[1], "tilted", "tilt of the head in degrees, upright box"),
    ):
        for who, name in (("teacher", "dlib, 68 points"), ("ours", "ours, 47 points")):
            found = {k: v for k, v in report["errors"].items() if k.startswith(who) and word in k}
            x = [float(k.split()[-1].rstrip("%")) for k in found]
            axis.plot(x, [v["median"] for v in found.values()], "o-", label=name)
        axis.set_xlabel(label)
        axis.set_ylim(0, 0.2)
    axes[0].set_ylabel("median error, eye distances")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
