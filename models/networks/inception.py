"""InceptionV3 (Szegedy et al., 2015) in the layout of Keras' ImageNet weights: batch norms without scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.backbones import Backbone

_EPSILON = 1e-3
_MOMENTUM = 0.01


class ShiftBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with a shift but no scale to learn."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, _EPSILON, _MOMENTUM)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)

    def reset_parameters(self) -> None:
        """The scale stays one."""
        self.reset_running_stats()
        nn.init.zeros_(self.bias)


def _conv(channels_in: int, channels_out: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True):
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2) if pad else 0
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, (height, width), stride, padding, bias=False),
        ShiftBatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _chain(channels: int, *layers: tuple) -> nn.Sequential:
    """Convolutions one after another, each given as (channels, kernel[, stride, pad])."""
    parts = []
    for out, *how in layers:
        parts.append(_conv(channels, out, *how))
        channels = out
    return nn.Sequential(*parts)


def _pooled(channels: int, out: int) -> nn.Sequential:
    """A 3x3 mean that does not count the padding, as TensorFlow's, and a 1x1 convolution."""
    return nn.Sequential(nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), _conv(channels, out, 1))


class Mixed(nn.Module):
    """Branches side by side, their channels one after another."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _fine(c: int, pool: int) -> Mixed:
    return Mixed(
        _chain(c, (64, 1)),
        _chain(c, (48, 1), (64, 5)),
        _chain(c, (64, 1), (96, 3), (96, 3)),
        _pooled(c, pool),
    )


def _middle(c: int, w: int) -> Mixed:
    across, down = (1, 7), (7, 1)
    return Mixed(
        _chain(c, (192, 1)),
        _chain(c, (w, 1), (w, across), (192, down)),
        _chain(c, (w, 1), (w, down), (w, across), (w, down), (192, across)),
        _pooled(c, 192),
    )


def _coarse(c: int) -> Mixed:
    def forked() -> Mixed:
        return Mixed(_conv(384, 384, (1, 3)), _conv(384, 384, (3, 1)))

    return Mixed(
        _chain(c, (320, 1)),
        nn.Sequential(_chain(c, (384, 1)), forked()),
        nn.Sequential(_chain(c, (448, 1), (384, 3)), forked()),
        _pooled(c, 192),
    )


class InceptionV3(Backbone):
    """A stem and 11 mixed blocks. Input (n, 3, h, w) RGB in [-1, 1], 75 px a side at least."""

    #: channels of every block's output
    minimum_size = 75
    channels = (256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(3, 32, 3, 2, pad=False),
            _conv(32, 32, 3, pad=False),
            _conv(32, 64, 3),
            nn.MaxPool2d(3, 2),
            _conv(64, 80, 1),
            _conv(80, 192, 3, pad=False),
            nn.MaxPool2d(3, 2),
        )
        to_middle = Mixed(
            _chain(288, (384, 3, 2, False)), _chain(288, (64, 1), (96, 3), (96, 3, 2, False)), nn.MaxPool2d(3, 2)
        )
        to_coarse = Mixed(
            _chain(768, (192, 1), (320, 3, 2, False)),
            _chain(768, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, False)),
            nn.MaxPool2d(3, 2),
        )
        self.blocks = nn.ModuleList(
            [
                *(_fine(192, 32), _fine(256, 64), _fine(288, 64)),
                to_middle,
                *(_middle(768, 128), _middle(768, 160), _middle(768, 160), _middle(768, 192)),
                to_coarse,
                *(_coarse(1280), _coarse(2048)),
            ]
        )

    def keras_layers(self) -> dict[str, str]:
        """Keras' layer names, counted from 0, and the modules here that they are.

        Keras names no convolution of this network; it counts them in the order in which they are made, which is the
        order in which they are made here.
        """
        layers = {}
        for kind, keras in ((nn.Conv2d, "conv2d"), (nn.BatchNorm2d, "batch_normalization")):
            found = [name for name, module in self.named_modules() if isinstance(module, kind)]
            layers |= {f"{keras}_{i}": name for i, name in enumerate(found)}
        return layers
