"""Training, top to bottom: data, network, optimiser, loop, checkpoint, validation.

A run lives in one folder: config.toml, checkpoint.pt, log.csv (a line every LOG_EVERY steps) and validation.csv (a line
per exit at each validation). Started again on the same folder it goes on from the last checkpoint, and since batches
depend on the step alone the outcome is the same as that of a run without a break.
"""

from __future__ import annotations

import csv
import os
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models import metrics
from models.backbones import build_backbone
from models.batches import Augmentation, TrainingBatches, plain_crops, prefetched
from models.data import DataError, Views, load_views
from models.elastic import ElasticNetwork, exit_name
from models.keras_weights import load_keras_weights
from models.losses import elastic_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

# Keys of a configuration's sections: needed, optional.
_KEYS = {
    "network": ({"backbone", "options", "exits", "input_sizes"}, {"context", "stop_gradient"}),
    "loss": ({"weights", "sigma_years"}, {"distil"}),
    "optimiser": ({"steps", "learning_rate", "weight_decay", "warmup", "ema", "batch"}, set()),
}
LOG_EVERY = 20
VALIDATE_EVERY = 1000
CHECKPOINT_EVERY_S = 120
CHECKPOINT_VERSION = 1


class TrainingError(RuntimeError):
    """A run that cannot be started or continued as asked."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a configuration file says, checked. See models/configs/."""

    name: str
    seed: int
    network: Mapping[str, Any]
    loss: Mapping[str, Any]
    optimiser: Mapping[str, Any]
    augmentation: Mapping[str, float]

    def __post_init__(self) -> None:
        for section, (needed, optional) in _KEYS.items():
            have = set(getattr(self, section))
            if not needed <= have <= needed | optional:
                raise TrainingError(
                    f"section [{section}]: missing {sorted(needed - have)}, unknown {sorted(have - needed - optional)}"
                )
        if not any(w > 0 for w in self.exit_weights.values()):
            raise TrainingError("at least one exit needs a weight above 0")
        if not self.input_sizes or min(self.input_sizes) < 16 or min(self.input_sizes.values()) <= 0:
            raise TrainingError("[network] input_sizes: sizes from 16 px, each with its share of the steps above 0")

    @classmethod
    def read(cls, path: Path) -> Config:
        try:
            return cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise TrainingError(f"configuration {path}: {error}") from error

    @property
    def exit_weights(self) -> dict[str, float]:
        return {exit_name(k): float(w) for k, w in sorted((int(k), w) for k, w in self.network["exits"].items())}

    @property
    def input_sizes(self) -> dict[int, float]:
        """Sizes in pixels, smallest first, and the share of training steps that each gets."""
        return dict(sorted((int(size), float(share)) for size, share in self.network["input_sizes"].items()))

    def build(self) -> ElasticNetwork:
        try:
            backbone = build_backbone(self.network["backbone"], **self.network["options"])
            return ElasticNetwork(
                backbone,
                sorted(int(k) for k in self.network["exits"]),
                {int(k): widths for k, widths in self.network.get("context", {}).items()},
                self.network.get("stop_gradient", ()),
            )
        except (ValueError, TypeError) as error:
            raise TrainingError(f"section [network]: {error}") from error


def to_input(crops: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(n, s, s, 3) uint8 RGB to (n, 3, s, s) float in [-1, 1], channels last in memory."""
    return crops.to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def train(
    config_path: Path,
    faces: Path,
    out: Path,
    initial: Path | None = None,
    device: str = "cpu",
    half: bool = False,
    progress: Callable[..., Any] | None = None,
) -> None:
    """Trains as the configuration says on the views that `prepare` left in `faces`. `half`: bfloat16 where it is safe."""
    config = Config.read(config_path)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError("--device cuda: this PyTorch finds no GPU. Install its CUDA build, or use --device cpu")
    out.mkdir(parents=True, exist_ok=True)
    on = torch.device(device)
    torch.manual_seed(config.seed)

    loader_parts, held_out = load_parts(config, faces)
    network = config.build()
    if initial:
        left = load_initial(network, initial)
        if left:
            print(f"{initial} has no weights for {', '.join(left)}: they start at random")
    network = network.to(on, memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.optimiser["ema"]), use_buffers=True)
    optimiser = torch.optim.AdamW(
        _groups(network, config.optimiser["weight_decay"]), lr=config.optimiser["learning_rate"]
    )
    steps = int(config.optimiser["steps"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.optimiser["learning_rate"], total_steps=steps + 1, pct_start=config.optimiser["warmup"]
    )
    start = _resume(out, config_path, network, average, optimiser, schedule)

    batches = TrainingBatches(loader_parts, config.input_sizes, config.seed, Augmentation(**config.augmentation))
    bar = progress(total=steps, initial=start, unit="step") if progress else None
    saved_at, losses, began = time.monotonic(), [], time.monotonic()
    for step, batch in enumerate(prefetched(batches, range(start, steps)), start=start + 1):
        labels = {name: torch.from_numpy(batch[name]).to(on) for name in ("age", "gender", "expression")}
        network.train()
        with torch.autocast(on.type, torch.bfloat16, enabled=half):
            outputs = network(to_input(torch.from_numpy(batch["crops"]), on))
        loss = elastic_loss(outputs, config.exit_weights, labels, **config.loss)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)

        losses.append(float(loss.detach()))
        if bar:
            bar.update()
        if step % LOG_EVERY == 0:
            row = {
                "step": step,
                "loss": f"{np.mean(losses):.5f}",
                "learning_rate": f"{schedule.get_last_lr()[0]:.3g}",
                "ms_per_step": f"{(time.monotonic() - began) / len(losses) * 1e3:.1f}",
            }
            _append(out / "log.csv", row)
            if bar:
                bar.set_postfix(loss=row["loss"])
            losses, began = [], time.monotonic()
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_S or step == steps:
            _save(out, step, config_path, network, average, optimiser, schedule)
            saved_at = time.monotonic()
        if step % VALIDATE_EVERY == 0 or step == steps:
            for size in config.input_sizes:
                report = validate(average.module, held_out, size, on)
                for name, figures in report.items():
                    row = {"step": step, "size": size, "exit": name}
                    _append(out / "validation.csv", row | {k: f"{v:.4f}" for k, v in figures.items()})
                last = ", ".join(f"{k} {v:.3f}" for k, v in report[list(report)[-1]].items())
                (bar.write if bar else print)(f"step {step}, {size} px: last exit {last}")
            began = time.monotonic()
    if bar:
        bar.close()


def load_parts(config: Config, faces: Path) -> tuple[list[tuple[Views, NDArray[np.int64], int]], dict[str, Views]]:
    """Training parts of each data set, and the held-out views."""
    parts, held_out = [], {}
    for name, count in config.optimiser["batch"].items():
        views, mask = load_views(faces, name)
        parts.append((views, np.flatnonzero(~mask), int(count)))
        chosen = np.flatnonzero(mask)
        held_out[name] = Views(views.pixels[chosen], views.age[chosen], views.gender[chosen], views.expression[chosen])
    if not parts:
        raise DataError("[optimiser] batch names no data set")
    return parts, held_out


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on kernels only: norms, biases and depthwise kernels (9 numbers a channel) suffer from it."""
    decayed, free = [], []
    for parameter in network.parameters():
        (decayed if parameter.ndim >= 2 and parameter[0].numel() > 9 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


@torch.inference_mode()
def predict(
    network: ElasticNetwork, pixels: NDArray[np.uint8], size: int, device: torch.device, batch: int = 128
) -> dict[str, dict[str, NDArray]]:
    """Probabilities per exit and head over prepared views."""
    network.eval()
    chunks: dict[str, dict[str, list[NDArray]]] = {}
    for i in range(0, len(pixels), batch):
        crops = torch.from_numpy(plain_crops(pixels[i : i + batch], size))
        for name, output in network(to_input(crops, device)).items():
            for head, logits in output._asdict().items():
                chunks.setdefault(name, {}).setdefault(head, []).append(torch.softmax(logits.float(), 1).cpu().numpy())
    return {name: {head: np.concatenate(c) for head, c in heads.items()} for name, heads in chunks.items()}


def validate(
    network: ElasticNetwork, held_out: Mapping[str, Views], size: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Figures per exit over the held-out views."""
    figures: dict[str, dict[str, float]] = {}
    for views in held_out.values():
        for name, p in predict(network, views.pixels, size, device).items():
            row = figures.setdefault(name, {})
            if (views.age >= 0).any():
                row["mae"] = metrics.mae(metrics.expectation(p["age"]), views.age)
            if (views.gender >= 0).any():
                row["gender"] = metrics.accuracy(p["gender"], views.gender)
                adult = (views.age >= 21) & (views.age <= 60)
                row["gender_21_60"] = metrics.accuracy(p["gender"][adult], views.gender[adult])
            if (views.expression >= 0).any():
                row["expression"] = metrics.accuracy(p["expression"], views.expression)
                row["macro_f1"] = metrics.macro_f1(p["expression"], views.expression)
    return figures


def _append(path: Path, row: Mapping[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _save(
    out: Path, step: int, config_path: Path, network: nn.Module, average: nn.Module, optimiser: Any, schedule: Any
) -> None:
    """Writes beside the old checkpoint and then takes its place, so that a cut never leaves none."""
    state = {
        "version": CHECKPOINT_VERSION,
        "step": step,
        "config": config_path.read_text(encoding="utf-8"),
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
    }
    torch.save(state, out / "checkpoint.tmp")
    os.replace(out / "checkpoint.tmp", out / "checkpoint.pt")


def _resume(out: Path, config_path: Path, network: nn.Module, average: nn.Module, optimiser: Any, schedule: Any) -> int:
    """The step to go on from: 0, or that of the folder's checkpoint."""
    path = out / "checkpoint.pt"
    if not path.exists():
        (out / "config.toml").write_text(config_path.read_text(encoding="utf-8"), encoding="utf-8")
        return 0
    state = _checkpoint(path, map_location=next(network.parameters()).device)
    if state["config"] != config_path.read_text(encoding="utf-8"):
        raise TrainingError(
            f"{out} holds a run with another configuration: use a new --out folder, or that run's own {out}/config.toml"
        )
    for name in ("log.csv", "validation.csv"):
        _forget_after(out / name, int(state["step"]))
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    return int(state["step"])


def _checkpoint(path: Path, map_location: Any) -> dict[str, Any]:
    try:
        state = torch.load(path, weights_only=True, map_location=map_location)
    except FileNotFoundError as error:
        raise TrainingError(f"there is no {path}: train first") from error
    except Exception as error:  # torch's reader raises whatever its unpickler and archive do
        raise TrainingError(f"{path} is cut off or no checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("version") != CHECKPOINT_VERSION:
        raise TrainingError(f"{path} is no checkpoint of this version")
    return state


def _forget_after(path: Path, step: int) -> None:
    """Drops a log's lines of steps that a resumed run takes again."""
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        path.unlink()
        for row in rows:
            if (row["step"] or "").isdigit() and int(row["step"]) <= step and None not in row.values():
                _append(path, row)


def load_initial(network: ElasticNetwork, path: Path) -> list[str]:
    """Weights to start from: Keras' for the backbone (.npz), or all that fit of an earlier run's folder.

    Returns what was left out.
    """
    if path.is_dir():
        _, earlier = load_trained(path)
        mine, theirs = network.state_dict(), earlier.state_dict()
        fitting = {k: v for k, v in theirs.items() if k in mine and mine[k].shape == v.shape}
        network.load_state_dict(fitting, strict=False)
        return sorted({".".join(k.split(".")[:2]) for k in mine.keys() - fitting.keys()})
    return load_keras_weights(network.backbone, path)


def load_trained(run: Path) -> tuple[Config, ElasticNetwork]:
    """The averaged network of a run folder, in eval mode, with its configuration."""
    config = Config.read(run / "config.toml")
    state = _checkpoint(run / "checkpoint.pt", map_location="cpu")
    network = config.build()
    average = AveragedModel(network, use_buffers=True)
    average.load_state_dict(state["average"])
    return config, average.module.eval()
