"""Networks of torchvision and timm, each made elastic, trained for two steps, exported and run: `python -m tests.support.zoo`.

Prints the table of docs/guides/elastify.md. Small inputs, no pretrained weights: what is tried is whether the parts fit.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import torch
from torch import library as operators
from torch import nn

from models.networks.backbones import build_backbone
from models.networks.elastic import HEADS, ElasticNetwork, exit_name
from models.networks.elastify import papers_exits
from models.networks.flops import multiply_adds
from models.networks.trial import refuse_what_cannot_be_trained
from models.onnx_file import at_size, cut
from models.session import cpu_session
from models.shipping.check import checked_onnx
from models.training.losses import elastic_loss

SIZES = (64, 48)
# torchvision's operators for detection, which no network here uses.
_OPERATORS = (
    "roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward", "roi_pool", "_roi_pool_backward",
    "ps_roi_pool", "_ps_roi_pool_backward", "qroi_align", "deform_conv2d", "_deform_conv2d_backward",
)  # fmt: skip
_kept: list[Any] = []


@dataclass(frozen=True)
class Entry:
    """A network as a configuration names it."""

    name: str
    backbone: str
    options: dict[str, Any] = field(default_factory=dict)
    taps: list[str] | str = "auto"
    sizes: tuple[int, ...] = SIZES  # largest first

    def __str__(self) -> str:
        return self.name


def _vision(name: str, **how: Any) -> Entry:
    return Entry(name, f"torchvision.models:{name}", **how)


def _timm(name: str, model: str = "", options: dict[str, Any] | None = None, **how: Any) -> Entry:
    return Entry(name, "timm:create_model", {"model_name": model or name} | (options or {}), **how)


_FIXED = {"sizes": (64,)}
WORK = (
    _vision("resnet18"),
    _vision("vgg16", sizes=(64, 32)),
    _vision("squeezenet1_1"),
    _vision("densenet121"),
    _vision("mobilenet_v2"),
    _vision("mobilenet_v3_small"),
    _vision("shufflenet_v2_x0_5"),
    _vision("efficientnet_b0"),
    _vision("regnet_y_400mf"),
    _vision("mnasnet0_5"),
    _vision("googlenet", options={"init_weights": False, "aux_logits": False}),
    _vision("convnext_tiny", sizes=(64, 32)),
    _vision("swin_t", **_FIXED),
    _timm("ghostnet_100"),
    _timm("vit_tiny", "vit_tiny_patch16_224", {"img_size": 64}, **_FIXED),
    _timm("deit_tiny", "deit_tiny_patch16_224", {"img_size": 64}, **_FIXED),
    _timm("mobilenetv4_conv_small"),
    _timm("lcnet_050", taps=[f"blocks.{k}" for k in range(2, 6)]),
    _timm("tinynet_e"),
    _timm("resnet14t"),
    _timm("convnext_atto"),
    _timm("repvgg_a0"),
    _timm("dla34", sizes=(64, 32)),
    _timm("mixer_s16", "mixer_s16_224", {"img_size": 64}, **_FIXED),
    _timm("efficientvit_b0", sizes=(64, 32)),
)
#: what is refused before any training, and a word of the reason
REFUSED = (
    (_vision("vit_b_16"), "does not take"),
    (_timm("vit_tiny_224", "vit_tiny_patch16_224"), "does not take"),
    (
        Entry(
            "resnet18, two names of one output", "torchvision.models:resnet18", taps=["layer3.1", "layer4.1", "layer4"]
        ),
        "costs no more",
    ),
)


def why_absent() -> str | None:
    """Why these networks cannot be had here, or None."""
    missing = [library for library in ("torchvision", "timm") if not find_spec(library)]
    if missing:
        return f"needs {' and '.join(missing)}: pip install -r tests/requirements-networks.txt"
    _define_operators()
    try:
        import timm  # noqa: F401
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return f"torchvision or timm does not fit this PyTorch: {error}"
    return None


def _define_operators() -> None:
    """torchvision from PyPI is made for PyTorch's CUDA build: beside the CPU build its compiled operators do not load, and it
    refuses to be imported without their names. Its networks need none of them."""
    if not hasattr(torch.ops.torchvision, "nms"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library = operators.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            for name in _OPERATORS:
                library.define(f"{name}(Tensor x) -> Tensor")
        _kept.append(library)


def build(entry: Entry) -> ElasticNetwork:
    """With exits by the paper's rule; ValueError where it cannot be trained."""
    torch.manual_seed(0)
    backbone = build_backbone(entry.backbone, entry.taps, entry.sizes[0], **entry.options)
    network = ElasticNetwork(backbone, list(papers_exits(len(backbone.channels))))
    refuse_what_cannot_be_trained(network, entry.sizes, HEADS)
    return network


def two_steps(network: ElasticNetwork, size: int) -> list[float]:
    """The losses of two steps of training on four pictures."""
    network.train()
    labels = {head: torch.tensor([1, 0, 1, 1]) for head in HEADS}
    weights = {"age": 1.0, "age_l1": 0.0, "gender": 1.0, "expression": 1.0}
    exits = {exit_name(k): 1.0 for k in network.exits}
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    x, losses = torch.randn(4, 3, size, size), []
    for _ in range(2):
        loss = elastic_loss(network(x), exits, labels, weights, 2.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def statistics_at(network: ElasticNetwork, size: int) -> ElasticNetwork:
    """A copy with batch-norm statistics of that size."""
    out = copy.deepcopy(network).eval()
    for module in out.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
            module.momentum = 0.5
    with torch.no_grad():
        out(torch.rand(4, 3, size, size) * 2 - 1)
    return out.eval()


def try_all(entry: Entry) -> dict[str, Any]:
    """Everything from the named network to its exits in ONNX Runtime; figures for the table. Raises where a part does not fit."""
    began = time.process_time()
    network = build(entry)
    losses = two_steps(network, entry.sizes[0])
    assert np.isfinite(losses).all()
    content, check = checked_onnx({size: statistics_at(network, size) for size in entry.sizes}, {})
    file = onnx.load_model_from_string(content)
    first, last = exit_name(network.exits[0]), exit_name(network.exits[-1])
    nodes = []
    for size in entry.sizes:
        for name in (first, last):
            part = onnx.load_model_from_string(cut(at_size(file, size), ["faces"], [f"{name}.{h}" for h in HEADS]))
            nodes.append(len(part.graph.node))
            faces = np.zeros((2, size, size, 3), np.uint8)
            [age, *_] = cpu_session(part.SerializeToString()).run(None, {"faces": faces})
            assert age.shape == (2, 101) and np.allclose(age.sum(axis=1), 1, atol=1e-4)
    assert nodes[0] < nodes[1], "the first exit's part of the graph is not smaller"
    costs = multiply_adds(network, entry.sizes[0])
    kept = sum(node.op_type == "BatchNormalization" for node in file.graph.node)
    return {
        "blocks": len(network.backbone.channels),
        "exits": len(network.exits),
        "layout": network.backbone.layouts[-1].value,
        "sizes": entry.sizes,
        "first": costs[first],
        "last": costs[last],
        "kept_norms": kept,
        "difference": check.of_the_file,
        "own": check.of_torch_float32,
        "seconds": time.process_time() - began,
    }


def main() -> int:
    if reason := why_absent():
        print(reason)
        return 1
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, torchvision {version('torchvision')}, timm {version('timm')}")
    print("| network | blocks | exits | output | sizes | first exit | last exit | norms not folded | off by | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    wanted = sys.argv[1:]
    for entry in WORK:
        if wanted and entry.name not in wanted:
            continue
        try:
            row = try_all(entry)
        except Exception as error:
            print(f"| {entry} | {type(error).__name__}: {' '.join(str(error).split())[:300]} |", flush=True)
            continue
        sizes = ", ".join(map(str, row["sizes"]))
        print(
            f"| {entry} | {row['blocks']} | {row['exits']} | {row['layout']} | {sizes} | {row['first'] / 1e6:.1f} M | "
            f"{row['last'] / 1e6:.1f} M | {row['kept_norms']} | {row['difference']:.0e} | {row['seconds']:.0f} |",
            flush=True,
        )
    for entry, _ in REFUSED:
        if not wanted or entry.name in wanted:
            try:
                build(entry)
            except ValueError as error:
                print(f"| {entry} | refused: {error} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
