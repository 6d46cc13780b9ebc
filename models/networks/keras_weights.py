"""Pre-trained weights as Keras publishes them (.h5, keras.applications) or as .npz under the same names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PARTS = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Layers that nobody named: Keras counts them over the whole process, so only their order means something.
_COUNTED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")


class WeightsError(ValueError):
    """Pre-trained weights that do not fit the network."""


def read_keras_weights(path: Path) -> dict[str, NDArray]:
    """Arrays by "layer/part" (part: kernel, bias, gamma, ...). Layers that Keras counted are counted from 0 again."""
    try:
        arrays = _read_h5(path) if path.suffix in {".h5", ".hdf5"} else _read_npz(path)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} cannot be read as Keras weights (.npz, .h5): {error}") from error
    numbers: dict[str, set[int]] = {}
    for layer in {name.rpartition("/")[0] for name in arrays}:
        if match := _COUNTED.fullmatch(layer):
            numbers.setdefault(match[1], set()).add(int(match[2] or 0))
    again = {kind: {n: i for i, n in enumerate(sorted(found))} for kind, found in numbers.items()}

    def counted(layer: str) -> str:
        match = _COUNTED.fullmatch(layer)
        return f"{match[1]}_{again[match[1]][int(match[2] or 0)]}" if match else layer

    return {
        f"{counted(layer)}/{part}": a for (layer, _, part), a in ((n.rpartition("/"), a) for n, a in arrays.items())
    }


def _read_npz(path: Path) -> dict[str, NDArray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def _read_h5(path: Path) -> dict[str, NDArray]:
    """Weights alone, or a whole model that holds them in `model_weights`: a group a layer, datasets named after tensors."""
    import h5py

    arrays: dict[str, NDArray] = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        if not {"layer_names", "layer_names0"} & set(root.attrs):
            raise ValueError("it has no layer_names, so it is not of the layout of keras.applications' files")

        def take(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[f"{name.split('/')[0]}/{name.rpartition('/')[2].split(':')[0]}"] = item[()]

        root.visititems(take)
    return arrays


def load_keras_weights(network: nn.Module, path: Path) -> list[str]:
    """Fills `network` from Keras' weights; the classifier of the file is passed over.

    The network says by `keras_layers()` which of its modules is which layer of Keras. Kernels go from (h, w, in, out) to
    (out, in, h, w), depthwise ones from (h, w, channels, 1) to (channels, 1, h, w). Returns the names in the network
    that the file does not hold, which keep what they had. Raises WeightsError where the file cannot be read, where a
    shape differs, or where it holds nothing of this network.
    """
    arrays = read_keras_weights(path)
    try:
        layers = network.keras_layers()
    except AttributeError as error:
        raise WeightsError(
            f"{path} holds Keras weights, which only the networks of models/networks/backbones.py take"
        ) from error
    state, filled = network.state_dict(), set()
    for layer, prefix in layers.items():
        module = network.get_submodule(prefix)
        for part, own in _PARTS.items():
            array = arrays.get(f"{layer}/{part}")
            if array is None:
                continue
            if part.endswith("kernel"):
                array = array.transpose(2, 3, 0, 1) if module.groups > 1 else array.transpose(3, 2, 0, 1)
            key = f"{prefix}.{own}"
            if key not in state or tuple(state[key].shape) != array.shape:
                raise WeightsError(
                    f"{path}: {layer}/{part} of shape {array.shape} does not fit this network: "
                    "another network, or another alpha?"
                )
            state[key] = torch.from_numpy(np.ascontiguousarray(array))
            filled.add(key)
    if not filled:
        raise WeightsError(f"{path} holds no layer of this network under the names of keras.applications")
    network.load_state_dict(state)
    return sorted(key for key in state if key not in filled and not key.endswith("num_batches_tracked"))
