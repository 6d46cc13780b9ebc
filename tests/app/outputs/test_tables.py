"""Results by their file's suffix, and files that must not be overwritten under another name."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from app.domain import Box, Estimate, Frame, Person, Result
from app.errors import OutputError, UsageError
from app.outputs.formats import check_results_name, results_writer
from app.settings import Settings
from tests.support.builders import make_stats
from tests.support.paths import ROOT

ESTIMATE = Estimate(31.4, 26.1, 36.7, "female", 0.97, "happy", 0.81, "exit_12+mirror")


def result(i: int) -> Result:
    people = (Person(1, Box(10, 20, 30, 40), ESTIMATE, True), Person(2, Box(1, 2, 3, 4), None, False, "too small"))
    return Result(Frame(i, np.zeros((4, 4, 3), np.uint8), i / 25, 0.0), people, make_stats())


def test_parquet_holds_what_the_csv_holds_with_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra: requirements-parquet.txt")
    for name in ("r.csv", "r.parquet"):
        writer = results_writer(tmp_path / name, named="source")
        for i in range(3):
            writer.deliver(result(i), "a.mp4")
        writer.close()
        writer.close()
    table = parquet.read_table(tmp_path / "r.parquet")
    csv = (tmp_path / "r.csv").read_text().splitlines()
    assert csv[0] == ",".join(table.column_names) and len(csv) - 1 == table.num_rows == 6
    row = table.to_pylist()[0]
    assert row["source"] == "a.mp4" and row["frame"] == 0 and row["fresh"] is True and row["age"] == 31.4
    assert table.to_pylist()[1]["age"] is None and table.to_pylist()[1]["unfit"] == "too small"


@pytest.mark.parametrize("name", ["r.xlsx", "r.txt", "r.mp4"])
def test_an_unknown_suffix_is_refused(tmp_path, name):
    with pytest.raises(OutputError, match=r"results are written as \.jsonl.*choose such a name"):
        check_results_name(tmp_path / name)


def test_results_go_down_a_pipe_and_the_rest_past_it(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    command = [sys.executable, "main.py", "run", "--source", str(tmp_path / "a.png"), "--no-show", "--results", "-"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == '{"frame":0,"time_s":0.0,"people":[]}\n'
    assert "frames    1" in done.stderr
    with pytest.raises(UsageError, match="only --results may go to standard output"):
        Settings(log="-")


@pytest.mark.parametrize("output", ["output", "results", "events", "log"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_the_source_is_not_overwritten_under_another_name(tmp_path, output, link):
    (tmp_path / "clip.mp4").write_bytes(b"precious")
    link(tmp_path / "clip.mp4", tmp_path / "other.mp4")
    for source in (str(tmp_path / "clip.mp4"), f"file://{tmp_path}/clip.mp4"):
        with pytest.raises(UsageError, match="is the source and would be overwritten"):
            Settings(source=source, **{output: tmp_path / "other.mp4"})


def test_a_disk_that_does_not_tell_letters_case(tmp_path, monkeypatch):
    """As macOS and Windows have it: the name is another, the file is the same one."""
    (tmp_path / "clip.mp4").write_bytes(b"precious")
    stat = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **more: stat(str(path).lower() if "CLIP" in str(path) else path, **more)
    )
    with pytest.raises(UsageError, match="is the source and would be overwritten"):
        Settings(source=str(tmp_path / "clip.mp4"), output=tmp_path / "CLIP.MP4")


def test_two_outputs_that_are_one_file_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    os.link(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    with pytest.raises(UsageError, match="must be different files"):
        Settings(results=tmp_path / "a.jsonl", log=tmp_path / "b.jsonl")
