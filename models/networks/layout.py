"""Where a block's output has its channels: networks differ, and exits' heads want them second."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from collections.abc import Sequence


class Layout(Enum):
    """What the dimensions of a block's output are; `channels` is the one that holds the channels."""

    MAPS = "n c h w"
    MAPS_LAST = "n h w c"
    TOKENS = "n t c"
    VECTOR = "n c"
    UNCLEAR = "unclear"

    @property
    def channels(self) -> int:
        return -1 if self in (Layout.MAPS_LAST, Layout.TOKENS, Layout.UNCLEAR) else 1


def layout_of(module: nn.Module, shape: Sequence[int]) -> Layout:
    """The layout of a module's output of that shape.

    Four dimensions two of which are equal (a square input) tell by themselves. Otherwise the module's layers do: a dense
    layer or a layer norm as wide as the last dimension, a convolution or a batch norm as wide as the second.
    """
    if len(shape) == 2:
        return Layout.VECTOR
    if len(shape) == 4 and shape[2] == shape[3] != shape[1]:
        return Layout.MAPS
    if len(shape) == 4 and shape[1] == shape[2] != shape[3]:
        return Layout.MAPS_LAST
    last, second = False, False
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            last |= layer.out_features == shape[-1]
        elif isinstance(layer, nn.LayerNorm):
            last |= layer.normalized_shape[-1] == shape[-1]
        elif isinstance(layer, nn.Conv2d):
            second |= layer.out_channels == shape[1]
        elif isinstance(layer, _BatchNorm):
            second |= layer.num_features == shape[1]
    if len(shape) == 3 and last:
        return Layout.TOKENS
    if len(shape) == 4 and last != second:
        return Layout.MAPS_LAST if last else Layout.MAPS
    return Layout.UNCLEAR


def to_maps(features: Tensor, layout: Layout) -> Tensor:
    """(n, channels, height, width); tokens as (n, channels, tokens, 1), a vector as (n, channels, 1, 1)."""
    if layout is Layout.MAPS_LAST:
        return features.permute(0, 3, 1, 2)
    if layout is Layout.TOKENS:
        return features.transpose(1, 2).unsqueeze(3)
    if layout is Layout.VECTOR:
        return features[:, :, None, None]
    return features
