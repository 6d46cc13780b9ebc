"""What a training configuration says, checked. They are in models/configs/; docs/reference/network.md has every key."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from models.data.sets.base import EXPRESSIONS
from models.networks.backbones import build_backbone
from models.networks.elastic import HEADS, ElasticNetwork, exit_name
from models.networks.elastify import TappedBackbone, papers_exits
from models.networks.foreign import find_callable
from models.networks.trial import refuse_what_cannot_be_trained

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

# Keys of the sections: needed, optional.
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "network": (
        {"backbone", "options", "input_sizes"},
        {"exits", "taps", "context", "stop_gradient", "head", "normalisation"},
    ),
    "loss": ({"weights", "sigma_years"}, {"distil", "teacher", "teacher_heads"}),
    "protocol": (
        {"momentum", "batch", "epoch_samples", "heads_learning_rate", "patience_epochs", "min_learning_rate", "stages"},
        set(),
    ),
    "optimiser": ({"steps", "learning_rate", "weight_decay", "warmup", "ema", "batch"}, {"rare"}),
}


class TrainingError(RuntimeError):
    """A training that cannot be started or continued as asked."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One file of models/configs/."""

    name: str
    seed: int
    network: Mapping[str, Any]
    loss: Mapping[str, Any]
    augmentation: Mapping[str, float]
    #: one of the two: our recipe (models/training/train.py), or the paper's (models/training/protocol.py)
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.optimiser) == bool(self.protocol):
            raise TrainingError("a configuration needs either a section [optimiser] or a section [protocol]")
        for section, (needed, optional) in _KEYS.items():
            have = set(getattr(self, section))
            if not have and section in ("optimiser", "protocol"):
                continue
            if not needed <= have <= needed | optional:
                raise TrainingError(
                    f"section [{section}]: missing {sorted(needed - have)}, unknown {sorted(have - needed - optional)}"
                )
        stage_keys = {"name", "sets", "heads_epochs", "epochs", "learning_rate"}
        if any(set(stage) != stage_keys for stage in self.protocol.get("stages", ())):
            raise TrainingError(f"[[protocol.stages]]: each needs {', '.join(sorted(stage_keys))}")
        if set(self.loss["weights"]) != {*HEADS, "age_l1"} or not self.loss["weights"]["age"] > 0:
            raise TrainingError("[loss] weights: age (above 0), age_l1, gender and expression; 0: it is not told")
        heads, rare = self.loss.get("teacher_heads", ["age"]), self.optimiser.get("rare", {})
        if not set(heads) <= set(self.tasks) or not heads:
            raise TrainingError(f"[loss] teacher_heads: some of {', '.join(self.tasks)}")
        if not set(rare) <= set(EXPRESSIONS) or any(times < 1 for times in rare.values()):
            raise TrainingError(f"[optimiser] rare: times from 1, each for one of {', '.join(EXPRESSIONS)}")
        if "exits" in self.network and not any(w > 0 for w in self.exit_weights.values()):
            raise TrainingError("at least one exit needs a weight above 0")
        if not self.input_sizes or min(self.input_sizes) < 16 or min(self.input_sizes.values()) <= 0:
            raise TrainingError("[network] input_sizes: sizes from 16 px, each with its share of the steps above 0")

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise TrainingError(f"configuration {path}: {error}") from error

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the network tells: what has a weight in the loss."""
        return tuple(task for task in HEADS if self.loss["weights"][task] > 0)

    @property
    def sets(self) -> tuple[str, ...]:
        """Sets of `prepare` that it is trained on."""
        stages = (stage["sets"] for stage in self.protocol.get("stages", ()))
        return tuple(dict.fromkeys([*self.optimiser.get("batch", ()), *(name for sets in stages for name in sets)]))

    @property
    def exit_weights(self) -> dict[str, float]:
        """Weight in the loss by exit name, shallowest first."""
        return {exit_name(k): weight for k, weight in self._exits.items()}

    @cached_property
    def _exits(self) -> dict[int, float]:
        """Weight by block number; where the configuration names none, by the paper's rule."""
        if "exits" not in self.network:
            return papers_exits(len(self._backbone().channels))
        return dict(sorted((int(k), float(w)) for k, w in self.network["exits"].items()))

    @property
    def deepest_trained(self) -> int:
        """The last block that training runs: that of the deepest exit with a weight, or of the deepest where it teaches."""
        return max(self._exits if self.loss.get("distil") else (k for k, w in self._exits.items() if w > 0))

    @property
    def input_sizes(self) -> dict[int, float]:
        """Sizes in pixels, smallest first, and the share of training steps that each gets."""
        return dict(sorted((int(size), float(share)) for size, share in self.network["input_sizes"].items()))

    @property
    def spoil(self) -> float:
        """The share of pictures that are spoilt as cameras do."""
        return float(self.augmentation.get("spoil", 0.0))

    def build(self) -> ElasticNetwork:
        """The network, its weights at random or those of its own library. What cannot be trained is refused."""
        head = self.network.get("head")
        try:
            network = ElasticNetwork(
                self._backbone(),
                list(self._exits),
                {int(k): widths for k, widths in self.network.get("context", {}).items()},
                self.network.get("stop_gradient", ()),
                find_callable(head) if head else None,
                self.tasks,
            )
            if head or isinstance(network.backbone, TappedBackbone):
                refuse_what_cannot_be_trained(network, self.input_sizes, {task: HEADS[task] for task in self.tasks})
        except (ValueError, TypeError) as error:
            raise TrainingError(f"section [network]: {error}") from error
        return network

    def _backbone(self) -> nn.Module:
        name = self.network["backbone"]
        try:
            backbone = build_backbone(
                name,
                self.network.get("taps"),
                max(self.input_sizes),
                self.network.get("normalisation", "auto"),
                **self.network["options"],
            )
        except (ValueError, TypeError) as error:
            raise TrainingError(f"section [network]: {error}") from error
        least = getattr(backbone, "minimum_size", 16)
        if min(self.input_sizes) < least:
            raise TrainingError(f"section [network]: {name} needs inputs of {least} px at least")
        return backbone
