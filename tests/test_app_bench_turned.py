"""The benchmark of faces that are turned away: the astronaut as FER2013, and FER2013 itself where it is at hand."""

from __future__ import annotations

import json
import tarfile

import pytest

from app.cli import main
from tests.faces import write_fer2013


@pytest.mark.parametrize("what", [[], ["--fer2013", "nowhere"], ["--fer2013", "nowhere", "--count", "0"]])
def test_what_is_missing_is_said(what, capsys):
    assert main(["bench", "turned", *what]) != 0
    assert "error: " in (err := capsys.readouterr().err) and (
        "--fer2013" in err or "nowhere" in err or "--count" in err
    )


def test_the_astronaut_looks_ahead(tmp_path, capsys):
    faces = write_fer2013(tmp_path / "fer")
    assert main(["bench", "turned", "--fer2013", str(faces), "--json", str(tmp_path / "t.json")]) == 0
    (row,) = json.loads((tmp_path / "t.json").read_text())
    assert (row["found_by"], row["faces"], row["refused"]) == ("frontal", 14, 0)
    assert row["yaw_p90"] < 25 and row["misfit_p90"] < 0.08
    assert "frontal" in capsys.readouterr().out


def test_real_turned_faces_are_told_from_others(fer2013_tar, tmp_path):
    """Of the first pictures of PublicTest some are turned; their landmarks say so too."""
    with tarfile.open(fer2013_tar) as tar:
        some = [m for m in tar if m.isfile() and "/validation/angry/" in m.name][:150]
        tar.extractall(tmp_path, some, filter="data")
    args = ["bench", "turned", "--fer2013", str(tmp_path / "fer2013"), "--json", str(tmp_path / "t.json")]
    assert main(args) == 0
    rows = {row["found_by"]: row for row in json.loads((tmp_path / "t.json").read_text())}
    assert rows["frontal"]["faces"] > 10 * rows["turned"]["faces"] > 0
    assert rows["turned"]["yaw_p50"] > rows["frontal"]["yaw_p50"]
