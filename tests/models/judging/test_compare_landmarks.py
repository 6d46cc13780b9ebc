"""Commands that measure what our landmarks change, on the portrait in many guises."""

from __future__ import annotations

import json

import pytest

from app.cli import main
from tests.support.faces import write_utkface
from tests.support.needs import needs_teacher


@needs_teacher
def test_evaluate_compares_both_predictors_on_the_same_pictures(tmp_path, capsys):
    root, out = write_utkface(tmp_path / "utk", 8), tmp_path / "out.json"
    where = ["evaluate", "--dataset", "utkface", "--root", str(root), "--json", str(out)]
    figures = {}
    for which in ("ours", "teacher"):
        assert main([*where, "--landmarks", which]) == 0
        figures[which] = json.loads(out.read_text())["figures"]
    assert main([*where, "--landmarks", "both"]) == 0
    report = json.loads(out.read_text())
    assert report["pictures"] == 8 and set(report["rows"]) == set(figures["ours"])
    for size, rows in report["rows"].items():
        assert set(rows) == set(figures["ours"][size])
        for name, row in rows.items():
            assert row["ours"] == pytest.approx(figures["ours"][size][name]["mae"])
            assert row["teacher"] == pytest.approx(figures["teacher"][size][name]["mae"])
            assert row["difference"] == pytest.approx(row["ours"] - row["teacher"])
            assert row["difference_95"][0] <= row["difference"] <= row["difference_95"][1]
    assert figures["ours"] != figures["teacher"]
    assert "exit_13" in capsys.readouterr().out


@needs_teacher
def test_train_landmarks_measures_what_ships(tmp_path, capsys, monkeypatch):
    # Eight guises of one portrait are near duplicates: one group, here held out as a whole.
    monkeypatch.setattr("models.data.views.validation_mask", lambda samples, groups: groups >= 0)
    root, out, plot = write_utkface(tmp_path / "utk", 8), tmp_path / "out.json", tmp_path / "plot.png"
    args = ["train-landmarks", "--utkface", str(root), "--evaluate", "--json", str(out), "--plot", str(plot)]
    assert main(args) == 0
    report = json.loads(out.read_text())
    errors = report["errors"]
    assert report["pictures"] == 8 and report["found"] >= 6 and plot.stat().st_size > 5000
    assert errors["ours"]["pictures"] == report["found"]
    assert 0 < errors["ours"]["median"] < 0.1 and 0 < errors["teacher"]["median"] < 0.1
    # Worse boxes are worse landmarks, for the teacher at least; ours find the face first.
    assert errors["teacher, box astray 20%"]["mean"] > errors["teacher, box astray 0%"]["mean"]
    assert report["bytes"] <= 12_000_000 and set(report["time"]) == {"load_ms", "ours_ms", "teacher_ms", "ratio"}
    assert "ours against itself" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train-landmarks", "--utkface", "{tmp}"], "--out"),
        (["train-landmarks", "--utkface", "{tmp}", "--plot", "x.png", "--out", "{tmp}"], "--evaluate"),
        (["train-landmarks", "--utkface", "{tmp}", "--out", "{tmp}", "--workers", "0"], "at least 1"),
        (["evaluate", "--dataset", "utkface", "--root", "{tmp}", "--aligned", "--landmarks", "both"], "no landmarks"),
    ],
)
def test_options_that_do_not_go_together(args, says, tmp_path, capsys):
    assert main([a.format(tmp=tmp_path) for a in args]) == 2
    assert says in capsys.readouterr().err


def test_a_folder_without_pictures_is_a_clear_error(tmp_path, capsys):
    assert main(["train-landmarks", "--utkface", str(tmp_path), "--out", str(tmp_path / "run")]) == 4
    assert "age_gender_ethnicity" in capsys.readouterr().err
    (tmp_path / "m.json").write_text("{}")
    assert main(["train-landmarks", "--utkface", str(tmp_path), "--evaluate", "--model", str(tmp_path / "m.json")]) == 4
    assert "not a landmark model's manifest" in capsys.readouterr().err
