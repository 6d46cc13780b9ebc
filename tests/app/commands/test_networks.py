"""`networks inspect` lists blocks with cost, and says why a network cannot be looked into."""

from __future__ import annotations

import json

import pytest

from app.cli import main

RESNET = ["monai.networks.nets:ResNet", "--option", 'block="basic"', "--option", "layers=[1, 1, 1, 1]"]
RESNET += ["--option", "block_inplanes=[8, 8, 16, 16]", "--option", "spatial_dims=2", "--option", "n_input_channels=3"]


def test_blocks_are_listed_with_their_cost(tmp_path, capsys):
    out = tmp_path / "blocks.json"
    assert main(["networks", "inspect", *RESNET, "--size", "32", "--json", str(out)]) == 0
    lines = json.loads(out.read_text())
    assert [(line["path"], line["shape"][0], line["is_exit"]) for line in lines] == [
        ("layer1.0", 8, False),
        ("layer2.0", 8, False),
        ("layer3.0", 16, True),
        ("layer4.0", 16, True),
    ]
    costs = [line["multiply_adds"] for line in lines]
    assert costs == sorted(set(costs)) and lines[-1]["share"] == 1
    text = capsys.readouterr().out
    assert "4 blocks" in text and "3*  layer3.0" in text and f"{costs[0]:,}" in text
    assert main(["networks", "inspect", *RESNET, "--taps", "layer2", "--size", "32"]) == 0
    assert main(["networks", "inspect", "mobilenet_v1", "--option", "alpha=0.25", "--size", "32"]) == 0
    assert "13*" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere:Net"], 4, "cannot be imported"),
        (["alexnet"], 4, "module:callable"),
        (["mobilenet_v1", "--option", "alpha"], 2, "KEY=VALUE"),
        (["mobilenet_v1", "--option", "beta=1"], 4, "beta"),
        (["mobilenet_v1", "--size", "4"], 2, "--size"),
    ],
)
def test_what_cannot_be_looked_into_says_why(words, code, says, capsys):
    assert main(["networks", "inspect", *words]) == code
    assert says in capsys.readouterr().err
