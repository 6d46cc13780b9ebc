"""The paper's Table I as a study: its configurations, a table of two tiny networks, and going on."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest
import torch

from app.cli import main
from models.judging.table_one_report import PAPER, markdown
from models.shipping import table_one
from models.shipping.table_one import ENTRIES, NETWORKS, configuration, to_toml
from models.training import batch_norm
from models.training.config import Config
from tests.support.datasets import picture, write_appa_real
from tests.support.paths import ROOT

CONFIGS = ROOT / "models" / "configs"
RECIPE = CONFIGS / "paper_mobilenet_v1.toml"


def test_the_papers_networks_with_exits_and_without():
    assert len(ENTRIES) == 13 and [e.name for e in ENTRIES if e.network == "VGG16"] == ["vgg16_plain"]
    assert list(NETWORKS) == list(PAPER)
    assert {e.name for e in ENTRIES} >= {"mobilenet_0.75_exits", "mobilenet_1_plain", "inceptionv3_exits"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_each_configuration_is_the_recipe_with_another_network(entry, tmp_path):
    text = configuration(RECIPE, entry)
    (tmp_path / "c.toml").write_text(text)
    config, recipe = Config.read(tmp_path / "c.toml"), tomllib.loads(RECIPE.read_text())
    assert config.protocol == recipe["protocol"] and config.loss == recipe["loss"] and config.input_sizes == {224: 1.0}
    with torch.device("meta"):
        network = config.build()
    assert network.tasks == ("age",)
    assert len(network.exits) == (1 if not entry.elastic else {"InceptionV3": 6, "ResNet50": 8}.get(entry.network, 7))
    assert set(config.exit_weights.values()) == {1.0}
    same = {"InceptionV3": "inception_v3", "ResNet50": "resnet50", "MobileNet 1": "mobilenet_v1"}.get(entry.network)
    if entry.elastic and same:
        theirs = tomllib.loads((CONFIGS / f"paper_{same}.toml").read_text())
        assert tomllib.loads(text) == theirs | {"name": entry.name}


def test_toml_that_is_written_is_read_as_it_was():
    values = {
        "name": 'a "b"',
        "seed": 1,
        "on": True,
        "a": {"x": 1e-5, "list": [{"y": [1, 2], "z": {}}], "t": {"7": 1.0}},
    }
    assert tomllib.loads(to_toml(values)) == values


@pytest.fixture
def study(tmp_path, monkeypatch) -> list[str]:
    """Words of the command for two tiny networks, on faces of noise and three test pictures."""
    rng = np.random.default_rng(0)
    for name in ("wiki", "appa_real"):
        np.save(tmp_path / f"{name}.npy", rng.integers(0, 256, (16, 60, 60, 3), dtype=np.uint8))
        unknown, age = np.full(16, -1, np.int16), rng.integers(10, 90, 16).astype(np.int16)
        held_out = np.arange(16) >= 10
        np.savez(tmp_path / f"{name}.labels.npz", held_out=held_out, age=age, gender=unknown, expression=unknown)
    lap = write_appa_real(tmp_path / "lap", {"test": [(f"{i}.jpg", 30, 30.4 + i, 4.0, 30) for i in range(3)]})
    for i in range(3):
        picture(lap / "test" / f"{i}.jpg_face.jpg", i)
    small = (CONFIGS / "table_one_small.toml").read_text().replace("80 = 1.0", "32 = 1.0")
    (tmp_path / "small.toml").write_text(small)
    monkeypatch.setattr(batch_norm, "BATCHES", 2)
    words = ["study", "table-one", "--faces", tmp_path, "--root", lap, "--recipe", tmp_path / "small.toml"]
    only = ["--only", "mobilenet_0.25_exits", "mobilenet_0.25_plain"]
    return [*map(str, words), "--out", str(tmp_path / "out"), *only]


@pytest.mark.timeout(600)
def test_table_and_picture_come_out_and_nothing_is_made_twice(study, tmp_path, capsys, monkeypatch):
    assert main(study) == 0
    out, printed = tmp_path / "out", capsys.readouterr().out
    rows = json.loads((out / "table-one.json").read_text())
    assert [(r["network"], r["elastic"], len(r["exits"]), r["pictures"]) for r in rows] == [
        ("MobileNet 0.25", True, 7, 3),
        ("MobileNet 0.25", False, 1, 3),
    ]
    assert all(0 < e["epsilon"] <= 1 and e["mae"] > 0 for r in rows for e in r["exits"].values())
    assert "| MobileNet 0.25 | 6.40 | " in printed and "| 0.452 | " in printed and "17 and of 12" in printed
    assert (out / "fig6.png").stat().st_size > 5000 and (out / "table-one.md").read_text() in printed
    monkeypatch.setattr(table_one, "train_by_protocol", lambda *_, **__: pytest.fail("it trained again"))
    monkeypatch.setattr(table_one, "evaluate", lambda *_, **__: pytest.fail("it judged again"))
    assert main(study) == 0 and main([*study, "--report"]) == 0
    small = tmp_path / "small.toml"
    small.write_text(small.read_text().replace("seed = 1", "seed = 2"))
    assert main(study) == 4
    assert "another recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--only", "lenet_plain"], "lenet_plain"),
        (["--initial", "lenet=w.h5"], "lenet"),
        (["--report"], "no finished network"),
        (["--recipe", "absent.toml"], "absent.toml"),
        (["--devices", "0"], "--devices"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(study, monkeypatch, capsys, given, says):
    monkeypatch.setattr(table_one, "train_by_protocol", lambda *_, **__: pytest.fail("it trained"))
    assert main([*study, *given]) != 0
    assert says in capsys.readouterr().err


def test_a_test_set_without_deviations_has_no_epsilon():
    row = {"network": "VGG16", "elastic": False, "initial": "at random", "size": 32, "pictures": 3}
    lines = markdown([row | {"exits": {"exit_13": {"multiply_adds": 10**9, "mae": 7.126, "mae_95": (6.0, 8.0)}}}], [])
    assert "| VGG16 |  |  | 5.72 | 7.13 (6.00-8.00) |  |  |" in lines
    assert any("has no epsilon-error" in line for line in lines)
