"""ResNet50 (He et al., 2015) in the layout of Keras' ImageNet weights: stride in a stage's first 1x1 convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.backbones import Backbone

_EPSILON = 1.001e-5
_MOMENTUM = 0.01
# Means of ImageNet in blue, green, red, 0..255: Keras' weights, which came from Caffe, expect them taken off.
_BGR_MEANS = (103.939, 116.779, 123.68)


class CaffeInput(nn.Module):
    """RGB in [-1, 1] to what Caffe's networks want: BGR from 0 to 255 less ImageNet's means.

    It cannot be folded into the convolution behind it, whose padding is zero in these units.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("offset", 127.5 - torch.tensor(_BGR_MEANS).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1) * 127.5 + self.offset


def _conv_bn(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2),
        nn.BatchNorm2d(channels_out, _EPSILON, _MOMENTUM),
    ]


class ResidualBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, which is itself a convolution where the shape changes."""

    def __init__(self, channels_in: int, width: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(*_conv_bn(channels_in, 4 * width, 1, stride)) if projects else nn.Identity()
        self.residual = nn.Sequential(
            *_conv_bn(channels_in, width, 1, stride),
            nn.ReLU(inplace=True),
            *_conv_bn(width, width, 3),
            nn.ReLU(inplace=True),
            *_conv_bn(width, 4 * width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


class ResNet50(Backbone):
    """A stem and 16 residual blocks. Input (n, 3, h, w) RGB in [-1, 1]."""

    #: blocks and inner width of each stage
    STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            CaffeInput(),
            nn.Conv2d(3, 64, 7, 2, padding=3),
            nn.BatchNorm2d(64, _EPSILON, _MOMENTUM),
            nn.ReLU(inplace=True),
            # Keras pads with zeros, torch with minus infinity: behind a ReLU that is the same.
            nn.MaxPool2d(3, 2, padding=1),
        )
        self.blocks = nn.ModuleList()
        self.channels: list[int] = []
        channels = 64
        for stage, (count, width) in enumerate(self.STAGES):
            for k in range(count):
                self.blocks.append(ResidualBlock(channels, width, 2 if stage and not k else 1, projects=not k))
                channels = 4 * width
                self.channels.append(channels)

    def keras_layers(self) -> dict[str, str]:
        """Keras' layer names and the modules here that they are."""
        layers = {"conv1_conv": "stem.1", "conv1_bn": "stem.2"}
        names = (f"conv{stage}_block{k}" for stage, (n, _) in enumerate(self.STAGES, 2) for k in range(1, n + 1))
        for i, name in enumerate(names):
            if isinstance(self.blocks[i].shortcut, nn.Sequential):
                layers |= {f"{name}_0_conv": f"blocks.{i}.shortcut.0", f"{name}_0_bn": f"blocks.{i}.shortcut.1"}
            for part, place in enumerate((0, 3, 6), start=1):
                layers |= {
                    f"{name}_{part}_conv": f"blocks.{i}.residual.{place}",
                    f"{name}_{part}_bn": f"blocks.{i}.residual.{place + 1}",
                }
        return layers
