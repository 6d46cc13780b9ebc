"""The paper's Table I: each of its networks with exits and without, trained by one recipe, exported, and judged on a test set.

What is there already is not made again: a training goes on where it stopped, and a finished one is only read.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from models.judging.evaluate import evaluate
from models.manifest import Manifest
from models.networks.backbones import build_backbone
from models.networks.elastify import papers_exits
from models.shipping.export import export
from models.training.config import Config, TrainingError
from models.training.loop import ONE_CPU, Hardware, Start
from models.training.protocol import train_by_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from models.judging.evaluate import Pictures

#: backbone and its options, by the paper's name, as the table lists them
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "InceptionV3": ("inception_v3", {}),
    "ResNet50": ("resnet50", {}),
    "MobileNet 1": ("mobilenet_v1", {"alpha": 1.0}),
    "MobileNet 0.75": ("mobilenet_v1", {"alpha": 0.75}),
    "MobileNet 0.5": ("mobilenet_v1", {"alpha": 0.5}),
    "MobileNet 0.25": ("mobilenet_v1", {"alpha": 0.25}),
    "VGG16": ("vgg16", {}),
}


@dataclass(frozen=True)
class Entry:
    """One network of the table, with exits or without."""

    network: str
    elastic: bool

    @property
    def name(self) -> str:
        """The name of its folder and files: mobilenet_0.75_exits, vgg16_plain."""
        return f"{key_of(self.network)}_{'exits' if self.elastic else 'plain'}"


def key_of(network: str) -> str:
    """A network's name in one word: mobilenet_0.75."""
    return network.lower().replace(" ", "_")


#: all that the paper trained
ENTRIES = tuple(
    Entry(network, elastic) for network in NETWORKS for elastic in (True, False) if elastic <= (network != "VGG16")
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained from what, and judged on what."""

    #: a configuration with [protocol]; of its [network] only the input size counts
    recipe: Path
    #: what `prepare` wrote
    faces: Path
    #: the test set
    pictures: Pictures
    out: Path
    #: weights to start from, by `key_of` the network; the others start at random
    initial: Mapping[str, Path] = field(default_factory=dict)
    hardware: Hardware = ONE_CPU

    def __post_init__(self) -> None:
        unknown = set(self.initial) - {key_of(network) for network in NETWORKS}
        if unknown:
            raise TrainingError(
                f"--initial {', '.join(sorted(unknown))}: networks are {', '.join(key_of(n) for n in NETWORKS)}"
            )


def configuration(recipe: Path, entry: Entry) -> str:
    """The recipe with an entry's network, as TOML; exits by the paper's rule, or one alone, the last. Raises TrainingError."""
    try:
        values = tomllib.loads(recipe.read_text(encoding="utf-8"))
        sizes = values["network"]["input_sizes"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, LookupError, TypeError) as error:
        raise TrainingError(f"recipe {recipe}: {error}") from error
    backbone, options = NETWORKS[entry.network]
    blocks = len(build_backbone(backbone, **options).channels)
    exits = papers_exits(blocks) if entry.elastic else {blocks: 1.0}
    network = {"backbone": backbone, "options": options, "exits": exits, "input_sizes": sizes}
    return to_toml(values | {"name": entry.name, "network": network})


def to_toml(values: Mapping[str, Any]) -> str:
    """A configuration as TOML: a section a table, everything inside in line."""
    lines = [f"{key} = {_toml(v)}" for key, v in values.items() if not isinstance(v, dict)]
    for section, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{section}]", *(f"{key} = {_toml(v)}" for key, v in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)  # text, numbers and booleans are written alike


def make_table(
    plan: Plan, entries: Sequence[Entry] = ENTRIES, progress: Callable[..., Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yields a row for each entry: trains, exports and judges what is missing.

    Raises TrainingError, DataError, ExportError, ManifestError and WeightsError.
    """
    for entry in entries:
        Config.read(_written(plan, entry)).build()  # refuse what cannot be trained before any training begins
    for entry in entries:
        manifest = _trained(plan, entry, progress)
        yield _row(plan, entry, _judged(plan, entry, manifest, progress))


def finished_rows(plan: Plan, entries: Sequence[Entry] = ENTRIES) -> list[dict[str, Any]]:
    """The rows of entries that are judged already; trains nothing."""
    reports = {entry: plan.out / entry.name / "test.json" for entry in entries}
    return [_row(plan, e, json.loads(p.read_text(encoding="utf-8"))) for e, p in reports.items() if p.is_file()]


def _written(plan: Plan, entry: Entry) -> Path:
    """The entry's configuration in its folder. One of another recipe or start is refused."""
    folder = plan.out / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    text, path, start = configuration(plan.recipe, entry), folder / "config.toml", folder / "initial.txt"
    begun = _start_of(plan, entry)
    for file, now in ((path, text), (start, begun + "\n")):
        if file.exists() and file.read_text(encoding="utf-8") != now:
            raise TrainingError(
                f"{folder} was begun with another {'recipe' if file == path else 'start (--initial)'}: use a new --out folder"
            )
        file.write_text(now, encoding="utf-8")
    return path


def _start_of(plan: Plan, entry: Entry) -> str:
    initial = plan.initial.get(key_of(entry.network))
    if initial is None:
        return "at random"
    file = initial / "checkpoint.pt" if initial.is_dir() else initial
    return f"{initial.name} ({hashlib.sha256(file.read_bytes()).hexdigest()[:12]})"


def _trained(plan: Plan, entry: Entry, progress: Callable[..., Any] | None) -> Manifest:
    folder = plan.out / entry.name
    path, config = folder / f"{entry.name}.json", folder / "config.toml"
    if path.is_file():
        return Manifest.read(path)
    start = Start(initial=plan.initial.get(key_of(entry.network)))
    bar = partial(progress, desc=entry.name) if progress else None
    train_by_protocol(config, plan.faces, folder / "run", start=start, hardware=plan.hardware, progress=bar)
    return export(folder / "run", plan.faces, folder)


def _judged(plan: Plan, entry: Entry, manifest: Manifest, progress: Callable[..., Any] | None) -> dict[str, Any]:
    """The report on the test set, kept beside the network."""
    path = plan.out / entry.name / "test.json"
    asked = {"dataset": plan.pictures.dataset, "root": str(plan.pictures.root), "split": plan.pictures.split}
    if path.is_file():
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["sha256"] == manifest.sha256 and report["asked"] == asked:
            return report
    bar = partial(progress, desc=f"{entry.name}, test", leave=False) if progress else iter
    report = json.loads(json.dumps(evaluate(manifest, plan.pictures, progress=bar) | {"asked": asked}))
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _row(plan: Plan, entry: Entry, report: Mapping[str, Any]) -> dict[str, Any]:
    size = max(report["figures"], key=int)
    exits = {
        name: {"multiply_adds": report["multiply_adds"][size][name]}
        | {key: figures[key] for key in ("mae", "mae_95", "epsilon", "epsilon_95") if key in figures}
        for name, figures in report["figures"][size].items()
        if "+" not in name
    }
    return {
        "network": entry.network,
        "elastic": entry.elastic,
        "initial": _start_of(plan, entry),
        "size": int(size),
        "pictures": report["pictures"],
        "exits": exits,
    }
