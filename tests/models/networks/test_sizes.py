from __future__ import annotations

import copy

import pytest
import torch

from models.networks.backbones import MobileNetV1
from models.networks.elastic import ElasticNetwork
from models.networks.sizes import SizedNetwork, is_shared, network_at


@pytest.fixture
def sized() -> SizedNetwork:
    torch.manual_seed(0)
    return SizedNetwork(ElasticNetwork(MobileNetV1(0.25), [7, 13]), [48, 32])


def test_a_picture_is_read_by_its_sizes_network(sized):
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        network_at(sized, 32).heads["exit_13"].dense["gender"].bias.add_(5.0)
        sized.eval()
        said = sized(x)["exit_13"].gender
        assert torch.equal(said, network_at(sized, 32)(x)["exit_13"].gender)
        assert torch.allclose(said, network_at(sized, 48)(x)["exit_13"].gender + 5.0, atol=1e-5)
    assert list(sized(x, until=7)) == ["exit_07"]


@pytest.mark.parametrize("made", [lambda n: n, copy.deepcopy], ids=["itself", "a copy"])
def test_a_step_at_one_size_changes_the_kernels_of_all_and_nothing_else_of_another(sized, made):
    sized = made(sized)
    before = copy.deepcopy(network_at(sized, 48).state_dict())
    optimiser = torch.optim.SGD(sized.parameters(), 0.1)
    sum(o.age.sum() for o in sized(torch.randn(4, 3, 32, 32)).values()).backward()
    optimiser.step()
    changed = {k for k, v in network_at(sized, 48).state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"{name}.weight" for name, module in network_at(sized, 48).named_modules() if is_shared(module)}


def test_what_is_one_sizes_own_is_the_smaller_part(sized):
    own, all_of_it = sum(p.numel() for p in sized.own()) / 2, sum(p.numel() for p in network_at(sized, 48).parameters())
    assert 0 < own < 0.5 * all_of_it
    assert network_at(network_at(sized, 48), 32) is network_at(sized, 48), "one network reads all sizes"
