"""Backbones and their Keras weights, against what Keras itself computed (tests/support/keras_reference.py wrote it down)."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from models.networks.backbones import build_backbone
from models.networks.elastic import ElasticNetwork
from models.networks.flops import WITHIN, multiply_adds, table_ii
from models.networks.inception import InceptionV3
from models.networks.keras_weights import WeightsError, load_keras_weights
from models.training.config import Config, TrainingError
from tests.support.keras_reference import BLOCKS, GOLDEN, SIZES, picture, ruled, sample
from tests.support.paths import ROOT

OPTIONS = {"mobilenet_v1": {"alpha": 0.25}, "resnet50": {}, "inception_v3": {}}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as archive:
        return {name: archive[name] for name in archive.files}


def keras_arrays(golden: dict, name: str) -> dict[str, np.ndarray]:
    lines = (line.split() for line in golden[f"{name}/weights"])
    return {key: ruled(key, tuple(map(int, shape.split(",")))) for key, shape in lines}


def write_h5(path: Path, arrays: dict[str, np.ndarray], counted_from: int = 0, whole_model: bool = False) -> Path:
    """As Keras publishes weights: a group a layer, in it datasets under the tensors' names, all listed in attributes."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        layers: dict[str, list[str]] = {}
        for key, array in arrays.items():
            layer, part = key.rsplit("/")
            if layer.startswith(("conv2d_", "batch_normalization_")):
                kind, _, number = layer.rpartition("_")
                count = int(number) + counted_from
                layer = f"{kind}_{count}" if count else kind
            tensor = f"{layer}/{part}:0"
            root.create_dataset(f"{layer}/{tensor}", data=array)
            layers.setdefault(layer, []).append(tensor)
        for layer, tensors in layers.items():
            root[layer].attrs["weight_names"] = [t.encode() for t in tensors]
        root.attrs["layer_names"] = [b"input_1", *(layer.encode() for layer in layers)]
        root.attrs["backend"] = b"tensorflow"
    return path


@pytest.mark.parametrize(
    ("name", "sizes", "how"),
    [
        ("mobilenet_v1", SIZES["mobilenet_v1"], {}),
        ("resnet50", SIZES["resnet50"], {"whole_model": True}),
        ("inception_v3", (96, 299), {"counted_from": 0}),
        ("inception_v3", (97,), {"counted_from": 95}),
    ],
)
def test_every_block_computes_what_keras_does(golden, tmp_path, name, sizes, how):
    arrays = keras_arrays(golden, name)
    network = build_backbone(name, **OPTIONS[name]).eval()
    assert load_keras_weights(network, write_h5(tmp_path / "w.h5", arrays, **how)) == []
    for size in sizes:
        with torch.inference_mode():
            x = network.stem(torch.from_numpy(picture(size)).permute(0, 3, 1, 2))
            assert len(network.blocks) == len(BLOCKS[name])
            for k, block in enumerate(network.blocks, start=1):
                x = block(x)
                key = f"{name}/{size}/{k}"
                mine = sample(x[0].permute(1, 2, 0).numpy(), key)
                np.testing.assert_allclose(mine, golden[key], atol=1e-4, rtol=0, err_msg=key)
                assert x.shape[1] == network.channels[k - 1]


def test_npz_and_h5_load_alike(golden, tmp_path):
    arrays = keras_arrays(golden, "mobilenet_v1")
    np.savez(tmp_path / "w.npz", **arrays)
    networks = [build_backbone("mobilenet_v1", alpha=0.25) for _ in range(2)]
    load_keras_weights(networks[0], tmp_path / "w.npz")
    load_keras_weights(networks[1], write_h5(tmp_path / "w.h5", arrays))
    for one, other in zip(networks[0].state_dict().values(), networks[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_weights_that_do_not_fit_are_refused_and_named(golden, tmp_path):
    arrays = keras_arrays(golden, "mobilenet_v1")
    path = write_h5(tmp_path / "w.h5", arrays)
    with pytest.raises(WeightsError, match="another alpha"):
        load_keras_weights(build_backbone("mobilenet_v1", alpha=0.5), path)
    with pytest.raises(WeightsError, match="no layer of this network"):
        load_keras_weights(InceptionV3(), path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_dataset("layers/conv2d/vars/0", data=np.zeros(3))
    with pytest.raises(WeightsError, match=r"layer_names"):
        load_keras_weights(InceptionV3(), tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:3000])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_keras_weights(InceptionV3(), tmp_path / "cut.h5")


def test_what_a_file_lacks_is_named(golden, tmp_path):
    arrays = keras_arrays(golden, "mobilenet_v1")
    del arrays["conv_pw_13/kernel"]
    left = load_keras_weights(build_backbone("mobilenet_v1", alpha=0.25), write_h5(tmp_path / "w.h5", arrays))
    assert left == ["blocks.12.1.0.weight"]


def test_inceptions_norms_learn_no_scale():
    network = InceptionV3()
    assert not [n for n, p in network.named_parameters() if n.endswith(".1.weight")]
    assert (
        sum(p.numel() for p in network.parameters()) == 21_802_784 - 2 * 17_216
    )  # Keras' count, less moving statistics


def test_table_ii_is_the_papers_within_three_per_cent_or_says_why():
    lines = table_ii()
    assert [line["network"] for line in lines if line["note"]] == ["ResNet50", *["ResNet50, 2017's pooling"] * 2]
    for line in lines:
        if line["note"]:
            assert abs(line["with_stem_difference"]) < 0.01
        else:
            assert abs(line["without_stem_difference"]) <= WITHIN
    assert {line["network"] for line in lines} >= {"InceptionV3", "ResNet50", "MobileNet 0.25", "VGG16, not elastic"}
    first, last = (line for line in lines if line["network"] == "MobileNet 0.75")
    assert first["paper_reduction"] == pytest.approx(1 - 1.53e8 / 3.16e8) and "paper_reduction" not in last
    for kind in ("without_stem", "with_stem"):
        assert first[f"{kind}_reduction"] == pytest.approx(1 - first[kind] / last[kind])


def test_what_is_counted_is_a_convolution_by_hand():
    network = ElasticNetwork(build_backbone("mobilenet_v1", alpha=0.25), (1, 2))
    whole, without = multiply_adds(network, 32), multiply_adds(network, 32, stem=False)
    stem = 16 * 16 * 8 * 3 * 9
    block = 16 * 16 * (8 * 9 + 8 * 16)
    assert whole["exit_01"] == stem + block + 16 * (101 + 2 + 7)
    assert whole["exit_01"] - without["exit_01"] == whole["exit_02"] - without["exit_02"] == stem


def test_inputs_too_small_for_a_backbone_are_refused_with_the_reason(tmp_path):
    text = (ROOT / "models" / "configs" / "paper_inception_v3.toml").read_text()
    (tmp_path / "small.toml").write_text(text.replace("224 = 1.0", "64 = 1.0"))
    with pytest.raises(TrainingError, match="75 px"):
        Config.read(tmp_path / "small.toml").build()
    with torch.inference_mode():
        assert InceptionV3().eval()(torch.zeros(1, 3, 75, 75)).shape == (1, 2048, 1, 1)
