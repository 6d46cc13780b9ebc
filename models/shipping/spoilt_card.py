"""What a model card says of spoilt pictures, from reports of `evaluate --spoilt --json`. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.shipping.card import CardError, table_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.manifest import Manifest


def spoilt_section(
    manifest: Manifest, reports: Sequence[Mapping[str, Any]], points: Sequence[tuple[str, int]]
) -> list[str]:
    """Tables of each report: every point's means and worsts, and at the dearest point every kind.

    `points`: (exit, input size); mirrored ones are left out, since they are not evaluated so. Raises CardError.
    """
    lines: list[str] = []
    for report in reports:
        if report["sha256"] != manifest.sha256:
            raise CardError(
                f"the report on spoilt {report['dataset']} is of another network file than {manifest.network.name}: "
                "evaluate again"
            )
        plain = [p for p in points if "+" not in p[0]]
        lines += ["", f"**Spoilt as cameras do** ({report['dataset']}, {report['pictures']:,} pictures):", ""]
        lines += [*_points(report, plain), "", *_kinds(report, plain[-1])]
    return lines


def _points(report: Mapping[str, Any], points: Sequence[tuple[str, int]]) -> list[str]:
    head, rows = ["exit @ input, face"], []
    ages = "mae_clean" in _row(report, next(iter(report["summary"])), points[0])
    columns = ["gender", "expression"] if ages else ["expression"]
    columns = [c for c in columns if f"{c}_clean" in _row(report, next(iter(report["summary"])), points[0])]
    if ages:
        head += ["MAE, clean", "mean of the kinds", "times clean", "worst kind", "largest bias"]
    for column in columns:
        head += [f"{column}, clean", "mean of the kinds", "worst kind"]
    for width in report["summary"]:
        for point in points:
            row = _row(report, width, point)
            line = [f"{point[0]}@{point[1]}, {width} px"]
            if ages:
                line += [f"{row['mae_clean']:.2f}", f"{row['mae_mean']:.2f}", f"{row['mae_ratio']:.2f}"]
                line += [f"{row['mae_worst_ratio']:.2f} ({row['mae_worst']})", f"{row['bias']:+.1f} ({row['bias_of']})"]
            for c in columns:
                line += [
                    f"{row[f'{c}_clean']:.1%}",
                    f"{row[f'{c}_mean']:.1%}",
                    f"{row[f'{c}_least']:.1%} ({row[f'{c}_worst']})",
                ]
            rows.append(line)
    return ["All at middle strength:", "", *table_lines(head, rows)]


def _row(report: Mapping[str, Any], width: str, point: tuple[str, int]) -> Mapping[str, Any]:
    return report["summary"][width][str(point[1])][point[0]]


def _kinds(report: Mapping[str, Any], point: tuple[str, int]) -> list[str]:
    """Weak, middle and strong, at the dearest point."""
    widths = list(report["figures"])
    first = report["figures"][widths[0]]["clean"][0][str(point[1])][point[0]]
    ages = "mae" in first
    key, title = ("mae", "MAE") if ages else ("expression", "expression")

    def cell(levels: Sequence[Mapping[str, Any]], name: str) -> str:
        values = [level[str(point[1])][point[0]][name] for level in levels]
        text = {"mae": "{:.2f}", "bias": "{:+.1f}"}.get(name, "{:.0%}")
        return ", ".join(text.format(v) for v in values)

    shown = [key, *(["bias", "coverage_68"] if ages else [])]
    names = {"mae": title, "bias": "bias", "coverage_68": "in the 68 % interval", "expression": title}
    head = ["kind", "strengths"] + [f"{names[name]}, {width} px" for width in widths for name in shown]
    rows = []
    for kind in report["figures"][widths[0]]:
        about = report["kinds"].get(kind)
        strengths = f"{', '.join(f'{v:g}' for v in about['levels'])} {about['unit']}" if about else ""
        rows.append([kind, strengths, *(cell(report["figures"][w][kind], name) for w in widths for name in shown)])
    return [f"At {point[0]}@{point[1]}, each kind at its three strengths:", "", *table_lines(head, rows)]
