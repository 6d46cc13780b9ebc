"""Figures per exit of an exported network over a labelled data set, read from the pictures themselves.

`align`: face and landmarks are found in each picture, as in training. Otherwise the pictures are chips that the data
set's makers have aligned already, and one fixed crop serves all: the mean of what `align` finds, so the two differ only
where a face sits unusually.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from align.crop import crop_face
from align.geometry import AlignmentError, Template, to_pixels
from models import metrics
from models.data import DataError, Locator, Report, Sample, read_fer2013, read_picture, read_utkface
from models.manifest import ManifestError
from models.session import cpu_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from models.manifest import Manifest

BATCH = 64
ADULTS = (21, 60)
# What `align` does to the median picture: x' = scale * x + shift, from shares of the picture's side to the unit square
# of the crop. Medians over every fifth prepared picture's fit; rotation, below 0.7 degrees, is left out.
FIXED_CROP = {"utkface": (1.0955, -0.0396, 0.0308), "fer2013": (1.112, -0.047, -0.070)}


def evaluate(
    manifest: Manifest,
    dataset: str,
    root: Path,
    *,
    split: str = "validation",
    names: Iterable[str] | None = None,
    align: bool = True,
    size: int | None = None,
    progress: Callable[..., Any] = iter,
) -> dict[str, Any]:
    """All figures, ready for JSON. Raises DataError and ManifestError."""
    size = size or max(manifest.input_sizes)
    if not 32 <= size <= 512:
        raise DataError(f"--size must be from 32 to 512 px, got {size}")
    samples, report = read_utkface(root, names) if dataset == "utkface" else read_fer2013(root, split)
    session = _session(manifest)
    crop = _Cropper(dataset, manifest, size, align, report)
    kept: list[Sample] = []
    outputs: dict[str, list[NDArray[np.float32]]] = {o.name: [] for o in session.get_outputs()}
    batch: list[NDArray[np.uint8]] = []
    for i, sample in enumerate(progress(samples)):
        picture = crop(sample)
        if picture is not None:
            kept.append(sample)
            batch.append(picture)
        if len(batch) == BATCH or (batch and i == len(samples) - 1):
            for name, values in zip(outputs, session.run(None, {manifest.input_name: np.stack(batch)}), strict=True):
                outputs[name].append(values)
            batch = []
    if not kept:
        raise DataError(f"none of the {len(samples)} pictures could be used")
    joined = {name: np.concatenate(parts) for name, parts in outputs.items()}
    return {
        "model": manifest.name,
        "sha256": manifest.sha256,
        "dataset": dataset,
        "pictures": len(kept),
        "input_size": size,
        "alignment": "landmarks of each picture" if align else "one fixed crop",
        "data": report.lines(),
        "exits": {
            e.name: _figures({h: joined[e.output(h)] for h in ("age", "gender", "expression")}, kept)
            for e in manifest.exits
        },
    }


class _Cropper:
    """From a sample to its (size, size, 3) RGB crop, or None where it cannot be read; counts in `report`."""

    def __init__(self, dataset: str, manifest: Manifest, size: int, align: bool, report: Report) -> None:
        self._template, self._size, self._report = Template(manifest.template), size, report
        self._locate = Locator(dataset) if align else None
        self._fixed = FIXED_CROP[dataset]

    def __call__(self, sample: Sample) -> NDArray[np.uint8] | None:
        image = read_picture(sample.path)
        if image is None:
            self._report.skip("not a readable picture", sample.path.name)
            return None
        matrix = self._fixed_matrix(image)
        if self._locate:
            place = self._locate(image)
            if not place.found:
                self._report.notes["placed by the usual box, no face detected"] += 1
            try:
                matrix = self._template.fit(place.landmarks)
            except AlignmentError:
                self._report.notes["placed by the fixed crop, no fit"] += 1
        return cv2.cvtColor(crop_face(image, to_pixels(matrix, self._size), self._size), cv2.COLOR_BGR2RGB)

    def _fixed_matrix(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        scale, x, y = self._fixed
        height, width = image.shape[:2]
        side = max(height, width)
        return np.array([[scale / side, 0, x + scale * 0.5 / side], [0, scale / side, y + scale * 0.5 / side]])


def _session(manifest: Manifest) -> Any:
    content = manifest.verify()
    try:
        session = cpu_session(content)
    except Exception as error:  # ONNX Runtime raises a dozen types of its own
        raise ManifestError(f"network {manifest.network} cannot be loaded: {error}") from error
    missing = {e.output(h) for e in manifest.exits for h in ("age", "gender", "expression")} - {
        o.name for o in session.get_outputs()
    }
    if missing:
        raise ManifestError(f"network {manifest.network} lacks the outputs {', '.join(sorted(missing)[:3])}, ...")
    return session


def _figures(p: dict[str, NDArray[np.float32]], samples: Sequence[Sample]) -> dict[str, Any]:
    """One exit: what its data set has labels for."""
    age, gender, expression = (np.array([getattr(s, k) for s in samples]) for k in ("age", "gender", "expression"))
    figures: dict[str, Any] = {}
    if (age >= 0).any():
        estimate = metrics.expectation(p["age"])
        error = np.abs(estimate - age)
        adult = (age >= ADULTS[0]) & (age <= ADULTS[1])
        figures |= {
            "mae": float(error.mean()),
            "mae_95": metrics.bootstrap_interval(error),
            "cs5": metrics.cumulative_score(estimate, age),
            "mae_by_decade": {
                f"{d}-{d + 9}": float(error[age // 10 == d // 10].mean())
                for d in range(0, 101, 10)
                if (age // 10 == d // 10).any()
            },
        }
        if adult.any():
            figures["mae_21_60"] = float(error[adult].mean())
        figures["gender"] = metrics.accuracy(p["gender"], gender)
        if adult.any():
            figures["gender_21_60"] = metrics.accuracy(p["gender"][adult], gender[adult])
    if (expression >= 0).any():
        figures["expression"] = metrics.accuracy(p["expression"], expression)
        figures["expression_95"] = metrics.bootstrap_interval(p["expression"].argmax(axis=1) == expression)
        figures["macro_f1"] = metrics.macro_f1(p["expression"], expression)
    return figures


_COLUMNS = {
    "mae": "MAE",
    "mae_95": "95 %",
    "cs5": "CS5",
    "mae_21_60": "MAE 21-60",
    "gender": "gender",
    "gender_21_60": "21-60",
    "expression": "expression",
    "expression_95": "95 %",
    "macro_f1": "macro F1",
}


def table(report: dict[str, Any]) -> list[str]:
    """The report for people: a row per exit."""
    columns = [c for c in _COLUMNS if c in next(iter(report["exits"].values()))]
    lines = [
        f"{report['model']} on {report['dataset']}, {report['pictures']} pictures at "
        f"{report['input_size']} px, {report['alignment']}",
        *report["data"],
    ]
    lines.append("exit    " + "".join(f"{_COLUMNS[c]:>14}" for c in columns))
    for name, figures in report["exits"].items():
        lines.append(f"{name:<8}" + "".join(f"{_cell(c, figures[c]):>14}" for c in columns))
    return lines


def _cell(column: str, value: Any) -> str:
    years = column.startswith("mae")
    if isinstance(value, tuple):
        return "-".join(f"{v:.2f}" if years else f"{v:.1%}" for v in value)
    return f"{value:.2f}" if years else f"{value:.1%}"
