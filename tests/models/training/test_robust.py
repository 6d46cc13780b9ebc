"""What makes a network read a camera's pictures: votes to learn from, rare faces more often, a teacher in some heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.data.batches import Augmentation, TrainingBatches, seen_by_a_camera
from models.data.views import Views
from models.networks.elastic import ExitOutput
from models.training.config import Config, TrainingError
from models.training.losses import class_loss, elastic_loss, expression_loss
from models.training.parts import drawn_more_often


def views(n: int = 12) -> Views:
    """Grey faces: every third with votes, half for sad and half for fear."""
    shares = np.zeros((n, 7), np.float32)
    shares[::3, [2, 5]] = 0.5
    label = np.full(n, -1, np.int16)
    pixels = np.random.default_rng(0).integers(0, 256, (n, 100, 100), np.uint8)
    return Views(pixels, label, label, np.arange(n, dtype=np.int16) % 7, shares=shares)


def test_votes_are_learnt_from_where_there_are_some_and_labels_elsewhere():
    logits, label = torch.randn(4, 7, generator=torch.Generator().manual_seed(0)), torch.tensor([4, 0, -1, -1])
    shares = torch.zeros(4, 7)
    assert expression_loss(logits, label, shares) == class_loss(logits, label, 0.05) == expression_loss(logits, label)
    shares[0, 3] = shares[2, 5] = 1.0  # the label of the first counts no more
    by_hand = torch.stack([class_loss(logits[:1], torch.tensor([3])), class_loss(logits[1:2], label[1:2], 0.05)])
    third = class_loss(logits[2:3], torch.tensor([5]))
    assert expression_loss(logits, label, shares) == pytest.approx(float((by_hand.sum() + third) / 3))


def test_a_teacher_may_be_asked_for_some_heads_only():
    output = ExitOutput(torch.zeros(1, 101), torch.zeros(1, 2), torch.tensor([[9.0, 0, 0, 0, 0, 0, 0]]))
    labels = {name: torch.tensor([-1]) for name in ("age", "gender", "expression")}
    answers = torch.nn.functional.one_hot(torch.tensor([6]), 7).float()
    labels |= {"teacher_age": torch.full((1, 101), 1 / 101), "teacher_expression": answers}
    weights = {"age": 1.0, "age_l1": 0.0, "gender": 1.0, "expression": 1.0}

    def loss(*heads: str) -> float:
        return float(elastic_loss({"e": output}, {"e": 1.0}, labels, weights, 2.0, teacher=1.0, teacher_heads=heads))

    assert loss("age") == pytest.approx(np.log(101))
    assert loss("age", "expression") > np.log(101) + 8


def test_faces_of_rare_expressions_are_drawn_more_often():
    faces = views()
    drawn = drawn_more_often(np.arange(10), faces, {"fear": 3})
    assert np.bincount(drawn).tolist() == [3, 1, 1, 3, 1, 1, 3, 1, 1, 3]
    by_label = replace(faces, shares=np.zeros((12, 7), np.float32))
    assert np.bincount(drawn_more_often(np.arange(10), by_label, {"angry": 2})).tolist() == [
        2,
        1,
        1,
        1,
        1,
        1,
        1,
        2,
        1,
        1,
    ]


def test_batches_with_spoilt_faces_depend_on_seed_and_step_alone():
    parts = [(views(), np.arange(12), 8)]

    def batch(seed, step, **how):
        return TrainingBatches(parts, {48: 1.0}, seed, Augmentation(**how))[step]

    spoilt = batch(1, 3, spoil=1.0)
    assert (spoilt["crops"] == batch(1, 3, spoil=1.0)["crops"]).all()
    assert (spoilt["crops"] != batch(1, 3, spoil=0.0)["crops"]).any()
    assert spoilt["shares"].shape == (8, 7) and spoilt["crops"].shape == (8, 48, 48, 3)


@pytest.mark.parametrize("shape", [(100, 100), (100, 100, 3)])
def test_a_camera_sees_small_faces(shape):
    view = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    sides = [seen_by_a_camera(view, np.random.default_rng(i)).shape for i in range(30)]
    assert all(a == b and c == 3 and 24 <= a <= 100 for a, b, c in sides) and min(sides) < (50,)


@pytest.mark.parametrize(
    ("section", "value", "says"),
    [
        ("loss", {"teacher_heads": ["hair"]}, "teacher_heads: some of age"),
        ("loss", {"teacher_heads": []}, "teacher_heads: some of age"),
        ("loss", {"weights": {"age": 0, "age_l1": 1, "gender": 1, "expression": 1}}, "age \\(above 0\\)"),
        ("loss", {"weights": {"age": 1}}, "gender and expression; 0"),
        ("optimiser", {"rare": {"bored": 2}}, "rare: times from 1"),
        ("optimiser", {"rare": {"fear": 0}}, "rare: times from 1"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(section, value, says):
    sections = {
        "network": {"backbone": "mobilenet_v1", "options": {}, "exits": {"13": 1.0}, "input_sizes": {"96": 1.0}},
        "loss": {"weights": {"age": 1, "age_l1": 0, "gender": 1, "expression": 1}, "sigma_years": 2.0},
        "optimiser": {
            "steps": 1,
            "learning_rate": 1,
            "weight_decay": 0,
            "warmup": 0,
            "ema": 0,
            "batch": {"utkface": 1},
        },
    }
    sections[section] |= value
    with pytest.raises(TrainingError, match=says):
        Config(name="x", seed=0, augmentation={}, **sections)
