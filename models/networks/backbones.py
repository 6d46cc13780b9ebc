"""Networks that are made elastic here: what ElasticNetwork wants of a backbone is `channels` and `outputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as functional
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BATCH_NORM_EPSILON = 1e-3
# Keras counts a moving average's momentum from the other end: 0.99 there is 0.01 here.
BATCH_NORM_MOMENTUM = 0.01


class KerasConv2d(nn.Conv2d):
    """A convolution that pads as Keras' MobileNet does: at stride 2 by (0, 1) in both directions, else evenly."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        even = kernel // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel, stride, even, groups=groups, bias=False)
        self._pads_at_the_end = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, 1, 0, 1)) if self._pads_at_the_end else x)


def _conv_bn_relu6(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        KerasConv2d(channels_in, channels_out, kernel, stride, groups),
        nn.BatchNorm2d(channels_out, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM),
        nn.ReLU6(inplace=True),
    )


class Backbone(nn.Module):
    """A stem and a row of blocks. Subclasses set `stem`, `blocks` and `channels` (of every block's output)."""

    stem: nn.Module
    blocks: nn.ModuleList
    channels: Sequence[int]
    #: smallest input, in pixels a side, of which something is left behind the last block
    minimum_size = 16

    def outputs(self, x: Tensor, last: int) -> Iterator[tuple[int, Tensor]]:
        """(block number from 1, its output) up to block `last`, each block run only when it is asked for."""
        x = self.stem(x)
        for k, block in enumerate(self.blocks[:last], start=1):
            x = block(x)
            yield k, x

    def forward(self, x: Tensor) -> Tensor:
        """The last block's output."""
        *_, (_, output) = self.outputs(x, len(self.blocks))
        return output


class SeparableBlock(nn.Sequential):
    """A depthwise and a pointwise convolution."""


class MobileNetV1(Backbone):
    """MobileNet v1 (Howard et al., 2017): a stem and 13 depthwise-separable blocks. Input (n, 3, h, w) RGB in [-1, 1]."""

    #: stride and width (before alpha) of each block
    BLOCKS = ((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024))

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        if alpha not in (0.25, 0.5, 0.75, 1.0):
            raise ValueError(f"alpha must be 0.25, 0.5, 0.75 or 1.0, got {alpha}")
        width = int(32 * alpha)
        self.stem = _conv_bn_relu6(3, width, 3, stride=2)
        self.blocks = nn.ModuleList()
        self.channels: list[int] = []
        for stride, full in self.BLOCKS:
            out = int(full * alpha)
            self.blocks.append(
                SeparableBlock(_conv_bn_relu6(width, width, 3, stride, groups=width), _conv_bn_relu6(width, out, 1))
            )
            self.channels.append(out)
            width = out

    def keras_layers(self) -> dict[str, str]:
        """Keras' layer names and the modules here that they are."""
        convolutions = {"conv1": "stem"}
        for k in range(len(self.blocks)):
            convolutions |= {f"conv_dw_{k + 1}": f"blocks.{k}.0", f"conv_pw_{k + 1}": f"blocks.{k}.1"}
        norms = {f"{layer}_bn": f"{place}.1" for layer, place in convolutions.items()}
        return {layer: f"{place}.0" for layer, place in convolutions.items()} | norms


#: Backbones that a configuration names without a module.
BACKBONES = {
    "mobilenet_v1": "models.networks.backbones:MobileNetV1",
    "resnet50": "models.networks.resnet:ResNet50",
    "inception_v3": "models.networks.inception:InceptionV3",
    "vgg16": "models.networks.vgg:VGG16",
}


def build_backbone(
    name: str,
    taps: Sequence[str] | str | None = None,
    size: int = 224,
    normalisation: str | Mapping[str, Sequence[float]] = "auto",
    **options: Any,
) -> nn.Module:
    """A backbone by the name that a configuration gives it, or anybody's network as "module:callable".

    The latter is tapped at the modules `taps`, or where "auto" finds blocks, which is tried with an input of `size` pixels; it
    is given pictures with the `normalisation` that its own library names ("auto"), or another (models/networks/foreign.py).
    Raises ValueError.
    """
    from models.networks.foreign import find_callable, tapped

    place = BACKBONES.get(name, name)
    if ":" not in place:
        raise ValueError(
            f"unknown backbone {name!r}; known: {', '.join(BACKBONES)}, or one of yours as module:callable"
        )
    make = find_callable(place)
    if taps is None and isinstance(make, type) and issubclass(make, Backbone):
        return make(**options)
    return tapped(make, options, "auto" if taps is None else taps, size, normalisation)
