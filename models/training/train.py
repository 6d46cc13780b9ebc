"""Training, top to bottom: data, network, optimiser, loop, validation.

Started again on the same folder a training goes on from its last checkpoint, and since batches depend on the step alone the
outcome is the same as that of a training without a break. Lightning Fabric places it all on a CPU, a GPU or several.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.data.batches import Augmentation, TrainingBatches, plain_crops, to_input
from models.judging import metrics
from models.networks.elastic import HEADS
from models.training.batch_norm import for_size
from models.training.config import Config, TrainingError
from models.training.folder import load_initial, load_trained
from models.training.loop import AT_RANDOM, ONE_CPU, Hardware, Loop, Start, say_what_is_missing
from models.training.losses import elastic_loss
from models.training.parts import load_parts
from models.training.shipped import load_shipped
from models.training.teacher import teacher_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.data.views import Views
    from models.networks.elastic import ElasticNetwork
    from models.training.teacher import Answers

VALIDATE_EVERY = 1000
# Batches that a validation during training takes batch norm's statistics from.
VALIDATION_BATCHES = 20
SMOKE_STEPS, SMOKE_FACES = 5, 64


def train(
    config_path: Path,
    faces: Path,
    out: Path,
    *,
    start: Start = AT_RANDOM,
    teacher: Path | None = None,
    hardware: Hardware = ONE_CPU,
    progress: Callable[..., Any] | None = None,
    stop_after: int | None = None,
) -> None:
    """Trains as [optimiser] says, on the views that `prepare` left in `faces`.

    `teacher`: a manifest, whose network a configuration with `teacher` in [loss] learns from beside the labels.
    `stop_after`: breaks off after this many steps, as a signal would. Raises TrainingError, DataError and WeightsError.
    """
    config = _config(config_path, teacher)
    fabric = hardware.fabric()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    parts, held_out = load_parts(config, faces)
    network = config.build()
    if start.initial:
        say_what_is_missing(fabric, start.initial, _load(network, start.initial, parts))
    if start.average_with:
        _average(network, start.average_with, parts)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.optimiser["ema"]), use_buffers=True)
    steps, rate = int(config.optimiser["steps"]), float(config.optimiser["learning_rate"])
    optimiser = torch.optim.AdamW(_groups(network, config.optimiser["weight_decay"]), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps + 1, pct_start=config.optimiser["warmup"]
    )
    kept = {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}
    loop = Loop(fabric, config_path, out, kept, steps, progress=progress, stop_after=stop_after)
    trained, stepped = fabric.setup(network, optimiser)

    answers: Sequence[Answers] = ()
    if teacher:
        with fabric.rank_zero_first():  # the others read what it wrote
            answers = teacher_answers(teacher, parts, out / "teacher.npz", loop.progress)
    batches = TrainingBatches(parts, config.input_sizes, config.seed, Augmentation(**config.augmentation), answers)
    for step, batch in loop.steps(batches):
        network.train()
        outputs = trained(to_input(batch.pop("crops")), until=config.deepest_trained)
        loop.learn(stepped, elastic_loss(outputs, config.exit_weights, batch, **config.loss), clipped=network)
        schedule.step()
        average.update_parameters(network)
        loop.note(step, schedule.get_last_lr()[0])
        if loop.log and (step % VALIDATE_EVERY == 0 or step == steps):
            reports = {}
            for size in config.input_sizes:
                at_size = for_size(
                    average.module, parts, size, fabric.device, batches=VALIDATION_BATCHES, spoil=config.spoil
                )
                reports[size] = validate(at_size, held_out, size, fabric.device)
            loop.note_validation(step, reports, aloud=True)
        loop.save_when_due(step)
    loop.close()


def _config(path: Path, teacher: Path | None) -> Config:
    config = Config.read(path)
    if not config.optimiser:
        raise TrainingError(f"configuration {path} has no [optimiser]: it is for models/training/protocol.py")
    if bool(teacher) != bool(config.loss.get("teacher")):
        raise TrainingError(
            "a teacher is a manifest (--teacher) and its weight ([loss] teacher in the configuration): give both"
        )
    return config


def _load(network: ElasticNetwork, weights: Path, parts: list[tuple[Views, NDArray[np.int64], int]]) -> list[str]:
    """What was left out."""
    if weights.suffix in (".json", ".onnx"):
        return load_shipped(network, weights, parts)
    return load_initial(network, weights)


def _average(network: ElasticNetwork, weights: Path, parts: list[tuple[Views, NDArray[np.int64], int]]) -> None:
    """Halfway to other weights, where those have some: a network that went on from another often does better in the middle
    (Wortsman et al., 2022)."""
    other = copy.deepcopy(network)
    _load(other, weights, parts)
    theirs = other.state_dict()
    mean = {k: (v + theirs[k]) / 2 if v.is_floating_point() else v for k, v in network.state_dict().items()}
    network.load_state_dict(mean)


def smoke(training: Callable[..., None], config_path: Path, faces: Path, **options: Any) -> dict[str, float]:
    """A few steps, a break, a few more and one small validation per size, in a folder that is thrown away.

    `training`: `train` or `train_by_protocol`, with its other `options`. Returns seconds per step and validation MAE per
    size: enough to see that all parts fit before a long training begins.
    """
    config = Config.read(config_path)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        options["stop_after"] = SMOKE_STEPS
        for _ in range(2):
            training(config_path, faces, out, **options)
        began = time.monotonic()
        training(config_path, faces, out, **options)
        figures = {"seconds per step": (time.monotonic() - began) / SMOKE_STEPS}
        _, network = load_trained(out)
        parts, held_out = load_parts(config, faces)
        few = {name: views.take(np.arange(min(SMOKE_FACES, len(views)))) for name, views in held_out.items()}
        for size in config.input_sizes:
            cpu = torch.device("cpu")
            report = validate(for_size(network, parts, size, cpu, batches=1), few, size, cpu)
            figures[f"MAE at {size} px"] = report[list(report)[-1]].get("mae", float("nan"))
    return figures


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on kernels only: norms, biases and depthwise kernels (9 numbers a channel) suffer from it."""
    decayed, free = [], []
    for parameter in network.parameters():
        (decayed if parameter.ndim >= 2 and parameter[0].numel() > 9 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


@torch.inference_mode()
def predict(
    network: ElasticNetwork,
    pixels: NDArray[np.uint8],
    size: int,
    device: torch.device,
    batch: int = 128,
    mirrored: bool = False,
) -> dict[str, dict[str, NDArray]]:
    """Probabilities per exit and head over prepared views; `mirrored`: means over each crop and its mirror image."""
    network.eval()
    chunks: dict[str, dict[str, list[NDArray]]] = {}
    for i in range(0, len(pixels), batch):
        x = to_input(torch.from_numpy(plain_crops(pixels[i : i + batch], size)).to(device))
        mirror = network(x.flip(3)) if mirrored else {}
        for name, output in network(x).items():
            for head, logits in output.told().items():
                p = torch.softmax(logits.float(), 1)
                if mirrored:
                    p = (p + torch.softmax(getattr(mirror[name], head).float(), 1)) / 2
                chunks.setdefault(name, {}).setdefault(head, []).append(p.cpu().numpy())
    return {name: {head: np.concatenate(c) for head, c in heads.items()} for name, heads in chunks.items()}


def validate(
    network: ElasticNetwork, held_out: Mapping[str, Views], size: int, device: torch.device, mirrored: bool = False
) -> dict[str, dict[str, float]]:
    """Figures per exit over the held-out views of all sets together, of what their labels allow; `mirrored` as in `predict`."""
    labels = {k: np.concatenate([getattr(v, k) for v in held_out.values()]) for k in (*HEADS, "age_mean")}
    said: dict[str, dict[str, list[NDArray]]] = {}
    for views in held_out.values():
        for name, p in predict(network, views.pixels, size, device, mirrored=mirrored).items():
            for task, of_set in p.items():
                said.setdefault(name, {}).setdefault(task, []).append(of_set)
    return {name: _figures({k: np.concatenate(v) for k, v in p.items()}, labels) for name, p in said.items()}


def _figures(p: Mapping[str, NDArray], labels: Mapping[str, NDArray]) -> dict[str, float]:
    row: dict[str, float] = {}
    age, told = labels["age"], {task: np.flatnonzero(labels[task] >= 0) for task in p}
    if len(known := told["age"]):
        row["mae"] = metrics.mae(metrics.expectation(p["age"][known]), metrics.true_age(age, labels["age_mean"])[known])
    if len(known := told.get("gender", ())):
        row["gender"] = metrics.accuracy(p["gender"][known], labels["gender"][known])
        adult = known[(age[known] >= 21) & (age[known] <= 60)]
        if len(adult):
            row["gender_21_60"] = metrics.accuracy(p["gender"][adult], labels["gender"][adult])
    if len(known := told.get("expression", ())):
        row["expression"] = metrics.accuracy(p["expression"][known], labels["expression"][known])
        row["macro_f1"] = metrics.macro_f1(p["expression"][known], labels["expression"][known])
    return row
