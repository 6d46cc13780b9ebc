"""From a training to the two files that ship: one ONNX network and its manifest."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from align.geometry import LANDMARKS_47, PAPER_MARGINS, Template, load_mean_shape
from models.data.batches import spoilt_views
from models.data.sets.base import EXPRESSIONS, GENDERS
from models.judging import metrics
from models.manifest import COVERAGES, MIRROR, SCHEMA, Manifest, ManifestError
from models.networks.elastic import HEADS, ElasticNetwork
from models.networks.flops import multiply_adds
from models.shipping.check import ExportError, checked_onnx
from models.training.batch_norm import for_size
from models.training.folder import load_trained
from models.training.parts import load_parts
from models.training.train import predict, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from models.data.views import Views
    from models.training.config import Config

#: sets that allow research only, as `prepare` and as their makers call them
RESEARCH_ONLY = {
    "utkface": "UTKFace",
    "fer2013": "FER2013",
    "imdb": "IMDB-WIKI",
    "wiki": "IMDB-WIKI",
    "appa_real": "APPA-REAL",
}


def licence(sets: Sequence[str]) -> str:
    """What may be done with weights that were trained on these sets of `prepare`."""
    research = list(dict.fromkeys(RESEARCH_ONLY[name] for name in sets if name in RESEARCH_ONLY))
    own = [name for name in sets if name not in RESEARCH_ONLY]
    text = (
        "Weights: as whoever trained them says"
        if not research
        else (
            f"Weights: for research only, no commercial use, since {' and '.join(research)}, which they were trained on, "
            f"{'are' if len(research) > 1 else 'is'} licensed for non-commercial research"
        )
    )
    return f"{text}{f'; also trained on {chr(44).join(own)}' if own else ''}. Code: MIT."


#: held-out faces of known age that a network is judged on, at least
LEAST_AGES = 4
LABELS = {
    "age": {"classes": HEADS["age"], "first": 0, "unit": "year"},
    "gender": GENDERS,
    "expression": EXPRESSIONS,
}


def relative_errors(ages: NDArray, p: NDArray) -> NDArray[np.float64]:
    """(n,) errors of (n, 101) `p`, as shares of the distributions' own deviations."""
    return np.abs(metrics.expectation(p) - ages) / metrics.spread(p)


def interval_scales(errors: NDArray) -> dict[int, float]:
    """By coverage in per cent: the factor on deviations that makes this share of the relative errors lie inside."""
    return {coverage: float(np.quantile(errors, coverage / 100)) for coverage in COVERAGES}


def cross_fitted_coverage(errors: NDArray) -> NDArray[np.float64]:
    """(k, coverages) shares inside intervals whose scales come from the other half of the faces, over both halves.

    errors: (k, n) relative errors of n faces, each seen in k ways; the scales come from all ways together.
    """
    first = np.arange(errors.shape[1]) % 2 == 0
    halves = []
    for half in (first, ~first):
        limits = np.array(list(interval_scales(errors[:, ~half]).values()))
        halves.append((errors[:, half, None] <= limits).mean(axis=1))
    return np.mean(halves, axis=0)


def judge(
    network: ElasticNetwork, held_out: Mapping[str, Views], size: int, mirrored: bool = False, spoilt: bool = False
) -> tuple[dict[str, dict[str, float]], dict[str, dict[int, float]]]:
    """Per exit: validation figures, coverages among them; interval scales.

    `mirrored`: of the mean over both pictures; `spoilt`: the scales come from the faces as they are and, as many, spoilt as
    cameras do, each in one way; figures with the ending `_spoilt` are of the latter.
    """
    figures = validate(network, held_out, size, torch.device("cpu"), mirrored=mirrored)
    aged = [views.take(np.flatnonzero(views.age >= 0)) for views in held_out.values()]
    ages = np.concatenate([metrics.true_age(views.age, views.age_mean) for views in aged])
    ways = {"": _age_probabilities(network, aged, size, mirrored)}
    if spoilt:
        ways["_spoilt"] = _age_probabilities(network, aged, size, mirrored, spoilt=True)
    scales: dict[str, dict[int, float]] = {}
    for name in figures:
        errors = np.stack([relative_errors(ages, p[name]) for p in ways.values()])
        for way, shares in zip(ways, cross_fitted_coverage(errors), strict=True):
            figures[name] |= {f"coverage_{c}{way}": float(v) for c, v in zip(COVERAGES, shares, strict=True)}
        if spoilt:
            figures[name]["mae_spoilt"] = metrics.mae(metrics.expectation(ways["_spoilt"][name]), ages)
        scales[name] = interval_scales(errors)
    return figures, scales


def _age_probabilities(
    network: ElasticNetwork, sets: Sequence[Views], size: int, mirrored: bool, spoilt: bool = False
) -> dict[str, NDArray[np.float32]]:
    """(n, 101) of the faces of all sets, one after another, by exit."""
    cpu = torch.device("cpu")
    found: dict[str, list[NDArray[np.float32]]] = {}
    for views in (v for v in sets if len(v)):
        pieces = spoilt_views(views.pixels) if spoilt else [(np.arange(len(views)), views.pixels)]
        said: dict[str, NDArray[np.float32]] = {}
        for chosen, pixels in pieces:
            for name, p in predict(network, pixels, size, cpu, mirrored=mirrored).items():
                said.setdefault(name, np.empty((len(views), HEADS["age"]), np.float32))[chosen] = p["age"]
        for name, of_set in said.items():
            found.setdefault(name, []).append(of_set)
    return {name: np.concatenate(of_sets) for name, of_sets in found.items()}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A trained network at each of its input sizes, with what it is worth and what it costs there."""

    networks: Mapping[int, ElasticNetwork]
    figures: Mapping[int, Mapping[str, Mapping[str, float]]]  # by size and exit
    interval_scales: Mapping[int, Mapping[str, Mapping[int, float]]]
    multiply_adds: Mapping[int, Mapping[str, int]]

    def entry(self, name: str, multiply_adds: Mapping[int, int]) -> dict[str, Any]:
        """An exit's entry in the manifest, for the sizes of `multiply_adds`."""
        return {
            "name": name,
            "block": int(name.removeprefix("exit_").removesuffix(MIRROR)),
            "multiply_adds": multiply_adds,
            "age_interval_scale": {
                s: {c: round(v, 4) for c, v in self.interval_scales[s][name].items()} for s in multiply_adds
            },
            "validation": {s: {k: round(v, 4) for k, v in self.figures[s][name].items()} for s in multiply_adds},
        }

    def exits(self) -> list[dict[str, Any]]:
        largest = self.networks[max(self.networks)]
        return [
            self.entry(name, {size: costs[name] for size, costs in self.multiply_adds.items()})
            for name in largest.heads
        ]

    def mirrored(self) -> list[dict[str, Any]]:
        """Entries of the exits that read the mirror image too: at the largest size, for twice the cost."""
        size = max(self.networks)
        heads = self.networks[size].heads
        return [self.entry(name + MIRROR, {size: 2 * self.multiply_adds[size][name]}) for name in heads]


def judge_all(
    trained: ElasticNetwork, networks: Mapping[int, ElasticNetwork], held_out: Mapping[str, Views], spoilt: bool = False
) -> Judged:
    """`networks`: what `trained` is at each input size; at the largest mirrored exits are judged too. `spoilt`: see `judge`."""
    figures: dict[int, dict[str, dict[str, float]]] = {}
    scales: dict[int, dict[str, dict[int, float]]] = {}
    for size, network in networks.items():
        figures[size], scales[size] = judge(network, held_out, size, spoilt=spoilt)
        if size == max(networks):
            for read, taken in zip(
                judge(network, held_out, size, mirrored=True, spoilt=spoilt), (figures, scales), strict=True
            ):
                taken[size] |= {name + MIRROR: values for name, values in read.items()}
    costs = {size: multiply_adds(trained, size) for size in networks}
    return Judged(networks=networks, figures=figures, interval_scales=scales, multiply_adds=costs)


def write_both(folder: Path, name: str, content: bytes, manifest: Mapping[str, Any]) -> Manifest:
    """Network and manifest, side by side in `folder`, once the application's own reader has accepted them."""
    with TemporaryDirectory(dir=folder) as draft:
        (Path(draft) / f"{name}.onnx").write_bytes(content)
        (Path(draft) / f"{name}.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        try:
            Manifest.read(Path(draft) / f"{name}.json").verify()
        except ManifestError as error:
            raise ExportError(f"the application would refuse this network, so nothing was written: {error}") from error
        for suffix in ("onnx", "json"):
            os.replace(Path(draft) / f"{name}.{suffix}", folder / f"{name}.{suffix}")
    return Manifest.read(folder / f"{name}.json")


def export(folder: Path, faces: Path, out: Path) -> Manifest:
    """Exports a training's averaged network with figures from its held-out faces; writes nothing that is wrong.

    Raises ExportError where ONNX Runtime's outputs are further from float64's than check.py allows, or where the application
    would refuse the manifest.
    """
    config, trained = load_trained(folder)
    sizes = list(config.input_sizes)
    parts, held_out = load_parts(config, faces)
    _refuse_what_cannot_be_judged(config, held_out)
    networks = {size: for_size(trained, parts, size, torch.device("cpu"), spoil=config.spoil) for size in sizes}
    out.mkdir(parents=True, exist_ok=True)
    content, check = checked_onnx(networks, held_out)
    judged = judge_all(trained, networks, held_out, spoilt=config.spoil > 0)
    template = Template.from_shape(load_mean_shape(), PAPER_MARGINS)
    manifest = {
        "schema": SCHEMA,
        "name": config.name,
        "network": {
            "file": f"{config.name}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "input": "faces",
        },
        "input": {
            "sizes": sizes,
            "layout": "nhwc",
            "dtype": "uint8",
            "colours": "rgb",
            "normalisation": "x / 127.5 - 1, inside the network",
        },
        "template": {"landmarks": list(LANDMARKS_47), "margins": asdict(PAPER_MARGINS), "points": template.points},
        "labels": {task: labels for task, labels in LABELS.items() if task in config.tasks},
        "exits": judged.exits(),
        "mirrored": judged.mirrored(),
        "licence": licence(config.sets),
        "about": {
            "validation": "faces that `prepare` held out of " + "; ".join(_judged_on(config, held_out)),
            "held_out": {name: len(views) for name, views in held_out.items()},
            "check": check.told(),
            "torch": torch.__version__,
            "configuration": (folder / "config.toml").read_text(encoding="utf-8"),
        },
    }
    return write_both(out, config.name, content, manifest)


def _refuse_what_cannot_be_judged(config: Config, held_out: Mapping[str, Views]) -> None:
    """All that the network tells needs figures, and an age's interval needs the errors of some faces. Raises ExportError."""
    for task in config.tasks:
        known = sum(int((getattr(views, task) >= 0).sum()) for views in held_out.values())
        if known < (LEAST_AGES if task == "age" else 1):
            raise ExportError(
                f"{known} held-out faces of {', '.join(config.sets)} have a known {task}, too few to judge what the network "
                f"tells: prepare a set that has more, or leave {task} out by weight 0 in [loss]"
            )


def _judged_on(config: Config, held_out: Mapping[str, Views]) -> Iterator[str]:
    for name, views in held_out.items():
        told = [task for task in config.tasks if (getattr(views, task) >= 0).any()]
        yield f"{name} ({', '.join(told)})"
