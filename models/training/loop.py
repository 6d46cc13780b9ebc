"""What both training loops (train.py, protocol.py) are made of: where they compute, what they start from, and all of a
step that is not the recipe's own: going on from a checkpoint, the log, the progress bar, saving.
"""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from models.data.batches import prefetched
from models.training.config import TrainingError
from models.training.folder import TrainingLog, resume, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lightning_fabric import Fabric
    from torch import Tensor

    from models.data.batches import TrainingBatches

LOG_EVERY = 20
CHECKPOINT_EVERY_S = 120
LARGEST_GRADIENT = 10.0


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights that a training starts from; none: at random."""

    initial: Path | None = None
    #: from the mean of `initial` and these, where both have some
    average_with: Path | None = None

    def __post_init__(self) -> None:
        if self.average_with and not self.initial:
            raise TrainingError("--average-with goes with --initial: it is averaged with those weights")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where and how finely to compute."""

    device: str = "cpu"
    #: GPUs, or CPU processes, that share every batch
    devices: int = 1
    #: bfloat16 where it is safe
    half: bool = False

    def fabric(self) -> Fabric:
        """Raises TrainingError where there are fewer GPUs."""
        if self.device == "cuda" and torch.cuda.device_count() < self.devices:
            raise TrainingError(
                f"--device cuda --devices {self.devices}: this PyTorch finds {torch.cuda.device_count() or 'no'} GPU. "
                "Install its CUDA build, ask for fewer, or use --device cpu"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of its own imports
            from lightning_fabric import Fabric
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(
            accelerator=self.device,
            devices=self.devices,
            # Exits of weight 0 take no part in the loss.
            strategy="ddp_find_unused_parameters_true" if self.devices > 1 else "auto",
            precision="bf16-mixed" if self.half else "32-true",
        )
        fabric.launch()
        return fabric


AT_RANDOM, ONE_CPU = Start(), Hardware()


def say_what_is_missing(fabric: Fabric, initial: Path, left: list[str]) -> None:
    """`left`: parts of the network that `initial` had no weights for."""
    if left:
        fabric.print(f"{initial} has no weights for {', '.join(left)}: they start at random")


class Loop:
    """The steps of one training, from its folder's last checkpoint on. One process of several writes log and checkpoint."""

    def __init__(
        self,
        fabric: Fabric,
        config_path: Path,
        out: Path,
        kept: Mapping[str, Any],
        steps: int,
        *,
        progress: Callable[..., Any] | None = None,
        stop_after: int | None = None,
    ) -> None:
        """`kept`: what a checkpoint holds, by name; loaded here where the folder has one. `steps`: of the whole training;
        `stop_after`: breaks off after this many from here, as a signal would."""
        self._fabric, self._config_path, self._out, self._kept = fabric, config_path, out, kept
        self.start = resume(out, config_path, fabric.device, **kept)
        self.until = steps if stop_after is None else min(steps, self.start + stop_after)
        self.log: TrainingLog | None = None
        if fabric.is_global_zero:
            (out / "config.toml").write_text(config_path.read_text(encoding="utf-8"), encoding="utf-8")
            self.log = TrainingLog(out, self.start)
        self.progress = progress if self.log else None
        self._bar = self.progress(total=steps, initial=self.start, unit="step") if self.progress else None
        self._saved_s = self._began_s = time.monotonic()
        self._losses: list[float] = []

    def steps(
        self, batches: TrainingBatches, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """The steps still to be taken of those behind `first` up to `last`, each with this process's share of its batch."""
        todo = range(max(self.start, first), self.until if last is None else min(last, self.until))
        rank, processes = self._fabric.global_rank, self._fabric.world_size
        for step, batch in enumerate(prefetched(batches, todo), start=todo.start + 1):
            yield step, {k: torch.from_numpy(v[rank::processes]).to(self._fabric.device) for k, v in batch.items()}

    def learn(self, optimiser: torch.optim.Optimizer, loss: Tensor, clipped: nn.Module | None = None) -> None:
        """One step down the gradient; that of `clipped` is cut to LARGEST_GRADIENT."""
        optimiser.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        if clipped is not None:
            nn.utils.clip_grad_norm_(clipped.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        self._losses.append(float(loss.detach()))

    def note(self, step: int, learning_rate: float) -> None:
        """Logs the steps since the last time, every LOG_EVERY."""
        if self._bar is not None:
            self._bar.update()
        if step % LOG_EVERY or not self.log:
            return
        loss = float(np.mean(self._losses))
        self.log.training(step, loss, learning_rate, (time.monotonic() - self._began_s) / len(self._losses) * 1e3)
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{loss:.4f}")
        self._losses, self._began_s = [], time.monotonic()

    def note_validation(
        self, step: int, reports: Mapping[int, Mapping[str, Mapping[str, float]]], aloud: bool = False
    ) -> None:
        """`reports`: figures by input size and exit; `aloud` prints the last exit's. Their time is none of the steps'."""
        for size, report in reports.items() if self.log else ():
            self.log.validation(step, size, report)
            if aloud:
                last = ", ".join(f"{k} {v:.3f}" for k, v in report[list(report)[-1]].items())
                (self._bar.write if self._bar is not None else print)(f"step {step}, {size} px: last exit {last}")
        self._began_s = time.monotonic()

    def save_when_due(self, step: int) -> None:
        if self.log and (time.monotonic() - self._saved_s > CHECKPOINT_EVERY_S or step == self.until):
            save(self._out, step, self._config_path, **self._kept)
            self._saved_s = time.monotonic()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self.log:
            self.log.close()
