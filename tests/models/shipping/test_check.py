"""The file is held against float64 on natural pictures; every input size has its statistics in it, folded or not."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from models.networks.elastify import elastify
from models.onnx_file import at_size
from models.session import cpu_session
from models.shipping.check import MOST, RELATIVE, Check, ExportError, checked_onnx, compare, natural_pictures
from models.shipping.network_file import write_onnx


class Before(nn.Module):
    """A norm in front of a convolution, and one behind another: only the latter can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first = nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.second, self.behind = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.behind(self.second(torch.relu(self.first(torch.relu(self.norm(x))))))


class Row(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 6, 3, 2), nn.ModuleList(Before() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture(scope="module")
def networks() -> dict[int, nn.Module]:
    """One set of weights with other statistics for each size."""
    torch.manual_seed(0)
    network = elastify(Row(), example=torch.zeros(1, 3, 32, 32)).eval()
    found = {}
    for size in (32, 24):
        found[size] = copy.deepcopy(network)
        for module in found[size].modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2.0)
    return found


def test_every_size_is_torchs_whether_its_norms_are_folded_or_not(networks):
    content, check = checked_onnx(networks, {})
    assert 0 < check.of_the_file < 1e-4 and check.pictures == len(natural_pictures(32))
    file = onnx.load_model_from_string(content)
    apart = {i.name.removeprefix("network.backbone.network.") for i in file.graph.initializer if "@24" in i.name}
    assert {"blocks.2.second.weight@24", "blocks.2.second.bias@24", "blocks.2.norm.running_var@24"} <= apart
    assert not [name for name in apart if "behind" in name or "first" in name]
    faces = natural_pictures(24)
    both = [cpu_session(at_size(file, size).SerializeToString()).run(None, {"faces": faces})[0] for size in (32, 24)]
    assert np.abs(both[0] - both[1]).max() > 1e-4, "the sizes' own statistics make a difference"


def test_a_small_difference_in_a_small_probability_is_found(networks, tmp_path):
    write_onnx(networks, tmp_path / "n.onnx")
    pictures = {size: natural_pictures(size) for size in networks}
    assert compare(networks, tmp_path / "n.onnx", pictures).of_the_file < RELATIVE
    file = onnx.load(tmp_path / "n.onnx")
    kernel = next(i for i in file.graph.initializer if i.name.endswith("exit_03.dense.age.bias"))
    values = onnx.numpy_helper.to_array(kernel).copy()
    values[7] += 0.01  # of one age in 101: 1e-4 of probability, which the largest differences would hide
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    onnx.save(file, tmp_path / "n.onnx")
    check = compare(networks, tmp_path / "n.onnx", pictures)
    assert check.of_the_file == pytest.approx(0.01, rel=0.05)
    with pytest.raises(ExportError, match="differ"):
        check.refuse()


@pytest.mark.parametrize(
    ("of_the_file", "of_torch", "says"),
    [
        (float("nan"), 1e-6, "differ"),
        (2 * RELATIVE, 1e-6, "differ"),
        (1e-6, float("nan"), "overflows"),
        (1e-6, 2 * MOST, "overflows"),
    ],
)
def test_what_is_too_far_off_or_no_number_is_refused(of_the_file, of_torch, says):
    with pytest.raises(ExportError, match=says):
        Check(pictures=1, of_the_file=of_the_file, of_torch_float32=of_torch).refuse()


def test_a_deep_network_may_be_off_by_a_few_times_torchs_own_error():
    Check(pictures=1, of_the_file=8e-3, of_torch_float32=2e-3).refuse()
    with pytest.raises(ExportError):
        Check(pictures=1, of_the_file=9e-3, of_torch_float32=2e-3).refuse()


def test_a_network_that_has_become_no_number_is_refused(networks):
    networks = copy.deepcopy(networks)
    with torch.no_grad():
        next(networks[max(networks)].parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match="overflows"):
        checked_onnx(networks, {})


def test_the_pictures_are_pictures():
    pictures = natural_pictures(48)
    assert pictures.shape == (12, 48, 48, 3) and pictures.dtype == np.uint8
    flat = pictures.reshape(12, -1).astype(float)
    assert flat.std(axis=1).min() > 15 and np.abs(np.corrcoef(flat) - np.eye(12)).max() < 0.95
