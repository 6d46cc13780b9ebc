"""Multiply-adds, counted by torch's own counter while a network runs on tensors without values; the paper's Table II."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.networks.backbones import build_backbone
from models.networks.elastic import ElasticNetwork, exit_name
from models.networks.elastify import TappedBackbone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor


def multiply_adds(network: ElasticNetwork, size: int, stem: bool = True) -> dict[str, int]:
    """Multiply-adds from the input to each exit, its head included, by exit name.

    What ran when a block was done is what stopping there runs. Convolutions, dense layers and attention's products count;
    norms, activations and pooling do not. `stem=False` leaves the first convolution out, as the paper does for MobileNet.
    """
    network = deepcopy(network).to("meta").eval()
    x = torch.zeros(1, 3, size, size, device="meta")
    blocks = block_costs(network.backbone, size, network.exits[-1])
    left_out = 0 if stem else _first_convolution(network.backbone, x)
    heads = {k: _count(lambda k=k, f=f: network.heads[exit_name(k)](f)) for k, f in network.features(x)}
    return {exit_name(k): blocks[k - 1] + heads[k] - left_out for k in network.exits}


def block_costs(backbone: nn.Module, size: int, last: int | None = None) -> list[int]:
    """Multiply-adds from the input to each block's end, up to block `last` (all)."""
    backbone = deepcopy(backbone).to("meta").eval()
    blocks = list(backbone.blocks) if not isinstance(backbone, TappedBackbone) else backbone.modules_tapped()
    last = last or len(blocks)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        costs: list[int] = []
        for block in blocks[:last]:
            block.register_forward_hook(lambda *_: costs.append(counter.get_total_flops() // 2))
        for _ in backbone.outputs(torch.zeros(1, 3, size, size, device="meta"), last):
            pass
    return costs


def _count(run: Callable[[], Any]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2  # torch counts a multiply-add as two operations


def _first_convolution(network: nn.Module, x: Tensor) -> int:
    """Multiply-adds of the first convolution on the way."""

    class Found(Exception):
        pass

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        raise Found(module, args)

    hooks = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nn.Conv2d)]
    try:
        with torch.no_grad():
            (network.network if isinstance(network, TappedBackbone) else network)(x)
    except Found as found:
        module, args = found.args
    else:
        return 0
    finally:
        for hook in hooks:
            hook.remove()
    return _count(lambda: module(*args))


@dataclass(frozen=True)
class Row:
    """A network of the paper's Table II: multiply-adds to the first exit that has weight, and to the last."""

    network: str
    backbone: str
    options: Mapping[str, Any]
    exits: tuple[int, int]
    paper: tuple[float, float]


TABLE_II = (
    Row("InceptionV3", "inception_v3", {}, (6, 11), (1.87e9, 2.84e9)),
    Row("ResNet50", "resnet50", {}, (9, 16), (2.23e9, 3.83e9)),
    Row("MobileNet 1", "mobilenet_v1", {"alpha": 1.0}, (7, 13), (2.68e8, 5.56e8)),
    Row("MobileNet 0.75", "mobilenet_v1", {"alpha": 0.75}, (7, 13), (1.53e8, 3.16e8)),
    Row("MobileNet 0.5", "mobilenet_v1", {"alpha": 0.5}, (7, 13), (6.97e7, 1.43e8)),
    Row("MobileNet 0.25", "mobilenet_v1", {"alpha": 0.25}, (7, 13), (1.88e7, 3.78e7)),
)
VGG16_PAPER = 1.53e10
PAPER_SIZE = 224
WITHIN = 0.03


def table_ii() -> list[dict[str, Any]]:
    """The paper's Table II with our counts: a line per network and exit, differences as shares of the paper's figure.

    The convention that we state is the one without the stem; a line that is further off than WITHIN there says why. The line
    of a first exit has the reductions too: the share of the last exit's multiply-adds that stopping there saves.
    """
    lines = []
    for row in TABLE_II:
        with torch.device("meta"):
            network = ElasticNetwork(build_backbone(row.backbone, **row.options), row.exits)
        lines += _lines(row.network, network, row.paper)
        if row.backbone == "resnet50":
            # Keras pooled without padding when the paper was written: 55x55 instead of 56x56 behind it.
            network.backbone.stem[4].padding = 0
            lines += _lines("ResNet50, 2017's pooling", network, row.paper)
    with torch.device("meta"):
        vgg = ElasticNetwork(build_backbone("vgg16"), [13])
    [whole], [without] = (multiply_adds(vgg, PAPER_SIZE, stem=stem).values() for stem in (True, False))
    lines.append(_line("VGG16, not elastic", "last", VGG16_PAPER, whole, without))
    return lines


def _lines(name: str, network: ElasticNetwork, paper: tuple[float, float]) -> list[dict[str, Any]]:
    whole = multiply_adds(network, PAPER_SIZE)
    stem = _first_convolution(network.backbone, torch.zeros(1, 3, PAPER_SIZE, PAPER_SIZE, device="meta"))
    lines = [_line(name, at, figure, whole[at], whole[at] - stem) for at, figure in zip(whole, paper, strict=True)]
    first, last = lines
    first |= {f"{kind}_reduction": 1 - first[kind] / last[kind] for kind in ("paper", "without_stem", "with_stem")}
    return lines


def _line(network: str, where: str, paper: float, whole: int, without: int) -> dict[str, Any]:
    return {
        "network": network,
        "exit": where,
        "paper": paper,
        "with_stem": whole,
        "with_stem_difference": whole / paper - 1,
        "without_stem": without,
        "without_stem_difference": without / paper - 1,
        "note": "" if abs(without / paper - 1) <= WITHIN else "the paper's figure holds the stem here",
    }
