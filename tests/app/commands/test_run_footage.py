"""`run` over files: what of footage reaches the outputs, the summary and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from app.cli import main
from app.compose import load_manifest
from app.network.calibrate import best_point
from models.manifest import DEFAULT_MODEL
from tests.support.videos import make, zero


def portrait(i: int, size: tuple[int, int]):
    return cv2.resize(astronaut()[..., ::-1], size)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Thirty pictures with the astronaut in them."""
    options = {"g": "5", "qp": "20", "bf": "0"}
    return make(tmp_path_factory.mktemp("footage") / "clip.mp4", 30, size=(320, 320), draw=portrait, options=options)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("strict", "code"), [([], 0), (["--strict"], 9)])
def test_damage_is_a_warning_or_with_strict_an_exit_code(clip, tmp_path, capsys, strict, code):
    path = tmp_path / "bad.mp4"
    path.write_bytes(clip.read_bytes())
    zero(path, 0.4, 0.6)
    out = tmp_path / "r.jsonl"
    assert (
        main(["run", "--source", str(path), "--no-show", "--exit", "exit_04", "--results", str(out), *strict]) == code
    )
    told = capsys.readouterr()
    assert "warning   bad.mp4: " in told.out and "damaged and left out" in told.out
    assert ("error: bad.mp4" in told.err) == bool(strict)
    assert 10 < len(lines(out)) < 30 and lines(out)[-1]["time_s"] == pytest.approx(29 / 25, abs=0.002)


def test_a_file_has_no_deadline_and_everybody_is_read_at_the_best_point(clip, tmp_path, capsys, monkeypatch):
    """However slow the machine says it is: the bytes are the same, and nothing is called late."""
    first, again, log = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "l.jsonl"
    assert main(["run", "--source", str(clip), "--no-show", "--results", str(first)]) == 0
    told = capsys.readouterr().out
    assert "budget    none" in told and "deadline  none" in told and "misses" not in told
    monkeypatch.setattr("app.network.probe.Probe.__call__", lambda self: 9.0)
    options = ["--results", str(again), "--log", str(log), "--budget-ms", "1"]
    assert main(["run", "--source", str(clip), "--no-show", *options]) == 0
    assert "apply only to cameras" in capsys.readouterr().out
    assert first.read_bytes() == again.read_bytes() != b""
    people = [p for line in lines(first) for p in line["people"]]
    assert len(people) == 30 and {(p["exit"], p["fresh"]) for p in people} == {
        (best_point(load_manifest(DEFAULT_MODEL)).exit, True)
    }
    frames = [r for r in lines(log) if r["type"] == "frame"]
    assert all(r["budget_ms"] is None and r["left_ms"] is None and not r["miss"] for r in frames)
    out = tmp_path / "r.json"
    assert main(["replay", str(log), "--json", str(out), "--plot", str(tmp_path / "p.png")]) == 0
    assert "Infinity" not in out.read_text()
    assert main(["replay", str(log), "--budget-ms", "33", "--report", str(tmp_path / "r.html")]) == 0
    assert main(["replay", str(log), "--rivals"]) == 2
    assert "had no deadline: add --budget-ms" in capsys.readouterr().err


def test_a_picture_is_read_at_once_also_lying_on_its_side(tmp_path):
    """A face whose landmarks do not hold still would be held back in a video, until it was found three times."""
    from PIL import Image

    canvas = np.full((480, 640, 3), 128, np.uint8)
    canvas[100:340, 200:440] = cv2.resize(astronaut()[:300, 80:380, ::-1], (240, 240))
    canvas = np.clip(canvas + np.random.default_rng(0).normal(0, 25, canvas.shape), 0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(canvas)[..., ::-1])
    Image.fromarray(stored).save(tmp_path / "portrait.jpg", exif=exif, quality=90)
    out = tmp_path / "r.jsonl"
    assert main(["run", "--source", str(tmp_path / "portrait.jpg"), "--no-show", "--results", str(out)]) == 0
    (line,) = lines(out)
    (person,) = line["people"]
    x, y, width, height = person["box"]
    assert person["fresh"] and person["age"] and 200 < x + width / 2 < 440 and 100 < y + height / 2 < 340
