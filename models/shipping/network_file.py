"""From a trained network to its ONNX file: batch norms folded, every input size in one graph."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import TYPE_CHECKING

import onnx
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.networks.elastic import ElasticNetwork
from models.networks.graph import convolutions_with_norms
from models.onnx_file import add_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class Deployed(nn.Module):
    """What the file holds: (n, s, s, 3) uint8 RGB in; per exit the probabilities of every head out.

    Scaling and the change of layout are inside, so that nobody can feed it wrongly and no copy is made outside.
    """

    def __init__(self, network: ElasticNetwork) -> None:
        super().__init__()
        self.network = network

    @property
    def kind(self) -> torch.dtype:
        """float32, or float64 where the network was made so."""
        return next(self.network.parameters()).dtype

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = faces.permute(0, 3, 1, 2).to(self.kind) * (1 / 127.5) - 1.0
        outputs = self.network(x)
        return tuple(torch.softmax(getattr(o, head), dim=1) for o in outputs.values() for head in self.network.tasks)


def folded(network: ElasticNetwork, pairs: Sequence[tuple[str, str]]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Folds batch norms into the convolutions before them, in place; for inference only.

    `pairs`: paths of convolution and norm. Returns, per convolution by name, the factor per output channel that went into its
    kernel, and its new bias.
    """
    changes = {}
    for conv_path, norm_path in pairs:
        conv, norm = network.get_submodule(conv_path), network.get_submodule(norm_path)
        factor = 1 / torch.sqrt(norm.running_var + norm.eps)
        factor = (factor if norm.weight is None else factor * norm.weight).detach()
        fused = fuse_conv_bn_eval(conv, norm)
        network.set_submodule(conv_path, fused)
        network.set_submodule(norm_path, _behind(norm))
        changes[conv_path] = factor, fused.bias.detach()
    return changes


def foldable(network: ElasticNetwork, size: int) -> list[tuple[str, str]]:
    """Paths of the convolutions and of the norms that can be folded into them."""
    found = convolutions_with_norms(network, torch.zeros(1, 3, size, size))
    return [(conv, norm) for conv, norm in found if _behind(network.get_submodule(norm)) is not None]


def _behind(norm: nn.Module) -> nn.Module | None:
    """What is left of a batch norm without the norm: of timm's, its activation. None where it cannot be told."""
    if type(norm).forward is nn.BatchNorm2d.forward:
        return nn.Identity()
    parts = [getattr(norm, name, None) for name in ("drop", "act")]
    return nn.Sequential(*parts) if all(isinstance(part, nn.Module) for part in parts) else None


def size_changes(
    default: ElasticNetwork, other: ElasticNetwork, pairs: Sequence[tuple[str, str]]
) -> dict[str, NDArray]:
    """What the default size's folded network must be changed by to become the other's; both are folded here, in place.

    Channels whose factor is 0 in both stay 0. Batch norms that no convolution takes have their statistics replaced.
    """
    mine, theirs = folded(default, pairs), folded(other, pairs)
    changes: dict[str, NDArray] = {}
    for name, (factor, _) in mine.items():
        other_factor, bias = theirs[name]
        ratio = torch.where(factor == 0, torch.ones_like(factor), other_factor / torch.where(factor == 0, 1.0, factor))
        changes |= {f"network.{name}.weight": ratio.numpy(), f"network.{name}.bias": bias.numpy()}
    for name, module in other.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            changes |= {
                f"network.{name}.{kind}": getattr(module, kind).numpy() for kind in ("running_mean", "running_var")
            }
    return changes


def write_onnx(networks: Mapping[int, ElasticNetwork], path: Path) -> None:
    """Writes one file that serves all sizes: the largest as it stands, the others as changes of it (onnx_file.py)."""
    default = max(networks)
    plain, pairs = copy.deepcopy(networks[default]), foldable(networks[default], default)
    folded(plain, pairs)
    to_onnx(plain, default, path, any_size=len(networks) > 1)
    file = onnx.load(path)
    there = {i.name for i in file.graph.initializer}
    for size, network in networks.items():
        if size != default:
            changes = size_changes(copy.deepcopy(networks[default]), copy.deepcopy(network), pairs)
            # The file holds nothing that lies behind the last exit.
            add_size(file, size, {name: values for name, values in changes.items() if name in there})
    onnx.save(file, path)


def to_onnx(network: ElasticNetwork, size: int, path: Path, any_size: bool = True) -> None:
    """Writes the network; the number of faces stays free, and so does the input size where `any_size`."""
    names = [f"{exit_name}.{head}" for exit_name in network.heads for head in network.tasks]
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    n, h, w = (torch.export.Dim(d, min=1) for d in ("faces", "height", "width"))
    logging.getLogger("torch.onnx").setLevel(
        logging.ERROR
    )  # the exporter warns that torchvision is missing, which is not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Deployed(network).eval(),
            (example,),
            input_names=["faces"],
            output_names=names,
            dynamo=True,
            dynamic_shapes={"faces": {0: n, 1: h, 2: w} if any_size else {0: n}},
            verbose=False,
        )
    program.save(str(path), external_data=False)
