"""The paper's Table I and Fig. 6 beside ours: from the figures of `study table-one` to Markdown and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: MAE and epsilon-error on ChaLearn LAP 2016's test set as printed: (with exits, without), by network
PAPER: dict[str, tuple[tuple[float, float] | None, tuple[float, float]]] = {
    "InceptionV3": ((4.01, 0.328), (4.40, 0.359)),
    "ResNet50": ((4.10, 0.343), (4.52, 0.368)),
    "MobileNet 1": ((4.72, 0.383), (5.17, 0.410)),
    "MobileNet 0.75": ((5.00, 0.402), (5.69, 0.431)),
    "MobileNet 0.5": ((6.05, 0.430), (6.36, 0.463)),
    "MobileNet 0.25": ((6.40, 0.452), (6.35, 0.475)),
    "VGG16": (None, (5.72, 0.434)),
}
MEASURES = {"mae": "MAE, years", "epsilon": "epsilon-error"}
LEFT_OPEN = (
    "It speaks of 17 and of 12 intermediate exits where ResNet50 has 16 blocks and InceptionV3 has 11. We take 16 and 11.",
    "It has both 100 and 150 epochs. The paper's configuration here takes 150.",
    "Not printed there: what a plateau is (here five epochs without a better held-out loss), and how pictures of IMDB and "
    "Wikipedia are mixed (here in proportion to their numbers).",
    "VGG16 has the head of the others here, a mean over the last map and one dense layer. That is our choice.",
    "It prints one figure a network and no interval. Ours have the 95 % bootstrap interval over the test pictures; another "
    "seed would move them further.",
)


def markdown(rows: Sequence[Mapping[str, Any]], about: Sequence[str]) -> list[str]:
    """`rows`: network, elastic (has exits), initial, size, and exits: by name multiply_adds and figures. `about`: how they were
    made."""
    last = {(row["network"], row["elastic"]): list(row["exits"].values())[-1] for row in rows}
    lines = ["# Table I of the paper, and ours", "", *about, ""]
    for measure, title in MEASURES.items():
        if not any(measure in figures for figures in last.values()):
            lines += [f"The test set has no {title}: its people's guesses have no known deviation.", ""]
            continue
        lines += [
            f"## {title}",
            "",
            "| network | with exits: paper | ours | without: paper | ours | exits change: paper | ours |",
            "|---|---|---|---|---|---|---|",
            *_table(last, measure),
            "",
        ]
    lines += [
        "The last exit on the test set; in brackets 95 % over its pictures. Ages are held against the mean of the guesses, not "
        "rounded.",
        "",
        "## Fig. 6: error of every exit",
        "",
        "![error against multiply-adds](fig6.png)",
        "",
        "| network | exit | multiply-adds | MAE, years | epsilon-error |",
        "|---|---|---|---|---|",
        *_exits(rows),
        "",
        "## What the paper leaves open",
        "",
        *(f"- {text}" for text in LEFT_OPEN),
    ]
    return lines


def _table(last: Mapping[tuple[str, bool], Mapping[str, Any]], measure: str) -> Iterator[str]:
    place = list(MEASURES).index(measure)
    for network, figures in PAPER.items():
        if not {(network, True), (network, False)} & last.keys():
            continue
        printed = [None if pair is None else pair[place] for pair in figures]
        ours = [last.get((network, elastic), {}).get(measure) for elastic in (True, False)]
        cells = []
        for elastic, paper, own in zip((True, False), printed, ours, strict=True):
            interval = last.get((network, elastic), {}).get(f"{measure}_95")
            cells += [_number(paper, measure), _number(own, measure, interval)]
        changes = [None if None in pair else pair[0] - pair[1] for pair in (printed, ours)]
        cells += ["" if change is None else f"{change:+.{_digits(measure)}f}" for change in changes]
        yield f"| {network} | {' | '.join(cells)} |"


def _exits(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        name = row["network"] + ("" if row["elastic"] else ", without exits")
        for exit_, figures in row["exits"].items():
            said = [_number(figures.get(m), m, figures.get(f"{m}_95")) for m in MEASURES]
            yield f"| {name} | {exit_.removeprefix('exit_')} | {figures['multiply_adds'] / 1e6:,.1f} M | {' | '.join(said)} |"


def _digits(measure: str) -> int:
    return 2 if measure == "mae" else 3


def _number(value: float | None, measure: str, interval: Sequence[float] | None = None) -> str:
    digits = _digits(measure)
    if value is None:
        return ""
    return f"{value:.{digits}f}" + (f" ({interval[0]:.{digits}f}-{interval[1]:.{digits}f})" if interval else "")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Fig. 6 in both measures: error against multiply-adds, a line a network with exits, a cross where it has none."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    known = [m for m in MEASURES if any(m in figures for row in rows for figures in row["exits"].values())]
    figure, axes = pyplot.subplots(1, len(known), figsize=(6.5 * len(known), 5), layout="constrained", squeeze=False)
    colours = {network: f"C{i}" for i, network in enumerate(PAPER)}
    for axis, measure in zip(axes[0], known, strict=True):
        for row in rows:
            exits = [figures for figures in row["exits"].values() if measure in figures]
            costs, errors = [e["multiply_adds"] for e in exits], [e[measure] for e in exits]
            label = f"{row['network']}{'' if row['elastic'] else ', without exits'}"
            style = {"marker": "o", "lw": 1} if row["elastic"] else {"marker": "x", "lw": 0}
            axis.plot(costs, errors, color=colours[row["network"]], label=label, **style)
        axis.set(xscale="log", xlabel="multiply-adds", ylabel=MEASURES[measure])
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize="x-small")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
