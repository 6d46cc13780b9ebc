"""One network, several exits: heads on the outputs of a backbone's blocks (Bai et al., 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: outputs of every exit and their number of classes; age is 0..100 in whole years
HEADS = {"age": 101, "gender": 2, "expression": 7}


class ExitOutput(NamedTuple):
    """Logits of one exit: age (n, 101), gender (n, 2), expression (n, 7)."""

    age: Tensor
    gender: Tensor
    expression: Tensor


class ExitHead(nn.Module):
    """Global average pool and one dense layer per output, as in the paper."""

    def __init__(self, channels: int, heads: Mapping[str, int] = HEADS) -> None:
        super().__init__()
        self.dense = nn.ModuleDict({name: nn.Linear(channels, classes) for name, classes in heads.items()})

    def forward(self, features: Tensor) -> ExitOutput:
        pooled = features.mean(dim=(2, 3))
        return ExitOutput(**{name: dense(pooled) for name, dense in self.dense.items()})


def exit_name(block: int) -> str:
    """The name of the exit after the given block (from 1), the same in manifests, logs and on the command line."""
    return f"exit_{block:02d}"


class ElasticNetwork(nn.Module):
    """A backbone with an exit after each of `exits` (block numbers from 1).

    `forward(x, until=k)` runs no layer behind block k. Without `until` it runs all and returns every exit.
    """

    def __init__(self, backbone: nn.Module, exits: Sequence[int]) -> None:
        super().__init__()
        count = len(backbone.blocks)
        if not exits or list(exits) != sorted(set(exits)) or exits[0] < 1 or exits[-1] > count:
            raise ValueError(f"exits must be rising block numbers from 1 to {count}, got {list(exits)}")
        self.backbone = backbone
        self.exits = tuple(exits)
        self.heads = nn.ModuleDict({exit_name(k): ExitHead(backbone.channels[k - 1]) for k in exits})

    def forward(self, x: Tensor, until: int | None = None) -> dict[str, ExitOutput]:
        """Outputs by exit name, shallowest first; only those up to block `until`. x: (n, 3, h, w) RGB in [-1, 1]."""
        return {exit_name(k): self.heads[exit_name(k)](features) for k, features in self.features(x, until)}

    def features(self, x: Tensor, until: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yields (block number, its output) at each exit, running blocks only as far as they are asked for."""
        last = self.exits[-1] if until is None else until
        if last not in self.exits:
            raise ValueError(f"no exit after block {last}; exits: {self.exits}")
        x = self.backbone.stem(x)
        for k, block in enumerate(self.backbone.blocks, start=1):
            x = block(x)
            if k in self.exits:
                yield k, x
            if k == last:
                return


def expected_age(probabilities: Tensor) -> Tensor:
    """Expectation over the age classes: (n, 101) probabilities to (n,) years."""
    return probabilities @ torch.arange(probabilities.shape[1], dtype=probabilities.dtype, device=probabilities.device)
