"""What our own landmarks change in a network's figures, against dlib's 68-point model from which they were learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.judging import metrics
from models.judging.evaluate import labels_of, read_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.data.sets.base import Sample
    from models.judging.evaluate import Pictures
    from models.manifest import Manifest


def compare_landmarks(manifest: Manifest, pictures: Pictures, **options: Any) -> dict[str, Any]:
    """Per input size and exit, paired picture by picture: mean absolute error in years (UTKFace) or share of wrong
    expressions (FER2013, FER+) with either predictor's landmarks; ours minus the teacher's, with its 95 % interval."""
    ours, theirs = (read_outputs(manifest, pictures, teacher=teacher, **options) for teacher in (False, True))
    kept = ours[0]
    rows: dict[int, dict[str, Any]] = {}
    for size in ours[1]:
        rows[size] = {}
        names = [e.name for e in manifest.variants if not e.mirrored or size in e.multiply_adds]
        for name in names:
            a, b = (_errors(outputs[size], name, kept, pictures.dataset) for _, outputs, _ in (ours, theirs))
            rows[size][name] = {
                "ours": float(a.mean()),
                "teacher": float(b.mean()),
                "difference": float((a - b).mean()),
                "difference_95": metrics.bootstrap_interval(a - b),
            }
    return {"model": manifest.name, "dataset": pictures.dataset, "pictures": len(kept), "rows": rows}


def _errors(
    outputs: dict[str, NDArray[np.float32]], name: str, kept: Sequence[Sample], dataset: str
) -> NDArray[np.float64]:
    """(n,) error of each picture at an exit."""
    if dataset in ("fer2013", "ferplus"):
        guess = outputs[f"{name}.expression"].argmax(axis=1)
        return (guess != labels_of(kept)["expression"]).astype(np.float64)
    return np.abs(metrics.expectation(outputs[f"{name}.age"]) - np.array([s.age for s in kept]))


def comparison_table(report: dict[str, Any]) -> list[str]:
    """The comparison for people: a row per exit."""
    unit = "share of wrong expressions" if report["dataset"] in ("fer2013", "ferplus") else "years"
    lines = [f"{report['model']} on {report['dataset']}, {report['pictures']} pictures, error in {unit}"]
    for size, exits in report["rows"].items():
        lines.append(f"{size} px{'ours':>19}{'teacher':>10}{'difference':>12}  95 %")
        for name, e in exits.items():
            low, high = e["difference_95"]
            lines.append(
                f"{name:<15}{e['ours']:>10.3f}{e['teacher']:>10.3f}{e['difference']:>+12.3f}  {low:+.3f} to {high:+.3f}"
            )
    return lines
