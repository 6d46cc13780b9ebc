"""`run` over several files."""

from __future__ import annotations

import csv
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from app.cli import main
from app.console.telling import printable
from app.domain import Frame, Result
from app.errors import SourceError
from app.footage.many import Outcome, summary_table
from app.footage.progress import Progress
from app.footage.table import Table
from app.sources.many import expand, series
from app.sources.open import open_source
from tests.support.builders import STATS
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


def test_pictures_are_annotated_as_pictures_and_a_clip_under_such_a_name_is_told(footage, tmp_path, capsys):
    code = run("--source", footage / "*.[jpm][pn]*[g4]", "--output", tmp_path / "{stem}.png")
    said = capsys.readouterr()
    assert code and "a picture holds one frame" in said.out + said.err
    written = {path.name: cv2.imread(str(path)) for path in tmp_path.iterdir()}
    assert sorted(written) == ["anna.png", "bert.png"]
    assert all(image.shape == (320, 320, 3) and (image != portrait()).any() for image in written.values())


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
        (["--results", "{tmp}/a.csv", "--resume"], "--resume needs outputs of each file"),
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
        [Outcome("a.mp4", 100, 4.0, {1, 2}, 150, 149, 2.0), Outcome("b.mp4", remark="no video", failed=True)],
        12.0,
    )
    assert lines[1].split() == ["a.mp4", "100", "4.0", "2", "150", "149", "50.0"]
    assert lines[2].endswith("no video") and lines[3].split()[:2] == ["all", "100"]


def test_several_at_once_write_what_one_after_the_other_write(footage, tmp_path, capsys):
    """The common table too, in the files' order."""
    for jobs in ("1", "3"):
        folder = tmp_path / jobs
        folder.mkdir()
        assert run("--source", footage, "--results", folder / "all.csv", "--jobs", jobs) == 3
        assert run("--source", footage, "--results", folder / "{name}.jsonl", "--jobs", jobs) == 3
    told = capsys.readouterr().out
    assert "4 files were not begun" not in told and told.count("torn.mp4") >= 4
    written = [{p.name: p.read_bytes() for p in (tmp_path / jobs).iterdir()} for jobs in ("1", "3")]
    assert written[0] == written[1]
    assert {"all.csv", "anna.jpg.jsonl", "bert.png.jsonl", "clip.mp4.jsonl"} <= written[0].keys()


def test_a_failure_that_concerns_all_files_ends_all(footage, tmp_path, capsys, monkeypatch):
    from app.errors import ModelError

    def broken(*args, **kwargs):
        raise ModelError("the network is torn")

    monkeypatch.setattr("app.compose.runs.open_engine", broken)
    assert run("--source", footage, "--results", tmp_path / "all.csv", "--jobs", "2") == ModelError.exit_code
    assert "the network is torn" in capsys.readouterr().err


class Noted:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, int]] = []

    def deliver(self, result: Result, source: str = "") -> None:
        self.given.append((source, result.frame.id))

    def close(self) -> None:
        pass


def of_frame(number: int) -> Result:
    return Result(Frame(number, np.zeros((4, 4, 3), np.uint8), 0.0, 0.0), (), STATS)


def test_a_table_keeps_the_files_order_and_holds_no_pictures(monkeypatch):
    writer = Noted()
    table = Table(writer)
    for file in (2, 1, 0):
        for i in range(3):
            table.deliver(file, of_frame(i), f"f{file}")
        if file == 1:
            assert all(r.frame.image.size == 0 for held in table._held.values() for r, _ in held)
        table.done(file)
    assert writer.given == [(f"f{f}", i) for f in range(3) for i in range(3)]


def test_a_file_that_is_far_ahead_waits_for_its_turn(monkeypatch):
    monkeypatch.setattr("app.footage.table.HELD", 2)
    writer = Noted()
    table = Table(writer)
    ahead = threading.Thread(target=lambda: [table.deliver(1, of_frame(i), "b") for i in range(5)])
    ahead.start()
    table.deliver(0, of_frame(0), "a")
    table.done(0)
    ahead.join(20)
    table.done(1)
    assert writer.given == [("a", 0), *(("b", i) for i in range(5))]


def test_the_bar_goes_by_what_files_weigh(tmp_path):
    big, small = tmp_path / "big", tmp_path / "small"
    big.write_bytes(bytes(900))
    small.write_bytes(bytes(100))
    progress = Progress([str(big), str(small), "rtsp://camera"])
    running = SimpleNamespace(totals=SimpleNamespace(frames=5))
    progress.begin(0, running, 10)
    assert progress.state() == (450.0, 5, 0)
    progress.end(1)
    progress.end(0)
    progress.show()
    assert progress.state() == (1000.0, 5, 2)
    progress.close()


def test_what_an_earlier_run_wrote_beside_the_footage_is_no_footage(footage, tmp_path, capsys):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes((footage / "clip.mp4").read_bytes())
    args = ("--source", folder, "--output", folder / "{stem}-seen.mkv")
    assert run(*args) == 0
    written = (folder / "clip-seen.mkv").read_bytes()
    assert run(*args) == 2
    assert "add --resume" in capsys.readouterr().err
    assert run(*args, "--resume") == 0
    assert "1 of 1 files are complete" in capsys.readouterr().out
    assert (folder / "clip-seen.mkv").read_bytes() == written and len(list(folder.iterdir())) == 2


def test_odd_names(tmp_path, capsys):
    """In a folder, with outputs by a pattern and in one table; a name that is no text is told, and its file left out."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    names = ["-a.png", "10:30.png", "[x].png", "b%02d.png", "new\nline.png", "{name}.png", os.fsdecode(b"\xff.png")]
    cv2.imwrite(str(tmp_path / "a.png"), portrait())
    for name in names:
        (folder / name).write_bytes((tmp_path / "a.png").read_bytes())
    assert run("--source", folder, "--results", out / "{stem}.jsonl") == 3
    assert sorted(p.name for p in out.iterdir()) == sorted(n.replace(".png", ".jsonl") for n in names[:-1])
    assert run("--source", folder, "--results", out / "all.csv") == 3
    told = capsys.readouterr()
    assert "new\\nline.png" in told.out and "\\udcff.png" in told.out and "Rename it" in told.err
    with (out / "all.csv").open() as file:
        assert sorted(row["source"] for row in csv.DictReader(file)) == sorted(map(printable, names[:-1]))
