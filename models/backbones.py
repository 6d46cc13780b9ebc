"""Networks that are made elastic here. Each offers `stem`, `blocks` and `channels` (of every block's output)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

BATCH_NORM_EPSILON = 1e-3
# Keras counts a moving average's momentum from the other end: 0.99 there is 0.01 here.
BATCH_NORM_MOMENTUM = 0.01


class WeightsError(ValueError):
    """Pre-trained weights that do not fit the network."""


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


class MobileNetV1(nn.Module):
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
                nn.Sequential(_conv_bn_relu6(width, width, 3, stride, groups=width), _conv_bn_relu6(width, out, 1))
            )
            self.channels.append(out)
            width = out


def build_backbone(name: str, **options: Any) -> MobileNetV1:
    """A backbone by the name that a configuration gives it."""
    if name != "mobilenet_v1":
        raise ValueError(f"unknown backbone {name!r}; known: mobilenet_v1")
    return MobileNetV1(**options)


_KERAS_PARTS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def load_keras_mobilenet(network: MobileNetV1, path: Path) -> list[str]:
    """Fills `network` from an .npz of Keras' MobileNet weights under Keras' names and layouts.

    Kernels go from (h, w, in, out) to (out, in, h, w), depthwise ones from (h, w, channels, 1) to (channels, 1, h, w).
    Returns the names in the network that the file does not hold, which keep what they had. Raises WeightsError where
    the file cannot be read or a shape differs.
    """
    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as .npz weights: {error}") from error
    state, filled = network.state_dict(), set()
    for name, array in arrays.items():
        layer, _, part = name.rpartition("/")
        prefix = _torch_prefix(layer)
        if prefix is None:
            continue  # the ImageNet classifier, or a head of the data set that the weights were trained on
        key = prefix + "." + _KERAS_PARTS.get(part, "weight")
        if part == "kernel":
            array = array.transpose(3, 2, 0, 1)
        elif part == "depthwise_kernel":
            array = array.transpose(2, 3, 0, 1)
        if key not in state or tuple(state[key].shape) != array.shape:
            raise WeightsError(f"{path}: {name} of shape {array.shape} does not fit this network: another alpha?")
        state[key] = torch.from_numpy(np.ascontiguousarray(array))
        filled.add(key)
    network.load_state_dict(state)
    return sorted(key for key in state if key not in filled and not key.endswith("num_batches_tracked"))


def _torch_prefix(layer: str) -> str | None:
    match = re.fullmatch(r"conv(1|_dw_(\d+)|_pw_(\d+))(_bn)?", layer)
    if not match:
        return None
    part = "1" if match[4] else "0"
    if match[1] == "1":
        return f"stem.{part}"
    half, block = (0, match[2]) if match[2] else (1, match[3])
    return f"blocks.{int(block) - 1}.{half}.{part}"
