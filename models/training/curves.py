"""Draws a training's log."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from models.data.sets.base import DataError

if TYPE_CHECKING:
    from pathlib import Path


def draw_curves(folder: Path, path: Path) -> None:
    """Loss over steps, and the validation figures of each exit. Raises DataError for a folder without a log."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    try:
        log = _rows(folder / "log.csv")
        validation = _rows(folder / "validation.csv")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing: has the training been started, and validated once?") from error
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    axes[0].plot([int(r["step"]) for r in log], [float(r["loss"]) for r in log], lw=0.8)
    axes[0].set(xlabel="step", ylabel="training loss", yscale="log")
    largest = max((int(r["size"]) for r in validation), default=0)
    validation = [r for r in validation if int(r["size"]) == largest]
    names = sorted({r["exit"] for r in validation})
    for axis, figure_name in zip(axes[1:], ("mae", "expression"), strict=True):
        for i, name in enumerate(names):
            rows = [r for r in validation if r["exit"] == name and r.get(figure_name)]
            axis.plot(
                [int(r["step"]) for r in rows],
                [float(r[figure_name]) for r in rows],
                color=pyplot.cm.viridis(i / max(1, len(names) - 1)),
                label=name,
            )
        axis.set(
            xlabel="step",
            ylabel={"mae": f"validation MAE at {largest} px, years", "expression": "validation accuracy, expression"}[
                figure_name
            ],
        )
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _rows(path: Path) -> list[dict[str, str]]:
    """Complete lines only: a training that is writing may be in the middle of one."""
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if None not in row.values()]
