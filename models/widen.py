"""A network made wider without changing what it computes: Net2WiderNet (Chen, Goodfellow and Shlens, 2016).

Channels that are new copy channels that are there, and whoever reads a channel with copies reads a share of each. The shares
are drawn at random for every reader, so that copies are pulled apart from the first step of training on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.backbones import MobileNetV1
from models.config import TrainingError

if TYPE_CHECKING:
    from models.elastic import ElasticNetwork

# Standard deviation of a copy's share, whose mean is one over the number of copies.
SPREAD = 0.25


def widen(wide: ElasticNetwork, narrow: ElasticNetwork, seed: int = 0) -> None:
    """Gives `wide` weights with which it computes what `narrow` does: a MobileNet v1 of a larger alpha, with the same exits.

    Context heads may become wider too. Raises TrainingError where the two differ in more than their width.
    """
    ours, theirs = wide.backbone, narrow.backbone
    if not (isinstance(ours, MobileNetV1) and isinstance(theirs, MobileNetV1)):
        raise TrainingError("only MobileNet v1 can be widened")
    if wide.exits != narrow.exits or any(a < b for a, b in zip(ours.channels, theirs.channels, strict=True)):
        raise TrainingError(f"widening needs a narrower network with the exits {wide.exits}, got {narrow.exits}")
    random = torch.Generator().manual_seed(seed)
    origin = _widened(ours.stem, theirs.stem, torch.arange(3), random)
    with_exit = dict(zip(wide.exits, zip(wide.heads.values(), narrow.heads.values(), strict=True), strict=True))
    for k, (block, before) in enumerate(zip(ours.blocks, theirs.blocks, strict=True), start=1):
        origin = _widened(block, before, origin, random)
        if k in with_exit:
            _widened(*with_exit[k], origin, random)


def _widened(wide: nn.Module, narrow: nn.Module, origin: Tensor, random: torch.Generator) -> Tensor:
    """Fills a row of layers. `origin`: for each channel that comes in, which of the narrow network's it copies; returns the
    same for what goes out."""
    layers, theirs = _layers(wide), _layers(narrow)
    if [type(m) for m in layers] != [type(m) for m in theirs]:
        raise TrainingError("the two networks differ in more than their width: one has layers that the other has not")
    for layer, before in zip(layers, theirs, strict=True):
        if isinstance(layer, nn.BatchNorm2d):
            values = {k: v[origin] if v.ndim else v for k, v in before.state_dict().items()}
        elif isinstance(layer, nn.Conv2d) and layer.groups > 1:
            values = {"weight": before.weight[origin]}
        elif isinstance(layer, nn.Conv2d):
            outputs = _copies(before.out_channels, layer.out_channels, random)
            values = {"weight": _shared(before.weight[outputs], origin, random)}
            origin = outputs
        else:  # the dense layers of an exit stand side by side
            values = {"weight": _shared(before.weight, origin, random), "bias": before.bias}
        _fill(layer, values)
    return origin


def _layers(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]


def _copies(narrow: int, wide: int, random: torch.Generator) -> Tensor:
    """Which channel each of `wide` is: all of the narrow ones in their order, then as many as are missing, drawn anew."""
    if wide < narrow:
        raise TrainingError(f"a layer of {narrow} channels would become one of {wide}: networks can only be widened")
    drawn = [torch.randperm(narrow, generator=random) for _ in range(-(-wide // narrow))]
    return torch.cat([torch.arange(narrow), *drawn])[:wide]


def _shared(weight: Tensor, origin: Tensor, random: torch.Generator) -> Tensor:
    """(out, narrow in, ...) weights to (out, wide in, ...) ones that give the same sum over copies."""
    count = torch.bincount(origin)[origin]
    share = (1 + SPREAD * count.sqrt() * torch.randn(len(weight), len(origin), generator=random)) / count
    alone = torch.zeros(len(weight), weight.shape[1]).index_add_(1, origin, share)
    share = share + (1 - alone[:, origin]) / count
    return weight[:, origin] * share.reshape(*share.shape, *[1] * (weight.ndim - 2))


def _fill(layer: nn.Module, values: dict[str, Tensor]) -> None:
    try:
        layer.load_state_dict({name: value.detach() for name, value in values.items()})
    except RuntimeError as error:
        raise TrainingError(f"the two networks differ in more than their width: {error}") from error
