"""The figures of a model card: reports of `evaluate --json` and a manifest as Markdown, between two markers of the card.

Standard library only. The prose around the markers is written by hand; what stands between them never is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.manifest import COVERAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.manifest import Manifest

BEGIN, END = "<!-- figures: written by `main.py card` -->", "<!-- end of figures -->"
# Shares are printed in per cent, everything else in years (epsilon: neither).
_COLUMNS = {
    "mae": "age MAE",
    "cs5": "CS5",
    "mae_21_60": "MAE 21-60",
    "epsilon": "epsilon",
    "gender": "gender",
    "gender_21_60": "gender 21-60",
    "expression": "expression",
    "macro_f1": "macro F1",
    "expression_fer2013": "by FER2013's label",
}
_WITH_INTERVAL = ("mae", "gender", "expression")


class CardError(ValueError):
    """Reports that do not belong to the network or to each other, or a card without markers."""


def replaced(card: str, lines: Sequence[str]) -> str:
    """The card with `lines` between its markers."""
    if card.count(BEGIN) != 1 or card.count(END) != 1 or card.index(BEGIN) > card.index(END):
        raise CardError(f"it needs each of these lines once, in this order: {BEGIN} and {END}")
    before, rest = card.split(BEGIN)
    return "\n".join([before + BEGIN, "", *lines, "", END + rest.split(END)[1]])


def section(
    manifest: Manifest,
    reports: Sequence[Mapping[str, Any]],
    points: Sequence[tuple[str, int]],
    best: tuple[str, int],
    bytes_: int,
) -> list[str]:
    """All figures. `points`: (exit, input size) of those to list; `best`: the one among them that is looked at closely,
    beside the cheapest. Raises CardError, and whatever a damaged report leads to (LookupError, TypeError, ...)."""
    for report in reports:
        if report["sha256"] != manifest.sha256:
            raise CardError(
                f"the report on {report['dataset']} is of another network file than {manifest.network.name}: "
                "evaluate again"
            )
    cost = {p: manifest.exit(p[0]).multiply_adds[p[1]] for p in points}
    ranked = sorted(points, key=lambda p: cost[p])
    rows = _merged(reports, ranked)
    close = list(dict.fromkeys([best, ranked[0]]))
    columns = [c for c in _COLUMNS if c in rows[best]]
    table = [
        [f"{_name(p)}{' (best)' if p == best else ''}", f"{cost[p] / 1e6:.1f} M", *(_cell(rows[p], c) for c in columns)]
        for p in ranked
    ]
    return [
        *_about(manifest, reports, bytes_),
        "",
        *table_lines(["exit @ input", "multiply-adds", *(_COLUMNS[c] for c in columns)], table),
        "",
        *_explained(manifest, len(ranked), best),
        *_decades(rows, close),
        *_groups(rows, close),
        *_expressions(rows, close),
        *_coverage(rows, close),
    ]


def _merged(reports: Sequence[Mapping[str, Any]], points: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict]:
    """Per point the figures of all reports together; a figure that two of them give would hide one."""
    rows: dict[tuple[str, int], dict[str, Any]] = {p: {} for p in points}
    for report in reports:
        for point in points:
            figures = report["figures"].get(str(point[1]), {}).get(point[0])
            if not figures:
                raise CardError(f"the report on {report['dataset']} lacks {_name(point)}: evaluate without --size")
            twice = sorted(rows[point].keys() & figures.keys())
            if twice:
                raise CardError(f"two reports give {twice[0]}: a card has one of each")
            rows[point] |= figures
    return rows


def _about(manifest: Manifest, reports: Sequence[Mapping[str, Any]], bytes_: int) -> list[str]:
    sizes, blocks = (", ".join(map(str, v)) for v in (manifest.input_sizes, [e.block for e in manifest.exits]))
    lines = [
        f"`{manifest.network.name}`: {bytes_ / 1e6:.1f} MB; input {sizes} px; exits after blocks {blocks}; "
        f"SHA-256 begins {manifest.sha256[:12]}.",
        "",
    ]
    for report in reports:
        split = f", {report['split']}" if report.get("split") else ""
        about = [report["alignment"], *(line for line in report["data"] if not line.startswith("read "))]
        lines.append(f"- {report['dataset']}{split}: {report['pictures']:,} pictures; {'; '.join(about)}.")
    return lines


def _explained(manifest: Manifest, listed: int, best: tuple[str, int]) -> list[str]:
    every = sum(len(e.multiply_adds) for e in manifest.variants)
    some = (
        f"Listed are {listed} of {every} pairs of exit and input size: those that the application considers. The others "
        "have a cheaper pair that was no worse on the validation faces of the manifest; `main.py evaluate` prints all. "
        if listed < every
        else ""
    )
    return [
        f"{some}Best is {_name(best)}, by the error over {_list(manifest.tasks)} together on the manifest's validation "
        "faces. MAE in years, CS5: share within 5 years; in brackets 95 % bootstrap intervals over pictures.",
    ]


def _decades(rows: Mapping, points: Sequence[tuple[str, int]]) -> list[str]:
    by_point = {p: rows[p].get("mae_by_decade", {}) for p in points}
    decades = list(by_point[points[0]])
    if not decades:
        return []
    first = by_point[points[0]]
    table = [["pictures", *(str(first[d]["faces"]) for d in decades)]]
    for p, of in by_point.items():
        table.append([f"MAE, {_name(p)}", *(f"{of[d]['mae']:.1f}" for d in decades)])
        if any("gender" in of[d] for d in decades):
            table.append([f"gender, {_name(p)}", *(_percent(of[d].get("gender")) for d in decades)])
    return ["", "By age:", "", *table_lines(["age", *decades], table)]


def _groups(rows: Mapping, points: Sequence[tuple[str, int]]) -> list[str]:
    names = list(rows[points[0]].get("groups", {}))
    if not names:
        return []
    head = ["label", "pictures"]
    for p in points:
        head += [f"MAE, {_name(p)}", "mean error", "gender"]
    table = []
    for name in names:
        line = [name, str(rows[points[0]]["groups"][name]["faces"])]
        for p in points:
            one = rows[p]["groups"][name]
            low, high = one["mae_95"]
            line += [f"{one['mae']:.2f} ({low:.2f}-{high:.2f})", f"{one['bias']:+.2f}", _percent(one.get("gender"))]
        table.append(line)
    about = "By UTKFace's labels of gender and ethnicity (mean error: above 0 means guessed too old):"
    return ["", about, "", *table_lines(head, table)]


def _expressions(rows: Mapping, points: Sequence[tuple[str, int]]) -> list[str]:
    by_point = {p: rows[p].get("recall_by_expression", {}) for p in points}
    names = list(by_point[points[0]])
    if not names:
        return []
    table = [["pictures", *(str(by_point[points[0]][n]["faces"]) for n in names)]]
    table += [[f"found, {_name(p)}", *(_percent(of[n]["recall"]) for n in names)] for p, of in by_point.items()]
    return ["", "By expression, the share that is recognised:", "", *table_lines(["expression", *names], table)]


def _coverage(rows: Mapping, points: Sequence[tuple[str, int]]) -> list[str]:
    if not all(f"coverage_{c}" in rows[p] for c in COVERAGES for p in points):
        return []
    table = [[_name(p), *(_cell(rows[p], f"coverage_{c}", interval=True) for c in COVERAGES)] for p in points]
    table.append(["all listed", *(_span([r[f"coverage_{c}"] for r in rows.values()]) for c in COVERAGES)])
    head = ["exit @ input", *(f"{c} % interval" for c in COVERAGES)]
    return ["", "Ages that lie in the intervals shown:", "", *table_lines(head, table)]


def _list(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _name(point: tuple[str, int]) -> str:
    return f"{point[0]}@{point[1]}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.1%} to {max(values):.1%}"


def _cell(row: Mapping[str, Any], column: str, interval: bool = False) -> str:
    def text(value: float) -> str:
        return f"{value:.2f}" if column.startswith("mae") else f"{value:.3f}" if column == "epsilon" else f"{value:.1%}"

    low_high = row.get(f"{column}_95") if interval or column in _WITH_INTERVAL else None
    return text(row[column]) + (f" ({'-'.join(map(text, low_high)).replace('%-', '-')})" if low_high else "")


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
