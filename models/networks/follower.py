"""The follower: a small network that finds 47 landmarks in a grey crop of a face, and says whether there is a face."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from align.follow_crop import CROP_PX, matrix_around
from align.geometry import apply_similarity
from align.landmarks import centred_mean_shape

# (channels, stride) of the depthwise-separable blocks behind the stem.
STEM = 16
BLOCKS = ((48, 2), (48, 1), (48, 1), (96, 2), (96, 1), (96, 1), (96, 1))
SQUEEZED, HIDDEN = 24, 256
# Grey values are brought to mean 0 and this much above standard deviation 1, crop by crop; the floor is in grey values.
FLOOR = 6.0


class Block(nn.Module):
    """Depthwise 3x3, pointwise 1x1; adds its input where the shapes agree."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)
        self.deep_norm = nn.BatchNorm2d(before)
        self.point = nn.Conv2d(before, after, 1, bias=False)
        self.point_norm = nn.BatchNorm2d(after)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.deep_norm(self.deep(x)))
        y = self.point_norm(self.point(y))
        return torch.relu(x + y if self.adds else y)


class Follower(nn.Module):
    """(n, 1, 64, 64) float grey values 0..255 to (n, 47, 2) landmarks in crop pixels and (n,) presence as a logit."""

    mean_shape: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, STEM, 3, 2, 1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU())
        widths = [STEM, *(c for c, _ in BLOCKS)]
        self.blocks = nn.Sequential(*(Block(before, c, s) for before, (c, s) in zip(widths[:-1], BLOCKS, strict=True)))
        self.squeeze = nn.Sequential(
            nn.Conv2d(widths[-1], SQUEEZED, 1, bias=False), nn.BatchNorm2d(SQUEEZED), nn.ReLU()
        )
        cells = (CROP_PX // 8) ** 2
        self.hidden = nn.Sequential(nn.Linear(SQUEEZED * cells, HIDDEN), nn.ReLU())
        self.points = nn.Linear(HIDDEN, 94)
        self.presence = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.points.weight)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("mean_shape", torch.from_numpy(mean_in_crop().reshape(-1)))

    def forward(self, gray: Tensor) -> tuple[Tensor, Tensor]:
        mean = gray.mean(dim=(2, 3), keepdim=True)
        apart = gray - mean
        x = apart / ((apart * apart).mean(dim=(2, 3), keepdim=True).sqrt() + FLOOR)
        x = self.squeeze(self.blocks(self.stem(x)))
        x = self.hidden(x.flatten(1))
        points = self.points(x) * CROP_PX + self.mean_shape
        return points.reshape(-1, 47, 2), self.presence(x)[:, 0]


def mean_in_crop() -> np.ndarray:
    """(47, 2) float32: where the mean face lies in its crop."""
    shape = centred_mean_shape()
    return apply_similarity(matrix_around(shape), shape).astype(np.float32)


class _Exported(nn.Module):
    """What the application runs: uint8 crops in, presence as a probability."""

    def __init__(self, network: Follower) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        points, presence = self.network(crops.float()[:, None])
        return points, torch.sigmoid(presence)


def export(network: Follower, path: Path) -> None:
    """ONNX: `crops` (n, 64, 64) uint8 grey to `landmarks` (n, 47, 2) in crop pixels and `presence` (n,) 0..1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's exporter warns of its own use of what it deprecates
        _export(network, path)


def _export(network: Follower, path: Path) -> None:
    torch.onnx.export(
        _Exported(network).eval(),
        (torch.zeros(2, CROP_PX, CROP_PX, dtype=torch.uint8),),
        str(path),
        input_names=["crops"],
        output_names=["landmarks", "presence"],
        dynamic_shapes={"crops": {0: torch.export.Dim("n", min=1, max=512)}},
        external_data=False,
        optimize=True,
        verbose=False,
    )
