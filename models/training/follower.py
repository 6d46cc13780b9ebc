"""Trains the follower network: a step's batch is a function of (seed, step), and a stopped run goes on where it was."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from align.geometry import eye_distance
from models.data.follower_scenes import Batch, make_batch, read_things
from models.networks.follower import Follower, export

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from models.data.taught import Taught


@dataclass(frozen=True)
class Recipe:
    """What a run depends on besides its pictures."""

    seed: int = 1
    # Steps of each cycle, and the learning rate from which it falls to a hundredth.
    cycles: tuple[tuple[int, float], ...] = ((11_500, 2e-3), (6_500, 1.2e-3))
    batch: int = 96
    decay: float = 1e-4
    warm_up: int = 300
    calm_from: int = 4_600  # step from which on few crops are far astray
    average: float = 0.998  # of the weights, per step
    presence: float = 0.15  # the presence loss's weight beside the landmarks' error in eye distances

    @property
    def steps(self) -> int:
        return sum(steps for steps, _ in self.cycles)


def losses(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The landmarks' mean distance to the truth in eye distances, and the presence's cross entropy."""
    points, presence = network(torch.from_numpy(batch.crops)[:, None].float())
    placed = torch.from_numpy(batch.placed)
    truth = torch.from_numpy(batch.landmarks)[placed]
    eyes = torch.tensor([eye_distance(t) for t in batch.landmarks[batch.placed]], dtype=torch.float32)
    apart = ((points[placed] - truth) ** 2).sum(-1) + 1e-4
    error = (apart.sqrt().mean(1) / eyes).mean()
    present = torch.from_numpy(batch.present)
    clear = ~present.isnan()
    return error, nn.functional.binary_cross_entropy_with_logits(presence[clear], present[clear])


def rate_at(recipe: Recipe, step: int) -> float:
    """Each cycle warms up, then falls along half a cosine."""
    cycles = list(recipe.cycles)
    while len(cycles) > 1 and step >= cycles[0][0]:
        step -= cycles.pop(0)[0]
    steps, rate = cycles[0]
    if step < recipe.warm_up:
        return rate * (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, steps - recipe.warm_up)
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def train(
    sets: Sequence[Taught],
    shares: Sequence[float],
    out: Path,
    recipe: Recipe,
    *,
    threads: int = 1,
    about: dict[str, Any] | None = None,
    save_every: int = 500,
    say: Callable[[str], None] = print,
) -> Path:
    """Writes OUT/follower.onnx and its manifest OUT/follower.json, whose path is returned, and OUT/state.pt now and then."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    things = read_things()
    network = Follower().to(memory_format=torch.channels_last)
    mean = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.cycles[0][1], weight_decay=recipe.decay)
    state, first = out / "state.pt", 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        network.load_state_dict(kept["network"])
        mean.load_state_dict(kept["mean"])
        optimiser.load_state_dict(kept["optimiser"])
        first = kept["step"]
        say(f"going on after step {first}")
    total, count = np.zeros(2), 0
    for step in range(first, recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        batch = make_batch(sets, shares, things, recipe.batch, rng, calm=step >= recipe.calm_from)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(recipe, step)
        network.train()
        error, entropy = losses(network, batch)
        optimiser.zero_grad(set_to_none=True)
        (error + recipe.presence * entropy).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        _blend(mean, network, min(recipe.average, (1 + step) / (10 + step)))
        total, count = total + np.array([error.item(), entropy.item()]), count + 1
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}: error {total[0] / count:.4f} eye distances, presence {total[1] / count:.4f}")
            total, count = np.zeros(2), 0
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            _save(state, network, mean, optimiser, step + 1)
            export(mean, out / "follower.onnx")
    return _manifest(out, {**(about or {}), "recipe": asdict(recipe)})


def _manifest(out: Path, about: dict[str, Any]) -> Path:
    network = out / "follower.onnx"
    content = network.read_bytes()
    entry = {"file": network.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "about": about}
    path = out / "follower.json"
    path.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return path


def _blend(mean: nn.Module, network: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for (_, a), (_, b) in zip(mean.state_dict().items(), network.state_dict().items(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - keep)
            else:
                a.copy_(b)


def _save(path: Path, network: nn.Module, mean: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {"network": network.state_dict(), "mean": mean.state_dict(), "optimiser": optimiser.state_dict(), "step": step},
        partial,
    )
    partial.replace(path)
