"""What was found in a network: its blocks, what each gives, and what it costs to get there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from models.networks.backbones import Backbone
from models.networks.elastify import papers_exits
from models.networks.flops import block_costs
from models.networks.layout import Layout

if TYPE_CHECKING:
    from torch import nn


def inspect_backbone(backbone: nn.Module, size: int) -> list[dict[str, Any]]:
    """A line per block, in the order in which they run: number, path, class, output shape of one picture, layout, channels,
    multiply-adds up to its end and their share of the last block's, and whether the paper's rule puts an exit there."""
    if isinstance(backbone, Backbone):
        paths = [f"blocks.{k}" for k in range(len(backbone.channels))]
        modules, layouts = list(backbone.blocks), [Layout.MAPS] * len(paths)
    else:
        paths, modules, layouts = list(backbone.taps), backbone.modules_tapped(), list(backbone.layouts)
    with torch.no_grad():
        shapes = [tuple(f.shape[1:]) for _, f in backbone.eval().outputs(torch.zeros(1, 3, size, size), len(paths))]
    costs = block_costs(backbone, size)
    exits = papers_exits(len(paths))
    return [
        {
            "block": k,
            "path": path,
            "class": type(module).__name__,
            "layout": layout.value,
            "channels": shape[0],
            "shape": shape,
            "multiply_adds": cost,
            "share": cost / costs[-1] if costs[-1] else 0.0,
            "is_exit": k in exits,
        }
        for k, (path, module, layout, shape, cost) in enumerate(
            zip(paths, modules, layouts, shapes, costs, strict=True), start=1
        )
    ]
