"""What a training configuration says, checked. The files are in models/configs/; docs/network.md explains every key."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from models.data.sets.base import EXPRESSIONS
from models.networks.backbones import build_backbone
from models.networks.elastic import HEADS, ElasticNetwork, exit_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Keys of the sections: needed, optional.
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "network": ({"backbone", "options", "exits", "input_sizes"}, {"taps", "context", "stop_gradient"}),
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
        heads, rare = self.loss.get("teacher_heads", ["age"]), self.optimiser.get("rare", {})
        if not set(heads) <= set(HEADS) or not heads:
            raise TrainingError(f"[loss] teacher_heads: some of {', '.join(HEADS)}")
        if not set(rare) <= set(EXPRESSIONS) or any(times < 1 for times in rare.values()):
            raise TrainingError(f"[optimiser] rare: times from 1, each for one of {', '.join(EXPRESSIONS)}")
        if not any(w > 0 for w in self.exit_weights.values()):
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
    def exit_weights(self) -> dict[str, float]:
        """Weight in the loss by exit name, shallowest first."""
        return {exit_name(k): float(w) for k, w in sorted((int(k), w) for k, w in self.network["exits"].items())}

    @property
    def deepest_trained(self) -> int:
        """The last block that training runs: that of the deepest exit with a weight, or of the deepest where it teaches."""
        exits = {int(k): w for k, w in self.network["exits"].items()}
        return max(exits if self.loss.get("distil") else (k for k, w in exits.items() if w > 0))

    @property
    def input_sizes(self) -> dict[int, float]:
        """Sizes in pixels, smallest first, and the share of training steps that each gets."""
        return dict(sorted((int(size), float(share)) for size, share in self.network["input_sizes"].items()))

    @property
    def spoil(self) -> float:
        """The share of pictures that are spoilt as cameras do."""
        return float(self.augmentation.get("spoil", 0.0))

    def build(self) -> ElasticNetwork:
        """The network, its weights at random."""
        try:
            backbone = build_backbone(
                self.network["backbone"], self.network.get("taps"), max(self.input_sizes), **self.network["options"]
            )
            least = getattr(backbone, "minimum_size", 16)
            if min(self.input_sizes) < least:
                raise ValueError(f"{self.network['backbone']} needs inputs of {least} px at least")
            return ElasticNetwork(
                backbone,
                sorted(int(k) for k in self.network["exits"]),
                {int(k): widths for k, widths in self.network.get("context", {}).items()},
                self.network.get("stop_gradient", ()),
            )
        except (ValueError, TypeError) as error:
            raise TrainingError(f"section [network]: {error}") from error
