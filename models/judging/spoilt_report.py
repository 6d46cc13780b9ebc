"""Means and worsts of `evaluate --spoilt`, as a table and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEVELS = ("weak", "middle", "strong")
MIDDLE = 1
CLEAN = "clean"


def summary(by_kind: Mapping[str, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    """Per input size and exit of one width: clean figures, and means and worsts over the kinds.

    `by_kind`: per kind a list of levels, each of figures per size and exit; CLEAN has one level.
    """
    (clean,) = by_kind[CLEAN]
    return {size: {name: _summed_up(by_kind, size, name) for name in exits} for size, exits in clean.items()}


def _summed_up(by_kind: Mapping[str, Any], size: int, name: str) -> dict[str, Any]:
    clean = by_kind[CLEAN][0][size][name]
    spoilt = {kind: [level[size][name] for level in levels] for kind, levels in by_kind.items() if kind != CLEAN}
    out: dict[str, Any] = {}
    if "mae" in clean:
        ratios = {kind: levels[MIDDLE]["mae"] / clean["mae"] for kind, levels in spoilt.items()}
        out |= {"mae_clean": clean["mae"], "mae_mean": float(np.mean([v[MIDDLE]["mae"] for v in spoilt.values()]))}
        out |= {"mae_ratio": float(np.mean(list(ratios.values()))), "mae_worst_ratio": max(ratios.values())}
        out |= {"mae_worst": max(ratios, key=lambda kind: ratios[kind])}
        out |= _most("bias", {kind: levels[MIDDLE]["bias"] for kind, levels in spoilt.items()})
        out |= _most("bias_any_level", _each(spoilt, "bias"))
        for key in clean:
            if key.startswith("coverage_"):
                wanted = float(key.removeprefix("coverage_")) / 100
                out |= _most(f"{key}_off", {kind: v - wanted for kind, v in _each(spoilt, key).items()})
    for head in ("gender", "expression"):
        if head in clean:
            middle = {kind: levels[MIDDLE][head] for kind, levels in spoilt.items()}
            out |= {f"{head}_clean": clean[head], f"{head}_mean": float(np.mean(list(middle.values())))}
            worst = min(middle, key=lambda kind: middle[kind])
            out |= {f"{head}_worst": worst, f"{head}_least": middle[worst]}
    return out


def _each(spoilt: Mapping[str, Any], key: str) -> dict[str, float]:
    return {f"{kind}, {LEVELS[i]}": level[key] for kind, levels in spoilt.items() for i, level in enumerate(levels)}


def _most(name: str, values: Mapping[str, float]) -> dict[str, Any]:
    """(the value furthest from 0, the kind it is of)."""
    worst = max(values, key=lambda k: abs(values[k]))
    return {name: values[worst], f"{name}_of": worst}


def table(report: Mapping[str, Any]) -> list[str]:
    """For people: the kinds at the dearest point, then every point's means and worsts."""
    lines = [f"{report['model']} on {report['dataset']}, {report['pictures']} pictures", *report["data"]]
    for width, by_kind in report["figures"].items():
        size, name = dearest(by_kind)
        lines += ["", f"faces of {width} px, {name}@{size}: {', '.join(LEVELS)}"]
        lines += [_kind_line(kind, levels, size, name, report, by_kind[CLEAN][0]) for kind, levels in by_kind.items()]
        lines += ["", f"faces of {width} px, all kinds at middle strength (bias and coverage: at any strength)"]
        for s, exits in report["summary"][width].items():
            lines += [f"{f'{e}@{s}':<12}{_summary_line(row)}" for e, row in exits.items()]
    return lines


def dearest(by_kind: Mapping[str, Any]) -> tuple[Any, str]:
    """The largest input size and its deepest exit."""
    size, exits = list(by_kind[CLEAN][0].items())[-1]
    return size, list(exits)[-1]


def _kind_line(kind: str, levels: Any, size: Any, name: str, report: Mapping[str, Any], clean: Any) -> str:
    rows, parts = [level[size][name] for level in levels], []
    if "mae" in rows[0]:
        parts.append("years " + " ".join(f"{r['mae']:5.2f}" for r in rows))
        parts.append("times clean " + " ".join(f"{r['mae'] / clean[size][name]['mae']:.2f}" for r in rows))
        parts.append("bias " + " ".join(f"{r['bias']:+.1f}" for r in rows))
        parts.append("in 68 % " + " ".join(f"{r.get('coverage_68', float('nan')):.0%}" for r in rows))
    parts += [
        f"{head} " + " ".join(f"{r[head]:.0%}" for r in rows) for head in ("gender", "expression") if head in rows[0]
    ]
    about = report["kinds"].get(kind)
    strengths = f"{'/'.join(f'{v:g}' for v in about['levels'])} {about['unit']}" if about else ""
    return f"{kind:<14}{strengths:<36}{'; '.join(parts)}"


def _summary_line(row: Mapping[str, Any]) -> str:
    parts = []
    if "mae_clean" in row:
        parts.append(
            f"years {row['mae_clean']:.2f}, spoilt {row['mae_mean']:.2f} ({row['mae_ratio']:.3f} times), worst "
            f"{row['mae_worst_ratio']:.2f} times ({row['mae_worst']}), bias {row['bias_any_level']:+.1f} "
            f"({row['bias_any_level_of']})"
        )
        parts += [
            f"{key.removeprefix('coverage_').removesuffix('_off')} % off by {row[key]:+.0%} ({row[f'{key}_of']})"
            for key in row
            if key.startswith("coverage_") and key.endswith("_off")
        ]
    parts += [
        f"{head} {row[f'{head}_clean']:.1%}, spoilt {row[f'{head}_mean']:.1%}, worst {row[f'{head}_least']:.1%} "
        f"({row[f'{head}_worst']})"
        for head in ("gender", "expression")
        if f"{head}_clean" in row
    ]
    return "; ".join(parts)


def draw(report: Mapping[str, Any], path: Path) -> None:
    """A row of bars per kind at the dearest point: its error at the three strengths beside the clean one; a plot a width."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    widths = report["figures"]
    figure, axes = pyplot.subplots(1, len(widths), figsize=(6 * len(widths), 6), layout="constrained", sharey=True)
    for axis, (width, by_kind) in zip(np.atleast_1d(axes), widths.items(), strict=True):
        size, name = dearest(by_kind)
        clean = by_kind[CLEAN][0][size][name]
        key = "mae" if "mae" in clean else "expression"
        kinds = [kind for kind in by_kind if kind != CLEAN]
        for i, level in enumerate(LEVELS):
            values = [by_kind[kind][i][size][name][key] for kind in kinds]
            axis.barh(np.arange(len(kinds)) + (i - 1) * 0.27, values, 0.27, label=level)
        axis.axvline(clean[key], color="black", lw=1, label=CLEAN)
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set(
            xlabel="age MAE, years" if key == "mae" else "expressions that are right",
            title=f"{report['model']}, {name}@{size}: faces of {width} px",
        )
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.09), ncol=4)
        axis.grid(axis="x", alpha=0.3)
    axis.invert_yaxis()  # one axis: they share it
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
