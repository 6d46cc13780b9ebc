from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from models.networks.backbones import KerasConv2d, MobileNetV1
from models.networks.elastic import ElasticNetwork, ExitOutput, exit_name, expected_age
from models.networks.flops import multiply_adds
from models.networks.keras_weights import WeightsError, load_keras_weights
from models.training.losses import age_loss, class_loss, distillation_loss, elastic_loss

EXITS = tuple(range(7, 14))


@pytest.fixture(scope="module")
def network() -> ElasticNetwork:
    torch.manual_seed(0)
    return ElasticNetwork(MobileNetV1(0.25), EXITS).eval()


def test_every_exit_gives_ages_genders_and_expressions(network):
    with torch.inference_mode():
        outputs = network(torch.zeros(2, 3, 64, 64))
    assert list(outputs) == [exit_name(k) for k in EXITS]
    for output in outputs.values():
        assert output.age.shape == (2, 101) and output.gender.shape == (2, 2) and output.expression.shape == (2, 7)


def test_stopping_early_runs_no_deeper_block_and_changes_nothing(network):
    ran: list[int] = []
    hooks = [b.register_forward_hook(lambda *_, k=k: ran.append(k)) for k, b in enumerate(network.backbone.blocks, 1)]
    x = torch.randn(1, 3, 64, 64)
    try:
        with torch.inference_mode():
            early, whole = network(x, until=8), network(x)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [*range(1, 9), *range(1, 14)]
    assert list(early) == ["exit_07", "exit_08"]
    for name, output in early.items():
        for mine, theirs in zip(output, whole[name], strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("exits", [(), (0, 3), (3, 3), (5, 4), (13, 14)])
def test_exits_that_make_no_sense_are_refused(exits):
    with pytest.raises(ValueError, match="rising"):
        ElasticNetwork(MobileNetV1(0.25), exits)


def test_until_must_be_an_exit(network):
    with pytest.raises(ValueError, match="no exit after block 3"):
        network(torch.zeros(1, 3, 64, 64), until=3)


@pytest.mark.parametrize(("alpha", "first", "last"), [(1.0, 2.68e8, 5.56e8), (0.75, 1.53e8, 3.16e8), (0.5, 6.97e7, 1.43e8), (0.25, 1.88e7, 3.78e7)])  # fmt: skip
def test_multiply_adds_are_the_papers(alpha, first, last):
    """Table II of Bai et al. 2018, without the stem; our heads are larger than theirs by 9 classes."""
    counts = multiply_adds(ElasticNetwork(MobileNetV1(alpha), EXITS), 224, stem=False)
    assert counts["exit_07"] == pytest.approx(first, rel=0.03)
    assert counts["exit_13"] == pytest.approx(last, rel=0.03)
    values = list(counts.values())
    assert values == sorted(values)


def test_keras_pads_at_the_end_at_stride_two():
    """The first output looks at pixels 0..2, not -1..1: Keras' (0, 1) padding."""
    conv = KerasConv2d(1, 1, 3, stride=2)
    nn.init.ones_(conv.weight)
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 2, 2] = 1.0
    with torch.inference_mode():
        y = conv(x)
    assert y.shape == (1, 1, 3, 3)
    assert y[0, 0, 0, 0] == 1.0 and y[0, 0, 1, 1] == 1.0 and y[0, 0, 2, 2] == 0.0


def keras_reference(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """MobileNet v1 in NumPy from Keras' own arrays and layouts: (h, w, 3) in [-1, 1] to the last block's (h, w, c)."""

    def windows(x: np.ndarray, stride: int) -> np.ndarray:
        x = np.pad(x, ((0, 1), (0, 1), (0, 0)) if stride == 2 else ((1, 1), (1, 1), (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::stride, ::stride]  # (h, w, c, 3, 3)

    def norm_relu6(x: np.ndarray, layer: str) -> np.ndarray:
        x = (x - w[f"{layer}_bn/moving_mean"]) / np.sqrt(w[f"{layer}_bn/moving_variance"] + 1e-3)
        return np.clip(x * w[f"{layer}_bn/gamma"] + w[f"{layer}_bn/beta"], 0, 6)

    x = norm_relu6(np.einsum("hwcij,ijco->hwo", windows(x, 2), w["conv1/kernel"]), "conv1")
    for k, (stride, _) in enumerate(MobileNetV1.BLOCKS, start=1):
        x = np.einsum("hwcij,ijc->hwc", windows(x, stride), w[f"conv_dw_{k}/depthwise_kernel"][..., 0])
        x = norm_relu6(x, f"conv_dw_{k}")
        x = norm_relu6(x @ w[f"conv_pw_{k}/kernel"][0, 0], f"conv_pw_{k}")
    return x


def test_imagenet_weights_compute_what_keras_layout_says(imagenet_weights):
    """On a real picture, through all 27 layers: a wrong layout, padding or epsilon would not survive."""
    from skimage.data import chelsea

    network = MobileNetV1(0.75).eval()
    assert load_keras_weights(network, imagenet_weights) == []
    picture = cv2.resize(chelsea()[:, 80:380], (96, 96), interpolation=cv2.INTER_AREA) / 127.5 - 1
    with np.load(imagenet_weights) as archive:
        expected = keras_reference(picture, {k: archive[k].astype(np.float64) for k in archive.files})
    with torch.inference_mode():
        x = network.stem(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        for block in network.blocks:
            x = block(x)
    np.testing.assert_allclose(x[0].permute(1, 2, 0).numpy(), expected, atol=1e-4)
    assert expected.max() > 1


def test_weights_of_another_width_are_refused(imagenet_weights):
    with pytest.raises(WeightsError, match="another alpha"):
        load_keras_weights(MobileNetV1(0.5), imagenet_weights)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_keras_weights(MobileNetV1(0.25), tmp_path / "w.npz")


def test_age_loss_is_least_at_the_label():
    age = torch.tensor([30])
    classes = torch.arange(101.0)
    losses = [float(age_loss(-((classes - mean) ** 2)[None] / 8, age, 2.0, 0.2)) for mean in (20, 28, 30, 32, 40)]
    assert min(losses) == losses[2] and losses[0] > losses[1] and losses[4] > losses[3]


def test_expected_age_is_the_expectation():
    p = torch.zeros(1, 101)
    p[0, 20] = p[0, 40] = 0.5
    assert float(expected_age(p)) == pytest.approx(30.0)


def test_unknown_labels_add_nothing():
    logits = torch.randn(3, 7)
    assert float(class_loss(logits, torch.tensor([-1, -1, -1]))) == 0.0
    assert float(age_loss(torch.randn(2, 101), torch.tensor([-1, -1]), 2.0, 0.2)) == 0.0
    known = class_loss(logits[:1], torch.tensor([3]))
    assert float(class_loss(logits, torch.tensor([3, -1, -1]))) == pytest.approx(float(known))


def test_elastic_loss_is_the_weighted_sum_over_exits(network):
    outputs = network(torch.randn(4, 3, 64, 64))
    labels = {
        "age": torch.tensor([5, 30, -1, 60]),
        "gender": torch.tensor([0, 1, -1, 0]),
        "expression": torch.tensor([-1, 2, 3, -1]),
    }
    weights = {"age": 1.0, "age_l1": 0.2, "gender": 1.0, "expression": 1.0}
    one = {name: float(elastic_loss(outputs, {name: 1.0}, labels, weights, 2.0).detach()) for name in outputs}
    both = elastic_loss(outputs, {"exit_07": 0.5, "exit_08": 0.0, "exit_13": 2.0}, labels, weights, 2.0)
    assert float(both.detach()) == pytest.approx(0.5 * one["exit_07"] + 2 * one["exit_13"], rel=1e-5)
    both.backward()
    assert network.heads["exit_08"].dense["age"].weight.grad is None
    assert network.heads["exit_13"].dense["age"].weight.grad.abs().sum() > 0


# --- exits before the midpoint -----------------------------------------------------------------------------------


@pytest.fixture
def early() -> ElasticNetwork:
    torch.manual_seed(0)
    return ElasticNetwork(MobileNetV1(0.25), (3, 5, 9), context={3: [16, 24], 5: [24]}, stop_gradient=(3, 5)).eval()


def test_an_early_exit_sees_more_than_its_features_do(early):
    """A context head is no mean over places: moving a patch changes what it says, where a plain head cannot tell."""
    features = torch.zeros(1, early.backbone.channels[2], 12, 12)
    features[..., 0:3, 0:3] = 3.0
    moved = features.roll((5, 5), dims=(2, 3))
    with torch.inference_mode():
        plain = ElasticNetwork(MobileNetV1(0.25), (3,)).heads["exit_03"].eval()
        assert torch.allclose(plain(features).age, plain(moved).age, atol=1e-6)
        assert not torch.allclose(early.heads["exit_03"](features).age, early.heads["exit_03"](moved).age, atol=1e-4)


def test_exits_on_stopped_gradients_leave_the_backbone_alone(early):
    outputs = early(torch.randn(2, 3, 48, 48))
    (outputs["exit_03"].age.sum() + outputs["exit_05"].age.sum()).backward()
    assert all(p.grad is None for p in early.backbone.parameters())
    assert all(p.grad is not None for n, p in early.heads.named_parameters() if n.startswith(("exit_03", "exit_05")) and ".age" in n)  # fmt: skip


def test_context_without_an_exit_is_refused():
    with pytest.raises(ValueError, match=r"without an exit: \[4\]"):
        ElasticNetwork(MobileNetV1(0.25), (3, 5), context={4: [8]})


def test_distillation_moves_the_student_towards_the_teacher_and_leaves_the_teacher_alone(network):
    torch.manual_seed(1)
    student, teacher = (ExitOutput(*(torch.randn(4, c, requires_grad=True) for c in (101, 2, 7))) for _ in range(2))
    before = distillation_loss(student, teacher)
    before.backward()
    assert all(t.grad is None for t in teacher)
    with torch.no_grad():
        nearer = ExitOutput(*(s - 5.0 * s.grad for s in student))
        exact = ExitOutput(*(t.clone() for t in teacher))
        assert distillation_loss(nearer, teacher) < before
        assert distillation_loss(exact, teacher) <= distillation_loss(nearer, teacher)


def test_the_deepest_exit_teaches_only_the_others(network):
    labels = {"age": torch.tensor([-1, -1]), "gender": torch.tensor([-1, -1]), "expression": torch.tensor([-1, -1])}
    weights = {"age": 1.0, "age_l1": 0.2, "gender": 1.0, "expression": 1.0}
    outputs = {n: ExitOutput(*(torch.randn(2, c) for c in (101, 2, 7))) for n in ("exit_07", "exit_13")}
    taught = elastic_loss(outputs, {"exit_07": 2.0, "exit_13": 1.0}, labels, weights, 2.0, distil=0.5)
    assert taught == pytest.approx(2.0 * 0.5 * float(distillation_loss(outputs["exit_07"], outputs["exit_13"])))
    assert elastic_loss(outputs, {"exit_07": 2.0, "exit_13": 1.0}, labels, weights, 2.0) == 0.0
