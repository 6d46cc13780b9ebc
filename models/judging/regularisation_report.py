"""What a study of elastic training found: results of its seeds, paired differences of the last exit, and the sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from models.data.sets.base import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

#: arms by name; the first is what the others are compared with, the third must equal it in the last exit
ARMS = {
    "last": "last exit only",
    "elastic": "elastic, the paper's loss (1)",
    "stopped": "elastic on stopped gradients",
    "divided": "elastic, divided by the exits",
}
RESULTS = "results.jsonl"
ROUNDS = 10_000


def save_result(out: Path, line: Mapping[str, Any], estimates: Mapping[str, NDArray], age: NDArray) -> None:
    """Writes one finished seed: its estimates first, so that a line in the results always has them."""
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / _estimates_name(line), age=age, **{k: v.astype(np.float32) for k, v in estimates.items()})
    path = out / RESULTS
    # A line that was cut off when the machine stopped is ended first, and passed over by the reader.
    cut = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def _estimates_name(line: Mapping[str, Any]) -> str:
    return f"faces_{line['faces']}_seed_{line['seed']}.npz"


def read_results(out: Path) -> list[dict[str, Any]]:
    """Lines of finished seeds, by number of faces and seed; none where nothing was written yet."""
    path = out / RESULTS
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
            found[int(line["faces"]), int(line["seed"])] = line
        except (ValueError, LookupError, TypeError):
            continue
    return [found[key] for key in sorted(found)]


def paired_interval(differences: ArrayLike) -> tuple[float, float]:
    """95 % interval of the mean of (seeds,) paired differences, by Student's t."""
    d = np.asarray(differences, np.float64)
    if len(d) < 2:
        return -np.inf, np.inf
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return float(d.mean() - half), float(d.mean() + half)


def crossed_bootstrap(differences: ArrayLike, seed: int = 0, rounds: int = ROUNDS) -> tuple[float, float]:
    """95 % percentile interval of the mean of (seeds, faces) differences when seeds and faces are both drawn anew.

    Every seed is judged on the same faces, so a drawn face comes with all its seeds.
    """
    d = np.asarray(differences, np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(rounds):
        seeds = np.bincount(rng.integers(0, d.shape[0], d.shape[0]), minlength=d.shape[0])
        faces = np.bincount(rng.integers(0, d.shape[1], d.shape[1]), minlength=d.shape[1])
        means.append(seeds @ d @ faces / d.size)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def make_report(out: Path) -> dict[str, Any]:
    """Everything that the finished seeds in `out` say, ready for JSON. Raises DataError where there are none."""
    lines = read_results(out)
    if not lines:
        raise DataError(
            f"{out} holds no finished seed: run `main.py study regularisation --faces DIR --out {out}` first"
        )
    sizes = sorted({line["faces"] for line in lines})
    return {"sizes": [_size_report(out, [line for line in lines if line["faces"] == n]) for n in sizes]}


def _size_report(out: Path, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    errors = [_errors(out, line) for line in lines]
    arms = [arm for arm in ARMS if arm in lines[0]["train_loss"]]
    last = max(key.partition("/")[2] for key in errors[0])
    report: dict[str, Any] = {
        "faces": lines[0]["faces"],
        "held_out": len(next(iter(errors[0].values()))),
        "seeds": [line["seed"] for line in lines],
        "settings": lines[0]["settings"],
        # of the seeds that had both arms; None: the second was not trained
        "equal": sum(bool(line["equal"]) for line in lines) if "stopped" in arms else None,
        "seconds": [line["seconds"] for line in lines],
        "mae": {key: float(np.mean([e[key].mean() for e in errors])) for key in errors[0]},
        "mae_by_seed": {arm: [float(e[f"{arm}/{last}"].mean()) for e in errors] for arm in arms},
        **{k: {arm: float(np.mean([line[k][arm] for line in lines])) for arm in arms} for k in _LOSSES},
        "differences": {},
    }
    for arm in arms[1:]:
        faces = np.stack([e[f"{arm}/{last}"] - e[f"last/{last}"] for e in errors])
        seeds = faces.mean(axis=1)
        report["differences"][arm] = {
            "mean": float(seeds.mean()),
            "by_seed": seeds.tolist(),
            # JSON knows no infinity: of a single seed there is no interval.
            "interval": paired_interval(seeds) if len(seeds) > 1 else None,
            "interval_seeds_and_faces": crossed_bootstrap(faces) if len(seeds) > 1 else None,
        }
    return report


_LOSSES = ("train_loss", "held_out_loss")


def _errors(out: Path, line: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Absolute errors in years of every held-out face, by "arm/exit"."""
    path = out / _estimates_name(line)
    try:
        with np.load(path) as kept:
            return {key: np.abs(kept[key].astype(np.float64) - kept["age"]) for key in kept.files if key != "age"}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{path} is missing or broken; take its line out of {RESULTS} and run again: {error}"
        ) from error


def sentence(size: Mapping[str, Any], arm: str) -> str:
    """What follows for one arm from both intervals; a claim needs both on one side of 0."""
    found = size["differences"][arm]
    start = f"Trained on {size['faces']:,} faces, {_NAMES[arm]}"
    if found["interval"] is None:
        return f"{start} changed the last exit's MAE by {found['mean']:+.3f} years in one seed, from which nothing follows."
    low = min(found["interval"][0], found["interval_seeds_and_faces"][0])
    high = max(found["interval"][1], found["interval_seeds_and_faces"][1])
    if low == high == 0:
        return f"{start} left the last exit as it was, to the bit."
    text = (
        f"{abs(found['mean']):.3f} years of MAE (95 % interval {low:+.3f} to {high:+.3f}, {len(size['seeds'])} pairs)"
    )
    if high < 0:
        return f"{start} made the last exit better, by {text}."
    if low > 0:
        return f"{start} made the last exit worse, by {text}."
    return (
        f"{start} made no difference to the last exit that {len(size['seeds'])} pairs can show: {found['mean']:+.3f} years of "
        f"MAE (95 % interval {low:+.3f} to {high:+.3f})."
    )


_NAMES = {
    "elastic": "the paper's elastic training",
    "stopped": "elastic training on stopped gradients",
    "divided": "elastic training divided by the number of exits",
}


def markdown(report: Mapping[str, Any]) -> list[str]:
    """The report as tables and sentences, for the eye and for docs/results/regularisation.md alike."""
    lines = []
    for size in report["sizes"]:
        settings, exits = size["settings"], sorted({k.partition("/")[2] for k in size["mae"]})
        arms = {arm: title for arm, title in ARMS.items() if arm in size["train_loss"]}
        minutes = f"{sum(size['seconds']) / 60:.0f} minutes."
        if size["equal"] is not None:
            minutes += f" Arm 3 equals arm 1 to the bit in {size['equal']} of {len(size['seeds'])} seeds."
        lines += [
            f"### {size['faces']:,} training faces",
            "",
            f"{len(size['seeds'])} seeds, {settings['epochs']} epochs, rate {settings['learning_rate']:g}, "
            f"{settings['size']} px, {_network(settings)}, {settings.get('dataset', 'utkface')}; "
            f"{size['held_out']} held-out faces; {minutes}",
            "",
            "| MAE in years, mean over seeds | " + " | ".join(e.removeprefix("exit_") for e in exits) + " |",
            "|---|" + "---|" * len(exits),
            *(
                f"| {title} | " + " | ".join(_number(size["mae"].get(f"{arm}/{e}")) for e in exits) + " |"
                for arm, title in arms.items()
            ),
            "",
            "| last exit | training loss | held-out loss | MAE | minus arm 1 | 95 %, seeds | 95 %, seeds and faces |",
            "|---|---|---|---|---|---|---|",
            *(_last_row(size, arm, title, exits[-1]) for arm, title in arms.items()),
            "",
            *(sentence(size, arm) for arm in ("elastic", "divided") if arm in arms),
            "",
        ]
    return lines[:-1]


def _network(settings: Mapping[str, Any]) -> str:
    """The backbone as its configuration names it; older results have the width of a MobileNet v1 alone."""
    options = settings.get("options", {"alpha": settings.get("alpha")})
    return " ".join([settings.get("backbone", "mobilenet_v1"), *(f"{k} {v}" for k, v in options.items())])


def _last_row(size: Mapping[str, Any], arm: str, title: str, last: str) -> str:
    row = f"| {title} | {size['train_loss'][arm]:.3f} | {size['held_out_loss'][arm]:.3f} | {size['mae'][f'{arm}/{last}']:.3f}"
    found = size["differences"].get(arm)
    if found is None:
        return f"{row} | | | |"
    return f"{row} | {found['mean']:+.3f} | {_range(found['interval'])} | {_range(found['interval_seeds_and_faces'])} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"
