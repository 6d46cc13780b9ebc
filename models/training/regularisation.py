"""Does elastic training make the last exit better? Four arms trained from one start on the same batches.

All arms of a seed go in lock step, so that pictures are read and changed once. The second arm is the paper's, with its loss
(1); the third differs from the first in nothing that the last exit can feel, and must equal it to the bit: that checks the
code. So no operation here looks at all of a network's gradients at once (clipping would).
"""

from __future__ import annotations

import hashlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from models.data.batches import Augmentation, TrainingBatches, prefetched, to_input
from models.data.views import Views, load_views
from models.judging import metrics
from models.judging.regularisation_report import ARMS, read_results, save_result
from models.networks.backbones import build_backbone
from models.networks.elastic import ElasticNetwork, exit_name
from models.networks.elastify import papers_exits
from models.training.batch_norm import for_size
from models.training.config import TrainingError
from models.training.folder import load_initial
from models.training.losses import class_loss
from models.training.train import predict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from models.networks.elastic import ExitOutput

# Up to this many faces a training set is small: it is gone through more often, so that the steps are about as many.
SMALL, EPOCHS_SMALL, EPOCHS_LARGE = 6_000, 15, 3
# Faces from which batch norm's statistics are measured anew before an arm is judged.
STATISTICS_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every arm is trained, the same for all."""

    #: passes over the training set; 0: EPOCHS_SMALL or EPOCHS_LARGE, by its size
    epochs: int = 0
    #: by the training loss of the first arm alone: docs/results/regularisation.md
    learning_rate: float = 0.1
    #: passes over the training set in which the heads alone learn, once for all arms
    heads_epochs: int = 1
    heads_learning_rate: float = 1e-2
    momentum: float = 0.9
    batch: int = 32
    #: share of the steps in which the rate rises; it then falls as a cosine to 0
    warmup: float = 0.05
    zoom: float = 0.1
    shift: float = 0.05
    size: int = 64
    #: as in a configuration's [network]; exits are those of the paper's rule
    backbone: str = "mobilenet_v1"
    options: Mapping[str, Any] = field(default_factory=lambda: {"alpha": 0.25})
    #: a set of `prepare`, with ages
    dataset: str = "utkface"
    #: what is trained of ARMS; "last" must be among them
    arms: tuple[str, ...] = tuple(ARMS)

    def __post_init__(self) -> None:
        if not set(self.arms) <= set(ARMS) or "last" not in self.arms or len(self.arms) < 2:
            raise TrainingError(f"arms: `last` and some of {', '.join(a for a in ARMS if a != 'last')}")

    def network(self, arm: str = "elastic") -> ElasticNetwork:
        """An arm's network, its weights at random or its library's."""
        try:
            backbone = build_backbone(self.backbone, size=self.size, **self.options)
        except (ValueError, TypeError) as error:
            raise TrainingError(f"{self.backbone}: {error}") from error
        least = getattr(backbone, "minimum_size", 16)
        if self.size < least:
            raise TrainingError(f"{self.backbone} needs inputs of {least} px at least")
        exits = list(papers_exits(len(backbone.channels)))
        stopped = exits[:-1] if arm == "stopped" else ()
        return ElasticNetwork(backbone, exits[-1:] if arm == "last" else exits, stop_gradient=stopped)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, from 0."""
        warm = max(1, round(self.warmup * steps))
        return self.learning_rate * min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))

    def for_faces(self, count: int) -> Recipe:
        """The same with its epochs settled."""
        return self if self.epochs else replace(self, epochs=EPOCHS_SMALL if count <= SMALL else EPOCHS_LARGE)

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(
            zoom=self.zoom, shift=self.shift, rotate_deg=0.0, light=0.0, grey=0.0, coarse=0.0, erase=0.0
        )


class Arm:
    """A network, its optimiser, and which exits it learns from."""

    def __init__(self, name: str, start: ElasticNetwork, recipe: Recipe) -> None:
        self.network = recipe.network(name)
        mine = self.network.state_dict()
        self.network.load_state_dict({key: tensor for key, tensor in start.state_dict().items() if key in mine})
        device = next(start.parameters()).device
        self.network = self.network.to(device, memory_format=torch.channels_last).train()
        self.weight = 1 / len(self.network.exits) if name == "divided" else 1.0
        self.optimiser = torch.optim.SGD(
            self.network.parameters(), recipe.learning_rate, momentum=recipe.momentum, foreach=True
        )

    def learn(self, inputs: Tensor, age: Tensor, rate: float) -> float:
        """One step; returns the last exit's loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        losses = age_losses(self.network(inputs), age)
        self.optimiser.zero_grad(set_to_none=True)
        (torch.stack(list(losses.values())) * self.weight).sum().backward()
        self.optimiser.step()
        return float(losses[last_exit(self.network)].detach())


def last_exit(network: ElasticNetwork) -> str:
    return exit_name(network.exits[-1])


def age_losses(outputs: Mapping[str, ExitOutput], age: Tensor) -> dict[str, Tensor]:
    """Cross-entropy on 101 classes by exit, as in the paper; the heads for gender and expression stand idle."""
    return {name: class_loss(output.age, age) for name, output in outputs.items()}


def first_network(initial: Path | None, recipe: Recipe, seed: int, device: torch.device) -> ElasticNetwork:
    """Pre-trained backbone, heads at random by the seed."""
    torch.manual_seed(seed)
    network = recipe.network()
    if initial:
        load_initial(network, initial)
    return network.to(device, memory_format=torch.channels_last).train()


def drawn_faces(names: NDArray[np.str_], usable: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """`count` of `usable`, by a hash of seed and name: every seed has its own training set, the same on every machine."""
    if count == len(usable):
        return usable
    rank = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in names[usable].tolist()]
    return np.sort(usable[sorted(range(len(usable)), key=rank.__getitem__)[:count]])


@dataclass(frozen=True)
class Faces:
    """Everything that the study sees: prepared views, which to train on, and those that it is judged on."""

    views: Views
    names: NDArray[np.str_]
    usable: NDArray[np.int64]
    held_out: Views

    @property
    def truth(self) -> NDArray[np.float64]:
        """What is judged by: the mean of the guesses where people guessed, otherwise the label; (n,) years."""
        return metrics.true_age(self.held_out.age, self.held_out.age_mean)

    @classmethod
    def read(cls, folder: Path, dataset: str = "utkface") -> Faces:
        """A set as `prepare` left it. Raises DataError where it is missing."""
        views, held_out = load_views(folder, dataset)
        with np.load(folder / f"{dataset}.labels.npz") as labels:
            names = labels["names"] if "names" in labels else np.arange(len(views)).astype(str)
        known = views.age >= 0
        judged = views.take(np.flatnonzero(held_out & known))
        usable = np.flatnonzero(~held_out & known)
        if not len(judged) or not len(usable):
            raise TrainingError(f"{folder}: the study needs faces with ages both to train on and held out")
        return cls(views, names, usable, judged)


def train_seed(
    faces: Faces,
    chosen: NDArray[np.int64],
    initial: Path | None,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    threads: int = 2,
    progress: Callable[..., Any] | None = None,
) -> tuple[dict[str, Arm], dict[str, float]]:
    """All arms, trained; and the last exit's mean training loss over each one's last epoch."""
    epoch = max(1, len(chosen) // recipe.batch)
    heads_steps, steps = recipe.heads_epochs * epoch, recipe.epochs * epoch
    batches = TrainingBatches([(faces.views, chosen, recipe.batch)], {recipe.size: 1.0}, seed, recipe.augmentation)
    bar = (
        progress(total=heads_steps + steps, unit="step", desc=f"{len(chosen)} faces, seed {seed}") if progress else None
    )
    start = first_network(initial, recipe, seed, device)
    # The heads learn alone first, as in the paper. The backbone does not change, so heads do not feel each other, and
    # all arms can start from these. Its batch norms use the batch: the IMDB weights' own statistics are of 0..255 pixels.
    start.backbone.requires_grad_(False)
    heads = torch.optim.SGD(start.heads.parameters(), recipe.heads_learning_rate, momentum=recipe.momentum)
    arms: dict[str, Arm] = {}
    losses: dict[str, list[float]] = {name: [] for name in recipe.arms}
    # An arm a thread, each on one core: so small a network gains little from two, and loses all of it on a busy machine.
    with ThreadPoolExecutor(threads) as pool:
        for step, batch in enumerate(prefetched(batches, range(heads_steps + steps)), start=-heads_steps):
            inputs = to_input(torch.from_numpy(batch["crops"]).to(device))
            age = torch.from_numpy(batch["age"]).to(device)
            if step < 0:
                heads.zero_grad(set_to_none=True)
                torch.stack(list(age_losses(start(inputs), age).values())).sum().backward()
                heads.step()
            else:
                arms = arms or {name: Arm(name, start, recipe) for name in recipe.arms}
                rate = recipe.rate(step, steps)
                done = {name: pool.submit(arm.learn, inputs, age, rate) for name, arm in arms.items()}
                for name, future in done.items():
                    losses[name].append(future.result())
            if bar is not None:
                bar.update()
    if bar is not None:
        bar.close()
    return arms, {name: float(np.mean(values[-epoch:])) for name, values in losses.items()}


def equal_to_the_bit(one: nn.Module, other: nn.Module) -> bool:
    """Whether everything that `one` has is in `other`, bit by bit."""
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[key]) for key, tensor in one.state_dict().items())


def judge(
    arm: Arm, faces: Faces, chosen: NDArray[np.int64], recipe: Recipe, device: torch.device
) -> tuple[dict[str, NDArray], float]:
    """Estimated years of the held-out faces by exit, (n,) float64, and the last exit's cross-entropy."""
    network = for_size(arm.network, [(faces.views, chosen, STATISTICS_BATCH)], recipe.size, device)
    predictions = predict(network, faces.held_out.pixels, recipe.size, device)
    p = predictions[last_exit(network)]["age"][np.arange(len(faces.held_out)), faces.held_out.age]
    estimates = {name: metrics.expectation(heads["age"]) for name, heads in predictions.items()}
    return estimates, float(-np.log(np.maximum(p, 1e-12)).mean())


def run_seed(
    faces: Faces,
    count: int,
    initial: Path | None,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    threads: int,
    progress: Callable[..., Any] | None,
) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """One seed's line of results, and the estimates of every arm and exit by "arm/exit"."""
    began = time.monotonic()
    chosen = drawn_faces(faces.names, faces.usable, count, seed)
    arms, train_loss = train_seed(faces, chosen, initial, recipe, seed, device, threads, progress)
    estimates, held_out_loss = {}, {}
    with ThreadPoolExecutor(threads) as pool:
        judged = pool.map(lambda arm: judge(arm, faces, chosen, recipe, device), arms.values())
        for name, (years, held_out_loss[name]) in zip(arms, judged, strict=True):
            estimates |= {f"{name}/{exit_}": of_exit for exit_, of_exit in years.items()}
    line = {
        "faces": count,
        "seed": seed,
        "equal": _arms_are_equal(arms, estimates),
        "mae": {key: metrics.mae(years, faces.truth) for key, years in estimates.items()},
        "train_loss": train_loss,
        "held_out_loss": held_out_loss,
        "seconds": round(time.monotonic() - began, 1),
    }
    return line, estimates


def _arms_are_equal(arms: Mapping[str, Arm], estimates: Mapping[str, NDArray]) -> bool | None:
    """Whether the arms that must be alike are, to the bit; None where the second was not trained."""
    if "stopped" not in arms:
        return None
    last = last_exit(arms["last"].network)
    return equal_to_the_bit(arms["last"].network, arms["stopped"].network) and np.array_equal(
        estimates[f"last/{last}"], estimates[f"stopped/{last}"]
    )


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where the arms are trained, and how many at a time."""

    device: str = "cpu"
    threads: int = 2

    def torch_device(self) -> torch.device:
        """Raises TrainingError where there is none."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise TrainingError("--device cuda: this PyTorch finds no GPU. Install its CUDA build, or use --device cpu")
        return torch.device(self.device)


def run_study(
    folder: Path,
    initial: Path | None,
    out: Path,
    *,
    count: int | None = None,
    seeds: int = 5,
    recipe: Recipe = Recipe(),
    workers: Workers = Workers(),
    progress: Callable[..., Any] | None = None,
) -> None:
    """Trains the seeds that `out` does not hold yet. `count`: faces to train on, None for all.

    Raises TrainingError, DataError and WeightsError.
    """
    device = workers.torch_device()
    faces = Faces.read(folder, recipe.dataset)
    count = len(faces.usable) if count is None else count
    if count > len(faces.usable):
        raise TrainingError(f"--train-faces {count}: there are {len(faces.usable)} to train on; or say `all`")
    recipe = recipe.for_faces(count)
    settings = asdict(recipe) | {
        "arms": list(recipe.arms),
        "initial": _hash_of(initial) if initial else "random",
        "held_out": hashlib.sha256(faces.held_out.age.tobytes()).hexdigest()[:16],
    }
    finished = [line for line in read_results(out) if line["faces"] == count]
    if any(line["settings"] != settings for line in finished):
        raise TrainingError(
            f"{out} holds results of {count} faces with other settings or data: use a new --out, or the same settings"
        )
    todo = sorted(set(range(1, seeds + 1)) - {line["seed"] for line in finished})
    torch.backends.cudnn.deterministic = True
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed in todo:
            line, estimates = run_seed(faces, count, initial, recipe, seed, device, workers.threads, progress)
            save_result(out, line | {"settings": settings}, estimates, faces.truth)
    finally:
        torch.set_num_threads(before)


def _hash_of(initial: Path) -> str:
    """The hash of a file, or of the checkpoint in a training's folder."""
    file = initial / "checkpoint.pt" if initial.is_dir() else initial
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
