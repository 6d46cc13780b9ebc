"""The paper's protocol: its phases, and a whole training in small."""

from __future__ import annotations

import csv
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from models.data.batches import Augmentation, augmented, plain_crops
from models.training import loop, protocol, train
from models.training.config import Config, TrainingError
from models.training.folder import load_trained
from models.training.losses import age_loss
from models.training.parts import batch_counts
from models.training.protocol import train_by_protocol
from tests.support.paths import ROOT

PAPER = sorted((ROOT / "models" / "configs").glob("paper_*.toml"))
TINY = """
name = "tiny"
seed = 3
[network]
backbone = "mobilenet_v1"
options = { alpha = 0.25 }
exits = { 12 = 1.0, 13 = 1.0 }
input_sizes = { 32 = 1.0 }
[loss]
weights = { age = 1.0, age_l1 = 0.0, gender = 0.0, expression = 0.0 }
sigma_years = 0.0
[protocol]
momentum = 0.9
batch = 4
epoch_samples = 8
heads_learning_rate = 1e-3
patience_epochs = 0
min_learning_rate = 1e-5
[[protocol.stages]]
name = "first"
sets = ["one", "two"]
heads_epochs = 1
epochs = 2
learning_rate = 1e-2
[[protocol.stages]]
name = "second"
sets = ["two"]
heads_epochs = 0
epochs = 5
learning_rate = 1e-3
[augmentation]
zoom = 0.0
shift = 0.0
rotate_deg = 0.0
light = 0.0
grey = 0.0
coarse = 0.0
erase = 0.0
"""


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for seed, name in enumerate(("one", "two")):
        rng = np.random.default_rng(seed)
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (12, 60, 60, 3), dtype=np.uint8))
        unknown = np.full(12, -1, np.int16)
        labels = {"age": rng.integers(0, 101, 12).astype(np.int16), "gender": unknown, "expression": unknown}
        np.savez(folder / f"{name}.labels.npz", held_out=np.arange(12) >= 9, **labels)
    (folder / "tiny.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    train_by_protocol(faces / "tiny.toml", faces, out)
    return out


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("path", PAPER, ids=lambda p: p.stem)
def test_the_papers_configurations_say_what_the_paper_says(path):
    config = Config.read(path)
    plan = protocol.phases(config.protocol)
    assert [(p.stage, p.heads_only, p.steps // 1024, p.learning_rate) for p in plan] == [
        ("imdb_wiki", True, 10, 1e-3),
        ("imdb_wiki", False, 150, 1e-2),
        ("lap", True, 10, 1e-3),
        ("lap", False, 150, 1e-3),
    ]
    assert plan[0].sets == ("imdb", "wiki") and plan[-1].last == 320 * 1024
    assert config.protocol["momentum"] == 0.9 and config.protocol["min_learning_rate"] == 1e-5
    exits = {"mobilenet_v1": range(7, 14), "resnet50": range(9, 17), "inception_v3": range(6, 12)}
    backbone = config.network["backbone"]
    assert config.exit_weights == {f"exit_{k:02d}": 1.0 for k in exits[backbone]} and config.input_sizes == {224: 1.0}
    with torch.device("meta"):
        assert config.build().exits == tuple(exits[backbone])


def test_they_differ_in_the_network_alone():
    rest = [{k: v for k, v in tomllib.loads(p.read_text()).items() if k not in ("name", "network")} for p in PAPER]
    assert len(rest) == 3 and rest[0] == rest[1] == rest[2]


def test_loss_one_is_cross_entropy_on_the_label():
    logits, age = torch.randn(5, 101), torch.tensor([0, 3, 50, 99, 100])
    assert float(age_loss(logits, age, 0.0, 0.0)) == pytest.approx(
        float(functional.cross_entropy(logits, age)), rel=1e-5
    )


def test_left_right_flips_are_all_that_changes():
    view = np.random.default_rng(0).integers(0, 256, (280, 280, 3), dtype=np.uint8)
    nothing = Augmentation(zoom=0, shift=0, rotate_deg=0, light=0, grey=0, coarse=0, erase=0)
    plain, seen = plain_crops(view[None], 224)[0], set()
    np.testing.assert_array_equal(plain, view[28:252, 28:252])  # of such a view the crop is cut, not scaled
    for seed in range(12):
        crop = augmented(view, 224, nothing, np.random.default_rng(seed))
        flipped = np.array_equal(crop, plain[:, ::-1])
        assert flipped or np.array_equal(crop, plain)
        seen.add(flipped)
    assert seen == {True, False}


def test_a_batch_takes_of_each_set_in_proportion():
    assert batch_counts({"imdb": 170_000, "wiki": 40_000}, 32) == {"imdb": 26, "wiki": 6}
    assert batch_counts({"imdb": 10**6, "small": 5}, 8) == {"imdb": 7, "small": 1}
    assert batch_counts({"lap": 4113}, 32) == {"lap": 32}
    with pytest.raises(TrainingError, match="do not fit"):
        batch_counts({"a": 1, "b": 1, "c": 1}, 2)


def test_heads_learn_alone_first_and_the_backbone_stays_to_the_bit(faces, tmp_path):
    torch.manual_seed(3)
    fresh = Config.read(faces / "tiny.toml").build().state_dict()
    train_by_protocol(faces / "tiny.toml", faces, tmp_path, stop_after=2)
    after = state(tmp_path)["network"]
    changed = {name.split(".")[0] for name in fresh if not torch.equal(fresh[name], after[name])}
    assert changed == {"heads"}
    train_by_protocol(faces / "tiny.toml", faces, tmp_path, stop_after=1)
    later = state(tmp_path)["network"]
    assert not torch.equal(later["backbone.stem.0.weight"], after["backbone.stem.0.weight"])
    assert not torch.equal(later["backbone.stem.1.running_mean"], after["backbone.stem.1.running_mean"])


def test_a_broken_off_run_comes_out_as_an_unbroken_one(faces, whole, tmp_path):
    for steps in (3, 3, 10):  # breaks within an epoch, and on the border of two phases
        train_by_protocol(faces / "tiny.toml", faces, tmp_path, stop_after=steps)
    one, other = state(whole), state(tmp_path)
    assert one["step"] == other["step"] == 16 and one["plateau"] == other["plateau"]
    for name, tensor in one["network"].items():
        assert torch.equal(tensor, other["network"][name]), name
    assert (whole / "validation.csv").read_text() == (tmp_path / "validation.csv").read_text()
    _, shipped = load_trained(whole)
    assert torch.equal(shipped.state_dict()["backbone.stem.0.weight"], one["network"]["backbone.stem.0.weight"])


def test_the_rate_falls_to_a_tenth_on_plateaus_and_not_below_the_floor(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "_held_out_loss", lambda *_: 1.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    train_by_protocol(faces / "tiny.toml", faces, tmp_path)
    with (tmp_path / "log.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([1e-3] * 2 + [1e-2] * 4 + [1e-3] * 4 + [1e-4] * 2 + [1e-5] * 4)


def test_the_plateaus_loss_is_the_weighted_cross_entropy():
    p = {name: {"age": np.full((2, 101), 1 / 101, np.float32)} for name in ("a", "b")}
    p["a"]["age"][0, 7] = 0.5
    age = np.array([7, -1], np.int16)
    assert protocol.validation_loss(p, age, {"a": 2.0, "b": 1.0}) == pytest.approx(
        2 * np.log(2) + np.log(101), rel=1e-5
    )
    assert protocol.validation_loss(p, age, {"a": 2.0, "b": 0.0}) == pytest.approx(2 * np.log(2), rel=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epoch_samples = 8", "epoch_samples = 9", "multiple"),
        ("heads_epochs = 1\n", "", "heads_epochs"),
        ("momentum = 0.9\n", "", "momentum"),
        (r'sets = \["two"\]', 'sets = ["absent"]', "absent"),
        ("seed = 3", "seed = 3\n[optimiser]\nsteps = 1", "either"),
    ],
)
def test_a_protocol_that_cannot_be_says_why_before_it_trains(faces, tmp_path, old, new, says):
    (tmp_path / "bad.toml").write_text(re.sub(old, new, TINY))
    with pytest.raises((TrainingError, ValueError), match=says):
        train_by_protocol(tmp_path / "bad.toml", faces, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_told_is_judged_on_the_last_stage_that_knows_it(faces, tmp_path):
    """Statistics come from the last stage, whose set has ages; gender is known in the first stage alone."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.npy").write_bytes((faces / f"{name}.npy").read_bytes())
        labels = dict(np.load(faces / f"{name}.labels.npz"))
        if name == "one":
            labels["gender"] = np.arange(12, dtype=np.int16) % 2
        np.savez(tmp_path / f"{name}.labels.npz", **labels)
    (tmp_path / "both.toml").write_text(TINY.replace("gender = 0.0", "gender = 1.0"))
    config = Config.read(tmp_path / "both.toml")
    assert config.tasks == ("age", "gender") and config.sets == ("one", "two")
    parts, held_out = train.load_parts(config, tmp_path)
    assert [count for _, _, count in parts] == [4]
    known = {name: [int((getattr(v, task) >= 0).sum()) for task in ("age", "gender")] for name, v in held_out.items()}
    assert known == {"one": [0, 3], "two": [3, 0]}
    _, alone = train.load_parts(Config.read(faces / "tiny.toml"), faces)
    assert list(alone) == ["two"]
