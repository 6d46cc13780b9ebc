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
from models.networks.sizes import SizedNetwork, network_at
from models.onnx_file import changes_at
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
    network: ElasticNetwork | SizedNetwork, path: Path, parts: Sequence[tuple[Views, NDArray[np.int64], int]]
) -> list[str]:
    """Takes over all weights that fit from a manifest's network, as it is at its largest size, or at each size.

    `parts`: training faces that the statistics are measured over (see TrainingBatches). Returns what was left out. Raises
    ManifestError, and TrainingError where nothing fits.
    """
    manifest = Manifest.read(path)
    file, largest = onnx.load_model_from_string(manifest.verify()), max(manifest.input_sizes)
    sizes = network.sizes if isinstance(network, SizedNetwork) else [largest]
    left: set[str] = set()
    for size in sizes:
        faces = TrainingBatches(parts, {size: 1.0}, 0, PLAIN)
        left |= _load_at(network_at(network, size), file, size if size in manifest.input_sizes else largest, faces)
    if len(left) == len(
        {".".join(name.split(".")[:2]) for name, _ in network_at(network, sizes[-1]).named_parameters()}
    ):
        raise TrainingError(f"{manifest.network} has no convolution of this network: is it another architecture?")
    return sorted(left)


def _load_at(network: ElasticNetwork, file: onnx.ModelProto, size: int, faces: TrainingBatches) -> set[str]:
    """Takes over what fits, as it is at `size`; what the file multiplies a kernel with goes into its norm. Returns what was
    left out."""
    theirs = {
        i.name.removeprefix("network."): torch.from_numpy(numpy_helper.to_array(i).copy())
        for i in file.graph.initializer
        if i.name.startswith("network.") and "@" not in i.name
    }
    factors: dict[str, torch.Tensor] = {}
    for name, values in changes_at(file, size).items():
        change, key = torch.from_numpy(values.copy()), name.removeprefix("network.")
        (theirs if change.shape == theirs[key].shape else factors)[key] = change
    mine = network.state_dict()
    pairs = convolutions_with_norms(network, torch.zeros(1, 3, size, size))
    fitting = {name for name, value in theirs.items() if name in mine and mine[name].shape == value.shape}
    norms = {norm: conv for conv, norm in pairs if f"{conv}.weight" in fitting and f"{conv}.bias" in theirs}
    # The norm gets the bias; a convolution that has one itself keeps none of it.
    moved = {f"{conv}.bias" for conv in norms.values()}
    taken = {name: torch.zeros_like(theirs[name]) if name in moved else theirs[name] for name in fitting}
    network.load_state_dict(taken, strict=False)
    for name, conv in norms.items():
        norm = network.get_submodule(name)
        norm.reset_running_stats()
        with torch.no_grad():
            norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps) * factors.get(f"{conv}.weight", torch.ones(1)))
            norm.bias.copy_(theirs[f"{conv}.bias"])
    _give_statistics(network, [network.get_submodule(name) for name in norms], faces)
    done = taken.keys() | {f"{name}.{kind}" for name in norms for kind in ("weight", "bias")} if norms else set()
    return {".".join(name.split(".")[:2]) for name in dict(network.named_parameters()).keys() - done}


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
            variance_before = norm.running_var.clone()
            norm.running_mean.copy_(means / BATCHES)
            norm.running_var.copy_((squares / BATCHES - (means / BATCHES) ** 2).clamp_min(0))
            factor = norm.weight / torch.sqrt(variance_before + norm.eps)
            norm.weight.copy_(factor * torch.sqrt(norm.running_var + norm.eps))
            norm.bias += factor * norm.running_mean
    for hook in hooks:
        hook.remove()
