"""ResNet50 and InceptionV3 from data to the engine: two steps of training, export, every exit, `bench`."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from app.cli import main
from app.network.onnx_cpu import CpuEngine
from models.data import views as data
from models.data.sets import fer2013, utkface
from models.manifest import TASKS as HEADS
from models.shipping.export import export
from models.shipping.network_file import Deployed
from models.training import batch_norm, train
from models.training.batch_norm import for_size
from models.training.folder import load_trained
from scheduler.profile import OperatingPoint
from tests.support.faces import write_fer2013, write_utkface

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.manifest import Manifest

CONFIG = """
name = "{name}"
seed = 3
[network]
backbone = "{name}"
options = {{}}
exits = {{ {exits} }}
input_sizes = {{ {size} = 1.0 }}
[loss]
weights = {{ age = 1.0, age_l1 = 0.2, gender = 1.0, expression = 1.0 }}
sigma_years = 2.0
[optimiser]
steps = 2
learning_rate = 1e-4
weight_decay = 0.02
warmup = 0.5
ema = 0.5
batch = {{ utkface = 4, fer2013 = 2 }}
[augmentation]
zoom = 0.1
"""
# The paper's exits of weight 1, and small inputs: InceptionV3 takes no less than 75 px; at 48 px ResNet50's last map is 2x2.
NETWORKS = {"resnet50": (range(9, 17), 48), "inception_v3": (range(6, 12), 75)}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    utk = utkface.read(write_utkface(folder / "utk", 24))
    data.prepare(utk, np.arange(24) % 2 == 0, folder / "faces", workers=1)
    fer = fer2013.read(write_fer2013(folder / "fer", 1))
    data.prepare(fer, fer.held_out, folder / "faces", workers=1)
    return folder / "faces"


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request, faces, tmp_path_factory) -> Iterator[tuple[Manifest, Path]]:
    """The manifest of a network that was trained for two steps, and its run's folder."""
    name, out = request.param, tmp_path_factory.mktemp(request.param)
    exits, size = NETWORKS[name]
    text = CONFIG.format(name=name, size=size, exits=", ".join(f"{k} = 1.0" for k in exits))
    (out / "config.toml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_norm, "BATCHES", 1)
        patch.setattr(train, "VALIDATION_BATCHES", 1)
        train.train(out / "config.toml", faces, out / "run")
        yield export(out / "run", faces, out), out / "run"


@pytest.mark.timeout(600)
def test_every_exit_of_the_exported_network_is_torchs(exported, faces):
    """The engine stops at each exit; torch computes the trained network with the statistics of its input size."""
    manifest, run = exported
    exits, size = NETWORKS[manifest.name]
    assert [e.block for e in manifest.exits] == list(exits) and manifest.input_sizes == (size,)
    config, trained = load_trained(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_norm, "BATCHES", 1)
        network = for_size(trained, train.load_parts(config, faces)[0], size, torch.device("cpu"))
    crops = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    with torch.inference_mode():
        outputs = Deployed(network).eval()(torch.from_numpy(crops))
    wanted = {
        f"{one.name}.{head}": outputs[i * len(HEADS) + k].numpy()
        for i, one in enumerate(manifest.exits)
        for k, head in enumerate(HEADS)
    }
    engine = CpuEngine(manifest, threads=1)
    for one in manifest.exits:
        got = engine.outputs(OperatingPoint(one.name, size), crops)
        for head in HEADS:
            assert np.abs(getattr(got, head) - wanted[one.output(head)]).max() < 1e-4, one.output(head)
    ages = [wanted[one.output("age")] for one in manifest.exits]
    assert all(np.abs(a - b).max() > 1e-4 for a, b in pairwise(ages))  # no exit is another one's copy


@pytest.mark.timeout(600)
def test_bench_times_every_exit(exported, tmp_path, capsys):
    manifest, _ = exported
    path, out = manifest.network.with_suffix(".json"), tmp_path / "bench.json"
    assert main(["bench", "--model", str(path), "--rounds", "3", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert {row["exit"] for row in report["rows"]} == {e.name for e in manifest.exits}
    assert all(row[how] > 0 for row in report["rows"] for how in ("early", "cut", "whole"))
    assert report["model"] == manifest.name and manifest.name in capsys.readouterr().out
