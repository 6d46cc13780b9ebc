"""A training's folder: config.toml, checkpoint.pt, log.csv, validation.csv, and events for TensorBoard."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel

from models.networks.elastify import TappedBackbone
from models.networks.keras_weights import WeightsError, load_keras_weights
from models.training.config import Config, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.networks.elastic import ElasticNetwork

CHECKPOINT_VERSION = 1


class TrainingLog:
    """Figures of a training, as CSV for the eye and for `--plot`, and as events for `tensorboard --logdir`."""

    def __init__(self, folder: Path, step: int) -> None:
        """`step`: where the training goes on; what was logged behind it is forgotten, since those steps are taken again."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        for name in ("log.csv", "validation.csv"):
            forget_after(folder / name, step)
        self._events = SummaryWriter(str(folder / "events"), purge_step=step + 1, flush_secs=20)

    def training(self, step: int, loss: float, learning_rate: float, ms_per_step: float) -> None:
        row = {"loss": f"{loss:.5f}", "learning_rate": f"{learning_rate:.3g}", "ms_per_step": f"{ms_per_step:.1f}"}
        append(self._folder / "log.csv", {"step": step} | row)
        for name, value in (("loss", loss), ("learning_rate", learning_rate), ("ms_per_step", ms_per_step)):
            self._events.add_scalar(f"training/{name}", value, step)

    def validation(self, step: int, size: int, report: Mapping[str, Mapping[str, float]]) -> None:
        for exit_name, figures in report.items():
            row = {"step": step, "size": size, "exit": exit_name}
            append(self._folder / "validation.csv", row | {k: f"{v:.4f}" for k, v in figures.items()})
            for name, value in figures.items():
                self._events.add_scalar(f"{name} at {size} px/{exit_name}", value, step)

    def close(self) -> None:
        self._events.close()


def append(path: Path, row: Mapping[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def forget_after(path: Path, step: int) -> None:
    """Drops a log's lines of steps that a resumed training takes again."""
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        path.unlink()
        for row in rows:
            if (row["step"] or "").isdigit() and int(row["step"]) <= step and None not in row.values():
                append(path, row)


def save(folder: Path, step: int, config_path: Path, **parts: Any) -> None:
    """Writes beside the old checkpoint and then takes its place, so that a cut never leaves none.

    `parts`: what has a state_dict, by its name in the checkpoint.
    """
    state = {"version": CHECKPOINT_VERSION, "step": step, "config": config_path.read_text(encoding="utf-8")}
    torch.save(state | {name: part.state_dict() for name, part in parts.items()}, folder / "checkpoint.tmp")
    os.replace(folder / "checkpoint.tmp", folder / "checkpoint.pt")


def resume(folder: Path, config_path: Path, device: torch.device, **parts: Any) -> int:
    """Loads the folder's checkpoint into `parts`; returns the step to go on from, 0 where there is none."""
    path, config = folder / "checkpoint.pt", config_path.read_text(encoding="utf-8")
    if not path.exists():
        return 0
    state = _checkpoint(path, device)
    if state["config"] != config:
        raise TrainingError(
            f"{folder} holds a training with another configuration: use a new --out folder, or that training's own "
            f"{folder}/config.toml"
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def _checkpoint(path: Path, device: torch.device | str) -> dict[str, Any]:
    try:
        state = torch.load(path, weights_only=True, map_location=device)
    except FileNotFoundError as error:
        raise TrainingError(f"there is no {path}: train first") from error
    except Exception as error:  # torch's reader raises whatever its unpickler and archive do
        raise TrainingError(f"{path} is cut off or not a checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("version") != CHECKPOINT_VERSION:
        raise TrainingError(f"{path} is not a checkpoint of this version")
    return state


def load_trained(folder: Path) -> tuple[Config, ElasticNetwork]:
    """The averaged network of a training, in eval mode, with its configuration."""
    config = Config.read(folder / "config.toml")
    state = _checkpoint(folder / "checkpoint.pt", "cpu")
    network = config.build()
    average = AveragedModel(network, use_buffers=True)
    average.load_state_dict(state["average"])
    return config, average.module.eval()


def load_initial(network: ElasticNetwork, path: Path) -> list[str]:
    """Weights to start from: Keras' for the backbone (.npz, .h5), its own library's (.pth, .pt, .safetensors: a state dict), or
    all that fit of an earlier training's folder.

    Returns what was left out.
    """
    if path.is_dir():
        _, earlier = load_trained(path)
        mine, theirs = network.state_dict(), earlier.state_dict()
        fitting = {k: v for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
        network.load_state_dict(fitting, strict=False)
        return sorted({".".join(k.split(".")[:2]) for k in mine.keys() - fitting.keys()})
    if path.suffix in (".pth", ".pt", ".bin", ".safetensors"):
        return _load_own(network, path)
    return load_keras_weights(network.backbone, path)


def _load_own(network: ElasticNetwork, path: Path) -> list[str]:
    """A state dict as the backbone's own library saves it; a classifier of another width stays at random."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            theirs = load_file(path)
        else:
            theirs = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # readers of archives raise whatever they meet
        raise WeightsError(f"{path} cannot be read as a state dict: {error}") from error
    for key in ("state_dict", "model"):
        theirs = theirs.get(key, theirs) if isinstance(theirs, dict) else {}
    inner = network.backbone.network if isinstance(network.backbone, TappedBackbone) else network.backbone
    mine = inner.state_dict()
    fitting = {k: v for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
    if not any(k.endswith("weight") for k in fitting):
        raise WeightsError(f"{path} holds no weight of this backbone: is it another network's, or a whole pickled one?")
    inner.load_state_dict(fitting, strict=False)
    return sorted(k for k in mine.keys() - fitting.keys() if not k.endswith("num_batches_tracked"))
