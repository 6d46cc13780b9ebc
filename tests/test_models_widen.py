"""A widened network computes what the narrow one did, and its copies part at once."""

import pytest
import torch

from models.backbones import build_backbone
from models.config import TrainingError
from models.elastic import ElasticNetwork
from models.widen import widen


def network(alpha: float, exits: tuple[int, ...] = (4, 7, 13), context: int = 24) -> ElasticNetwork:
    return ElasticNetwork(build_backbone("mobilenet_v1", alpha=alpha), exits, {exits[0]: [context, context]})


@pytest.fixture
def narrow() -> ElasticNetwork:
    """With statistics and scales of its own in every batch norm, as after training."""
    torch.manual_seed(1)
    made = network(0.5)
    for norm in (m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0.5, 0.5)
        norm.momentum = None
    made.train()
    made(torch.rand(8, 3, 64, 64) * 2 - 1)
    return made


@pytest.mark.parametrize("alpha", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_wider_network_computes_the_same(narrow, alpha, mode):
    wide = network(alpha)
    widen(wide, narrow)
    faces = torch.rand(8, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        theirs, ours = getattr(narrow, mode)()(faces), getattr(wide, mode)()(faces)
    for name, output in theirs.items():
        for mine, before in zip(ours[name], output, strict=True):
            torch.testing.assert_close(mine, before, atol=2e-4, rtol=1e-3)


def test_context_heads_may_become_wider(narrow):
    wide = network(0.75, context=32)
    widen(wide, narrow)
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(
        wide.eval()(faces)["exit_04"].age, narrow.eval()(faces)["exit_04"].age, atol=2e-4, rtol=1e-3
    )


def test_copies_learn_different_things(narrow):
    """A copy that got the gradient of its origin would stay its copy, and the network as narrow as before."""
    wide = network(1.0)
    widen(wide, narrow)
    outputs = wide.train()(torch.rand(8, 3, 64, 64) * 2 - 1)
    sum(head.square().mean() for output in outputs.values() for head in output).backward()
    kernel = wide.backbone.blocks[5][1][0].weight
    # Of its 512 channels the second half copies the first, in some order.
    gradient = kernel.grad.flatten(1)
    same = torch.cdist(kernel.flatten(1)[256:], kernel.flatten(1)[:256]).argmin(dim=1)
    apart = (gradient[256:] - gradient[same]).norm(dim=1) / gradient[same].norm(dim=1)
    assert float(apart.median()) > 0.1


def test_the_same_seed_gives_the_same_network(narrow):
    first, again, other = network(1.0), network(1.0), network(1.0)
    widen(first, narrow)
    widen(again, narrow)
    widen(other, narrow, seed=1)
    weights = [n.backbone.blocks[3][1][0].weight for n in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("wide", "complaint"),
    [
        (lambda: network(0.25), "narrower"),
        (lambda: network(1.0, (4, 13)), "exits"),
        (lambda: network(1.0, context=16), "24 channels would become one of 16"),
        (lambda: ElasticNetwork(build_backbone("mobilenet_v1"), [4, 7, 13]), "more than their width"),
        (lambda: ElasticNetwork(build_backbone("resnet50"), [4, 7, 13]), "MobileNet"),
    ],
)
def test_what_cannot_be_widened_says_so(narrow, wide, complaint):
    with pytest.raises(TrainingError, match=complaint):
        widen(wide(), narrow)
