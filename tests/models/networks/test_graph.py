"""What can be folded is told by what runs, and channels by shape and layers, whatever a network looks like from outside."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.networks.elastify import elastify
from models.networks.graph import convolutions_with_norms
from models.networks.layout import Layout, layout_of, to_maps


class Scattered(nn.Module):
    """No convolution lies beside its norm; one is read twice, one runs twice, one is behind an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.BatchNorm2d(4) for name in ("own", "read_twice", "runs_twice", "late")})
        self.own, self.read_twice = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.runs_twice, self.late = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.beside = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms["own"](self.own(x))
        y = self.read_twice(x)
        x = self.norms["read_twice"](y) + y
        x = self.norms["runs_twice"](self.runs_twice(self.runs_twice(x)))
        x = self.norms["late"](torch.relu(self.late(x)))
        return self.beside(x)


def test_a_norm_is_folded_where_it_alone_reads_a_convolution_that_runs_once():
    found = convolutions_with_norms(Scattered().train(), torch.zeros(1, 3, 8, 8))
    assert found == [("own", "norms.own"), ("beside.0", "beside.1")]


def test_looking_for_pairs_leaves_the_network_as_it_was():
    network = Scattered().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    convolutions_with_norms(network, torch.ones(2, 3, 8, 8))
    assert network.training and network.norms["own"].training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]


@pytest.mark.parametrize(
    ("module", "shape", "layout", "channels"),
    [
        (nn.Identity(), (1, 24, 7, 7), Layout.MAPS, 24),
        (nn.Identity(), (1, 7, 7, 24), Layout.MAPS_LAST, 24),
        (nn.Identity(), (1, 24), Layout.VECTOR, 24),
        (nn.Linear(8, 24), (1, 49, 24), Layout.TOKENS, 24),
        (nn.LayerNorm(24), (1, 49, 24), Layout.TOKENS, 24),
        (nn.Conv2d(3, 7, 1), (1, 7, 7, 7), Layout.MAPS, 7),
        (nn.Linear(3, 7), (1, 7, 7, 7), Layout.MAPS_LAST, 7),
        (nn.Conv2d(3, 24, 1), (1, 24, 7, 9), Layout.MAPS, 24),
        (nn.Identity(), (1, 7, 7, 7), Layout.UNCLEAR, 7),
        (nn.Identity(), (1, 24, 49), Layout.UNCLEAR, 49),
    ],
)
def test_channels_are_found_and_come_second(module, shape, layout, channels):
    assert layout_of(module, shape) is layout
    if layout is not Layout.UNCLEAR:
        maps = to_maps(torch.arange(1.0 * torch.Size(shape).numel()).reshape(shape), layout)
        assert maps.ndim == 4 and maps.shape[1] == channels
        assert shape[layout.channels] == channels


class Tokens(nn.Module):
    """A small network of tokens, and of maps whose channels come last, as transformers are."""

    def __init__(self, grid: bool) -> None:
        super().__init__()
        self.patches, self.grid = nn.Conv2d(3, 12, 8, 8), grid
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        x = x if self.grid else x.flatten(1, 2)
        for block in self.blocks:
            x = x + block(x)
        return x


@pytest.mark.parametrize("grid", [False, True])
def test_the_papers_head_pools_over_all_but_the_channels(grid):
    torch.manual_seed(0)
    network = Tokens(grid).eval()
    elastic = elastify(network, [f"blocks.{k}" for k in range(4)], example=torch.zeros(1, 3, 32, 32)).eval()
    seen = []
    network.blocks[2].register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        x = torch.randn(2, 3, 32, 32)
        outputs = elastic(x)
    pooled = seen[0].flatten(1, -2).mean(1)
    assert set(elastic.backbone.layouts) == {Layout.MAPS_LAST if grid else Layout.TOKENS}
    torch.testing.assert_close(outputs["exit_03"].age, elastic.heads["exit_03"].dense["age"](pooled))


def test_a_network_is_given_what_its_own_weights_expect():
    network = Tokens(False).eval()
    seen: list[Tensor] = []
    network.patches.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    elastic = elastify(
        network,
        ["blocks.0", "blocks.1"],
        example=torch.zeros(1, 3, 32, 32),
        normalisation=((0.5, 0.25, 0.0), (0.5, 0.25, 1.0)),
    ).eval()
    seen.clear()
    with torch.no_grad():
        elastic(torch.full((1, 3, 32, 32), -1.0))  # black
        elastic(torch.full((1, 3, 32, 32), 1.0))  # white
    assert seen[0][0, :, 0, 0].tolist() == [-1.0, -1.0, 0.0]
    assert seen[1][0, :, 0, 0].tolist() == [1.0, 3.0, 1.0]
    assert not [name for name in elastic.state_dict() if "_scale" in name or "_shift" in name]
