"""`run` over several files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from app.cli import main
from app.errors import SourceError
from app.footage.many import Outcome, summary_table
from app.sources.many import expand, series
from app.sources.open import open_source
from tests.support.videos import make


def portrait(i: int = 0, size: tuple[int, int] = (320, 320)) -> np.ndarray:
    return cv2.resize(astronaut()[..., ::-1], size)


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    """Two portraits, a short clip, a broken file and a text."""
    folder = tmp_path_factory.mktemp("many") / "footage"
    folder.mkdir()
    for name in ("anna.jpg", "bert.png"):
        cv2.imwrite(str(folder / name), portrait())
    make(folder / "clip.mp4", 8, size=(320, 320), draw=portrait)
    (folder / "torn.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:200])
    (folder / "notes.txt").write_text("none of your business")
    return folder


def run(*args: object) -> int:
    return main(["run", "--no-show", "--exit", "exit_04", *map(str, args)])


def test_what_sources_mean(footage, tmp_path, monkeypatch):
    names = [str(footage / n) for n in ("anna.jpg", "bert.png", "clip.mp4", "torn.mp4")]
    assert expand([str(footage)]) == names
    assert expand([str(footage / "*.mp4"), str(footage / "clip.mp4")]) == names[2:]
    assert expand([f"file://{footage}/clip.mp4", "0", "rtsp://host/a?b=*", "-"]) == [
        names[2],
        "0",
        "rtsp://host/a?b=*",
        "-",
    ]
    (tmp_path / "a[1].mp4").touch()
    assert expand([str(tmp_path / "a[1].mp4")]) == [str(tmp_path / "a[1].mp4")], "a file's own name is no pattern"
    with pytest.raises(SourceError, match="No file matches"):
        expand([str(footage / "*.mkv")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no video or picture in it"):
        expand([str(tmp_path / "empty")])


def test_numbered_pictures_are_a_video(tmp_path):
    for number in (9, 10, 11):
        cv2.imwrite(str(tmp_path / f"shot{number}.png"), np.full((40, 50, 3), 10 * number, np.uint8))
    (tmp_path / "shot10.png").write_bytes(b"broken")
    assert [p.name for p in series(str(tmp_path / "shot%d.png"))] == ["shot9.png", "shot10.png", "shot11.png"]
    assert series(str(tmp_path / "shot%03d.png")) == []
    source = open_source(str(tmp_path / "shot%d.png"))
    frames = list(source)
    assert [(f.time_s, f.image.mean()) for f in frames] == [(0, 90), (pytest.approx(0.08), 110)]
    assert "1 pictures in 1 place were damaged" in source.damaged


def test_a_folder_of_portraits_is_a_table_with_a_row_a_face_and_a_bad_file_is_told(footage, tmp_path, capsys):
    assert run("--source", footage, "--results", tmp_path / "all.csv") == 3
    told = capsys.readouterr()
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    stills = [r for r in rows if r["source"] in ("anna.jpg", "bert.png")]
    assert [r["source"] for r in stills] == ["anna.jpg", "bert.png"] and all(r["age"] for r in stills)
    assert {r["source"] for r in rows} == {"anna.jpg", "bert.png", "clip.mp4"}
    assert "torn.mp4 is cut off or damaged" in told.err and "1 of 4 files" in told.err
    assert "\nall " in told.out and "clip.mp4" in told.out


def test_each_file_has_its_own_outputs_and_resume_does_what_is_missing(footage, tmp_path, capsys):
    files = [footage / "anna.jpg", footage / "clip.mp4"]
    outputs = ("--results", tmp_path / "{stem}.jsonl", "--output", tmp_path / "{folder}-{name}.mkv")
    assert run("--source", *files, *outputs) == 0
    names = ["anna.jsonl", "clip.jsonl", "footage-anna.jpg.mkv", "footage-clip.mp4.mkv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert len((tmp_path / "clip.jsonl").read_text().splitlines()) == 8
    assert "source" not in json.loads((tmp_path / "clip.jsonl").read_text().splitlines()[0])
    before = (tmp_path / "clip.jsonl").stat().st_mtime_ns
    (tmp_path / "anna.jsonl").unlink()
    assert run("--source", files[0], "--source", files[1], *outputs, "--resume") == 0
    assert "1 of 2 files are complete" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert (tmp_path / "clip.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--output", "{tmp}/out.mp4"], "put {stem} into it"),
        (["--results", "{tmp}/{folder}.csv"], "put {name} or {folder} into the pattern"),
        (["--results", "{tmp}/a.csv", "--resume"], "--resume tells by"),
        (["--show", "--results", "{tmp}/a.csv"], "--show takes one file"),
        (["--loop"], "take one file"),
        (["--output", "{tmp}/footage/{stem}.mp4"], "overwritten"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(footage, tmp_path, capsys, args, says):
    (tmp_path / "footage").mkdir()
    make(tmp_path / "footage" / "clip.mp4", 2)
    cv2.imwrite(str(tmp_path / "footage" / "anna.jpg"), portrait())
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    args = [a.replace("{tmp}", str(tmp_path)) for a in args]
    show = [] if "--show" in args else ["--no-show"]
    assert main(["run", "--source", str(tmp_path / "footage"), *show, *args]) == 2
    assert says in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_the_summary_is_a_table():
    lines = summary_table(
        [Outcome("a.mp4", 100, 4.0, {1, 2}, 150, 149, 2.0), Outcome("b.mp4", remark="no video", failed=True)]
    )
    assert lines[1].split() == ["a.mp4", "100", "4.0", "2", "150", "149", "50.0"]
    assert lines[2].endswith("no video") and lines[3].split()[:2] == ["all", "100"]
