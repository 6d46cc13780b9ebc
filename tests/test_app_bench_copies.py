"""`bench copies` on the shipped network; times decide nothing here."""

from __future__ import annotations

import json

import pytest

from app.cli import main


def test_every_batch_is_run_with_and_without_copies(tmp_path, capsys):
    out = tmp_path / "copies.json"
    assert main(["bench", "copies", "--device", "cpu", "--rounds", "10", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["provider"] == "CPUExecutionProvider"
    assert [row["faces"] for row in report["rows"]] == 3 * [1, 4, 16]
    for row in report["rows"]:
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["slowest_ms"] and row["first_ms"] > 0
        assert row["in_turn_ms"] > 0 and row["on_device_ms"] > 0
    assert "on device" in capsys.readouterr().out


@pytest.mark.parametrize("what", [["--rounds", "5"], ["--model", "nobody"]])
def test_nonsense_is_refused(what, tmp_path, capsys):
    assert main(["bench", "copies", *what, "--json", str(tmp_path / "c.json")]) != 0
    assert capsys.readouterr().err.startswith("error:")
