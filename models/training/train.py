"""Training, top to bottom: data, network, optimiser, loop, checkpoint, validation.

Started again on the same folder a run goes on from its last checkpoint, and since batches depend on the step alone the
outcome is the same as that of a run without a break. Lightning Fabric places it all on a CPU, a GPU or several.
"""

from __future__ import annotations

import copy
import logging
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.data.batches import Augmentation, TrainingBatches, plain_crops, prefetched, to_input
from models.data.sets.base import DataError
from models.data.views import Views, load_views
from models.judging import metrics
from models.training import folder as runs
from models.training.batch_norm import for_size
from models.training.config import Config, TrainingError
from models.training.losses import elastic_loss
from models.training.shipped import load_shipped
from models.training.teacher import teacher_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from models.networks.elastic import ElasticNetwork
    from models.training.teacher import Answers

LOG_EVERY = 20
VALIDATE_EVERY = 1000
CHECKPOINT_EVERY_S = 120
# Batches that a validation during training takes batch norm's statistics from.
VALIDATION_BATCHES = 20
SMOKE_STEPS, SMOKE_FACES = 5, 64


def train(
    config_path: Path,
    faces: Path,
    out: Path,
    initial: Path | None = None,
    *,
    average_with: Path | None = None,
    teacher: Path | None = None,
    device: str = "cpu",
    devices: int = 1,
    half: bool = False,
    progress: Callable[..., Any] | None = None,
    stop_after: int | None = None,
) -> None:
    """Trains as the configuration says on the views that `prepare` left in `faces`.

    `initial`: weights to start from; with `average_with`, from the mean of both where both have some. `teacher`: a manifest,
    whose network a configuration with `teacher` in [loss] learns from beside the labels.
    `devices`: how many GPUs (or CPU processes) share every batch; `half`: bfloat16 where it is safe; `stop_after`: breaks
    the run off after so many steps, as a signal would. Raises TrainingError, DataError and WeightsError.
    """
    config = Config.read(config_path)
    if average_with and (not initial or config.protocol):
        raise TrainingError("--average-with goes with --initial, and with a configuration that has an [optimiser]")
    if config.protocol and (teacher or config.loss.get("teacher")):
        raise TrainingError("--teacher goes with a configuration that has an [optimiser]")
    if bool(teacher) != bool(config.loss.get("teacher")):
        raise TrainingError(
            "a teacher is a manifest (--teacher) and its weight ([loss] teacher in the configuration): give both"
        )
    if config.protocol:
        from models.training.protocol import train_by_protocol

        how: dict[str, Any] = {"device": device, "devices": devices, "half": half}
        train_by_protocol(config, config_path, faces, out, initial, **how, progress=progress, stop_after=stop_after)
        return
    fabric = make_fabric(device, devices, half)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    parts, held_out = load_parts(config, faces)
    network = config.build()
    if initial:
        left = _load(network, initial, parts)
        if left:
            fabric.print(f"{initial} has no weights for {', '.join(left)}: they start at random")
    if average_with:
        _average(network, average_with, parts)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.optimiser["ema"]), use_buffers=True)
    steps, rate = int(config.optimiser["steps"]), float(config.optimiser["learning_rate"])
    optimiser = torch.optim.AdamW(_groups(network, config.optimiser["weight_decay"]), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps + 1, pct_start=config.optimiser["warmup"]
    )
    kept = {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}
    start = runs.resume(out, config_path, fabric.device, **kept)
    trained, stepped = fabric.setup(network, optimiser)

    log = None
    if fabric.is_global_zero:
        (out / "config.toml").write_text(config_path.read_text(encoding="utf-8"), encoding="utf-8")
        log = runs.RunLog(out, start)
    answers: Sequence[Answers] = ()
    if teacher:
        with fabric.rank_zero_first():  # the others read what it wrote
            answers = teacher_answers(teacher, parts, out / "teacher.npz", progress if log else None)
    batches = TrainingBatches(parts, config.input_sizes, config.seed, Augmentation(**config.augmentation), answers)
    bar = progress(total=steps, initial=start, unit="step") if progress and log else None
    until = steps if stop_after is None else min(steps, start + stop_after)
    saved_at = began = time.monotonic()
    losses: list[float] = []
    for step, batch in enumerate(prefetched(batches, range(start, until)), start=start + 1):
        mine = {name: torch.from_numpy(v[fabric.global_rank :: devices]).to(fabric.device) for name, v in batch.items()}
        network.train()
        outputs = trained(to_input(mine.pop("crops")), until=config.deepest_trained)
        loss = elastic_loss(outputs, config.exit_weights, mine, **config.loss)
        stepped.zero_grad(set_to_none=True)
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        stepped.step()
        schedule.step()
        average.update_parameters(network)

        losses.append(float(loss.detach()))
        if log is None:
            continue
        if bar:
            bar.update()
        if step % LOG_EVERY == 0:
            ms = (time.monotonic() - began) / len(losses) * 1e3
            log.training(step, float(np.mean(losses)), schedule.get_last_lr()[0], ms)
            if bar:
                bar.set_postfix(loss=f"{np.mean(losses):.4f}")
            losses, began = [], time.monotonic()
        if time.monotonic() - saved_at > CHECKPOINT_EVERY_S or step == until:
            runs.save(out, step, config_path, **kept)
            saved_at = time.monotonic()
        if step % VALIDATE_EVERY == 0 or step == steps:
            for size in config.input_sizes:
                at_size = for_size(average.module, parts, size, fabric.device, batches=VALIDATION_BATCHES)
                report = validate(at_size, held_out, size, fabric.device)
                log.validation(step, size, report)
                last = ", ".join(f"{k} {v:.3f}" for k, v in report[list(report)[-1]].items())
                (bar.write if bar else print)(f"step {step}, {size} px: last exit {last}")
            began = time.monotonic()
    if bar:
        bar.close()
    if log:
        log.close()


def _load(network: ElasticNetwork, weights: Path, parts: list[tuple[Views, NDArray[np.int64], int]]) -> list[str]:
    """What was left out."""
    if weights.suffix in (".json", ".onnx"):
        return load_shipped(network, weights, parts)
    return runs.load_initial(network, weights)


def _average(network: ElasticNetwork, weights: Path, parts: list[tuple[Views, NDArray[np.int64], int]]) -> None:
    """Halfway to other weights, where those have some: a network that went on from another often does better in the middle
    (Wortsman et al., 2022)."""
    other = copy.deepcopy(network)
    _load(other, weights, parts)
    theirs = other.state_dict()
    mean = {k: (v + theirs[k]) / 2 if v.is_floating_point() else v for k, v in network.state_dict().items()}
    network.load_state_dict(mean)


def smoke(
    config_path: Path,
    faces: Path,
    initial: Path | None = None,
    *,
    teacher: Path | None = None,
    device: str = "cpu",
    half: bool = False,
) -> dict[str, float]:
    """A few steps, a break, a few more and one small validation per size, in a folder that is thrown away.

    Returns seconds per step and validation MAE per size: enough to see that all parts fit before a long run begins.
    """
    config = Config.read(config_path)
    with TemporaryDirectory() as folder:
        out = Path(folder)
        how: dict[str, Any] = {"teacher": teacher, "device": device, "half": half, "stop_after": SMOKE_STEPS}
        for _ in range(2):
            train(config_path, faces, out, initial, **how)
        began = time.monotonic()
        train(config_path, faces, out, initial, **how)
        figures = {"seconds per step": (time.monotonic() - began) / SMOKE_STEPS}
        _, network = runs.load_trained(out)
        parts, held_out = load_parts(config, faces)
        few = {name: views.take(np.arange(min(SMOKE_FACES, len(views)))) for name, views in held_out.items()}
        for size in config.input_sizes:
            cpu = torch.device("cpu")
            report = validate(for_size(network, parts, size, cpu, batches=1), few, size, cpu)
            figures[f"MAE at {size} px"] = report[list(report)[-1]].get("mae", float("nan"))
    return figures


def make_fabric(device: str, devices: int, half: bool) -> Fabric:
    """Where and how finely to compute."""
    if device == "cuda" and torch.cuda.device_count() < devices:
        raise TrainingError(
            f"--device cuda --devices {devices}: this PyTorch finds {torch.cuda.device_count() or 'no'} GPU. Install its "
            "CUDA build, ask for fewer, or use --device cpu"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own imports
        from lightning_fabric import Fabric
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        # Exits of weight 0 take no part in the loss.
        strategy="ddp_find_unused_parameters_true" if devices > 1 else "auto",
        precision="bf16-mixed" if half else "32-true",
    )
    fabric.launch()
    return fabric


def load_parts(config: Config, faces: Path) -> tuple[list[tuple[Views, NDArray[np.int64], int]], dict[str, Views]]:
    """Training parts of each data set, and the held-out views."""
    parts, held_out = [], {}
    stages = config.protocol.get("stages", ())
    counts = config.optimiser.get("batch") or {name: 0 for stage in stages for name in stage["sets"]}
    for name, count in counts.items():
        views, mask = load_views(faces, name)
        parts.append((views, np.flatnonzero(~mask), int(count)))
        held_out[name] = views.take(np.flatnonzero(mask))
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
            for head, logits in output._asdict().items():
                p = torch.softmax(logits.float(), 1)
                if mirrored:
                    p = (p + torch.softmax(getattr(mirror[name], head).float(), 1)) / 2
                chunks.setdefault(name, {}).setdefault(head, []).append(p.cpu().numpy())
    return {name: {head: np.concatenate(c) for head, c in heads.items()} for name, heads in chunks.items()}


def validate(
    network: ElasticNetwork, held_out: Mapping[str, Views], size: int, device: torch.device, mirrored: bool = False
) -> dict[str, dict[str, float]]:
    """Figures per exit over the held-out views; `mirrored` as in `predict`."""
    figures: dict[str, dict[str, float]] = {}
    for views in held_out.values():
        for name, p in predict(network, views.pixels, size, device, mirrored=mirrored).items():
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
