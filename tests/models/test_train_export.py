"""The whole way of a network: data, training, resuming, export, evaluation; tiny, on the astronaut's face."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest
import torch

from app.cli import main
from models.data import views as data
from models.data.batches import Augmentation, TrainingBatches, plain_crops, to_input
from models.data.sets import fer2013, utkface
from models.data.sets.base import DataError
from models.judging import spoilt_report
from models.judging.evaluate import Pictures, evaluate
from models.judging.figures import draw, table
from models.judging.spoilt import evaluate_spoilt
from models.manifest import Manifest, ManifestError, find_manifest
from models.networks.backbones import build_backbone
from models.networks.elastic import ElasticNetwork
from models.onnx_file import add_size, at_size, sizes_apart
from models.session import cpu_session
from models.shipping.check import ExportError
from models.shipping.export import export, write_both
from models.training import batch_norm, loop, train
from models.training.batch_norm import for_size
from models.training.config import Config, TrainingError
from models.training.folder import forget_after, load_initial, load_trained, save
from models.training.loop import Hardware, Start
from models.training.protocol import train_by_protocol
from models.training.shipped import load_shipped
from models.training.teacher import teacher_answers
from tests.support.faces import write_fer2013, write_utkface
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAPER = ROOT / "models" / "configs" / "paper_mobilenet_v1.toml"
CONFIG = """
name = "tiny"
seed = 3
[network]
backbone = "mobilenet_v1"
options = { alpha = 0.25 }
exits = { 3 = 1.0, 7 = 1.0, 13 = 1.0 }
context = { 3 = [8] }
stop_gradient = [3]
input_sizes = { 32 = 0.5, 48 = 0.5 }
[loss]
weights = { age = 1.0, age_l1 = 0.2, gender = 1.0, expression = 1.0 }
sigma_years = 2.0
distil = 0.5
[optimiser]
steps = 6
learning_rate = 1e-3
weight_decay = 0.02
warmup = 0.2
ema = 0.5
batch = { utkface = 6, fer2013 = 4 }
[augmentation]
zoom = 0.1
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Iterator[Path]:
    """A folder with pictures, prepared faces, a configuration and a finished training."""
    folder = tmp_path_factory.mktemp("training")
    utk = utkface.read(write_utkface(folder / "utk", 24))
    data.prepare(utk, np.arange(24) % 4 == 0, folder / "faces", workers=1)
    fer = fer2013.read(write_fer2013(folder / "fer"))
    data.prepare(fer, fer.held_out, folder / "faces", workers=1)
    (folder / "tiny.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_norm, "BATCHES", 2)
        patch.setattr(train, "VALIDATION_BATCHES", 2)
        train.train(folder / "tiny.toml", folder / "faces", folder / "run")
        yield folder


def test_what_ships_is_the_average_and_not_the_last_step(work):
    last = state(work / "run")["network"]
    shipped = load_trained(work / "run")[1].state_dict()
    kernel = "heads.exit_13.dense.age.weight"
    assert not torch.equal(shipped[kernel], last[kernel])
    assert torch.equal(shipped[kernel], state(work / "run")["average"][f"module.{kernel}"])


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 cut"])
def test_a_broken_checkpoint_says_so(work, tmp_path, content):
    shutil.copytree(work / "run", tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(content)
    with pytest.raises(TrainingError, match="cut off or not a checkpoint"):
        load_trained(tmp_path / "run")
    with pytest.raises(TrainingError, match="cut off or not a checkpoint"):
        train.train(work / "tiny.toml", work / "faces", tmp_path / "run")


def test_a_resumed_training_writes_no_step_twice(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("step,loss\n20,9.0\n40,8.0\n60,7.0\n80,6")
    forget_after(log, 40)
    assert log.read_text().split() == ["step,loss", "20,9.0", "40,8.0"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_training_on_a_gpu_that_is_not_there_says_so(work, tmp_path):
    with pytest.raises(TrainingError, match="finds no GPU"):
        train.train(work / "tiny.toml", work / "faces", tmp_path, hardware=Hardware(device="cuda"))


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def test_a_training_leaves_log_validation_and_checkpoint(work):
    rows = list(csv.DictReader((work / "run" / "validation.csv").read_text().splitlines()))
    exits = ["exit_03", "exit_07", "exit_13"]
    assert [(r["size"], r["exit"]) for r in rows] == [(size, e) for size in ("32", "48") for e in exits]
    assert rows[0]["step"] == "6"
    assert all(0 < float(r["mae"]) < 100 and 0 <= float(r["expression"]) <= 1 for r in rows)
    assert state(work / "run")["step"] == 6


def test_a_resumed_training_is_the_unbroken_one_to_the_bit(work, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", -1.0)
    saves = []

    class Cut(Exception):
        pass

    def save_and_cut(out, step, *rest, **parts):
        save(out, step, *rest, **parts)
        saves.append(step)
        if step == 3:
            raise Cut

    monkeypatch.setattr(loop, "save", save_and_cut)
    with pytest.raises(Cut):
        train.train(work / "tiny.toml", work / "faces", tmp_path)
    train.train(work / "tiny.toml", work / "faces", tmp_path)
    assert saves == [1, 2, 3, 4, 5, 6]
    one, two = state(work / "run"), state(tmp_path)
    for part in ("network", "average"):
        assert one[part].keys() == two[part].keys()
        for key, value in one[part].items():
            assert torch.equal(value, two[part][key]), key


def test_another_configuration_does_not_go_on_an_old_training(work, tmp_path):
    shutil.copytree(work / "run", tmp_path / "run")
    (tmp_path / "other.toml").write_text(CONFIG.replace("seed = 3", "seed = 4"))
    with pytest.raises(TrainingError, match="another configuration"):
        train.train(tmp_path / "other.toml", work / "faces", tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("steps = 6\n", ""), "missing \\['steps'\\]"),
        (("sigma_years", "sigma"), "sigma"),
        (("{ 3 = 1.0, 7 = 1.0, 13 = 1.0 }", "{ 3 = 0.0 }"), "weight above 0"),
        (("[loss]", "[loss"), "configuration"),
        (('"mobilenet_v1"', '"alexnet"'), "alexnet"),
        (("13 = 1.0 }", "14 = 1.0 }"), "rising"),
        (("context = { 3 =", "context = { 4 ="), "without an exit"),
        (("{ 32 = 0.5, 48 = 0.5 }", "{ 32 = 0.0 }"), "input_sizes"),
        (("{ 32 = 0.5, 48 = 0.5 }", "{}"), "input_sizes"),
        (('name = "tiny"', 'name = "tiny"\nsurprise = 1'), "surprise"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(tmp_path, change, says):
    (tmp_path / "c.toml").write_text(CONFIG.replace(*change))
    with pytest.raises(TrainingError, match=says):
        Config.read(tmp_path / "c.toml").build()


@pytest.fixture(scope="module")
def exported(work) -> Manifest:
    return export(work / "run", work / "faces", work / "models")


def test_the_manifest_tells_all_that_the_application_needs(exported):
    assert exported.input_sizes == (32, 48) and exported.genders == ("male", "female")
    assert [e.name for e in exported.exits] == ["exit_03", "exit_07", "exit_13"]
    assert (
        exported.exits[0].multiply_adds[32] < exported.exits[1].multiply_adds[32] < exported.exits[1].multiply_adds[48]
    )
    for one in exported.exits:
        for size in exported.input_sizes:
            assert one.interval_scale(size, 50) < one.interval_scale(size) < one.interval_scale(size, 90)
            assert 0 <= one.validation[size]["coverage_50"] <= one.validation[size]["coverage_90"] <= 1
    assert [(e.name, *e.multiply_adds) for e in exported.mirrored] == [
        ("exit_03+mirror", 48),
        ("exit_07+mirror", 48),
        ("exit_13+mirror", 48),
    ]
    for plain, twice in zip(exported.exits, exported.mirrored, strict=True):
        assert twice.multiply_adds[48] == 2 * plain.multiply_adds[48]
        assert twice.validation[48].keys() == plain.validation[48].keys()
        assert exported.exit(f"{plain.block}+mirror") is twice and exported.exit(str(plain.block)) is plain
    check = exported.about["check"]
    assert 0 < check["of_the_file"] <= check["allowed"] and check["pictures"] > 12  # the astronaut, and held-out faces
    assert "research" in exported.licence
    assert exported.verify()[:1]
    assert Manifest.read(exported.network.with_suffix(".json")) == exported
    assert find_manifest(str(exported.network)) == exported.network.with_suffix(".json")


def test_an_export_that_differs_is_refused_and_writes_nothing(work, tmp_path, monkeypatch):
    def broken(network, size, path, any_size):
        to_onnx_original(network, size, path, any_size)
        model = onnx.load(path)
        bias = next(i for i in model.graph.initializer if i.name.endswith("exit_07.dense.gender.bias"))
        values = onnx.numpy_helper.to_array(bias) + np.float32([0.0, 0.5])
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(model, path)

    from models.shipping import network_file as module

    to_onnx_original = module.to_onnx
    monkeypatch.setattr(module, "to_onnx", broken)
    with pytest.raises(ExportError, match="differ"):
        export(work / "run", work / "faces", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_files_that_the_application_would_refuse_are_not_written(exported, tmp_path):
    wrong = manifest_json(exported)
    wrong["exits"].reverse()
    with pytest.raises(ExportError, match="shallowest"):
        write_both(tmp_path, "tiny", exported.network.read_bytes(), wrong)
    with pytest.raises(ExportError, match="sha256"):
        write_both(tmp_path, "tiny", b"another network", manifest_json(exported))
    assert list(tmp_path.iterdir()) == []
    written = write_both(tmp_path, "tiny", exported.network.read_bytes(), manifest_json(exported))
    assert written.exits == exported.exits and len(list(tmp_path.iterdir())) == 2


def test_evaluation_reads_pictures_and_reports_per_size_and_exit(work, exported):
    report = evaluate(exported, Pictures(dataset="utkface", root=work / "utk"), align=True)
    assert report["pictures"] == 24 and list(report["figures"]) == [32, 48]
    for size, exits in report["figures"].items():
        plain = {"exit_03", "exit_07", "exit_13"}
        assert set(exits) == plain | ({f"{name}+mirror" for name in plain} if size == 48 else set())
        for row in exits.values():
            assert row["mae_95"][0] <= row["mae"] <= row["mae_95"][1]
            assert 0 <= row["cs5"] <= 1 and 0 <= row["gender"] <= 1
            assert 0 <= row["coverage_50"] <= row["coverage_68"] <= row["coverage_90"] <= 1
            assert sum(d["faces"] for d in row["mae_by_decade"].values()) == 24
    assert json.loads(json.dumps(report))["model"] == "tiny"
    assert sum(line.startswith("exit_13 ") for line in table(report)) >= 2
    few = Pictures(dataset="utkface", root=work / "utk", names=[p.name for p in (work / "utk").iterdir()][:5])
    aligned = evaluate(exported, few, align=False, size=40)
    assert aligned["pictures"] == 5 and aligned["alignment"] == "one fixed crop" and list(aligned["figures"]) == [40]


def test_evaluation_of_expressions(work, exported):
    report = evaluate(exported, Pictures(dataset="fer2013", root=work / "fer", split="validation"), size=48)
    assert report["pictures"] == 14
    for row in report["figures"][48].values():
        assert set(row) == {"expression", "expression_95", "macro_f1", "recall_by_expression"}


def test_evaluation_by_votes_and_on_spoilt_pictures(work, exported, tmp_path):
    pictures = sorted((work / "fer" / "validation").rglob("*.png"))
    pictures += sorted((work / "fer" / "validation").rglob("*.jpg"))
    head = "path,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF,ambiguous"
    rows = [f"{'/'.join(p.parts[-3:])},8,2,0,0,0,0,0,0,0,0,0" for p in pictures[:6]]
    rows += [f"{'/'.join(p.parts[-3:])},2,0,0,0,0,0,0,8,0,0,0" for p in pictures[6:8]]
    (tmp_path / "votes.csv").write_text("\n".join([head, *rows]) + "\n")
    (tmp_path / "twins.txt").write_text("/".join(pictures[0].parts[-3:]) + "\n")
    votes = {"votes": tmp_path / "votes.csv", "without": tmp_path / "twins.txt"}
    voted = Pictures(dataset="ferplus", root=work / "fer", **votes)
    report = evaluate(exported, voted)
    assert report["pictures"] == 7
    row = report["figures"][48]["exit_13"]
    # Contempt is never right, whatever is said.
    assert row["expression"] in (0.0, *(i / 7 for i in range(6))) and 0 <= row["expression_fer2013"] <= 1
    with pytest.raises(DataError, match="votes are needed"):
        evaluate(exported, Pictures(dataset="ferplus", root=work / "fer"))
    spoilt = evaluate_spoilt(exported, voted, sample=2)
    assert {"expression"} == set(spoilt["figures"][60]["noise"][1][48]["exit_13"])


def test_spoilt_pictures_are_evaluated_the_same_twice_with_means_and_worsts(work, exported, tmp_path):
    faces = Pictures(dataset="utkface", root=work / "utk")
    first, again = (evaluate_spoilt(exported, faces, sample=3) for _ in range(2))
    assert first == again and first["pictures"] == 3
    by_kind = first["figures"][30]
    assert len(by_kind) >= 16 and all(len(levels) == 3 for kind, levels in by_kind.items() if kind != "clean")
    figures = by_kind["motion"][1][48]["exit_13"]
    assert set(figures) == {"mae", "bias", "gender", "coverage_50", "coverage_68", "coverage_90"}
    summary, clean = first["summary"][30][48]["exit_13"], by_kind["clean"][0][48]["exit_13"]
    ratios = [levels[1][48]["exit_13"]["mae"] / clean["mae"] for kind, levels in by_kind.items() if kind != "clean"]
    assert summary["mae_ratio"] == pytest.approx(np.mean(ratios))
    assert summary["mae_worst_ratio"] == pytest.approx(max(ratios))
    lines = spoilt_report.table(first)
    assert any(line.startswith("motion") for line in lines) and any(line.startswith("exit_13@48") for line in lines)
    spoilt_report.draw(json.loads(json.dumps(first)), tmp_path / "spoilt.png")
    assert cv2.imread(str(tmp_path / "spoilt.png")).shape[1] > 800


def test_reports_are_drawn_beside_each_other(work, exported, tmp_path):
    report = json.loads(json.dumps(evaluate(exported, Pictures(dataset="fer2013", root=work / "fer"))))
    draw([report, report | {"model": "another"}], tmp_path / "out.png")
    assert cv2.imread(str(tmp_path / "out.png")).shape[1] > 500


def manifest_json(exported: Manifest) -> dict:
    return json.loads(exported.network.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(schema=7), "schema 7"),
        (lambda d: d.pop("exits"), "exits"),
        (lambda d: d.update(exits=[]), "exits"),
        (lambda d: d["exits"].reverse(), "shallowest"),
        (lambda d: d["mirrored"].reverse(), "mirrored exits must rise"),
        (lambda d: d["mirrored"][1].update(name="exit_07"), "of no exit"),
        (lambda d: d["mirrored"][1].update(block=8), "of no exit"),
        (lambda d: d["mirrored"][0].update(multiply_adds={}), "has sizes"),
        (lambda d: d["mirrored"][0].update(multiply_adds={"64": 5}), "has sizes"),
        (lambda d: d["mirrored"][0]["multiply_adds"].update({"48": 10**12}), "mirrored exits must rise"),
        (lambda d: d["mirrored"][0]["validation"]["48"].pop("gender"), "lacks an accuracy"),
        (lambda d: d["exits"][1]["multiply_adds"].update({"32": 5}), "rise"),
        (lambda d: d["exits"][0]["validation"]["32"].pop("mae"), "MAE"),
        (lambda d: d["network"].update(file="../../etc/passwd"), "beside"),
        (lambda d: d["network"].update(file="none.onnx"), "not beside"),
        (lambda d: d["input"].update(sizes=[]), "input sizes"),
        (lambda d: d["input"].update(sizes=[10**7]), "input sizes"),
        (lambda d: d["exits"][0].update(block=float("inf")), "incomplete or wrong"),
        (lambda d: d["exits"][0].update(name="exit_07"), "one name"),
        (lambda d: d["exits"][0]["age_interval_scale"]["32"].update({"68": float("nan")}), "interval scale"),
        (lambda d: d["exits"][0]["age_interval_scale"]["32"].update({"50": 50.0}), "interval scale"),
        (lambda d: d["exits"][0].update(age_interval_scale=0.8), "incomplete or wrong"),
        (lambda d: d["exits"][0]["validation"]["32"].update(gender=float("nan")), "accuracy"),
        (lambda d: d["exits"][0]["validation"]["32"].pop("expression"), "accuracy"),
        (lambda d: d["labels"].update(gender="mf"), "list"),
        (lambda d: d["labels"].update(expression=["happy"]), "two labels"),
        (lambda d: d["template"]["points"].__setitem__(3, [float("nan"), 0.5]), "47 points"),
        (lambda d: d["template"].update(points=[[0, 0]]), "47"),
        (lambda d: d["template"].update(points="xyz"), "incomplete or wrong|tiny"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(exported, tmp_path, change, says):
    shutil.copy(exported.network, tmp_path)
    values = manifest_json(exported)
    change(values)
    (tmp_path / "tiny.json").write_text(json.dumps(values))
    with pytest.raises(ManifestError, match=says):
        Manifest.read(tmp_path / "tiny.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00\x01", '"a"', "[" * 100_000])
def test_what_is_no_manifest_says_so(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ManifestError, match=r"m\.json"):
        Manifest.read(tmp_path / "m.json")


def test_a_network_that_was_cut_short_is_noticed(exported, tmp_path):
    shutil.copy(exported.network.with_suffix(".json"), tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(exported.network.read_bytes()[:-100])
    with pytest.raises(ManifestError, match="sha256"):
        Manifest.read(tmp_path / "tiny.json").verify()


def test_an_unknown_model_names_the_known_ones():
    with pytest.raises(ManifestError, match="neither"):
        find_manifest("no_such_model")


def test_a_training_may_start_from_an_earlier_one(work, tmp_path):
    """All weights that fit are taken over, averaged as they ship; an exit that is new starts at random and is named."""
    config = tmp_path / "more.toml"
    config.write_text(CONFIG.replace("exits = { 3", "exits = { 2 = 1.0, 3"))
    network = Config.read(config).build()
    left = load_initial(network, work / "run")
    assert left == ["heads.exit_02"]
    earlier = load_trained(work / "run")[1].state_dict()
    mine = network.state_dict()
    assert all(torch.equal(mine[key], value) for key, value in earlier.items())


def test_early_exits_may_be_trained_alone(work, tmp_path):
    """Weight 0 for the others: nothing behind the last trained exit runs, and nothing but its head is changed."""
    config = tmp_path / "early.toml"
    config.write_text(CONFIG.replace("7 = 1.0, 13 = 1.0", "7 = 0.0, 13 = 0.0").replace("distil = 0.5", ""))
    assert Config.read(config).deepest_trained == 3
    train.train(config, work / "faces", tmp_path / "run", start=Start(initial=work / "run"), stop_after=3)
    before, after = (dict(load_trained(run)[1].named_parameters()) for run in (work / "run", tmp_path / "run"))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("heads.exit_03.") for name in changed)


def test_a_training_may_start_halfway_between_two(work, tmp_path):
    """What only one of the two has stays as it is; an average without a start, or for the paper's protocol, is refused."""
    config = tmp_path / "other.toml"
    config.write_text(
        CONFIG.replace("seed = 3", "seed = 4").replace("exits = { 3 = 1.0, 7", "exits = { 3 = 1.0, 6 = 1.0, 7")
    )
    train.train(config, work / "faces", tmp_path / "other", stop_after=1)
    network = Config.read(config).build()
    load_initial(network, tmp_path / "other")
    train._average(network, work / "run", train.load_parts(Config.read(config), work / "faces")[0])
    one, other = (load_trained(run)[1].state_dict() for run in (tmp_path / "other", work / "run"))
    mean = network.state_dict()
    kernel = "backbone.blocks.0.1.0.weight"
    assert torch.allclose(mean[kernel], (one[kernel] + other[kernel]) / 2) and not torch.equal(
        one[kernel], other[kernel]
    )
    assert torch.equal(mean["heads.exit_06.dense.age.weight"], one["heads.exit_06.dense.age.weight"])
    with pytest.raises(TrainingError, match="--initial"):
        Start(average_with=work / "run")
    both = Start(initial=work / "run", average_with=tmp_path / "other")
    with pytest.raises(TrainingError, match="optimiser"):
        train_by_protocol(PAPER, work / "faces", tmp_path / "none", start=both)


def test_a_training_may_start_from_a_network_that_ships(work, exported, tmp_path):
    """Batch norm, folded away in the file, is there again: the same outputs in eval mode, and statistics that are the faces'."""
    config = Config.read(work / "tiny.toml")
    parts, held_out = train.load_parts(config, work / "faces")
    network = config.build()
    assert load_shipped(network, exported.network.with_suffix(".json"), parts) == []
    crops = plain_crops(held_out["utkface"].pixels, 48)
    session = cpu_session(at_size(onnx.load(exported.network), 48).SerializeToString())
    theirs = session.run(["exit_03.age", "exit_13.age"], {"faces": crops})
    with torch.inference_mode():
        outputs = network.eval()(to_input(torch.from_numpy(crops)))
    for name, expected in zip(("exit_03", "exit_13"), theirs, strict=True):
        np.testing.assert_allclose(torch.softmax(outputs[name].age, 1).numpy(), expected, atol=1e-5)
    norm = network.backbone.stem[1]
    assert norm.running_var.std() > 0 and not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))


def test_a_shipped_network_of_another_architecture_is_refused(work, exported):
    config = Config.read(work / "tiny.toml")
    parts, _ = train.load_parts(config, work / "faces")
    other = ElasticNetwork(build_backbone("mobilenet_v1", alpha=0.5), [13])
    with pytest.raises(TrainingError, match="another architecture"):
        load_shipped(other, exported.network.with_suffix(".json"), parts)


def test_every_step_has_one_size_out_of_the_shares(work):
    config = Config.read(work / "tiny.toml")
    parts, _ = train.load_parts(config, work / "faces")
    batches = TrainingBatches(parts, {32: 3.0, 48: 1.0}, 1, Augmentation())
    sizes = [batches[step]["crops"].shape[1] for step in range(60)]
    assert set(sizes) == {32, 48} and 35 <= sizes.count(32) <= 55
    assert sizes[:5] == [batches[step]["crops"].shape[1] for step in range(5)]


def test_a_run_writes_what_tensorboard_reads(work):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(work / "run" / "events"))
    events.Reload()
    [mae] = events.Scalars("mae at 48 px/exit_13")
    rows = csv.DictReader((work / "run" / "validation.csv").read_text().splitlines())
    [row] = [r for r in rows if r["size"] == "48" and r["exit"] == "exit_13"]
    assert mae.step == 6 and mae.value == pytest.approx(float(row["mae"]), abs=1e-3)


def test_a_smoke_training_tries_everything_and_keeps_nothing(work, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SMOKE_STEPS", 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    figures = train.smoke(train.train, work / "tiny.toml", work / "faces")
    assert figures["seconds per step"] > 0 and 0 < figures["MAE at 32 px"] < 100 and 0 < figures["MAE at 48 px"] < 100
    assert list(tmp_path.iterdir()) == []


def test_two_processes_share_the_work_and_one_writes(work, exported, tmp_path):
    """As several GPUs would, through Fabric's own launcher, on two CPU processes; with a teacher, whom one of them asks."""
    code = (
        "import sys; from pathlib import Path; from models.training.loop import Hardware; "
        "from models.training.train import train; *paths, teacher = map(Path, sys.argv[1:]); "
        "train(*paths, teacher=teacher, hardware=Hardware(devices=2), stop_after=2)"
    )
    script, config = tmp_path / "go.py", tmp_path / "taught.toml"
    script.write_text(code)
    config.write_text(CONFIG.replace("distil = 0.5", "teacher = 1.0"))
    manifest = exported.network.with_suffix(".json")
    subprocess.run(
        [sys.executable, str(script), str(config), str(work / "faces"), str(tmp_path / "run"), str(manifest)],
        check=True, timeout=170, env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert state(tmp_path / "run")["step"] == 2
    assert load_trained(tmp_path / "run")[0].name == "tiny"
    assert sorted(p.name for p in (tmp_path / "run").glob("teacher.*")) == ["teacher.npz"]


def test_each_size_has_statistics_of_its_own_in_one_file(work, exported):
    """The file runs as it is at its default size; changed for another it gives what torch gives there, exit by exit."""
    file = onnx.load(exported.network)
    assert sizes_apart(file) == {32} and exported.input_sizes == (32, 48)
    config, trained = load_trained(work / "run")
    parts, _ = train.load_parts(config, work / "faces")
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = for_size(trained, parts, 32, torch.device("cpu"))(to_input(torch.from_numpy(faces)))
    wanted = np.concatenate([torch.softmax(o.age, 1).numpy() for o in expected.values()])
    names = [f"{name}.age" for name in expected]
    own, default = (
        np.concatenate(cpu_session(m.SerializeToString()).run(names, {"faces": faces}))
        for m in (at_size(file, 32), file)
    )
    assert np.abs(own - wanted).max() < 1e-5 < np.abs(default - wanted).max()


def test_parameters_that_fit_nothing_are_refused(exported):
    file = onnx.load(exported.network)
    add_size(file, 64, {"nobody.weight": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="nobody"):
        at_size(file, 64)
    file = onnx.load(exported.network)
    kernel = next(i.name for i in file.graph.initializer if i.name.endswith("stem.0.weight"))
    add_size(file, 64, {kernel: np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="3 channels"):
        at_size(file, 64)


def test_the_engine_runs_every_size_with_its_own_parameters(exported):
    from app.network.onnx_cpu import CpuEngine
    from scheduler.profile import OperatingPoint

    engine = CpuEngine(exported)
    plain = {OperatingPoint(e.name, s) for e in exported.exits for s in (32, 48)}
    assert set(engine.points) == plain | {OperatingPoint(f"{e.name}+mirror", 48) for e in exported.exits}
    file = onnx.load(exported.network)
    for size in exported.input_sizes:
        faces = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
        session = cpu_session(at_size(file, size).SerializeToString())
        for one in exported.exits:
            mine = engine.outputs(OperatingPoint(one.name, size), faces)
            [theirs] = session.run([f"{one.name}.age"], {"faces": faces})
            assert np.abs(mine.age - theirs).max() < 1e-5
        twice = OperatingPoint("exit_07+mirror", size)
        if size == 48:
            both = [engine.outputs(OperatingPoint("exit_07", size), f).age for f in (faces, faces[:, :, ::-1].copy())]
            assert np.abs(engine.outputs(twice, faces).age - np.mean(both, axis=0)).max() < 1e-6
    one = OperatingPoint("exit_07", 32)
    assert CpuEngine(exported, points=[one]).points == (one,)


def test_a_teachers_answers_are_the_mean_of_view_and_mirror_image_and_are_asked_once(
    work, exported, tmp_path, monkeypatch
):
    manifest = exported.network.with_suffix(".json")
    parts, _ = train.load_parts(Config.read(work / "tiny.toml"), work / "faces")
    answers = teacher_answers(manifest, parts, tmp_path / "teacher.npz")
    views, usable, _ = parts[0]
    size = max(Manifest.read(manifest).input_sizes)
    file = at_size(onnx.load_model(manifest.with_suffix(".onnx")), size)
    session = cpu_session(file.SerializeToString())
    crop = plain_crops(views.pixels[usable[:1]], size)
    (one,), (other,) = (session.run(["exit_13.age"], {"faces": c}) for c in (crop, crop[:, :, ::-1].copy()))
    assert answers[0]["age"][usable[0]] == pytest.approx((one[0] + other[0]) / 2, abs=1e-3)
    held_out = np.setdiff1d(np.arange(len(views)), usable)
    assert not answers[0]["age"][held_out].any(), "held-out faces are not asked about"
    monkeypatch.setattr("models.training.teacher.cpu_session", None)
    again = teacher_answers(manifest, parts, tmp_path / "teacher.npz")
    assert all(np.array_equal(a[head], b[head]) for a, b in zip(answers, again, strict=True) for head in a)
    with pytest.raises(TrainingError, match="other faces"):
        teacher_answers(manifest, parts[:1], tmp_path / "teacher.npz")
    (tmp_path / "teacher.npz").write_bytes(b"PK cut off")
    with pytest.raises(TrainingError, match="remove it"):
        teacher_answers(manifest, parts, tmp_path / "teacher.npz")


def test_a_network_learns_from_a_teacher_and_a_resumed_training_too(work, exported, tmp_path, capsys):
    manifest = exported.network.with_suffix(".json")
    config = tmp_path / "taught.toml"
    config.write_text(CONFIG.replace("distil = 0.5", "teacher = 1.0"))
    train.train(config, work / "faces", tmp_path / "whole", teacher=manifest)
    for _ in range(2):
        train.train(config, work / "faces", tmp_path / "halves", teacher=manifest, stop_after=3)
    taught, resumed = (state(tmp_path / name)["network"] for name in ("whole", "halves"))
    assert all(torch.equal(taught[k], resumed[k]) for k in taught)
    config.write_text(CONFIG.replace("distil = 0.5", ""))
    train.train(config, work / "faces", tmp_path / "alone")
    alone = state(tmp_path / "alone")["network"]
    assert any(not torch.equal(taught[k], alone[k]) for k in taught)
    given = ["--config", str(PAPER), "--faces", str(work / "faces"), "--out", str(tmp_path / "wrong")]
    assert main(["train", *given, "--teacher", str(manifest)]) != 0
    assert "--teacher goes with a configuration" in capsys.readouterr().err
    for other, wrong in ((train.train, PAPER), (train_by_protocol, config)):
        with pytest.raises(TrainingError, match="it is for models/training"):
            other(wrong, work / "faces", tmp_path / "wrong")
    with pytest.raises(TrainingError, match="give both"):
        train.train(config, work / "faces", tmp_path / "wrong", teacher=manifest)
