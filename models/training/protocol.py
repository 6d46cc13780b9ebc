"""The paper's training protocol: SGD in stages, first the heads alone, then everything, a tenth of the rate on plateaus.

A stage is a training set, or several together. Its epochs have a fixed number of samples, whatever the size of the sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.data.batches import Augmentation, TrainingBatches, to_input
from models.training.config import Config, TrainingError
from models.training.folder import load_initial
from models.training.loop import AT_RANDOM, ONE_CPU, Hardware, Loop, Start, say_what_is_missing
from models.training.losses import elastic_loss
from models.training.parts import stage_parts
from models.training.train import predict, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from models.data.views import Views
    from models.networks.elastic import ElasticNetwork


@dataclass(frozen=True)
class Phase:
    """Epochs under one rule, on data sets `sets`. It starts after `first` steps of the whole training."""

    stage: str
    sets: tuple[str, ...]
    heads_only: bool
    learning_rate: float
    first: int
    steps: int

    @property
    def last(self) -> int:
        return self.first + self.steps


def phases(protocol: Mapping[str, Any]) -> list[Phase]:
    """What a configuration's [protocol] comes to, in order; phases without epochs are left out."""
    epoch, found, first = epoch_steps(protocol), [], 0
    for stage in protocol["stages"]:
        for heads_only, epochs, rate in (
            (True, stage["heads_epochs"], protocol["heads_learning_rate"]),
            (False, stage["epochs"], stage["learning_rate"]),
        ):
            if epochs:
                found.append(Phase(stage["name"], tuple(stage["sets"]), heads_only, rate, first, epochs * epoch))
                first = found[-1].last
    if not found:
        raise TrainingError("[protocol] stages: no epoch in any")
    return found


def epoch_steps(protocol: Mapping[str, Any]) -> int:
    """Steps of an epoch, whose samples must be whole batches."""
    steps, rest = divmod(int(protocol["epoch_samples"]), int(protocol["batch"]))
    if rest or not steps:
        raise TrainingError("[protocol] epoch_samples must be a multiple of batch")
    return steps


def freeze(network: ElasticNetwork, heads_only: bool) -> None:
    """Which weights learn. A frozen backbone's batch norms keep their statistics too: call it after `network.train()`."""
    network.backbone.requires_grad_(not heads_only)
    if heads_only:
        network.backbone.eval()


def validation_loss(
    predictions: Mapping[str, Mapping[str, NDArray]], age: NDArray[np.int16], weights: Mapping[str, float]
) -> float:
    """The weighted sum over exits of the cross-entropy of age, which the plateau is looked for in."""
    known = np.flatnonzero(age >= 0)
    if not len(known):
        raise TrainingError("a stage's data sets must have ages, in their held-out faces too")
    chosen = {name: p["age"][known, age[known]] for name, p in predictions.items() if weights[name] > 0}
    return sum(weights[name] * float(-np.log(np.maximum(p, 1e-12)).mean()) for name, p in chosen.items())


def train_by_protocol(
    config_path: Path,
    faces: Path,
    out: Path,
    *,
    start: Start = AT_RANDOM,
    hardware: Hardware = ONE_CPU,
    progress: Callable[..., Any] | None = None,
    stop_after: int | None = None,
) -> None:
    """Trains as [protocol] says; arguments as those of `train.train`. A resumed training comes out as an unbroken one."""
    config = _config(config_path, start)
    protocol, fabric = config.protocol, hardware.fabric()
    plan, epoch = phases(protocol), epoch_steps(protocol)
    for phase in plan:
        stage_parts(phase.sets, int(protocol["batch"]), faces)  # a set that is missing is found now, not after days
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = config.build()
    if start.initial:
        say_what_is_missing(fabric, start.initial, load_initial(network, start.initial))
    network = network.to(fabric.device, memory_format=torch.channels_last)
    latest = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.0), use_buffers=True)  # what export reads
    optimiser = torch.optim.SGD(network.parameters(), plan[0].learning_rate, momentum=protocol["momentum"])
    plateau = ReduceLROnPlateau(
        optimiser, factor=0.1, patience=protocol["patience_epochs"], min_lr=protocol["min_learning_rate"]
    )
    fresh = plateau.state_dict()
    kept = {"network": network, "average": latest, "optimiser": optimiser, "plateau": plateau}
    loop = Loop(fabric, config_path, out, kept, plan[-1].last, progress=progress, stop_after=stop_after)
    trained, stepped = fabric.setup(network, optimiser)

    for number, phase in enumerate(plan):
        if loop.start >= phase.last or phase.first >= loop.until:
            continue
        parts, held_out = stage_parts(phase.sets, int(protocol["batch"]), faces)
        if loop.start <= phase.first:
            # Its own rate, no momentum, and no plateau behind it.
            optimiser.state.clear()
            plateau.load_state_dict(fresh)
            for group in optimiser.param_groups:
                group["lr"] = phase.learning_rate
        batches = TrainingBatches(parts, config.input_sizes, config.seed + number, Augmentation(**config.augmentation))
        for step, batch in loop.steps(batches, phase.first, phase.last):
            network.train()
            freeze(network, phase.heads_only)
            outputs = trained(to_input(batch.pop("crops")))
            loop.learn(stepped, elastic_loss(outputs, config.exit_weights, batch, **config.loss))
            latest.update_parameters(network)
            loop.note(step, optimiser.param_groups[0]["lr"])
            if (step - phase.first) % epoch == 0:
                reports = {size: validate(latest.module, held_out, size, fabric.device) for size in config.input_sizes}
                # Every process comes to the same figure and takes the same step down.
                plateau.step(_held_out_loss(latest.module, held_out, config, fabric.device))
                loop.note_validation(step, reports)
            loop.save_when_due(step)
    loop.close()


def _config(path: Path, start: Start) -> Config:
    config = Config.read(path)
    if not config.protocol:
        raise TrainingError(f"configuration {path} has no [protocol]: it is for models/training/train.py")
    if start.average_with:
        raise TrainingError("--average-with goes with a configuration that has an [optimiser]")
    if config.loss.get("teacher"):
        raise TrainingError("a teacher goes with a configuration that has an [optimiser]")
    return config


def _held_out_loss(network: nn.Module, held_out: Mapping[str, Views], config: Config, device: torch.device) -> float:
    """Over all held-out faces of the stage and all input sizes, each face alike."""
    sums: list[tuple[float, int]] = []
    for views in held_out.values():
        for size in config.input_sizes:
            predictions = predict(network, views.pixels, size, device)
            sums.append((validation_loss(predictions, views.age, config.exit_weights), len(views)))
    return sum(loss * n for loss, n in sums) / sum(n for _, n in sums)
