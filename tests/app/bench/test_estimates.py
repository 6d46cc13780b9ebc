"""The benchmarks of estimates and alignment, on the astronaut in many guises and on the talking clip."""

from __future__ import annotations

import json

import pytest

from app.cli import main
from tests.support.faces import write_utkface


@pytest.mark.parametrize("what", [["estimates"], ["alignment"], ["alignment", "--utkface", "nowhere"]])
def test_what_is_missing_is_said(what, capsys):
    assert main(["bench", *what]) != 0
    assert "error: " in (err := capsys.readouterr().err) and ("--utkface" in err or "nowhere" in err)


def test_the_alignment_benchmark_measures_every_change(tmp_path, capsys):
    faces = write_utkface(tmp_path / "faces", 12)
    assert (
        main(["bench", "alignment", "--utkface", str(faces), "--count", "10", "--json", str(tmp_path / "a.json")]) == 0
    )
    told = json.loads((tmp_path / "a.json").read_text())
    rows = {row["change"]: row for row in told["changes"]}
    assert rows["roll 0"]["read"] == 1 and rows["cut 50%"]["read"] == rows["crop 12 px"]["read"] == 0
    assert rows["roll 45"]["held"] > 0.9 and rows["roll 60"]["held"] > 0.9
    assert abs(rows["roll 45"]["mae"] - rows["roll 0"]["mae"]) < 4, "a tilted head is read as the upright one"
    (yaws,) = told["yaws"]
    assert (yaws["from"], yaws["to"], yaws["faces"], yaws["refused"]) == (0, 10, 10, 0), "the astronaut looks ahead"
    assert yaws["mae"] == pytest.approx(rows["roll 0"]["mae"]) and yaws["misfit_p50"] == rows["roll 0"]["misfit_p50"]
    assert told["misfits"]
    out = capsys.readouterr().out
    assert "roll 45" in out and "yaw either way" in out and "    0 to 10 " in out


def test_fused_ages_jitter_far_less_than_readings(talking_clip, tmp_path):
    assert main(["bench", "estimates", "--clips", str(talking_clip), "--json", str(tmp_path / "e.json")]) == 0
    rows = json.loads((tmp_path / "e.json").read_text())["clips"]
    change = {(r["exits"], r["way"]): r["age_change"] for r in rows}
    strays = {(r["exits"], r["way"]): r["age_deviation"] for r in rows}
    assert {r["person"] for r in rows} == {1}
    for exits in ("deepest", "mixed"):
        assert change[exits, "fused"] < 0.2 * change[exits, "raw"]
        assert strays[exits, "fused"] < strays[exits, "averaged"]
    assert all(r["gender_flips"] == 0 for r in rows if r["way"] == "fused")
