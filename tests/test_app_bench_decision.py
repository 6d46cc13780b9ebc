"""`bench decision` on the shipped network; times decide nothing here."""

from __future__ import annotations

import json

import pytest

from app.cli import main
from app.commands.bench_decision import AGAIN, FIRST, PLAIN, PROBE, SLOW, USUAL


def test_it_tells_a_decision_after_a_pause_from_one_at_hand(tmp_path, capsys):
    out = tmp_path / "decision.json"
    assert main(["bench", "decision", "--frames", "100", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert [row["what"] for row in rows if row["what"] not in (USUAL, SLOW)] == [PROBE, FIRST, AGAIN, PLAIN]
    assert sum(row["frames"] for row in rows if row["what"] in (USUAL, SLOW)) == 100
    assert all(0 < row["p50_us"] <= row["p95_us"] <= row["p99_us"] < 1e6 for row in rows)
    assert "again at once" in capsys.readouterr().out


@pytest.mark.parametrize("what", [["--frames", "5"], ["--model", "nobody"]])
def test_nonsense_is_refused(what, tmp_path, capsys):
    assert main(["bench", "decision", *what, "--json", str(tmp_path / "d.json")]) != 0
    assert capsys.readouterr().err.startswith("error:")
