"""Multiply-adds, counted while a network runs once on an empty picture."""

from __future__ import annotations

import torch
from torch import nn

from models.elastic import ElasticNetwork, exit_name


def multiply_adds(network: ElasticNetwork, size: int, stem: bool = True) -> dict[str, int]:
    """Multiply-adds from the input to each exit, its head included, by exit name.

    Convolutions and dense layers count; norms, activations and pooling do not. The paper's table leaves the stem
    convolution out (`stem=False` lands within 3 % of it for MobileNet).
    """
    counted: dict[nn.Module, int] = {}

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counted[module] = output.shape[2] * output.shape[3] * module.weight.numel()
        elif isinstance(module, nn.Linear):
            counted[module] = module.weight.numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, size, size, device=next(network.parameters()).device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()

    def total(module: nn.Module) -> int:
        return sum(counted.get(m, 0) for m in module.modules())

    sums, running = {}, total(network.backbone.stem) if stem else 0
    for k, block in enumerate(network.backbone.blocks, start=1):
        running += total(block)
        if k in network.exits:
            sums[exit_name(k)] = running + total(network.heads[exit_name(k)])
    return sums
