"""Networks made elastic without being edited: ours, and some of MONAI's, which nobody here wrote."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import pytest
import torch
from monai.networks.nets import EfficientNetBN, ResNet
from torch import Tensor, nn

from models.networks.backbones import build_backbone
from models.networks.elastic import HEADS, ElasticNetwork, exit_name
from models.networks.elastify import TappedBackbone, elastify, find_blocks
from models.networks.flops import multiply_adds
from models.networks.foreign import tapped
from models.networks.keras_weights import WeightsError, load_keras_weights
from models.networks.trial import refuse_what_cannot_be_trained
from models.session import cpu_session
from models.shipping.network_file import to_onnx
from models.training.config import Config, TrainingError
from models.training.folder import load_initial
from models.training.losses import elastic_loss

EXAMPLE = torch.zeros(1, 3, 80, 80)


def foreign() -> nn.Module:
    torch.manual_seed(0)
    return ResNet("basic", [2, 2, 2, 2], [16, 32, 64, 128], spatial_dims=2, n_input_channels=3, num_classes=5)


@pytest.fixture(scope="module")
def elastic() -> ElasticNetwork:
    return elastify(foreign(), example=EXAMPLE).eval()


@pytest.mark.parametrize(
    ("make", "count", "last"),
    [
        (lambda: build_backbone("mobilenet_v1", alpha=0.25), 13, "blocks.12"),
        (lambda: build_backbone("resnet50"), 16, "blocks.15"),
        (lambda: build_backbone("inception_v3"), 11, "blocks.10"),
        (foreign, 8, "layer4.1"),
        # Its blocks without a shortcut hold a branch of their own (squeeze and excitation) one level down.
        (lambda: EfficientNetBN("efficientnet-b0", spatial_dims=2, pretrained=False), 16, "_blocks.6.15"),
    ],
    ids=["mobilenet", "resnet50", "inception", "monai-resnet", "monai-efficientnet"],
)
def test_blocks_are_found(make, count, last):
    blocks = find_blocks(make(), EXAMPLE)
    assert len(blocks) == count and blocks[-1] == last


@pytest.mark.parametrize(("name", "options"), [("mobilenet_v1", {"alpha": 0.25}), ("resnet50", {})])
def test_an_elastified_network_computes_what_the_built_in_one_does(name, options):
    torch.manual_seed(1)
    backbone = build_backbone(name, **options).eval()
    tapped = elastify(backbone, example=EXAMPLE).eval()
    direct = ElasticNetwork(backbone, tapped.exits).eval()
    direct.heads = tapped.heads
    x = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        mine, theirs = tapped(x), direct(x)
    assert list(mine) == list(theirs) == [exit_name(k) for k in tapped.exits]
    for one, other in zip(mine.values(), theirs.values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_papers_weights_are_the_deeper_half(elastic):
    assert elastic.exit_weights == {exit_name(k): 1.0 for k in (5, 6, 7, 8)}
    for blocks, first in ((13, 7), (16, 9), (11, 6)):
        assert blocks // 2 + 1 == first


def test_stopping_early_runs_nothing_deeper_and_changes_nothing(elastic):
    network = elastic.backbone.network
    ran: list[str] = []
    hooks = [m.register_forward_pre_hook(lambda *_, n=n: ran.append(n)) for n, m in network.named_modules()]
    x = torch.randn(2, 3, 64, 64)
    try:
        with torch.inference_mode():
            early = elastic(x, until=6)
            stopped = list(ran)
            ran.clear()
            whole = elastic(x)
    finally:
        for hook in hooks:
            hook.remove()
    assert "layer3.1" in stopped and not [n for n in stopped if n.startswith(("layer4", "fc"))]
    assert "layer4.1" in ran and "fc" not in ran
    assert list(early) == ["exit_05", "exit_06"]
    for name, output in early.items():
        assert all(torch.equal(a, b) for a, b in zip(output, whole[name], strict=True))
    costs = list(multiply_adds(elastic, 64).values())
    assert costs == sorted(set(costs)) and costs[0] < 0.75 * costs[-1]


def test_all_exits_train_in_one_pass_and_copies_are_their_own(elastic):
    network = deepcopy(elastic).train()
    twin = deepcopy(network)
    labels = {name: torch.tensor([1, 0, 1, 1]) for name in ("age", "gender", "expression")}
    weights = {"age": 1.0, "age_l1": 0.2, "gender": 1.0, "expression": 1.0}
    optimiser = torch.optim.SGD([p for n, p in network.named_parameters() if ".fc." not in n], lr=0.02)
    x, losses = torch.randn(4, 3, 64, 64), []
    for _ in range(8):
        loss = elastic_loss(network(x), network.exit_weights, labels, weights, 2.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for n, p in network.named_parameters() if ".fc." not in n)
    for (name, one), other in zip(twin.named_parameters(), elastic.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_network_itself_stays_as_it_was():
    network = foreign().train()
    before, x = set(network.state_dict()), torch.randn(2, 3, 64, 64)
    expected = deepcopy(network).eval()(x)
    elastic = elastify(network, example=EXAMPLE)
    elastic.eval()(x, until=5)
    assert set(network.state_dict()) == before
    assert torch.equal(network(x), expected)
    with pytest.raises(RuntimeError):
        elastic(torch.randn(2, 7, 64, 64))
    assert not [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_named_taps_given_weights_and_a_given_head():
    class Head(nn.Sequential):
        def __init__(self, channels: int) -> None:
            super().__init__(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, 3))

    elastic = elastify(foreign(), ["layer4", "layer2"], example=EXAMPLE, exits={2: 0.25, 1: 2.0}, head=Head)
    assert elastic.backbone.taps == ("layer2", "layer4") and tuple(elastic.backbone.channels) == (32, 128)
    assert elastic.exit_weights == {"exit_01": 2.0, "exit_02": 0.25}
    outputs = elastic(torch.randn(2, 3, 64, 64))
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {"exit_01": (2, 3), "exit_02": (2, 3)}


class InPlace(nn.Module):
    """A row of blocks each of which overwrites what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4 if k else 3, 4, 3, padding=1)) for k in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        for block in self.blocks:
            x = block(x)
        return x


def test_features_are_kept_from_blocks_that_work_in_place():
    torch.manual_seed(0)
    elastic = elastify(
        InPlace(), ["blocks.0", "blocks.1", "blocks.2"], example=EXAMPLE, exits={1: 1, 2: 1, 3: 1}
    ).eval()
    x = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        whole, alone = elastic(x)["exit_02"], elastic(x, until=2)["exit_02"]
    assert torch.equal(whole.age, alone.age)


class Awkward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.pair = nn.Module()
        self.pair.forward = lambda x: (x, x)
        self.tokens = nn.Flatten(2)
        self.idle = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(self.pair(self.shared(self.shared(x)))[0])


@pytest.mark.parametrize(
    ("taps", "says"),
    [
        (["nowhere"], "nowhere"),
        ([], "no taps"),
        (["shared"], "2 times"),
        (["idle"], "0 times"),
        (["pair"], "tuple"),
        (["tokens"], "give a head"),
        ("auto", "name the taps"),
    ],
)
def test_taps_that_cannot_be_say_why(taps, says):
    with pytest.raises(ValueError, match=says):
        elastify(Awkward(), taps, example=torch.zeros(1, 3, 8, 8))


def test_an_elastified_network_exports_with_every_exit(elastic, tmp_path):
    to_onnx(elastic, 64, tmp_path / "n.onnx")
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    outputs = cpu_session(str(tmp_path / "n.onnx")).run(None, {"faces": crops})
    with torch.inference_mode():
        expected = elastic(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1)
    held = {i.name for i in onnx.load(tmp_path / "n.onnx").graph.initializer}
    assert any("layer4.1" in name for name in held) and not [name for name in held if ".fc." in name]
    for k, output in enumerate(expected.values()):
        np.testing.assert_allclose(outputs[3 * k], torch.softmax(output.age, 1), atol=1e-5)


CONFIG = """
name = "theirs"
seed = 1
[network]
backbone = "monai.networks.nets:ResNet"
options = {{ block = "basic", layers = [2, 2, 2, 2], block_inplanes = [8, 8, 8, 8], spatial_dims = 2, n_input_channels = 3 }}
{taps}
exits = {{ {exits} }}
input_sizes = {{ 64 = 1.0 }}
[loss]
weights = {{ age = 1.0, age_l1 = 0.2, gender = 1.0, expression = 1.0 }}
sigma_years = 2.0
[optimiser]
steps = 1
learning_rate = 1e-3
weight_decay = 0.0
warmup = 0.1
ema = 0.9
batch = {{ utkface = 2 }}
[augmentation]
"""


def test_a_configuration_can_name_anybodys_network(tmp_path):
    path = tmp_path / "theirs.toml"
    path.write_text(CONFIG.format(taps="", exits="5 = 1.0, 8 = 0.5"))
    config = Config.read(path)
    network = config.build()
    assert network.backbone.taps[-1] == "layer4.1" and config.exit_weights == {"exit_05": 1.0, "exit_08": 0.5}
    path.write_text(CONFIG.format(taps='taps = ["layer3", "layer4"]', exits="1 = 1.0, 2 = 1.0"))
    assert Config.read(path).build().backbone.taps == ("layer3", "layer4")
    path.write_text(CONFIG.format(taps='taps = ["layer9"]', exits="1 = 1.0"))
    with pytest.raises(TrainingError, match="layer9"):
        Config.read(path).build()
    path.write_text(CONFIG.format(taps="", exits="1 = 1.0").replace("nets:ResNet", "nets:ResNot"))
    with pytest.raises(TrainingError, match="ResNot"):
        Config.read(path).build()
    with pytest.raises(WeightsError, match="only the networks"):
        np.savez(tmp_path / "w.npz", a=np.zeros(3))
        load_keras_weights(network.backbone, tmp_path / "w.npz")


def test_a_configuration_without_exits_follows_the_paper_and_takes_a_head(tmp_path):
    text = CONFIG.replace("exits = {{ {exits} }}\n", "{extra}\n").format(taps="", extra="")
    path = tmp_path / "theirs.toml"
    path.write_text(text)
    config = Config.read(path)
    assert config.exit_weights == {exit_name(k): 1.0 for k in (5, 6, 7, 8)} and config.deepest_trained == 8
    assert config.build().exits == (5, 6, 7, 8)
    # A head by name: called with the number of channels; here the paper's own, and one that gives something else.
    path.write_text(text.replace("input_sizes", 'head = "models.networks.elastic:ExitHead"\ninput_sizes'))
    assert set(Config.read(path).build().heads) == {exit_name(k) for k in (5, 6, 7, 8)}
    path.write_text(text.replace("input_sizes", 'head = "torch.nn:LazyBatchNorm2d"\ninput_sizes'))
    with pytest.raises(TrainingError, match="ExitOutput"):
        Config.read(path).build()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('taps = ["layer4.1", "layer4"]', "costs no more than"),
        ('taps = ["layer3", "layer4"]\nnormalisation = "imagnet"', "normalisation"),
        ('taps = ["layer3", "layer4"]\nnormalisation = { mean = [0.5], std = [0.5] }', "three numbers"),
        ('taps = ["layer3", "layer4"]\nhead = "nowhere:Head"', "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_before(tmp_path, change, says):
    (tmp_path / "c.toml").write_text(CONFIG.format(taps=change, exits="1 = 1.0, 2 = 1.0"))
    with pytest.raises(TrainingError, match=says):
        Config.read(tmp_path / "c.toml").build()


class OneSize(nn.Module):
    """Takes 32 px only, as a transformer with learned positions does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, 8)
        self.place = nn.Parameter(torch.zeros(1, 8, 4, 4))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()) for _ in range(3))
        self.pretrained_cfg = {"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)}

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) + self.place
        for block in self.blocks:
            x = x + block(x)
        return x


def test_a_size_that_does_not_go_through_is_refused_and_the_librarys_normalisation_is_found():
    taps = ["blocks.0", "blocks.1", "blocks.2"]
    backbone = tapped(OneSize, {}, taps, 32)
    assert backbone.is_normalised and backbone._scale.flatten().tolist() == pytest.approx([2.5] * 3)
    assert not tapped(OneSize, {}, taps, 32, "none").is_normalised
    network = ElasticNetwork(backbone, [2, 3])
    refuse_what_cannot_be_trained(network, [32], HEADS)
    with pytest.raises(ValueError, match="an input of 48 px does not go through"):
        refuse_what_cannot_be_trained(network, [32, 48], HEADS)
    with pytest.raises(ValueError, match="does not take one RGB picture of 48 px"):
        tapped(OneSize, {}, taps, 48)


def test_weights_of_a_backbones_own_library_are_taken_over(tmp_path):
    theirs = foreign()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    torch.manual_seed(5)
    mine = elastify(ResNet("basic", [2, 2, 2, 2], [16, 32, 64, 128], 2, 3, num_classes=9), example=EXAMPLE)
    assert load_initial(mine, tmp_path / "w.pth") == ["fc.bias", "fc.weight"]
    assert torch.equal(mine.backbone.network.layer4[1].conv1.weight, theirs.layer4[1].conv1.weight)
    for content, says in ((b"junk", "cannot be read"), (None, "no weight of this backbone")):
        if content is None:
            torch.save({"other.weight": torch.zeros(3)}, tmp_path / "w.pth")
        else:
            (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(WeightsError, match=says):
            load_initial(mine, tmp_path / "w.pth")


def test_a_plain_row_of_convolutions_is_a_row_of_blocks():
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)]
    layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(inplace=True)]
    network = nn.Sequential(nn.Sequential(*layers), nn.Flatten(), nn.Linear(8 * 16, 2))
    assert find_blocks(network, torch.zeros(1, 3, 8, 8)) == ["0.1", "0.4", "0.7"]


def test_an_elastified_mobilenet_takes_keras_weights(imagenet_weights):
    backbone = build_backbone("mobilenet_v1", "auto", 64, alpha=0.75)
    assert isinstance(backbone, TappedBackbone) and load_keras_weights(backbone, imagenet_weights) == []
