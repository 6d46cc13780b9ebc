"""VGG16 (Simonyan & Zisserman, 2014) in the layout of Keras' ImageNet weights, less its dense layers of 4096."""

from __future__ import annotations

from torch import nn

from models.networks.backbones import Backbone
from models.networks.resnet import CaffeInput


class VGG16(Backbone):
    """13 convolutions, pooled after each stage. Input (n, 3, h, w) RGB in [-1, 1].

    It has the head of the other networks, a global average pool and one dense layer, so that it takes inputs of any size.
    """

    #: convolutions and width of each stage
    STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
    minimum_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = CaffeInput()
        self.blocks = nn.ModuleList()
        self.channels: list[int] = []
        channels = 3
        for count, width in self.STAGES:
            for k in range(1, count + 1):
                layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                self.blocks.append(nn.Sequential(*layers, *([nn.MaxPool2d(2)] if k == count else [])))
                self.channels.append(width)
                channels = width

    def keras_layers(self) -> dict[str, str]:
        """Keras' layer names and the modules here that they are."""
        names = (f"block{stage}_conv{k}" for stage, (n, _) in enumerate(self.STAGES, 1) for k in range(1, n + 1))
        return {name: f"blocks.{i}.0" for i, name in enumerate(names)}
