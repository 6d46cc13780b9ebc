"""Training on from a network that ships, of which there is only the ONNX file: its batch norm was folded away.

Each folded convolution gets a batch norm again that changes nothing: statistics as measured over training faces, and a
scale and shift that undo them. In eval mode the network does exactly what the file does; in training mode, about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from models.data.batches import TrainingBatches, to_input
from models.manifest import Manifest
from models.networks.graph import convolutions_with_norms
from models.onnx_file import at_size
from models.training.batch_norm import PLAIN
from models.training.config import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.data.views import Views
    from models.networks.elastic import ElasticNetwork

BATCHES = 20


def load_shipped(
    network: ElasticNetwork, path: Path, parts: Sequence[tuple[Views, NDArray[np.int64], int]]
) -> list[str]:
    """Takes over all weights that fit from a manifest's network, as it is at its largest size.

    `parts`: training faces that the statistics are measured over (see TrainingBatches). Returns what was left out. Raises
    ManifestError, and TrainingError where nothing fits.
    """
    manifest = Manifest.read(path)
    size = max(manifest.input_sizes)
    file = at_size(onnx.load_model_from_string(manifest.verify()), size)
    theirs = {
        i.name.removeprefix("network."): torch.from_numpy(numpy_helper.to_array(i).copy())
        for i in file.graph.initializer
        if i.name.startswith("network.")
    }
    mine = network.state_dict()
    pairs = convolutions_with_norms(network, torch.zeros(1, 3, size, size))
    fitting = {name for name, value in theirs.items() if name in mine and mine[name].shape == value.shape}
    norms = {
        norm_name: (network.get_submodule(norm_name), theirs[f"{conv_name}.bias"])
        for conv_name, norm_name in pairs
        if f"{conv_name}.weight" in fitting and f"{conv_name}.bias" in theirs
    }
    # The norm gets the bias; a convolution that has one itself keeps none of it.
    moved = {f"{conv_name}.bias" for conv_name, norm_name in pairs if norm_name in norms}
    taken = {name: torch.zeros_like(theirs[name]) if name in moved else theirs[name] for name in fitting}
    if not norms:
        raise TrainingError(f"{manifest.network} has no convolution of this network: is it another architecture?")
    network.load_state_dict(taken, strict=False)
    for norm, bias in norms.values():
        norm.reset_running_stats()
        with torch.no_grad():
            norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
            norm.bias.copy_(bias)
    _give_statistics(network, [norm for norm, _ in norms.values()], TrainingBatches(parts, {size: 1.0}, 0, PLAIN))
    done = taken.keys() | {f"{name}.{kind}" for name in norms for kind in ("weight", "bias")}
    return sorted({".".join(name.split(".")[:2]) for name in dict(network.named_parameters()).keys() - done})


def _give_statistics(network: ElasticNetwork, norms: list[nn.BatchNorm2d], faces: TrainingBatches) -> None:
    """Measures mean and variance of what each norm is given, and lets it do what it did before by other numbers."""
    sums = {norm: [torch.zeros_like(norm.running_mean, dtype=torch.float64) for _ in range(2)] for norm in norms}

    def note(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        sums[norm][0] += mean
        sums[norm][1] += variance + mean**2

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        for i in range(BATCHES):
            network(to_input(torch.from_numpy(faces[i]["crops"]).to(device)))
        for norm, (means, squares) in sums.items():
            norm.running_mean.copy_(means / BATCHES)
            norm.running_var.copy_((squares / BATCHES - (means / BATCHES) ** 2).clamp_min(0))
            norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
            norm.bias += norm.running_mean
    for hook in hooks:
        hook.remove()
