"""One network, several exits: heads on the outputs of a backbone's blocks (Bai et al., 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

#: outputs of every exit and their number of classes; age is 0..100 in whole years
HEADS = {"age": 101, "gender": 2, "expression": 7}


class ExitOutput(NamedTuple):
    """Logits of one exit: age (n, 101), gender (n, 2), expression (n, 7); None of what the network does not tell."""

    age: Tensor | None = None
    gender: Tensor | None = None
    expression: Tensor | None = None

    def told(self) -> dict[str, Tensor]:
        """The logits that there are, by task."""
        return {task: logits for task, logits in self._asdict().items() if logits is not None}


class ExitHead(nn.Module):
    """Global average pool and one dense layer per output, as in the paper."""

    def __init__(self, channels: int, heads: Mapping[str, int] = HEADS) -> None:
        super().__init__()
        self.dense = nn.ModuleDict({name: nn.Linear(channels, classes) for name, classes in heads.items()})

    def forward(self, features: Tensor) -> ExitOutput:
        pooled = features.mean(dim=(2, 3))
        return ExitOutput(**{name: dense(pooled) for name, dense in self.dense.items()})


class ContextHead(nn.Module):
    """Looks around before it pools: depthwise stride 2 and pointwise, once per width, then an ExitHead.

    What a network knows before its midpoint is local, and a mean over local features says little of a whole face.
    """

    def __init__(self, channels: int, widths: Sequence[int], heads: Mapping[str, int] = HEADS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [
                nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(inplace=True),
                nn.Conv2d(channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU6(inplace=True),
            ]
            channels = width
        self.context = nn.Sequential(*layers)
        self.exit = ExitHead(channels, heads)

    def forward(self, features: Tensor) -> ExitOutput:
        return self.exit(self.context(features))


def exit_name(block: int) -> str:
    """The name of the exit after the given block (from 1), the same in manifests, logs and on the command line."""
    return f"exit_{block:02d}"


class ElasticNetwork(nn.Module):
    """A backbone with an exit after each of `exits` (block numbers from 1).

    `forward(x, until=k)` runs no layer behind block k. Without `until` it runs all and returns every exit.
    `context` gives the widths of a ContextHead to exits that need one. Exits named in `stop_gradient` learn from the
    backbone's features without changing them. `tasks`: what it tells of a face, some of HEADS. `head` makes the other exits'
    heads from the number of channels; by default an ExitHead of those tasks.
    """

    def __init__(
        self,
        backbone: nn.Module,
        exits: Sequence[int],
        context: Mapping[int, Sequence[int]] | None = None,
        stop_gradient: Collection[int] = (),
        head: Callable[[int], nn.Module] | None = None,
        tasks: Sequence[str] = tuple(HEADS),
    ) -> None:
        super().__init__()
        context = context or {}
        count = len(backbone.channels)
        if not exits or list(exits) != sorted(set(exits)) or exits[0] < 1 or exits[-1] > count:
            raise ValueError(f"exits must be rising block numbers from 1 to {count}, got {list(exits)}")
        unknown = {*context, *stop_gradient} - set(exits)
        if unknown:
            raise ValueError(f"context and stop_gradient name blocks without an exit: {sorted(unknown)}")
        self.backbone = backbone
        self.exits = tuple(exits)
        self.stop_gradient = frozenset(stop_gradient)
        self.tasks = tuple(tasks)
        classes = {task: HEADS[task] for task in tasks}
        self.heads = nn.ModuleDict()
        for k in exits:
            channels = backbone.channels[k - 1]
            if k in context:
                made: nn.Module = ContextHead(channels, context[k], classes)
            else:
                made = head(channels) if head else ExitHead(channels, classes)
            self.heads[exit_name(k)] = made

    def forward(self, x: Tensor, until: int | None = None) -> dict[str, ExitOutput]:
        """Outputs by exit name, shallowest first; only those up to block `until`. x: (n, 3, h, w) RGB in [-1, 1]."""
        outputs = {}
        for k, features in self.features(x, until):
            seen = features.detach() if k in self.stop_gradient else features
            outputs[exit_name(k)] = self.heads[exit_name(k)](seen)
        return outputs

    def features(self, x: Tensor, until: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yields (block number, its output) at each exit; nothing behind block `until` runs."""
        last = self.exits[-1] if until is None else until
        if last not in self.exits:
            raise ValueError(f"no exit after block {last}; exits: {self.exits}")
        for k, output in self.backbone.outputs(x, last):
            if k in self.exits:
                yield k, output


def expected_age(probabilities: Tensor) -> Tensor:
    """Expectation over the age classes: (n, 101) probabilities to (n,) years."""
    return probabilities @ torch.arange(probabilities.shape[1], dtype=probabilities.dtype, device=probabilities.device)
